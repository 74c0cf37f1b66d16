"""HTTP/1.1 with a request target that nobody tidies up: what a client library would normalise, encode or refuse."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import httpx

from conformance.exchange import MAX_BODY_BYTES, Exchange, Failure, Header, Request, Response

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def send(
    base_url: str,
    method: str,
    target: str,
    headers: Sequence[Header],
    body: bytes | None,
    *,
    timeout_s: float,
) -> Exchange:
    """Sends `target` (Latin-1) below `base_url` as it is, on a connection of its own, whatever comes of it.

    Like `Client.send` it never raises for what the target does; `timeout_s` limits the whole exchange. Of headers only
    those that HTTP itself needs are added.
    """
    request = Request(method, base_url + target, tuple(headers), body)
    started = time.monotonic()
    response, failure = None, None
    try:
        response = _exchange(base_url, request, _head(base_url, target, request), started + timeout_s)
    except TimeoutError:
        failure = Failure.TIMEOUT
    except ConnectionRefusedError:
        failure = Failure.REFUSED
    except _TooLarge:
        failure = Failure.TOO_LARGE
    except (http.client.RemoteDisconnected, OSError):
        failure = Failure.CLOSED
    except (http.client.HTTPException, ValueError):
        failure = Failure.PROTOCOL
    return Exchange(request, response, failure, started, time.monotonic())


class _TooLarge(Exception):
    pass


def _head(base_url: str, target: str, request: Request) -> bytes:
    parts = urlsplit(base_url)
    ours: list[Header] = [
        ("Host", parts.netloc),
        ("Accept", "*/*"),
        ("Connection", "close"),
    ]
    if request.length is not None:
        ours.append(("Content-Length", str(request.length)))
    lines = [f"{request.method} {parts.path}{target} HTTP/1.1".encode("latin-1")]
    for name, value in (*ours, *request.headers):
        lines.append(name.encode() + b": " + (value.encode() if isinstance(value, str) else value))
    return b"\r\n".join([*lines, b"", b""])


def _exchange(base_url: str, request: Request, head: bytes, deadline: float) -> Response:
    parts = urlsplit(base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    with socket.create_connection((parts.hostname or "", port), _remaining(deadline)) as plain:
        connection = _secured(plain, parts.hostname or "") if parts.scheme == "https" else plain
        with connection:
            connection.settimeout(_remaining(deadline))
            connection.sendall(head + (request.body or b""))
            received = _final(_Answer(connection, deadline), request.method)
            body = bytearray()
            while not received.isclosed():
                piece = received.read1(65_536)
                if not piece:
                    break
                body += piece
                if len(body) > MAX_BODY_BYTES:
                    raise _TooLarge
            return Response(received.status, tuple(received.getheaders()), bytes(body))


def _final(answer: _Answer, method: str) -> http.client.HTTPResponse:
    """The head of the final response, after any interim ones (1xx), of which http.client itself skips only 100."""
    while True:
        received = http.client.HTTPResponse(cast(socket.socket, answer), method=method)
        received.begin()
        if not 100 <= received.status < 200 or received.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
            return received


class _Reader(io.BufferedReader):
    """Outlives the responses that are read from it, one after the other."""

    def close(self) -> None:
        """Left to whoever closes the connection."""


class _Answer(io.RawIOBase):
    """What comes over a connection until the deadline, however little at a time; to HTTPResponse, the connection."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection, self._deadline = connection, deadline
        self._reader = _Reader(self)

    def makefile(self, mode: str) -> io.BufferedReader:
        return self._reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._connection.settimeout(_remaining(self._deadline))
        return self._connection.recv_into(buffer)


def _secured(connection: socket.socket, host: str) -> ssl.SSLSocket:
    return httpx.create_ssl_context().wrap_socket(connection, server_hostname=host)


def _remaining(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining
