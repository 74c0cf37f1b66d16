"""Servers that misbehave, in every way for which HTTP over TCP has room."""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from conformance.exchange import Failure

DRIP_S = 0.04
"""From one byte of a drip to the next."""

Behaviour = Callable[[socket.socket], None]


# --- servers ---------------------------------------------------------------------------------------------------------


@dataclass
class Server:
    """A listening socket; each connection is handled by the next behaviour, the last one over and over."""

    listener: socket.socket
    behaviours: tuple[Behaviour, ...]
    context: ssl.SSLContext | None = None
    """Of a server that speaks TLS."""
    received: list[bytes] = field(default_factory=list)
    """What each request said, up to the end of its body."""
    connections: int = 0

    @property
    def url(self) -> str:
        scheme = "http" if self.context is None else "https"
        host, port = self.listener.getsockname()[:2]
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            behaviour = self.behaviours[min(self.connections, len(self.behaviours) - 1)]
            self.connections += 1
            threading.Thread(target=self._handle, args=(connection, behaviour), daemon=True).start()

    def _handle(self, connection: socket.socket, behaviour: Behaviour) -> None:
        with connection:
            connection.settimeout(10)
            try:
                if self.context is not None:
                    connection = self.context.wrap_socket(connection, server_side=True)
                behaviour(connection)
            except OSError:
                return  # the client has left

    def read_request(self, connection: socket.socket) -> bytes:
        """One whole request; nothing where there is none."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65_536)
            if not more:
                return b""
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += connection.recv(65_536)
        self.received.append(head + b"\r\n\r\n" + body)
        return self.received[-1]


@contextmanager
def serving(
    *answers: bytes | Behaviour, host: str = "127.0.0.1", context: ssl.SSLContext | None = None
) -> Iterator[Server]:
    """A server whose connections answer by bytes, one request each, or by a behaviour."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        server = Server(listener, (), context)
        server.behaviours = tuple(
            _answering(server, answer) if isinstance(answer, bytes) else answer for answer in answers
        )
        threading.Thread(target=server.serve, daemon=True).start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)


