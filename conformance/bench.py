"""`make bench`: how long the default run takes, against a plain replay of the very same requests."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

import httpx

from conformance import bundled
from conformance.fallback import Fallback, Outcome, PhotosCall


def _strings(value: Any) -> Iterator[str]:
    """All strings of a JSON value, in an order that is the same for values of the same shape."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key in sorted(value):
            yield from _strings(value[key])
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


class Replay:
    """Sends recorded requests again, in turn over one connection, with the ids that the states return now."""

    def __init__(self, base: str, recorded_base: str, credentials: dict[str, str]) -> None:
        self._base, self._recorded_base = base, recorded_base
        self._now: dict[str, str] = dict(credentials)
        self._client = httpx.Client(timeout=30)

    def run(self, lines: Sequence[dict[str, Any]]) -> float:
        """Replays the lines; returns seconds."""
        started = time.perf_counter()
        for line in lines:
            self._send(line)
        return time.perf_counter() - started

    def _send(self, line: dict[str, Any]) -> None:
        body = None if line["body"] is None else self._renewed(line["body"]).encode("latin-1")
        url = self._renewed(line["url"]).replace(self._recorded_base, self._base)
        headers = [
            (name.encode(), self._renewed(value).encode("latin-1", "replace")) for name, value in line["headers"]
        ]
        try:
            answer = self._client.request(line["method"], url, headers=headers, content=body)
        except httpx.HTTPError:
            return
        if line["url"].endswith("/_states") and b'"setup"' in (body or b"") and answer.status_code == 200:
            for then, now in zip(_strings(json.loads(line["answer"])), _strings(answer.json()), strict=False):
                self._now[then] = now
                self._now[quote(then, safe="")] = quote(now, safe="")

    def _renewed(self, text: str) -> str:
        # ids stand between delimiters: replaced one by one where they occur
        for part in {p for p in _delimited(text) if p in self._now}:
            text = text.replace(part, self._now[part])
        return text


def _delimited(text: str) -> Iterator[str]:
    for quoted in text.split('"'):
        yield quoted
        yield from quoted.split("/")
    yield from text.split(" ")


def measure(arguments: Sequence[str]) -> dict[str, Any]:
    """One default run of the backend with its requests recorded, then their replay against a reference of its own."""
    with tempfile.TemporaryDirectory(prefix="trr-bench-") as folder:
        record = Path(folder) / "requests"
        record.mkdir()
        started = time.perf_counter()
        command = bundled.command(
            *("run", "--target", "backend", "--record-requests", str(record), "--report-dir", folder, *arguments),
            module="conformance",
        )
        done = subprocess.run(
            command, env=bundled.variables(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        wall_s = time.perf_counter() - started
        if done.returncode != 0:
            sys.exit(f"bench: the run failed (exit {done.returncode})\n{done.stdout.decode()}")
        report = json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))
        lines = [
            json.loads(line)
            for file in sorted(record.iterdir())
            for line in file.read_text(encoding="utf-8").splitlines()
        ]
    started = time.perf_counter()
    reference = bundled.BundledReference(extra=["--only", "backend"])
    start_s = time.perf_counter() - started
    try:
        now = reference.source.variables
        recorded = [dict(line["headers"]) for line in lines]
        credentials = _renewed_credentials(recorded, now)
        origin = urlsplit(report["targets"]["backend"])
        replay = Replay(reference.source.table["backend_url"], f"{origin.scheme}://{origin.netloc}", credentials)
        replay_s = replay.run(lines)
    finally:
        reference.stop()
    return {
        "name": "default run of the backend",
        "cores": os.cpu_count(),
        "wall_s": round(wall_s, 2),
        "requests": len(lines),
        "start_s": round(start_s, 2),
        "replay_s": round(replay_s, 2),
        "ratio_to_replay": round((wall_s - start_s) / replay_s, 2),
    }


