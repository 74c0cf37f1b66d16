"""HTTP as the suite speaks it: one request, what came of it, and nothing hidden.

`Client.send` never raises for what a target does. A target that refuses the connection, hangs, closes, floods or
answers garbage yields an `Exchange` without a response and with the `Failure` that says so. Redirects are not followed,
so that no credential travels to another host.
"""

from __future__ import annotations

import enum
import json
import os
import re
import shlex
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from conformance import __version__
from conformance.errors import NotVerified, TargetBroken, UsageError
from conformance.redaction import Redactor

Header = tuple[str, str | bytes]

MAX_BODY_BYTES = 16 * 1024 * 1024
DEFAULT_TIMEOUT_S = 10.0
SHOWN_BODY_CHARS = 4000


class Failure(enum.Enum):
    """Why there is no usable response."""

    REFUSED = "the connection was refused"
    UNRESOLVED = "the host name could not be resolved"
    TLS = "the TLS connection could not be made"
    CLOSED = "the connection was closed without an answer"
    TIMEOUT = "there was no complete answer within the time limit"
    PROTOCOL = "the answer was not HTTP"
    TOO_LARGE = "the answer was larger than the limit"


NOT_REACHED = frozenset({Failure.REFUSED, Failure.UNRESOLVED, Failure.TLS})
"""The failures of requests that nobody has read."""


@dataclass(frozen=True)
class Request:
    """One HTTP request as it was sent. `headers` holds what the suite set, without what the client adds."""

    method: str
    url: str
    headers: tuple[Header, ...] = ()
    body: bytes | None = None

    @property
    def length(self) -> int | None:
        """The Content-Length to be stated, or None: a POST without a body has 0, as browsers send it (else a 411)."""
        if self.body is None:
            return 0 if self.method in ("POST", "PUT", "PATCH") else None
        return len(self.body)


JSON_TYPE: Header = ("Content-Type", "application/json")


def typed(headers: Sequence[Header], body: bytes | None, content_type: Header = JSON_TYPE) -> tuple[Header, ...]:
    """The headers, and the type of the body where there is one: what has no body has no type, as browsers send it."""
    return tuple(headers) if body is None else (*headers, content_type)


@dataclass(frozen=True)
class Response:
    """One HTTP response, its body whole and decoded by its Content-Encoding."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header, its name in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def text(self) -> str:
        """The body as UTF-8, with replacement characters where it is none."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON; raises ValueError where it is none (NaN and Infinity are none)."""

        def refuse(constant: str) -> Any:
            raise ValueError(f"{constant} is not JSON")

        try:
            # as text: of bytes json takes UTF-16 too, and what is nearly UTF-8
            return json.loads(self.body.decode("utf-8-sig"), parse_constant=refuse)
        except RecursionError:
            raise ValueError("nested too deeply") from None


@dataclass(frozen=True)
class Exchange:
    """A request and what came of it: a response or a failure. Times are seconds of the monotonic clock."""

    request: Request
    response: Response | None
    failure: Failure | None
    started: float
    ended: float
    detail: str = ""
    """What the failure was about, where that helps: what is wrong with the certificate, or with the answer as HTTP."""

    @property
    def status(self) -> int:
        """The status; raises NotVerified for 429 and where nobody was reached, TargetBroken without an answer."""
        return self.answer.status

    @property
    def answer(self) -> Response:
        """The response of a request that deserves one; raises as `status` does."""
        if self.response is None:
            problem = f"{self.request.method} {self.request.url}: {self.outcome()}"
            if self.failure in NOT_REACHED:
                raise NotVerified(problem)
            raise TargetBroken(problem, self)
        if self.is_limited:
            raise NotVerified(f"{self.request.method} {self.request.url}: 429, the target limits the rate")
        return self.response

    @property
    def is_limited(self) -> bool:
        """Whether the target limits the rate (429): no answer to what was asked."""
        return self.response is not None and self.response.status == 429

    def outcome(self) -> str:
        """What came, in a few words: `403 Forbidden`, or why there is no answer."""
        if self.response is None:
            said = self.failure.value if self.failure else "no answer"
            return f"{said}: {self.detail}" if self.detail else said
        phrase = httpx.codes.get_reason_phrase(self.response.status)
        return f"{self.response.status} {phrase}".strip()

    def as_dict(self, redactor: Redactor) -> dict[str, Any]:
        """The exchange as report.json holds it: redacted, bodies cut to a readable length."""
        request: dict[str, Any] = {
            "method": self.request.method,
            "url": self.request.url,
            "headers": [[name, _shown(value)] for name, value in self.request.headers],
            "body": None if self.request.body is None else _cut(self.request.body.decode("utf-8", "replace"), redactor),
        }
        response: dict[str, Any] | None = None
        if self.response is not None:
            response = {
                "status": self.response.status,
                "headers": [list(header) for header in self.response.headers],
                "body": _cut(self.response.text, redactor),
            }
        return redactor.value({"request": _header_object(request), "response": _header_object(response)})

    def curl(self, redactor: Redactor) -> str:
        """The request as a curl command line, redacted."""
        words = ["curl", "-i", "-X", self.request.method, "--path-as-is", self.request.url]
        for name, value in self.request.headers:
            # curl drops a header that ends in a colon, and sends it empty for a semicolon
            words += ["-H", f"{name}: {_shown(value)}" if value else f"{name};"]
        if self.request.body is not None:
            words += ["--data-binary", _cut(self.request.body.decode("utf-8", "backslashreplace"), redactor)]
        return redactor.text(shlex.join(redactor.text(word) for word in words))