def _answering(server: Server, answer: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        if server.read_request(connection):
            connection.sendall(answer)

    return behave


def keeping_alive(server: Server, answer: bytes, times: int) -> Behaviour:
    """So many answers on one connection, and then its end."""

    def behave(connection: socket.socket) -> None:
        for _ in range(times):
            if not server.read_request(connection):
                return
            connection.sendall(answer)

    return behave


def http(body: bytes = b"", *, status: str = "200 OK", headers: tuple[str, ...] = ()) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


# --- behaviours ------------------------------------------------------------------------------------------------------


def read_some(connection: socket.socket) -> None:
    connection.recv(65_536)


def hang(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


def then_hang(start: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        read_some(connection)
        connection.sendall(start)
        hang(connection)

    return behave


def then_reset(start: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        read_some(connection)
        connection.sendall(start)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return behave


def drip(text: bytes) -> Behaviour:
    """A byte now and then, each in time for a limit on single reads."""

    def behave(connection: socket.socket) -> None:
        read_some(connection)
        pause = threading.Event()
        for number in range(10_000):
            connection.sendall(text[number % len(text) :][:1])
            pause.wait(DRIP_S)

    return behave


def flood(start: bytes, piece: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        read_some(connection)
        connection.sendall(start)
        while True:
            connection.sendall(piece)

    return behave


MIB = 1024 * 1024
GZIP, ZLIB = b"\x1f\x8b\x08" + bytes(6) + b"\xff", b"\x78\x9c"
"""How the formats begin."""


def bomb(size: int, head: bytes = GZIP) -> bytes:
    """So many zeros, deflated; it is the same block over and over."""
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    block = deflate.compress(bytes(MIB)) + deflate.flush(zlib.Z_FULL_FLUSH)
    return head + block * (size // MIB) + b"\x03\x00"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TOO_MUCH = b"%x\r\n%b\r\n" % (MIB, b"x" * MIB)

HOSTILE: dict[str, tuple[bytes | Behaviour, Failure]] = {
    "closes at once": (lambda connection: None, Failure.CLOSED),
    "closes without an answer": (read_some, Failure.CLOSED),
    "resets": (then_reset(b""), Failure.CLOSED),
    "resets in the headers": (then_reset(b"HTTP/1.1 200 OK\r\nContent-Le"), Failure.CLOSED),
    "resets in the body": (then_reset(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n123"), Failure.CLOSED),
    "resets in a chunk": (then_reset(CHUNKED + b"5\r\n123"), Failure.CLOSED),
    "hangs": (hang, Failure.TIMEOUT),
    "hangs in the status line": (then_hang(b"HTTP/1.1 2"), Failure.TIMEOUT),
    "hangs in the headers": (then_hang(b"HTTP/1.1 200 OK\r\nContent-Le"), Failure.TIMEOUT),
    "hangs in the body": (then_hang(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n123"), Failure.TIMEOUT),
    "hangs in a chunk": (then_hang(CHUNKED + b"5\r\n123"), Failure.TIMEOUT),
    "hangs before the last chunk": (then_hang(CHUNKED + b"3\r\n123\r\n"), Failure.TIMEOUT),
    "drips its headers": (drip(b"HTTP/1.1 200 OK\r\n" + b"x-y: z\r\n" * 100), Failure.TIMEOUT),
    "only ever continues": (flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), Failure.TIMEOUT),
    "floods headers": (flood(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 1000), Failure.PROTOCOL),
    "floods one header": (flood(b"HTTP/1.1 200 OK\r\nx: ", b"y" * 10_000), Failure.PROTOCOL),
    "floods its status line": (flood(b"HTTP/1.1 200 ", b"y" * 10_000), Failure.PROTOCOL),
    "floods its body": (flood(b"HTTP/1.1 200 OK\r\n\r\n", bytes(MIB)), Failure.TOO_LARGE),
    "floods chunks": (flood(CHUNKED, TOO_MUCH), Failure.TOO_LARGE),
    "promises more than the limit": (
        flood(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", bytes(MIB)),
        Failure.TOO_LARGE,
    ),
    "sends less than it said": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123", Failure.PROTOCOL),
    "ends within the chunks": (CHUNKED + b"3\r\n123\r\n", Failure.PROTOCOL),
    "ends within the headers": (b"HTTP/1.1 200 OK\r\nA: b\r\n", Failure.CLOSED),
    "says two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12", Failure.PROTOCOL),
    "says no number as length": (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Failure.PROTOCOL),
    "says no number as chunk": (CHUNKED + b"xyz\r\n123\r\n", Failure.PROTOCOL),
    "speaks another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n" * 2, Failure.CLOSED),
    "speaks TLS": (b"\x15\x03\x01\x00\x02\x02\x0a", Failure.PROTOCOL),
    "speaks HTML": (b"<html><body>Hello</body></html>\r\n\r\n", Failure.PROTOCOL),
    "speaks binary": (bytes(range(256)) * 4, Failure.PROTOCOL),
    "speaks HTTP/2": (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18), Failure.PROTOCOL),
    "has a status of two digits": (b"HTTP/1.1 20 OK\r\n\r\n", Failure.PROTOCOL),
    "has NUL in a header": (b"HTTP/1.1 200 OK\r\na: \x00\r\n\r\n", Failure.PROTOCOL),
    "has a header without a colon": (b"HTTP/1.1 200 OK\r\nabc\r\n\r\n", Failure.PROTOCOL),
    "is no gzip": (http(b"plain", headers=("Content-Encoding: gzip",)), Failure.PROTOCOL),
    "is half a gzip": (http(gzip.compress(bytes(999))[:-9], headers=("Content-Encoding: gzip",)), Failure.PROTOCOL),
    "is a gzip bomb": (http(bomb(4096 * MIB), headers=("Content-Encoding: gzip",)), Failure.TOO_LARGE),
    "is a deflate bomb": (http(bomb(4096 * MIB, ZLIB), headers=("Content-Encoding: deflate",)), Failure.TOO_LARGE),
}
