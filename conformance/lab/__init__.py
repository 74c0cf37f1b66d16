"""The lab: the suite's own servers, in a process that the run's controller owns and every worker scripts and reads.

The lab plays the backend for the app and for Screenalytics. Scripts and journal are keyed by fresh ids in the path or
body (person for photos and images, episode for the cast, link for toggles, asset, page address), so that any number of
workers share the one address.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from conformance import bundled
from conformance.errors import UsageError
from conformance.lab.answers import Answer
from conformance.lab.journal import UNSCRIPTED, Call
from conformance.lab.stub import photos_script

__all__ = ["UNSCRIPTED", "Answer", "Call", "Lab", "LabProcess"]

STOP_TIMEOUT_S = 5
_CONTROL_TIMEOUT_S = 30


class Lab:
    """The lab as a worker uses it, by its control URL; any number of threads may share it."""

    def __init__(self, control_url: str) -> None:
        self.control_url = control_url
        self._connection = http.client.HTTPConnection(urlsplit(control_url).netloc, timeout=_CONTROL_TIMEOUT_S)
        self._lock = threading.Lock()
        self.stub_url: str = self._ask("GET", "/")["stub_backend"]
        """The stub backend as the target reaches it."""

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

    def release(self, key: str) -> None:
        """Lets go of every call for `key` that is held, now and until it is scripted anew."""
        self._ask("POST", "/release", {"key": key})

    def image_url(self, person_id: str, name: str | None = None) -> str:
        """An address where the stub serves a picture of its own; its calls are journaled under the person."""
        return f"{self.stub_url}/images/{quote(person_id, safe='')}/{quote(name or uuid.uuid4().hex, safe='')}.png"

    # --- journal ---

    def calls(self, key: str, *, at_least: int = 0, within_s: float = 0.0) -> list[Call]:
        """The calls for `key` in the order of their arrival, after waiting for so many for at most so long."""
        return self._calls(key=key, at_least=at_least, within_s=within_s)

    def calls_by_key(self, keys: Sequence[str], *, since: int = 0) -> dict[str, list[Call]]:
        """The calls of several keys; of each only those with a higher number than `since`."""
        found: dict[str, list[Call]] = {key: [] for key in keys}
        by_normal_key = {key.lower(): key for key in keys}
        for call in self._calls(keys=list(keys), since=since):
            found[by_normal_key[call.key]].append(call)
        return found

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

    def _ask(self, method: str, path: str, order: Any = None) -> Any:
        body = None if order is None else json.dumps(order)
        with self._lock:
            self._connection.request(method, path, body)
            answer = self._connection.getresponse()
            content = json.loads(answer.read())
        if answer.status != http.HTTPStatus.OK:
            raise ValueError(f"the lab: {method} {path}: {content['detail']}")
        return content

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()


class LabProcess:
    """A running lab. It stops when `stop` is called, and by itself when this process is gone."""

    def __init__(self, *, bind: str = "127.0.0.1:0", url: str | None = None) -> None:
        words = [sys.executable, "-P", "-m", "conformance.lab", "--json", "--with-stdin", "--bind", bind]
        self._process = subprocess.Popen(
            words + (["--url", url] if url else []),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=bundled.variables(),
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            raise UsageError(f"stub_backend: {bind} cannot be used; why is above")
        addresses = json.loads(line)
        self.control_url: str = addresses["control"]
        self.stub_url: str = addresses["stub_backend"]

    def stop(self) -> None:
        """Stops the lab, and waits until it is gone."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
