"""The suite's side of the lab: its process, and how workers script it and read its journal."""

from __future__ import annotations

import http.client
import ipaddress
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

from conformance import bundled
from conformance.errors import UsageError
from conformance.lab.addresses import LISTENERS, LOOPBACK, Address
from conformance.lab.answers import Answer
from conformance.lab.journal import Call
from conformance.lab.stub import photos_script

EVERY_LISTENER: Mapping[str, Mapping[str, str]] = {name: {"bind": LOOPBACK} for name in LISTENERS}
"""All listeners at ports of the system's choice."""
STOP_TIMEOUT_S = 5
_CONTROL_TIMEOUT_S = 30


class Lab:
    """The lab as a worker uses it, by its control URL; any number of threads may share it."""

    def __init__(self, control_url: str) -> None:
        self.control_url = control_url
        self._idle: list[http.client.HTTPConnection] = []
        self.urls: dict[str, str] = self._ask("GET", "/")
        """How the target reaches each listener that was started."""

    @property
    def stub_url(self) -> str:
        """The stub backend as the target reaches it."""
        return self.urls["stub_backend"]

    @property
    def origin_url(self) -> str:
        """The page origin as the target reaches it."""
        return self.urls["page_origin"]

    @property
    def origin_by_name(self) -> str | None:
        """The page origin under a host name, where it has one: `localhost` for the loopback address."""
        parts = urlsplit(self.origin_url)
        try:
            address = ipaddress.ip_address(parts.hostname or "")
        except ValueError:
            return self.origin_url
        port = "" if parts.port is None else f":{parts.port}"
        return f"{parts.scheme}://localhost{port}{parts.path}" if address.is_loopback else None

    @property
    def vision_url(self) -> str:
        """The stub vision service as the target reaches it."""
        return self.urls["stub_vision"]

    # --- scripts ---

    def script(self, key: str, *given: Answer) -> None:
        """Has calls for `key` answered so, one after the other; the last answer repeats."""
        self.script_all({key: given})

    def script_all(self, scripts: Mapping[str, Sequence[Answer]]) -> None:
        """Several scripts at once."""
        self._ask("POST", "/script", {key: [answer.as_dict() for answer in given] for key, given in scripts.items()})

    def script_photos(self, person_id: str, *, seeds: Sequence[Answer] = (), every: Sequence[Answer] = ()) -> None:
        """The answers to a person's `seed_only=true` and `seed_only=false`; no answer means 404."""
        self.script_all(
            {photos_script(person_id, seed_only=True): seeds, photos_script(person_id, seed_only=False): every}
        )

    def serve(self, where: str, *given: Answer, head: Answer | None = None) -> None:
        """Has the page origin answer so at an address or path, one after the other; the last answer repeats.

        With a query only calls with that query are meant, without one all. HEAD is answered as GET would be then,
        without using the answer up, or by `head`.
        """
        self.serve_all({where: given}, head=head)

    def serve_all(self, places: Mapping[str, Sequence[Answer]], *, head: Answer | None = None) -> None:
        """Several addresses at once."""
        heads = [] if head is None else [head.as_dict()]
        order = {
            self._place(where): {"get": [answer.as_dict() for answer in given], "head": heads}
            for where, given in places.items()
        }
        self._ask("POST", "/serve", order)

    def script_vision(self, marker: str, *given: Answer) -> None:
        """Has the vision service answer so about images whose address contains `marker`; the longest marker decides."""
        self._ask("POST", "/vision", {marker: [answer.as_dict() for answer in given]})

    def release(self, where: str, gate: str | None = None) -> None:
        """Lets go of what is held for a key, marker, or address or path of the page origin, until it is scripted anew.

        With `gate`, only of that gate of its streams.
        """
        place = self._place(where) if self._is_place(where) else None
        self._ask("POST", "/release", {"where": where, "place": place, "gate": gate})

    def pause(self, listener: str) -> None:
        """Has a listener refuse connections, for everybody, and ends those that it has."""
        self._ask("POST", "/pause", {"listener": listener})

    def resume(self, listener: str) -> None:
        """Has a listener listen again, at the port that it had."""
        self._ask("POST", "/resume", {"listener": listener})

    @contextmanager
    def refusing(self, listener: str) -> Iterator[None]:
        """Meanwhile a listener is paused. It is for everybody: only for tests that are marked `exclusive`."""
        self.pause(listener)
        try:
            yield
        finally:
            self.resume(listener)

    def image_url(self, person_id: str, name: str | None = None) -> str:
        """An address where the stub serves a picture of its own; its calls are journaled under the person."""
        return f"{self.stub_url}/images/{quote(person_id, safe='')}/{quote(name or uuid.uuid4().hex, safe='')}.png"

    # --- journal ---

    def calls(self, key: str, *, at_least: int = 0, within_s: float = 0.0) -> list[Call]:
        """The calls for `key` in the order of their arrival, after waiting for so many for at most so long."""
        return self._calls(key=key, at_least=at_least, within_s=within_s)

    def fetches(self, where: str, *, method: str | None = None, at_least: int = 0, within_s: float = 0.0) -> list[Call]:
        """The calls for an address or path of the page origin, with the query that it has, or any."""
        place = self._place(where)
        return self._calls(place=place, method=method, at_least=at_least, within_s=within_s)

    def vision_calls(self, marker: str, *, at_least: int = 0, within_s: float = 0.0) -> list[Call]:
        """The calls of the vision service about images whose address contains `marker`."""
        return self._calls(image=marker, at_least=at_least, within_s=within_s)

    def calls_by_key(self, keys: Sequence[str], *, since: int = 0) -> dict[str, list[Call]]:
        """The calls of several keys; of each only those with a higher number than `since`."""
        found: dict[str, list[Call]] = {key: [] for key in keys}
        by_normal_key = {key.lower(): key for key in keys}
        for call in self._calls(keys=list(keys), since=since):
            found[by_normal_key[call.key]].append(call)
        return found

    def wait_for_any(self, keys: Sequence[str], *, since: int = 0, within_s: float = 0.0) -> int:
        """The number of the last call for any of the keys after `since`, once there is one; `since` if none comes."""
        found = self._calls(keys=list(keys), since=since, at_least=1, within_s=within_s)
        return found[-1].number if found else since

    @property
    def count(self) -> int:
        """How many calls there have been, which is the number of the last one."""
        return int(self._ask("GET", "/count"))

    def calls_containing(self, text: str) -> list[Call]:
        """The calls with `text` in their path, query or body, wherever they led."""
        return self._calls(containing=text)

    def all_calls(self) -> list[Call]:
        """Every call."""
        return self._calls()

    def _calls(self, **selection: Any) -> list[Call]:
        return [Call.from_dict(call) for call in self._ask("POST", "/calls", selection)]

    def _is_place(self, where: str) -> bool:
        return where.startswith("/") or (
            "page_origin" in self.urls
            and any(where.startswith(f"{url}/") for url in (self.origin_url, self.origin_by_name) if url)
        )

    def _place(self, where: str) -> str:
        """The path and query of an address of the page origin."""
        if not self._is_place(where):
            raise ValueError(f"{where!r} is no path and no address of the page origin")
        base = next((url for url in (self.origin_url, self.origin_by_name) if url and where.startswith(f"{url}/")), "")
        return where.removeprefix(base).partition("#")[0]

    def _ask(self, method: str, path: str, order: Any = None) -> Any:
        body = None if order is None else json.dumps(order)
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = http.client.HTTPConnection(urlsplit(self.control_url).netloc, timeout=_CONTROL_TIMEOUT_S)
        connection.request(method, path, body)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        self._idle.append(connection)
        if answer.status != http.HTTPStatus.OK:
            raise ValueError(f"the lab: {method} {path}: {content['detail']}")
        return content

    def close(self) -> None:
        """Closes the connections."""
        for connection in self._idle:
            connection.close()


