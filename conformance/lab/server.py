"""HTTP/1.x as the lab serves it: parsed by h11, answered well or as badly as a script says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

import h11

from conformance.lab.answers import Answer

MAX_BODY_BYTES = 16 * 1024 * 1024
_DRIPS = 8


@dataclass(frozen=True)
class Received:
    """A request that has arrived whole."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    client: str


@dataclass(frozen=True)
class Response:
    """What is answered, and who wants to know how that ended."""

    answer: Answer
    release: asyncio.Event
    """Lets go of an answer that is held."""
    done: Callable[[bool], None]
    """Hears whether a whole answer was sent."""


Handler = Callable[[Received], Awaitable[Response]]


class PeerLeft(Exception):
    """The peer closed the connection, or sent what is no HTTP."""


async def listen(handler: Handler, host: str, port: int) -> tuple[asyncio.Server, int]:
    """A server that is listening, and its port (0: one that the system chooses)."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(reader, writer)
        try:
            # cancelled at the lab's end
            with contextlib.suppress(PeerLeft, ConnectionError, asyncio.CancelledError):
                while await connection.exchange(handler):
                    pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, host, port, backlog=1024)
    return server, server.sockets[0].getsockname()[1]


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
            await self._wait_for(response.release)
        if answer.kind == "reset":
            linger = struct.pack("ii", 1, 0)
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._writer.transport.abort()
            return False
        if answer.kind == "close":
            return False
        await self._respond(answer, with_body=with_body)
        return not answer.missing

    async def _wait_for(self, release: asyncio.Event) -> None:
        """Waits for the release; raises PeerLeft if the peer does not."""
        released = asyncio.ensure_future(release.wait())
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

    async def _respond(self, answer: Answer, *, with_body: bool) -> None:
        body = answer.body.encode("latin-1")
        headers = list(answer.headers)
        bodiless = answer.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
        # HTTP/1.0 has no chunks: without a length the end of the connection would be the body's
        if answer.framing == "chunked" and self._http.their_http_version != b"1.0":
            headers.append(("Transfer-Encoding", "chunked"))
        elif not bodiless:
            headers.append(("Content-Length", str(len(body))))
        if answer.missing:
            headers.append(("Connection", "close"))
        try:
            phrase = HTTPStatus(answer.status).phrase
        except ValueError:
            phrase = ""
        self._send(h11.Response(status_code=answer.status, headers=headers, reason=phrase.encode()))
        sent = body[: len(body) - answer.missing] if with_body else b""
        if answer.over_s:
            step = max(1, len(sent) // _DRIPS)
            for start in range(0, len(sent), step):
                await self._writer.drain()
                await asyncio.sleep(answer.over_s / _DRIPS)
                self._send(h11.Data(data=sent[start : start + step]))
        elif sent:
            self._send(h11.Data(data=sent))
        if not answer.missing:
            self._send(h11.EndOfMessage())
        await self._writer.drain()

    def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)
