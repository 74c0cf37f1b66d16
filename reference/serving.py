"""How the reference's processes serve: on a socket, until they are told to stop or their parent is gone."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import NamedTuple
from urllib.parse import urlsplit

import uvicorn
import uvloop
from fastapi import FastAPI

HEALTH = "/_health"
"""Answers 200 when the service and its database do."""


def stop_with_parent() -> None:
    """Make SIGTERM and SIGINT a normal exit, and the end of the parent process a SIGTERM.

    The parent's end is noticed whatever caused it. A main thread that does not obey within 3 s is ended hard.
    """
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, _exit)
    parent = os.getppid()

    def watch() -> None:
        _wait_for_end(parent)
        os.kill(os.getpid(), signal.SIGTERM)
        threading.main_thread().join(timeout=3)
        os._exit(1)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def _wait_for_end(parent: int) -> None:
    if hasattr(os, "pidfd_open"):
        try:
            pidfd = os.pidfd_open(parent)
        except OSError:  # already gone, or process descriptors are not permitted here
            pass
        else:
            # A parent that ended before this line may have left its number to a stranger.
            if os.getppid() == parent:
                select.select([pidfd], [], [])
            return
    never = threading.Event()
    while os.getppid() == parent:
        never.wait(0.2)


def listen(host: str = "127.0.0.1", port: int = 0) -> tuple[socket.socket, str]:
    """A listening socket (port 0: one that the system chooses) and its base URL."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=1024)
    # Inherited by every connection. asyncio sets it only on sockets that name their protocol, which this one does not.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    shown = f"[{host}]" if ":" in host else host
    return listener, f"http://{shown}:{listener.getsockname()[1]}"


class Service(NamedTuple):
    """An application and the socket on which it is served."""

    app: FastAPI
    listener: socket.socket
    base_url: str


class _Server(uvicorn.Server):
    """A server among others in its process: the process's signals are not its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(services: Sequence[Service], ready: Callable[[], None]) -> None:
    """Serve on one event loop, call `ready` once all have answered over HTTP, and return or exit when told to stop."""
    servers = [_Server(_config(service.app)) for service in services]

    def stop(number: int, frame: FrameType | None) -> None:
        for server in servers:
            server.should_exit = True

    async def probe() -> None:
        await asyncio.gather(*(asyncio.to_thread(_probe, service.base_url) for service in services))

    async def run() -> None:
        serving = [
            asyncio.ensure_future(server.serve(sockets=[service.listener]))
            for server, service in zip(servers, services, strict=True)
        ]
        probing = asyncio.ensure_future(probe())
        # A service that ends, ends them all.
        await asyncio.wait([*serving, probing], return_when=asyncio.FIRST_COMPLETED)
        if not any(task.done() for task in serving):
            probing.result()
            ready()
            await asyncio.wait(serving, return_when=asyncio.FIRST_COMPLETED)
        stop(0, None)
        await asyncio.gather(*serving)
        # One that did not start has left its socket open, and somebody waiting.
        for service in services:
            service.listener.close()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        uvloop.run(run())
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _config(app: FastAPI) -> uvicorn.Config:
    # The implementations are named so that the same is served whatever else is installed; malformed requests are a
    # suite's daily bread, so only errors are logged.
    return uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )


def _probe(base_url: str) -> None:
    """Ask once: the socket is listening already, so the answer comes when the service is able to give one."""
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=30)
    try:
        connection.request("GET", HEALTH)
        status = connection.getresponse().status
    finally:
        connection.close()
    if status != http.HTTPStatus.OK:
        raise RuntimeError(f"the service is not healthy: {HEALTH} answers {status}")
