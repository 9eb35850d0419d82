"""A local HTTP server in OpenAI's form that does what a script says: answers, refuses, hangs, breaks off."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-not-to-be-seen-anywhere"


@dataclass(frozen=True)
class Raw:
    """A whole HTTP answer, for whatever is not a good one."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    promised: int | None = None
    """Content-Length that is promised, where it is not what comes."""
    drip: float = 0.0
    """Seconds between the bytes of the body."""


Script = Callable[[dict, int], "str | Raw"]
"""(the request's body, its number from 0) -> what the model says, or a whole answer."""


class Server:
    def __init__(self, script: Script, key: str = ""):
        self.script, self.key = script, key
        self.bodies: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.released = threading.Event()
        """Set at the end: whatever hangs may go."""
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                server.answer(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        with self._lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            sent = request.headers.get("Authorization", "")
            said = Raw(401, json.dumps({"error": {"message": f"Incorrect API key provided: {sent}"}}).encode())
        else:
            said = self.script(body, number)
        if isinstance(said, str):
            said = Raw(body=json.dumps({"choices": [{"message": {"role": "assistant", "content": said}}]}).encode())
        try:
            request.send_response(said.status)
            for name, value in said.headers.items():
                request.send_header(name, value)
            request.send_header("Content-Length", str(len(said.body) if said.promised is None else said.promised))
            request.end_headers()
            for piece in [said.body] if not said.drip else [said.body[at : at + 1] for at in range(len(said.body))]:
                request.wfile.write(piece)
                self.released.wait(said.drip)
        except OSError:  # the client has gone
            pass
        request.close_connection = True


@contextmanager
def serving(script: Script, key: str = "") -> Iterator[Server]:
    server = Server(script, key)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.http.shutdown()
        server.http.server_close()
