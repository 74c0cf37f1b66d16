"""HTTP/1.x as the lab serves it: parsed by h11, answered well or as badly as a script says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import h11

from conformance.lab.answers import Answer, Chunk

MAX_BODY_BYTES = 16 * 1024 * 1024
_DRIPS = 8
_BLOCK = bytes(64 * 1024)
BACKLOG = 1024


@dataclass(frozen=True)
class Received:
    """A request that has arrived whole."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    client: str


class Hold:
    """What holds answers back: whole ones, and the gates of streams."""

    def __init__(self) -> None:
        self._gates: dict[str | None, asyncio.Event] = {}
        self._all = False

    def release(self, gate: str | None = None) -> None:
        """Lets go of what waits at a gate, or of everything, now and from now on."""
        if gate is None:
            self._all = True
        for event in [self._event(gate)] if gate is not None else self._gates.values():
            event.set()

    async def released(self, gate: str | None = None) -> None:
        """Waits at a gate; without one, for the release of everything."""
        if not self._all:
            await self._event(gate).wait()

    def _event(self, gate: str | None) -> asyncio.Event:
        return self._gates.setdefault(gate, asyncio.Event())


@dataclass(frozen=True)
class Response:
    """What is answered, and who wants to know how that ended."""

    answer: Answer
    hold: Hold
    """Lets go of what is held."""
    done: Callable[[bool], None]
    """Hears whether a whole answer was sent."""


Handler = Callable[[Received], Awaitable[Response]]


class PeerLeft(Exception):
    """The peer closed the connection, or sent what is no HTTP."""


class Listener:
    """An address where a handler answers; paused, it refuses connections and stays ours."""

    def __init__(self, handler: Handler, sockets: Sequence[socket.socket]) -> None:
        self._handler = handler
        self._sockets = list(sockets)
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listens."""
        if not self._servers:
            self._servers = [
                await asyncio.start_server(self._serve, sock=each, backlog=BACKLOG) for each in self._sockets
            ]

    async def pause(self) -> None:
        """Stops listening and ends the connections. The ports are bound again at once, so that nobody takes them."""
        if self._servers:
            addresses = [(each.family, each.getsockname()) for each in self._sockets]
            leaving = [writer.wait_closed() for writer in self._open]
            self.stop()
            self._sockets = [bind(family, address) for family, address in addresses]
            await asyncio.gather(*leaving, return_exceptions=True)

    def stop(self) -> None:
        """Stops listening, and ends the connections."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._servers:  # accepted, and then paused
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            # cancelled at the lab's end
            with contextlib.suppress(PeerLeft, ConnectionError, asyncio.CancelledError):
                connection = _Connection(reader, writer)
                while await connection.exchange(self._handler):
                    pass
        finally:
            self._open.discard(writer)
            writer.close()


def bind(family: int, address: tuple[Any, ...]) -> socket.socket:
    """A TCP socket that has an address and refuses connections until it listens; raises OSError."""
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except BaseException:
        bound.close()
        raise
    return bound


class _Connection:
    """One connection, kept alive as long as both sides like."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.SERVER)
        host, port = writer.get_extra_info("peername")[:2]
        self._client = f"{host}:{port}"

    async def exchange(self, handler: Handler) -> bool:
        """Serves one request; returns whether the connection can serve another."""
        request = await self._receive()
        response = await handler(request)
        completed = False
        try:
            completed = await self._answer(response, with_body=request.method != "HEAD")
        finally:
            response.done(completed)
        if not completed or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def _receive(self) -> Received:
        request: h11.Request | None = None
        body = bytearray()
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                await self._refuse(error)
                raise PeerLeft from None
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    self._send(h11.InformationalResponse(status_code=100, headers=[]))
                self._http.receive_data(await self._reader.read(65_536))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MAX_BODY_BYTES:
                    raise PeerLeft
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                break
            else:
                raise PeerLeft
        return Received(
            request.method.decode("latin-1"),
            request.target.decode("latin-1"),
            tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw_items()),
            bytes(body),
            self._client,
        )

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            status = error.error_status_hint
            self._send(h11.Response(status_code=status, headers=[("Content-Length", "0"), ("Connection", "close")]))
            self._send(h11.EndOfMessage())
            await self._writer.drain()

    async def _answer(self, response: Response, *, with_body: bool) -> bool:
        """Does what the answer says; returns whether a whole answer was sent."""
        answer = response.answer
        if answer.held:
            await self._wait(response.hold)
        if answer.kind == "response" and await self._respond(response, with_body=with_body):
            return True
        if "reset" in (answer.kind, answer.end):
            linger = struct.pack("ii", 1, 0)
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._writer.transport.abort()
        return False

    async def _wait(self, hold: Hold, gate: str | None = None) -> None:
        """Waits for the release; raises PeerLeft if the peer does not."""
        released = asyncio.ensure_future(hold.released(gate))
        leaving = asyncio.ensure_future(self._reader.read(65_536))
        try:
            await asyncio.wait((released, leaving), return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                received = leaving.result()
                if not received:
                    raise PeerLeft
                self._http.receive_data(received)
                await released
        finally:
            for task in (released, leaving):
                task.cancel()
            # the reader takes no second reader before the first is gone
            await asyncio.gather(released, leaving, return_exceptions=True)

    async def _respond(self, response: Response, *, with_body: bool) -> bool:
        """Sends the response; returns whether it is whole."""
        answer = response.answer
        stated = answer.size if answer.stated is None else answer.stated
        length = max(0, min(answer.size, stated) - answer.missing) if with_body else 0
        whole = not with_body or (length == stated and answer.end in ("whole", "hold"))
        self._send(self._head(answer, stated))
        await self._writer.drain()
        for gate, data in _pieces(answer, length) if with_body else ():
            if gate is not None:
                await self._wait(response.hold, gate)
            if answer.over_s and data:
                await asyncio.sleep(answer.over_s / _DRIPS)
            if data:
                self._send(h11.Data(data=data))
                await self._writer.drain()
        if answer.end == "hold" and with_body:
            await self._wait(response.hold)
        if whole:
            self._send(h11.EndOfMessage())
        await self._writer.drain()
        return whole

    def _head(self, answer: Answer, stated: int) -> h11.Response:
        headers = list(answer.headers)
        bodiless = answer.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
        # HTTP/1.0 has no chunks: without a length the end of the connection would be the body's
        if answer.framing == "chunked" and answer.stated is None and self._http.their_http_version != b"1.0":
            headers.append(("Transfer-Encoding", "chunked"))
        elif not bodiless:
            headers.append(("Content-Length", str(stated)))
        # no `Connection: close` before a body that breaks off: nobody foretells that, and where it is foretold some
        # clients, such as Node's fetch, take the chunks that came for a whole body
        try:
            phrase = HTTPStatus(answer.status).phrase
        except ValueError:
            phrase = ""
        return h11.Response(status_code=answer.status, headers=headers, reason=phrase.encode())

    def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)


def _pieces(answer: Answer, length: int) -> Iterator[tuple[str | None, bytes]]:
    """What is written at once, up to so many bytes of the body, each with the gate before it."""
    chunks = answer.chunks or (Chunk(answer.body),)
    step = max(1, length // _DRIPS) if answer.over_s else answer.step
    for chunk in chunks:
        data = chunk.data.encode("latin-1")[:length]
        length -= len(data)
        yield chunk.gate, data[:step]
        for start in range(step or len(data), len(data), step or 1):
            yield None, data[start : start + (step or 1)]
    filler = min(length, answer.filler)
    for start in range(0, filler, len(_BLOCK)):
        yield None, _BLOCK[: filler - start]
