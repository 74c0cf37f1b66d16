"""`make bench`: how long the default run takes, against a plain replay of its requests; and a trace, against grep."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit
from uuid import UUID

import httpx

import contracts
from conformance import baseline, bundled, environment
from conformance.arguments import Parser
from conformance.fallback import Fallback, Outcome, PhotosCall
from conformance.lab.client import LabProcess
from conformance.trace.generate import generate


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


def measure_schema_pairs() -> dict[str, Any]:
    """Each schema of the contracts against itself with one member less, in both directions."""
    from conformance.compat.linking import Document
    from conformance.compat.rules import DIRECTIONS
    from conformance.compat.schemas import compare

    loaded = contracts.load()
    schemas = {name: loaded.schema(name) for name in loaded.schemas}
    others = {schema["$id"]: schema for schema in schemas.values()}
    seconds = []
    for schema in schemas.values():
        for member in schema.get("properties", {}):
            rest = {name: value for name, value in schema["properties"].items() if name != member}
            for direction in DIRECTIONS:
                started = time.perf_counter()
                compare(Document(schema, others), Document({**schema, "properties": rest}, others), direction)
                seconds.append(time.perf_counter() - started)
    seconds.sort()
    return {
        "name": "schema pairs",
        "pairs": len(seconds),
        "median_ms": round(seconds[len(seconds) // 2] * 1000, 2),
        "p95_ms": round(seconds[len(seconds) * 95 // 100] * 1000, 2),
        "max_ms": round(seconds[-1] * 1000, 2),
    }


def measure_trace(
    lines: int = 1_000_000, people: int = 1_000, *, broken: float = 0.0, rounds: int = 1
) -> dict[str, Any]:
    """`trr-conformance trace` over a generated log, its verdicts held to the known answers, next to `grep -c photos`.

    Both are whole commands, in turn, the best of three; the peak is of the process, also for a tenth of the log.
    """
    with tempfile.TemporaryDirectory(prefix="trr-bench-") as folder:
        path, tenth = Path(folder) / "access.log", Path(folder) / "tenth.log"
        answers = generate(path, lines=lines, people=people, rounds=rounds, broken=broken)
        trace = bundled.command("trace", "--json", str(path), module="conformance")
        runs = [(_watched(["grep", "-c", "photos", str(path)]), _watched(trace)) for _ in range(3)]
        found = json.loads(runs[0][1].output)
        generate(tenth, lines=lines // 10, people=people // 10, rounds=rounds, broken=broken)
        of_tenth = _watched(bundled.command("trace", "--json", str(tenth), module="conformance"))
        size = path.stat().st_size
    told = {person["person_id"]: (person["verdict"], frozenset(person["clauses"])) for person in found["persons"]}
    assert told == {
        person_id: ("violating" if clauses else "conforming", clauses) for person_id, clauses in answers.clauses.items()
    }
    assert (found["lines"], found["photo_calls"]) == (answers.lines, answers.photo_calls)
    assert found["broken_lines"] == answers.broken_lines
    grep_s, trace_s = (min(run[index].wall_s for run in runs) for index in (0, 1))
    grep_cpu_s, trace_cpu_s = (min(run[index].cpu_s for run in runs) for index in (0, 1))
    return {
        "name": "trace",
        "lines": lines,
        "mib": round(size / 2**20),
        "people": people,
        "photo_calls": answers.photo_calls,
        "broken_lines": answers.broken_lines,
        "seconds": round(trace_s, 3),
        "lines_per_s": round(lines / trace_s),
        "peak_mib": round(max(run[1].peak_bytes for run in runs) / 2**20, 1),
        "peak_mib_of_a_tenth": round(of_tenth.peak_bytes / 2**20, 1),
        "grep_s": round(grep_s, 3),
        "ratio_to_grep": round(trace_s / grep_s, 2),
        "cpu_ratio_to_grep": round(trace_cpu_s / grep_cpu_s, 2),
    }


class _Watched(NamedTuple):
    wall_s: float
    cpu_s: float
    peak_bytes: int
    output: bytes


def _watched(command: Sequence[str]) -> _Watched:
    """Runs a command; it may say by its exit code what it found."""
    started = time.perf_counter()
    output, peak_bytes = bytearray(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=bundled.variables()) as process:
        assert process.stdout is not None
        while True:
            readable, _, _ = select.select([process.stdout], [], [], 0.005)
            peak_bytes = max(peak_bytes, _high_water(process.pid))
            if readable:
                if not (chunk := os.read(process.stdout.fileno(), 65536)):
                    break
                output += chunk
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.perf_counter() - started
    return _Watched(wall_s, usage.ru_utime + usage.ru_stime, peak_bytes, bytes(output))


def _high_water(pid: int) -> int:
    """The most memory that a running process has had, in bytes; 0 where the system does not say.

    Not `ru_maxrss`, which begins with what its parent had when it was forked.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def measure_schemathesis() -> dict[str, Any]:
    """Schemathesis alone over the backend's OpenAPI fragment: what each of its cases takes."""
    lab = LabProcess()
    reference = bundled.BundledReference(extra=["--only", "backend", "--vision-url", lab.urls["stub_vision"]])
    try:
        with tempfile.TemporaryDirectory(prefix="trr-bench-") as folder:
            found = baseline.find("backend", environment.resolve(reference.source), Path(folder))
    finally:
        reference.stop()
        lab.stop()
    return {"name": "schemathesis alone", "cases": found["cases"], "seconds": found["seconds"]}


COLUMNS = ("what", "how much", "seconds", "rate", "ratio", "peak")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The measurements as one table."""
    cells = [COLUMNS, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    name, seconds = row["name"], f"{row.get('wall_s', row.get('seconds', 0)):g}"
    if name == "trace":
        much = f"{row['lines']} lines, {row['photo_calls']} photos calls, {row['broken_lines']} broken"
        ratio = f"{row['ratio_to_grep']} to grep -c photos ({row['grep_s']} s), {row['cpu_ratio_to_grep']} in CPU time"
        peak = f"{row['peak_mib']} MiB, {row['peak_mib_of_a_tenth']} for a tenth"
        return name, much, seconds, f"{row['lines_per_s']} lines/s", ratio, peak
    if name == "automaton":
        much = f"{row['calls']} calls of {row['people']} people"
        return name, much, seconds, f"{row['calls_per_s']} calls/s", "", f"{row['peak_mib']} MiB"
    if name == "schema pairs":
        rate = f"median {row['median_ms']} ms, 95 in 100 within {row['p95_ms']} ms"
        return name, f"{row['pairs']} pairs", "", rate, f"{row['max_ms']} ms at the most", ""
    if name == "schemathesis alone":
        return name, f"{row['cases']} cases", seconds, f"{row['cases'] / row['seconds']:.0f} cases/s", "", ""
    if "requests" not in row:
        return name, f"{row['cores']} cores", seconds, "", "", ""
    rate = f"{row['requests'] / row['wall_s']:.0f} requests/s"
    ratio = f"{row['ratio_to_replay']} to a plain replay ({row['replay_s']} s), without the start ({row['start_s']} s)"
    return name, f"{row['requests']} requests, {row['cores']} cores", seconds, rate, ratio, ""


def main(arguments: Sequence[str]) -> int:
    """Prints the measurements and writes them to `--output`; what it does not know goes to the run."""
    parser = Parser(prog="python -m conformance.bench", description=main.__doc__)
    parser.add_argument("--output", metavar="FILE", default="build/bench.json")
    options, run_arguments = parser.parse_known_args(list(arguments))
    rows = [measure(run_arguments), measure_all(run_arguments), measure_schemathesis()]
    rows += [measure_automaton(), measure_schema_pairs()]
    # a log as it is, one line in a thousand a photos call; and one that is hard to read
    rows += [measure_trace(people=525), measure_trace(broken=0.01, rounds=3)]
    path = Path(options.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
