"""`python -m conformance.lab`: the suite's own servers, in one process that many workers share.

The control port speaks JSON: `POST /script` `{key: [answer, …]}`, `POST /serve` `{place: {"get": […], "head": […]}}`,
`POST /vision` `{marker: [answer, …]}`, `POST /release` `{"where": …, "gate": …}`, `POST /pause` and `POST /resume`
`{"listener": …}`, and `POST /calls` `{"key": …}`, `{"keys": […], "since": …}`, `{"place": …}`, `{"image": …}` or
`{"containing": …}`, with `at_least` and `within_s` to wait for calls; `GET /` tells the addresses, `GET /count` how
many calls there have been.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from conformance.arguments import USAGE, Parser
from conformance.lab import answers, stub
from conformance.lab.addresses import LISTENERS, LOOPBACK, Address
from conformance.lab.answers import Answer
from conformance.lab.journal import Call, Journal, Place
from conformance.lab.origin import PageOrigin
from conformance.lab.scripts import Routed
from conformance.lab.server import Handler, Hold, Listener, Received, Response
from conformance.lab.stub import StubBackend
from conformance.lab.vision import StubVision


class Laboratory:
    """The journal, and what each listener answers."""

    def __init__(self, addresses: Mapping[str, Address]) -> None:
        self._urls = {name: address.url for name, address in addresses.items()}
        self._journal = Journal()
        self._changed = asyncio.Condition()
        self._backend, self._origin, self._vision = StubBackend(), PageOrigin(), StubVision()
        handlers = {
            "stub_backend": self._handler("stub_backend", self._backend.route),
            "page_origin": self._handler("page_origin", self._origin.route),
            "stub_vision": self._handler("stub_vision", self._vision.route),
            "control": self.control,
        }
        self.listeners = {name: Listener(handlers[name], address.sockets) for name, address in addresses.items()}

    def _handler(self, listener: str, route: Callable[[Received], Routed]) -> Handler:
        """What notes a call and answers it."""

        async def handle(received: Received) -> Response:
            loop = asyncio.get_running_loop()
            routed = route(received)
            call = Call(
                number=self._journal.next_number,
                listener=listener,
                operation=routed.operation,
                key=routed.key,
                method=received.method,
                target=received.target,
                headers=received.headers,
                body=received.body.decode("latin-1"),
                client=received.client,
                started=loop.time(),
                scripted=routed.scripted,
                answer=routed.answer.word,
            )
            self._journal.add(call)
            await self._tell()

            def done(completed: bool) -> None:
                call.ended, call.completed = loop.time(), completed

            return Response(routed.answer, routed.hold, done)

        return handle

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # --- the control port ---

    async def control(self, received: Received) -> Response:
        """Takes an order."""
        try:
            order = json.loads(received.body) if received.body else {}
            answer = answers.json_value(await self._obey(f"{received.method} {received.target}", order))
        except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            answer = answers.status(400, {"detail": f"{type(error).__name__}: {error}"})
        return Response(answer, Hold(), lambda completed: None)

    async def _obey(self, what: str, order: dict[str, Any]) -> Any:
        match what:
            case "GET /":
                return self._urls
            case "GET /count":
                return self._journal.next_number - 1
            case "POST /script":
                for key, given in _scripts(order).items():
                    self._backend.script(key, given)
            case "POST /serve":
                for place, methods in order.items():
                    found = _scripts(methods)
                    self._origin.serve(Place.of(place), found["get"], found["head"])
            case "POST /vision":
                for marker, given in _scripts(order).items():
                    self._vision.script(marker, given)
            case "POST /release":
                self._release(**order)
            case "POST /pause":
                await self.listeners[order["listener"]].pause()
            case "POST /resume":
                await self.listeners[order["listener"]].start()
            case "POST /calls":
                return await self._calls(**order)
            case _:
                raise KeyError(what)
        return {}

    def _release(self, where: str, place: str | None = None, gate: str | None = None) -> None:
        self._backend.release(where, gate)
        self._vision.release(where, gate)
        if place is not None:
            self._origin.release(Place.of(place), gate)

    async def _calls(
        self,
        *,
        at_least: int = 0,
        within_s: float = 0.0,
        keys: Sequence[str] = (),
        place: str | None = None,
        **selection: Any,
    ) -> list[dict[str, Any]]:
        keys = [stub.normal(key) for key in keys]
        if "key" in selection:
            selection["key"] = stub.normal(selection["key"])
        where = None if place is None else Place.of(place)

        def selected() -> list[Call]:
            return self._journal.select(keys=keys, place=where, **selection)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s or None), self._changed:
                await self._changed.wait_for(lambda: len(selected()) >= at_least)
        return [call.as_dict() for call in selected()]


def _scripts(order: Mapping[str, Any]) -> dict[str, list[Answer]]:
    return {key: [Answer.from_dict(answer) for answer in given] for key, given in order.items()}


async def run(addresses: Mapping[str, Address], *, with_stdin: bool) -> None:
    """Serves until told to stop or, where asked to, until standard input ends."""
    lab = Laboratory(addresses)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if with_stdin:
        await loop.connect_read_pipe(lambda: _UntilEnd(stop), sys.stdin)
    for listener in lab.listeners.values():
        await listener.start()
    await stop.wait()
    for listener in lab.listeners.values():
        listener.stop()


class _UntilEnd(asyncio.Protocol):
    """Notices that the other end of a pipe is gone."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def connection_lost(self, error: Exception | None) -> None:
        self._stop.set()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves the lab; 4 for an address that cannot be had."""
    parser = Parser(
        prog="python -m conformance.lab",
        description="Play the backend, serve pages to scrape, and play the vision service.",
    )
    for name in LISTENERS:
        option = name.replace("_", "-")
        parser.add_argument(f"--{option}", default=LOOPBACK, metavar="HOST:PORT", help=f"where the {option} listens")
        parser.add_argument(f"--{option}-url", metavar="URL", help="how the target reaches it, if by another address")
    parser.add_argument("--inherited", type=Address.all_from_json, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.inherited:
        asyncio.run(run(options.inherited, with_stdin=True))
        return 0
    addresses = {}
    for name in LISTENERS:
        try:
            addresses[name] = Address.bound(getattr(options, name), getattr(options, f"{name}_url"))
        except (OSError, OverflowError, ValueError) as error:
            print(f"conformance.lab: --{name.replace('_', '-')} {getattr(options, name)}: {error}", file=sys.stderr)
            return USAGE
    addresses["control"] = Address.bound(LOOPBACK)
    print("\n".join(f"{name} {address.url}" for name, address in addresses.items()), flush=True)
    asyncio.run(run(addresses, with_stdin=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