def _header_object(message: dict[str, Any] | None) -> dict[str, Any] | None:
    """The message with its header lines as one object; a repeated name's values are joined as HTTP allows."""
    if message is None:
        return None
    headers: dict[str, str] = {}
    for name, value in message["headers"]:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return {**message, "headers": headers}


def _as_bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _shown(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _cut(text: str, redactor: Redactor) -> str:
    if len(text) <= SHOWN_BODY_CHARS:
        return redactor.text(text)
    return f"{redactor.beginning(text, SHOWN_BODY_CHARS)}… ({len(text)} characters)"


# --- the wire --------------------------------------------------------------------------------------------------------


class _DeadlineStream(httpcore.NetworkStream):
    """A socket on which no single operation outlives the deadline of the exchange that it serves.

    What is written goes out when an answer is read: a request of headers and body is one packet, as from a browser.
    """

    def __init__(self, stream: httpcore.NetworkStream, backend: _DeadlineBackend) -> None:
        self._stream, self._backend = stream, backend
        self._unsent = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._unsent:
            unsent, self._unsent = self._unsent, b""
            self._stream.write(unsent, self._backend.remaining(httpcore.WriteTimeout))
        return self._stream.read(max_bytes, self._backend.remaining(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._unsent += buffer

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        remaining = self._backend.remaining(httpcore.ConnectTimeout)
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, remaining), self._backend)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _DeadlineBackend(httpcore.NetworkBackend):
    """Opens sockets that share one deadline; a peer that drips a byte at a time cannot stretch it."""

    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()
        self.deadline = float("inf")

    def remaining(self, timeout_error: type[Exception]) -> float:
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise timeout_error("deadline")
        return remaining

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), *(socket_options or ())]
        remaining = self.remaining(httpcore.ConnectTimeout)
        return _DeadlineStream(self._backend.connect_tcp(host, port, remaining, local_address, options), self)


@cache
def _tls() -> ssl.SSLContext:
    """One context for all connections; `SSL_CERT_FILE` and `SSL_CERT_DIR` name a custom CA. Raises UsageError."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        named = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), "the CA file")
        raise UsageError(f"{named}: cannot be used: {error.strerror or error}") from None


class _Connection:
    """One kept-alive connection to whichever host was asked last, with one deadline for each whole exchange."""

    def __init__(self, *, keepalive: bool = True) -> None:
        self._backend = _DeadlineBackend()
        self._keepalive = 1 if keepalive else 0
        self._pools: dict[bytes, httpcore.ConnectionPool] = {}

    def send(self, request: Request, headers: Sequence[Header], timeout_s: float) -> Response:
        """The response, read whole; raises one of `_TRANSPORT_ERRORS` or `_TooLarge`."""
        with self.open(request, headers, timeout_s) as received:
            body = b"".join(_limited(received.iter_stream()))
            response = Response(received.status, _fields(received), body)
        return response if response.header("Content-Encoding") is None else _decoded(response)

    @contextmanager
    def open(self, request: Request, headers: Sequence[Header], timeout_s: float) -> Iterator[httpcore.Response]:
        """The response as its head is there; raises one of `_TRANSPORT_ERRORS`, as does the reading of its body."""
        self._backend.deadline = time.monotonic() + timeout_s
        url, authority = _split(request.url)
        lines = [(b"Host", authority)]
        lines += [(name.encode(), _as_bytes(value)) for name, value in (*headers, *request.headers)]
        if request.length is not None:
            lines.append((b"Content-Length", b"%d" % request.length))
        with self._pool(url).stream(request.method, url, headers=lines, content=request.body) as received:
            yield received

    def _pool(self, url: httpcore.URL) -> httpcore.ConnectionPool:
        pool = self._pools.get(url.scheme)
        if pool is None:
            pool = self._pools[url.scheme] = httpcore.ConnectionPool(
                ssl_context=_tls() if url.scheme == b"https" else None,
                max_connections=1,
                max_keepalive_connections=self._keepalive,
                network_backend=self._backend,
            )
        return pool

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()


def _split(url: str) -> tuple[httpcore.URL, bytes]:
    """The URL with its target as it stands (httpcore's own parsing drops `;parameters`), and its authority."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    parts = urlsplit(f"{scheme}://{authority}")
    target = f"{slash or '/'}{path}".encode()
    return httpcore.URL(scheme=scheme, host=parts.hostname or "", port=parts.port, target=target), authority.encode()


def _fields(received: httpcore.Response) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in received.headers)


