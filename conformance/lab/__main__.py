"""`python -m conformance.lab`: the suite's own servers, in one process that many workers share.

The control port speaks JSON: `POST /script` `{key: [answer, …]}`, `POST /release` `{"key": …}` and `POST /calls`
`{"key": …}`, `{"keys": […], "since": …}` or `{"containing": …}`, with `at_least` and `within_s` to wait for calls;
`GET /` tells the addresses, `GET /count` how many calls there have been.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Sequence
from typing import Any

from conformance.lab import answers, stub
from conformance.lab.answers import Answer
from conformance.lab.journal import Call, Journal
from conformance.lab.server import Received, Response, listen

EXIT_USAGE = 4


class Laboratory:
    """The scripts and the journal, and the two servers' handlers on them."""

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self._journal = Journal()
        self._scripts: dict[str, list[Answer]] = {}
        self._releases: dict[str, asyncio.Event] = {}
        self._changed = asyncio.Condition()
        self._never = asyncio.Event()

    # --- the stub backend ---

    async def backend(self, received: Received) -> Response:
        """Notes a call and answers it by its key's script."""
        loop = asyncio.get_running_loop()
        route = stub.route(received.method, received.target, received.body)
        scripted = self._next_answer(route.script)
        answer = stub.answer_for(route, scripted, received.target, received.body)
        call = Call(
            number=self._journal.next_number,
            operation=route.operation,
            key=route.key,
            method=received.method,
            target=received.target,
            headers=received.headers,
            body=received.body.decode("latin-1"),
            client=received.client,
            started=loop.time(),
            scripted=scripted is not None or (route.operation == "image" and route.refusal is None),
            answer=answer.word,
        )
        self._journal.add(call)
        await self._tell()

        def done(completed: bool) -> None:
            call.ended, call.completed = loop.time(), completed

        return Response(answer, self._release(route.key), done)

    def _next_answer(self, key: str) -> Answer | None:
        script = self._scripts.get(key)
        if not script:
            return None
        return script.pop(0) if len(script) > 1 else script[0]

    def _release(self, key: str) -> asyncio.Event:
        return self._releases.setdefault(key, asyncio.Event())

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # --- the control port ---

    async def control(self, received: Received) -> Response:
        """Takes an order."""
        try:
            order = json.loads(received.body) if received.body else {}
            answer = answers.json_value(await self._obey(f"{received.method} {received.target}", order))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            answer = answers.status(400, {"detail": f"{type(error).__name__}: {error}"})
        return Response(answer, self._never, lambda completed: None)

    async def _obey(self, what: str, order: dict[str, Any]) -> Any:
        match what:
            case "GET /":
                return self.addresses
            case "GET /count":
                return self._journal.next_number - 1
            case "POST /script":
                scripts = {stub.normal(key): [Answer.from_dict(a) for a in given] for key, given in order.items()}
                self._scripts.update(scripts)
                for key in scripts:
                    self._releases.pop(stub.journal_key(key), None)
                return {}
            case "POST /release":
                self._release(stub.normal(order["key"])).set()
                return {}
            case "POST /calls":
                return await self._calls(**order)
        raise KeyError(what)

    async def _calls(
        self, *, at_least: int = 0, within_s: float = 0.0, keys: Sequence[str] = (), **selection: Any
    ) -> list[dict[str, Any]]:
        keys = [stub.normal(key) for key in keys]
        if "key" in selection:
            selection["key"] = stub.normal(selection["key"])

        def selected() -> list[Call]:
            return self._journal.select(keys=keys, **selection)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s or None), self._changed:
                await self._changed.wait_for(lambda: len(selected()) >= at_least)
        return [call.as_dict() for call in selected()]


async def run(host: str, port: int, url: str | None, *, as_json: bool, with_stdin: bool) -> None:
    """Serves until told to stop or, where asked to, until standard input ends."""
    lab = Laboratory()
    server, bound = await listen(lab.backend, host, port)
    control, control_port = await listen(lab.control, "127.0.0.1", 0)
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    shown = f"[{reachable}]" if ":" in reachable else reachable
    lab.addresses = {"control": f"http://127.0.0.1:{control_port}", "stub_backend": url or f"http://{shown}:{bound}"}
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if with_stdin:
        await loop.connect_read_pipe(lambda: _UntilEnd(stop), sys.stdin)
    lines = [json.dumps(lab.addresses)] if as_json else [f"{name} {value}" for name, value in lab.addresses.items()]
    print("\n".join(lines), flush=True)
    await stop.wait()
    for listening in (server, control):
        listening.close()


class _UntilEnd(asyncio.Protocol):
    """Notices that the other end of a pipe is gone."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def connection_lost(self, error: Exception | None) -> None:
        self._stop.set()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves the lab; 4 for an address that cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m conformance.lab", description="Run the stub backend.")
    parser.add_argument("--bind", default="127.0.0.1:0", metavar="HOST:PORT", help="where the stub backend listens")
    parser.add_argument("--url", metavar="URL", help="how the target reaches it, where that is another address")
    parser.add_argument("--json", action="store_true", help="print the addresses as JSON on one line")
    parser.add_argument("--with-stdin", action="store_true", help="stop when standard input ends")
    options = parser.parse_args(arguments)
    host, _, port = options.bind.rpartition(":")
    try:
        asyncio.run(run(host.strip("[]"), int(port), options.url, as_json=options.json, with_stdin=options.with_stdin))
    except (OSError, OverflowError, ValueError) as error:
        print(f"conformance.lab: --bind {options.bind}: {error}", file=sys.stderr)
        return EXIT_USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main())