def measure_all(arguments: Sequence[str]) -> dict[str, Any]:
    """One default run of all targets."""
    started = time.perf_counter()
    command = bundled.command("run", *arguments, module="conformance")
    done = subprocess.run(
        command, env=bundled.variables(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode != 0:
        sys.exit(f"bench: the run failed (exit {done.returncode})\n{done.stdout.decode()}")
    wall_s = time.perf_counter() - started
    return {"name": "default run of all targets", "cores": os.cpu_count(), "wall_s": round(wall_s, 2)}


def _renewed_credentials(recorded: Sequence[dict[str, str]], now: dict[str, str]) -> dict[str, str]:
    """The right credentials of the recorded run, told by how often they were used, and those of now."""
    renewed = {}
    for header, name in (
        ("X-TRR-Internal-Admin-Secret", "TRR_INTERNAL_ADMIN_SHARED_SECRET"),
        ("Authorization", "TRR_CORE_SUPABASE_SERVICE_ROLE_KEY"),
    ):
        values = [headers[header] for headers in recorded if header in headers]
        if values:
            renewed[max(set(values), key=values.count).removeprefix("Bearer ")] = now[name]
    readers = [h["Authorization"] for h in recorded if "Authorization" in h and "Content-Type" not in h]
    if readers:
        renewed[max(set(readers), key=readers.count).removeprefix("Bearer ")] = now["SCREENALYTICS_SERVICE_TOKEN"]
    return renewed


def _calls(count: int, people: int) -> Iterator[PhotosCall]:
    """A journal of interleaved people, each asking for seeds and falling back in turn, made as it is read."""
    ids = [str(UUID(int=number)) for number in range(people)]
    for number in range(count):
        turn, person = divmod(number, people)
        seed_only = turn % 2 == 0
        outcome = Outcome.EMPTY if seed_only else Outcome.ROWS
        yield PhotosCall(ids[person], seed_only, outcome, None, number, 0)


def measure_automaton(count: int = 1_000_000, people: int = 1_000) -> dict[str, Any]:
    """The strict-fallback automaton over a million calls: its rate, without the making of the calls, and its memory."""
    started = time.perf_counter()
    for _ in _calls(count, people):
        pass
    making_s = time.perf_counter() - started
    automaton = Fallback()
    tracemalloc.start()
    automaton.feed_all(_calls(count // 10, people))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    automaton = Fallback()
    started = time.perf_counter()
    automaton.feed_all(_calls(count, people))
    feeding_s = time.perf_counter() - started - making_s
    assert all(automaton.ruling(person).verdict == "conforming" for person in automaton.persons())
    return {
        "name": "automaton",
        "calls": count,
        "people": people,
        "seconds": round(feeding_s, 2),
        "calls_per_s": round(count / feeding_s),
        "peak_mib": round(peak_bytes / 2**20, 2),
    }


def _told(row: dict[str, Any]) -> str:
    if row["name"] == "automaton":
        return (
            f"automaton: {row['calls']} calls of {row['people']} people in {row['seconds']} s, "
            f"{row['calls_per_s']} calls/s, {row['peak_mib']} MiB at the most"
        )
    if "requests" not in row:
        return f"{row['name']}: {row['wall_s']} s wall on {row['cores']} cores"
    return (
        f"{row['name']}: {row['wall_s']} s wall on {row['cores']} cores, {row['requests']} requests; "
        f"reference ready in {row['start_s']} s; replay of the same requests over one connection {row['replay_s']} s; "
        f"ratio (wall - start) / replay = {row['ratio_to_replay']}"
    )


def main(arguments: Sequence[str]) -> int:
    """Prints the measurements and writes them to `--output`; what it does not know goes to the run."""
    parser = argparse.ArgumentParser(prog="python -m conformance.bench", description=main.__doc__)
    parser.add_argument("--output", metavar="FILE", default="build/bench.json")
    options, run_arguments = parser.parse_known_args(list(arguments))
    rows = [measure(run_arguments), measure_all(run_arguments), measure_automaton()]
    path = Path(options.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    for row in rows:
        print(_told(row))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