def _decoded(response: Response) -> Response:
    """The response without its Content-Encoding: we ask for none, and a server may send one all the same."""
    if not _is_deflated(response):
        return response
    # by zlib itself: httpx inflates a whole chunk at once, however large it becomes
    decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    body = b"".join(_limited([decoder.decompress(response.body, MAX_BODY_BYTES + 1)]))
    if not decoder.eof:
        raise zlib.error("cut short")
    return Response(response.status, response.headers, body)


def _is_deflated(response: Response) -> bool:
    return (response.header("Content-Encoding") or "").strip().lower() in ("gzip", "x-gzip", "deflate")


def _inflated(pieces: Iterable[bytes]) -> Iterator[bytes]:
    decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    for piece in pieces:
        while piece:
            yield decoder.decompress(piece, 65_536)
            piece = decoder.unconsumed_tail


_FAILURES: tuple[tuple[tuple[type[Exception], ...], Failure], ...] = (
    ((httpcore.ConnectError,), Failure.REFUSED),
    ((httpcore.TimeoutException,), Failure.TIMEOUT),
    ((httpcore.ReadError, httpcore.WriteError), Failure.CLOSED),
    ((httpcore.ProtocolError, zlib.error, ValueError), Failure.PROTOCOL),
)
_TRANSPORT_ERRORS = tuple(error for errors, _ in _FAILURES for error in errors)


_QUOTED = re.compile(r""":? (?:bytearray\()?b['"]""")


def _failure(error: Exception) -> Failure:
    if isinstance(error, httpcore.RemoteProtocolError) and "disconnected" in str(error):
        return Failure.CLOSED
    if isinstance(error, httpcore.ConnectError) and (cause := _cause(error)) is not None:
        return Failure.UNRESOLVED if isinstance(cause, socket.gaierror) else Failure.TLS
    return next(failure for errors, failure in _FAILURES if isinstance(error, errors))


def _cause(error: BaseException | None) -> OSError | None:
    """Why a connection could not be made, where it is TLS (which a reset interrupts) or the name."""
    while error is not None and not isinstance(error, ssl.SSLError | ConnectionResetError | socket.gaierror):
        error = error.__cause__ or error.__context__
    return error


def _detail(error: Exception) -> str:
    cause = _cause(error) if isinstance(error, httpcore.ConnectError) else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {cause.verify_message}"
    if _failure(error) is Failure.PROTOCOL and isinstance(error, httpcore.ProtocolError | zlib.error):
        # without the bytes that it may quote: half a secret among them would not be recognised
        return _QUOTED.split(str(error))[0]
    return "" if cause is None else str(cause.strerror or cause)


class Incoming:
    """An answer that is still coming. Like `Client.send` it never raises for what a target does: it ends."""

    def __init__(self, request: Request, connection: _Connection, headers: Sequence[Header], timeout_s: float) -> None:
        self.request = request
        self.failure: Failure | None = None
        """Why there is no head, or why the body ended before its end; None while there is no reason."""
        self._body = bytearray()
        self._head: Response | None = None
        self._connection = connection
        self._detail = ""
        self._given = ExitStack()
        self._started = time.monotonic()
        self._pieces: Iterator[bytes] = iter(())
        try:
            received = self._given.enter_context(connection.open(request, headers, timeout_s))
        except _TRANSPORT_ERRORS as error:
            self.failure, self._detail = _failure(error), _detail(error)
        else:
            self._head = Response(received.status, _fields(received), b"")
            pieces = received.iter_stream()
            self._pieces = filter(None, _limited(_inflated(pieces) if _is_deflated(self._head) else pieces))

    @property
    def exchange(self) -> Exchange:
        """The exchange as far as it has come; the answer's body is what was read of it."""
        response = None if self._head is None else replace(self._head, body=bytes(self._body))
        return Exchange(self.request, response, self.failure, self._started, time.monotonic(), self._detail)

    def read(self) -> bytes:
        """The next bytes of the body, as soon as there are any; none at its end, or where `failure` ended it."""
        try:
            piece = next(self._pieces, b"")
        except _TooLarge:
            self.failure, piece = Failure.TOO_LARGE, b""
        except _TRANSPORT_ERRORS as error:
            self.failure, self._detail, piece = _failure(error), _detail(error), b""
        self._body += piece
        return piece

    def close(self) -> None:
        """Closes the connection: for the target, the client goes away."""
        with suppress(*_TRANSPORT_ERRORS):
            self._given.close()
        self._connection.close()