class LabProcess:
    """A lab, which may still be starting: what is asked of it waits. It stops when `stop` is called, and by itself when
    this process is gone."""

    def __init__(self, binds: Mapping[str, Mapping[str, str]] = EVERY_LISTENER) -> None:
        """Starts the listeners that are named, each at its `bind` (and reached at its `url`); raises UsageError."""
        addresses = {}
        try:
            for name, where in {"control": {"bind": LOOPBACK}, **binds}.items():
                addresses[name] = Address.bound(where["bind"], where.get("url"))
            words = ["-m", "conformance.lab", "--inherited", Address.all_as_json(addresses)]
            self._process = subprocess.Popen(
                [sys.executable, "-P", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                env=bundled.variables(),
                pass_fds=[each.fileno() for address in addresses.values() for each in address.sockets],
            )
        except (OSError, OverflowError, ValueError) as error:
            raise UsageError(f"{name}: {where['bind']} cannot be used: {error}") from None
        finally:
            for address in addresses.values():
                address.close()
        self.urls = {name: address.url for name, address in addresses.items()}
        """How each listener is reached, by the target and, as `control`, by workers."""

    @property
    def control_url(self) -> str:
        """Where a `Lab` reaches it."""
        return self.urls["control"]

    def stop(self) -> None:
        """Stops the lab, and waits until it is gone."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
