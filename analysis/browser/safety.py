"""What stands between the network and the app: Host, Origin, token, body size, and the headers of every answer."""

import hmac
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
MOST_BYTES = 1_000_000
"""Of a request's body."""
COOKIE = "saes_token"
POLICY = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'",
        "font-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'",
    )
)  # fmt: skip
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
CHANGING = ("POST", "PUT", "PATCH", "DELETE")


class Safety:
    """Refuses what a page of another site, or another machine, could send; marks every answer with strict headers.

    hosts: the names that a request's Host may have, without port (against DNS rebinding). token: wanted with every request
    where it is not None; `?token=` once sets it as a cookie. most_bytes: of a body, whether or not its length is announced.
    """

    def __init__(
        self, app: ASGIApp, hosts: Sequence[str] = LOOPBACK, token: str | None = None, most_bytes: int = MOST_BYTES
    ):
        self.app, self.token, self.most_bytes = app, token, most_bytes
        self.hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # nothing here speaks WebSocket
        headers = Headers(scope=scope)
        marked = _marking(scope, send)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(marked, *refusal)
            return
        if self.token is not None:
            given = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("token")
            if given is not None and scope["method"] == "GET" and _same(given, self.token):
                await _answer(marked, 303, "", _with_cookie(scope, self.token))
                return
            if not _same(_cookie(headers), self.token):
                await _answer(marked, 401, "this app wants its token: open the address that `saes browse` printed\n")
                return
        await self._within(scope, receive, marked)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if _name(host) not in self.hosts:
            return (
                421,
                f"this app answers to {', '.join(sorted(self.hosts))} only; for another name, start it with --host\n",
            )
        if scope["method"] in CHANGING:
            origin, site = headers.get("origin"), headers.get("sec-fetch-site")
            if site is not None and site not in ("same-origin", "none"):
                return 403, "this request comes from another site\n"
            if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
                return 403, "this request comes from another site\n"
        length = headers.get("content-length")
        if length is not None and (not length.isdecimal() or int(length) > self.most_bytes):
            return 413, f"a request may hold {self.most_bytes} bytes at most\n"
        return None

    async def _within(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app, unless a body without announced length grows beyond the limit: whatever it says then, 413 is the answer."""
        read, started = 0, False

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            return message if read <= self.most_bytes else {"type": "http.disconnect"}

        async def watched(message: Message) -> None:
            nonlocal started
            if read <= self.most_bytes:
                started = True
                await send(message)

        try:
            await self.app(scope, limited, watched)
        except Exception:
            if read <= self.most_bytes:
                raise
        if read > self.most_bytes and not started:
            await _answer(send, 413, f"a request may hold {self.most_bytes} bytes at most\n")


def _same(given: str | None, token: str) -> bool:
    return given is not None and hmac.compare_digest(given.encode(), token.encode())


def _name(host: str) -> str:
    """The host without its port; "" for what is no host."""
    name, colon, port = host.rpartition(":")
    if colon and port.isdecimal():
        host = name
    return host.lower()


def _cookie(headers: Headers) -> str | None:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return found.value if found else None


def _with_cookie(scope: Scope, token: str) -> dict[str, str]:
    """The same address without the token, so that it stays in no history."""
    kept = [(name, value) for name, value in parse_qsl(scope["query_string"].decode("latin-1")) if name != "token"]
    path = "/" + scope.get("raw_path", scope["path"].encode()).decode("latin-1").lstrip("/\\")
    return {
        "location": path + (f"?{urlencode(kept)}" if kept else ""),
        "set-cookie": f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/",
    }


def _marking(scope: Scope, send: Send) -> Send:
    fresh = "public, max-age=31536000, immutable" if scope["path"].startswith("/static/") else "no-cache"

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            if message["status"] >= 400:
                headers["cache-control"] = "no-store"
            else:
                headers.setdefault("cache-control", fresh)
        await send(message)

    return marked


async def _answer(send: Send, status: int, text: str, headers: dict[str, str] | None = None) -> None:
    fields = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(text.encode())), **(headers or {})}
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": text.encode()})
