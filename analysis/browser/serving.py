"""Serves the app from this process until it is told to stop: the socket, the names it answers to, and its end."""

import errno
import re
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from analysis.browser.safety import LOOPBACK

PORT = 8421
EVERYWHERE = ("0.0.0.0", "::", "")
TOKEN = re.compile(r"[A-Za-z0-9_-]{8,200}")
GRACE = 2
"""Seconds that open answers get when the app is stopped."""


@dataclass(frozen=True)
class Place:
    """Where the app is reached, and by whom."""

    host: str
    port: int
    """0 takes any that is free."""
    hosts: tuple[str, ...]
    """What a request may call this machine."""
    token: str | None
    """None where only this machine can reach it, and no token was asked for."""

    def address(self, port: int) -> str:
        """What to open, its token included."""
        name = socket.gethostname() if self.host in EVERYWHERE else self.host
        query = f"?token={self.token}" if self.token else ""
        return f"http://{_bracketed(name)}:{port}/{query}"


def place_at(host: str, port: int, token: str | None = None) -> Place:
    """Beyond this machine's own addresses a token is wanted, and made where none is given. ValueError for a token that is
    too short, or would not travel as a cookie."""
    if token is not None and not TOKEN.fullmatch(token):
        raise ValueError("a token is of 8 to 200 letters, digits, - and _")
    if not 0 <= port <= 65535:
        raise ValueError(f"there is no port {port}: give one from 1 to 65535, or 0 for any free one")
    if _bracketed(host) in LOOPBACK:
        return Place(host, port, LOOPBACK, token)
    names = {_bracketed(host)} - {_bracketed(name) for name in EVERYWHERE}
    if host in EVERYWHERE:
        names |= {_bracketed(name) for name in _own_names()}
    return Place(host, port, (*LOOPBACK, *sorted(names)), token or secrets.token_urlsafe(24))


def serve(app: Any, place: Place, started: Callable[[str], None]) -> None:
    """Serves until Ctrl-C or SIGTERM. ``started`` gets the address once it can be opened. ValueError where the port or the
    host cannot be had."""
    import uvicorn

    listening = _socket(place)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, ws="none", http="h11",
        timeout_graceful_shutdown=GRACE,
    )  # fmt: skip
    server = uvicorn.Server(config)
    address = place.address(listening.getsockname()[1])

    def tell() -> None:
        while not server.started and not server.should_exit:
            if stopped.wait(0.01):
                return
        started(address)

    stopped = threading.Event()
    threading.Thread(target=tell, name="started", daemon=True).start()
    try:
        with suppress(KeyboardInterrupt):  # uvicorn ends what it serves, and raises it again
            server.run(sockets=[listening])
    finally:
        stopped.set()
        listening.close()


def _socket(place: Place) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((place.host, place.port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ValueError(_why_not(error, place)) from error
    return listening


def _why_not(error: OSError, place: Place) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {place.port} is in use (perhaps by this app already): give another with --port N, or --port 0 for any free one"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {place.port} may not be used by this user: give one above 1023 with --port N"
    return f"{place.host} is no address of this machine ({error.strerror or error}): give one of its own with --host"


def _own_names() -> set[str]:
    """What others may call this machine."""
    names = {socket.gethostname(), socket.getfqdn()}
    with suppress(OSError):  # a machine whose own name is not known
        names |= {str(found[4][0]).split("%")[0] for found in socket.getaddrinfo(socket.gethostname(), None)}
    return names


def _bracketed(host: str) -> str:
    return f"[{host.lower()}]" if ":" in host else host.lower()
