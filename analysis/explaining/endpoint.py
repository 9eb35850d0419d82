"""An OpenAI-compatible endpoint, asked over HTTP. The key goes into one header and nowhere else."""

import email.utils
import http.client
import ipaddress
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from analysis.explaining.llm import Hitch, Messages

PUBLIC = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
BASE_VARIABLE = "OPENAI_BASE_URL"
LARGEST = 4 * 2**20
"""Bytes of an answer; more than that is none."""
PASSING = (408, 409, 425, 429)
"""Refusals that may pass, besides all from 500 on."""


def is_endpoint(source: str) -> bool:
    return source.startswith(("openai/", "http://", "https://"))


def open_endpoint(source: str, key_variable: str | None = None, timeout: float = 60.0) -> "Endpoint":
    """`openai/MODEL` (at OPENAI_BASE_URL, else OpenAI's own address) or `http://host:port/v1/MODEL`.

    The key is read from the environment: the variable `key_variable`, which must then be set, else OPENAI_API_KEY where
    there is one. Raises ValueError for an address or a key that cannot be used.
    """
    if source.startswith("openai/"):
        base, model = os.environ.get(BASE_VARIABLE) or PUBLIC, source.removeprefix("openai/")
    else:
        head, version, model = source.partition("/v1/")
        base = head + version.rstrip("/")
        if not version:
            raise ValueError(f"{_without_login(source)} names no model: write it as http://host:port/v1/MODEL")
    if not model:
        raise ValueError(
            f"{_without_login(source)} names no model: write it as openai/MODEL or http://host:port/v1/MODEL"
        )
    return Endpoint(_checked(base), model, _key(key_variable), timeout)


class Endpoint:
    """`POST BASE/chat/completions`, at temperature 0 where the model allows it.

    `timeout` is the number of seconds that one request may take as a whole.
    """

    parallel = True

    def __init__(self, base: str, model: str, key: str = "", timeout: float = 60.0):
        self.base, self.model, self.timeout = base.rstrip("/"), model, timeout
        self.name = f"{self.base}/{model}"
        self._key = key
        self._length_field = "max_tokens"
        self._settings: dict[str, Any] = {"temperature": 0}
        own_machine = _is_own_machine(urllib.parse.urlsplit(base).hostname or "")
        proxies = [urllib.request.ProxyHandler({})] if own_machine else []
        self._opener = urllib.request.build_opener(_NoRedirect, *proxies)

    def ask(self, messages: Messages, max_tokens: int) -> str:
        body = {
            "model": self.model,
            "messages": [{"role": role, "content": text} for role, text in messages],
            self._length_field: max_tokens,
            **self._settings,
        }
        raw = self._post(body)
        try:
            content = json.loads(raw)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError) as error:
            raise Hitch(f"{self.name} answered with something that is no chat completion") from error
        return self._without_key(content) if isinstance(content, str) else ""

    def _post(self, body: dict[str, Any]) -> bytes:
        """The body of the answer; Hitch or ValueError as `ask` says."""
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "emotion-saes"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(f"{self.base}/chat/completions", json.dumps(body).encode(), headers)
        deadline = time.monotonic() + self.timeout
        try:
            with self._opener.open(request, timeout=self.timeout) as response:
                return self._read(response, deadline)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error, body) from None
        except (TimeoutError, urllib.error.URLError, http.client.HTTPException, OSError) as error:
            reason = getattr(error, "reason", None) or error
            said = "too slowly" if isinstance(reason, TimeoutError) else f"({type(reason).__name__}: {reason})"
            raise Hitch(self._without_key(f"{self.name} does not answer {said}")) from None

    def _read(self, response: Any, deadline: float) -> bytes:
        """Everything, by the deadline: the socket's own timeout starts anew with every byte."""
        parts, size = [], 0
        while part := response.read1(65536):
            parts.append(part)
            size += len(part)
            if time.monotonic() > deadline:
                raise TimeoutError
            if size > LARGEST:
                raise Hitch(f"{self.name} answered with more than {LARGEST >> 20} MB")
        return b"".join(parts)

    def _refusal(self, error: urllib.error.HTTPError, body: dict[str, Any]) -> Exception:
        """What an HTTP error means. The text of a refused key is not repeated: some servers quote the key in it."""
        code = error.code
        if code in (401, 403):
            return ValueError(
                f"{self.name} refuses the key ({code}): set {KEY_VARIABLE}, or name another variable with --key-env"
                if self._key
                else f"{self.name} wants a key ({code}): set {KEY_VARIABLE}, or name another variable with --key-env"
            )
        try:
            said = _said(error.read(LARGEST))
        except (OSError, http.client.HTTPException):
            said = ""
        if code == 400 and self._adapted(said, body):
            return Hitch(f"{self.name} takes other settings")
        line = self._without_key(f"{self.name} answered {code}" + (f": {' '.join(said.split())[:200]}" if said else ""))
        if "insufficient_quota" in said:
            return ValueError(line)
        if code in PASSING or code >= 500:
            return Hitch(line, _seconds(error.headers.get("Retry-After")))
        if 300 <= code < 400:
            return ValueError(f"{line} (it points elsewhere; name the address itself)")
        return ValueError(line)

    def _adapted(self, said: str, body: dict[str, Any]) -> bool:
        """Whether the server named a setting of `body` that it does not take, which is now left out (reasoning models)."""
        if "max_completion_tokens" in said and "max_tokens" in body:
            self._length_field = "max_completion_tokens"
            return True
        if "temperature" in said and "temperature" in body:
            self._settings.pop("temperature", None)
            return True
        return False

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another address."""

    def redirect_request(self, *args: Any) -> None:
        return None


def _checked(base: str) -> str:
    """The address; ValueError where it holds a login, or is no address."""
    parts = urllib.parse.urlsplit(base)
    if "@" in parts.netloc or parts.query:
        raise ValueError(
            f"the address {_without_login(base)} holds a login or a query: put the key into {KEY_VARIABLE}, or name a variable with --key-env"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{_without_login(base)} is no address: write it as http://host:port/v1")
    return base


def _without_login(address: str) -> str:
    head, at, tail = address.partition("?")[0].rpartition("@")
    return f"{head.split('://')[0]}://{tail}" if at else tail


def _key(variable: str | None) -> str:
    """The key; "" where none is asked for and none is set. What is wrong with it is said without showing it."""
    key = os.environ.get(variable or KEY_VARIABLE, "").strip()
    if variable and not key:
        raise ValueError(f"the environment variable {variable}, which should hold the key, is not set")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError(f"what {variable or KEY_VARIABLE} holds cannot be a key: it has spaces or line breaks in it")
    return key


def _is_own_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _said(raw: bytes) -> str:
    """The error's own words: `error.message` and `error.code` of OpenAI's form, else the beginning of the text."""
    try:
        error = json.loads(raw)["error"]
        return (
            f"{error.get('message', '')} {error.get('code') or ''}".strip() if isinstance(error, dict) else str(error)
        )
    except (ValueError, LookupError, TypeError):
        return raw[:400].decode("utf-8", "replace")


def _seconds(retry_after: str | None) -> float | None:
    """What a Retry-After header asks for, in seconds or as a date (RFC 9110, 10.2.3)."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