class Pace:
    """So many requests per second at most, by all clients that share it."""

    def __init__(self, per_s: float) -> None:
        self._step_s = 1 / per_s
        self._next_s = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Returns when it is the next request's turn."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next_s)
            self._next_s = turn + self._step_s
        time.sleep(turn - now)


class Client:
    """Sends requests one after the other over one kept-alive connection; one client for each thread."""

    def __init__(
        self,
        *,
        run_id: str,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        record: Path | None = None,
        pace: Pace | None = None,
        gives_up: bool = True,
    ) -> None:
        """`record` is a folder where every request is written down; `pace` is for live systems."""
        self.user_agent = f"trr-conformance/{__version__} (run {run_id})"
        """The tool, its version and the run: what every request says, and how access logs know the suite."""
        self._headers: tuple[Header, ...] = (
            ("User-Agent", self.user_agent),
            ("Accept", "*/*"),
            ("Accept-Encoding", "identity"),
        )
        self._timeout_s = timeout_s
        self._record = record
        self._run_id = run_id
        self._pace = pace
        self._gives_up = gives_up
        self._connection = _Connection()
        self._hangs = 0

    def another(self, *, gives_up: bool = True) -> Client:
        """A client of the same kind with a connection of its own, for another thread.

        One that does not give up asks a target again however often it has run into the time limit.
        """
        return Client(
            run_id=self._run_id, timeout_s=self._timeout_s, record=self._record, pace=self._pace, gives_up=gives_up
        )

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def send(self, request: Request) -> Exchange:
        """Sends the request, whatever comes of it.

        A connection that closes without an answer is tried once more on a fresh one: a server may close a kept-alive
        connection at any time, and only the second close tells that it was this request's doing. Once three requests in
        a row have run into the time limit, further ones raise TargetBroken at once.
        """
        exchange = self._send(self._connection, request)
        if exchange.failure is Failure.CLOSED:
            fresh = _Connection(keepalive=False)
            again = self._send(fresh, request)
            fresh.close()
            # refused now: the first close was the target's end, and says more
            if again.failure not in NOT_REACHED:
                exchange = replace(again, started=exchange.started)
        self._write_down(exchange)
        return exchange

    @contextmanager
    def stream(self, request: Request, *, timeout_s: float | None = None) -> Iterator[Incoming]:
        """Sends the request over a connection of its own, and hands its answer over piece by piece.

        The time limit is that of a whole exchange, or another one. The connection is closed at the end, read to its end
        or not.
        """
        self._may_ask(request)
        connection = _Connection(keepalive=False)
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        incoming = Incoming(request, connection, self._headers, limit_s)
        try:
            yield incoming
        finally:
            incoming.close()
            self._hangs = self._hangs + 1 if incoming.failure is Failure.TIMEOUT else 0
            self._write_down(incoming.exchange)

    def _may_ask(self, request: Request) -> None:
        """Gives a hanging target up, and waits for the next request's turn where the rate is limited."""
        if self._hangs >= 3 and self._gives_up:
            raise TargetBroken(
                f"{urlsplit(request.url).netloc} let {self._hangs} requests in a row run into the time limit"
            )
        if self._pace is not None:
            self._pace.wait()

    def _send(self, connection: _Connection, request: Request) -> Exchange:
        self._may_ask(request)
        started = time.monotonic()
        response, failure, detail = None, None, ""
        try:
            response = connection.send(request, self._headers, self._timeout_s)
        except _TooLarge:
            failure = Failure.TOO_LARGE
        except _TRANSPORT_ERRORS as error:
            failure, detail = _failure(error), _detail(error)
        self._hangs = self._hangs + 1 if failure is Failure.TIMEOUT else 0
        return Exchange(request, response, failure, started, time.monotonic(), detail)

    def _write_down(self, exchange: Exchange) -> None:
        """Adds the exchange to the record that `make bench` replays."""
        if self._record is None:
            return
        request = exchange.request
        line = {
            "method": request.method,
            "url": request.url,
            "headers": [[name, _shown(value)] for name, value in request.headers],
            "body": None if request.body is None else request.body.decode("latin-1"),
            "answer": None if exchange.response is None else exchange.response.text,
        }
        with (self._record / f"requests-{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class _TooLarge(Exception):
    pass


def _limited(chunks: Iterable[bytes]) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise _TooLarge
        yield chunk
