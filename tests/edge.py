"""The edge of a live system, as a test has it: TLS ends there, all requests are journaled and may be tampered with."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

LIMIT_S = 60


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    at: float = field(default_factory=time.monotonic, compare=False)


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)


class Lost(Exception):
    """The connection ends without an answer."""


Forward = Callable[[Received], Reply]
Rule = Callable[[Received, Forward], Reply]


class Edge:
    """Listens at `https://localhost:…` (`http` without a context), and hands requests on to `upstream`."""

    def __init__(self, upstream: str, context: ssl.SSLContext | None) -> None:
        self.received: list[Received] = []
        self.rule: Rule = lambda request, forward: forward(request)
        self.turned_away = 0
        """Connections that were closed at once."""
        self._away = 0
        self._news = threading.Condition()
        self._upstream = urlsplit(upstream).netloc
        self._server = _Server(self, context)
        scheme = "http" if context is None else "https"
        self.port = self._server.server_address[1]
        self.url = f"{scheme}://localhost:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    # --- what a test does ---

    def turn_away(self, connections: int) -> None:
        """Closes the next connections at once, as a host does whose service is gone."""
        with self._news:
            self._away = connections

    def wait_for(self, condition: Callable[[Edge], bool]) -> None:
        """Returns as soon as the condition holds."""
        with self._news:
            assert self._news.wait_for(lambda: condition(self), LIMIT_S), "nothing of the kind has come"

    def having(self, method: str) -> list[Received]:
        return [request for request in self.received if request.method == method]

    # --- what the server does ---

    def turns_away(self) -> bool:
        with self._news:
            if not self._away:
                return False
            self._away -= 1
            self.turned_away += 1
            self._news.notify_all()
            return True

    def answer(self, request: Received) -> Reply:
        with self._news:
            self.received.append(request)
            self._news.notify_all()
        return self.rule(request, self.forward)

    def forward(self, request: Received) -> Reply:
        connection = http.client.HTTPConnection(self._upstream, timeout=LIMIT_S)
        with contextlib.closing(connection):
            headers = {name: value for name, value in request.headers.items() if name != "connection"}
            connection.request(request.method, request.target, request.body or None, headers)
            response = connection.getresponse()
            body = response.read()
            own = ("content-length", "transfer-encoding", "connection")
            return Reply(response.status, body, tuple(h for h in response.getheaders() if h[0].lower() not in own))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, edge: Edge, context: ssl.SSLContext | None) -> None:
        self.edge, self.context = edge, context
        super().__init__(("127.0.0.1", 0), _Handler)

    def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """In the connection's own thread."""
        if self.edge.turns_away():
            return
        with contextlib.suppress(OSError):
            if self.context is not None:
                request = self.context.wrap_socket(request, server_side=True)
            _Handler(request, client_address, self)
            if self.context is not None:
                request.close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing is printed: connections end here in every way."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            reply = self.server.edge.answer(Received(self.command, self.path, headers, body))
        except Lost:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in (*reply.headers, ("Content-Length", str(len(reply.body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    do_GET = do_POST = do_PATCH = do_DELETE = _any

    def log_message(self, format: str, *args: object) -> None:
        """The journal is enough."""


@contextmanager
def edge(upstream: str, context: ssl.SSLContext | None) -> Iterator[Edge]:
    """An edge before a service, while the test runs."""
    running = Edge(upstream, context)
    try:
        yield running
    finally:
        running.close()
