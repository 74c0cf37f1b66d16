"""The matrix of rogues: does the suite catch each of them, and does it name the clause that is broken?"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from conformance import bundled, html
from conformance.errors import TargetUnreachable

_LIMIT_S = 900
_WORTH_A_TRACE = 8
_OF_EACH_OTHER_CLAUSE = 3
_ALWAYS_TRIED_S = 0.03


@dataclass(frozen=True)
class Listed:
    """A rogue as the reference lists it: the clauses it breaks, the main one first, and what it does."""

    name: str
    target: str
    breaks: tuple[str, ...]
    summary: str
    overrides: tuple[str, ...] | None
    """The methods of the service that it takes otherwise; None where that is not all."""


@dataclass(frozen=True)
class Row:
    """What the suite said of a rogue.

    `failed` are the clauses that failed, where a clause of level SHOULD fails by a warning. A rogue is `caught` when
    its main clause failed, and `named` when no clause failed that it does not declare.
    """

    name: str
    target: str
    breaks: tuple[str, ...]
    failed: tuple[str, ...]
    caught: bool
    named: bool
    seconds: float


def listed() -> list[Listed]:
    """All rogues of the bundled reference."""
    command = bundled.command("--list-rogues", "--json")
    output = subprocess.run(command, env=bundled.variables(), check=True, stdout=subprocess.PIPE, text=True).stdout
    return [
        Listed(
            rogue["name"],
            rogue["target"],
            tuple(rogue["breaks"]),
            rogue["summary"],
            None if rogue["overrides"] is None else tuple(rogue["overrides"]),
        )
        for rogue in json.loads(output)
    ]


def failed_clauses(report: dict[str, Any], declared: Collection[str]) -> tuple[str, ...]:
    """The clauses of a report that failed at their own level; a declared one also where its rider warned."""
    return tuple(
        clause["id"]
        for clause in report["clauses"]
        if clause["verdict"] == "failed"
        or (clause["verdict"] == "warned" and (clause["level"] == "SHOULD" or clause["id"] in declared))
    )


def judge(rogue: Listed, failed: Sequence[str], seconds: float) -> Row:
    """The row of a rogue."""
    named = bool(failed) and set(failed) <= set(rogue.breaks)
    return Row(
        rogue.name, rogue.target, rogue.breaks, tuple(failed), rogue.breaks[0] in failed, named, round(seconds, 2)
    )


@dataclass(frozen=True)
class _Attempt:
    """One run of the suite, against a rogue or (to be traced) the true reference, in a fork of this process."""

    target: str
    options: tuple[str, ...]
    rogue: Listed | None = None
    final: bool = True
    """No other attempt follows where this one misses the rogue."""
    before_s: float = 0.0
    """What earlier attempts took."""


@dataclass(frozen=True)
class Trace:
    """Which methods of the service each test of a target called, on the true reference."""

    methods: Mapping[str, frozenset[str]]
    """Test → methods; none for one that called no service."""
    clauses: Mapping[str, Sequence[str]]
    """Clause → its tests."""
    seconds: Mapping[str, float]
    """Test → how long it took."""

    def selection(self, rogue: Listed) -> list[str]:
        """The tests to try on a rogue: of its own clauses all, of every other clause some, others for each rogue.

        Of those, the longer a test takes, the fewer rogues it is tried on. Left out are tests that cannot tell the
        rogue: one that calls none of the methods that a rogue takes otherwise makes the same calls, and gets the same
        answers, from both.
        """
        chance, other = random.Random(rogue.name), set(rogue.overrides or ())
        chosen: set[str] = set()
        for clause, tests in self.clauses.items():
            telling = [
                test
                for test in tests
                if rogue.overrides is None or not (called := self.methods.get(test)) or called & other
            ]
            if clause not in rogue.breaks:
                drawn = chance.sample(telling, min(_OF_EACH_OTHER_CLAUSE, len(telling)))
                telling = [test for test in drawn if chance.random() * self.seconds.get(test, 0) < _ALWAYS_TRIED_S]
            chosen.update(telling)
        return sorted(chosen)


def read_trace(folder: Path, report: Mapping[str, Any]) -> Trace:
    """The trace that a run with `--trace-calls` left in the folder, and its report."""
    calls = [line.split(" ") for line in (folder / "calls").read_text(encoding="utf-8").splitlines()]
    times = [float(time) for time, _ in calls]
    methods, seconds = {}, {}
    for line in (folder / "tests").read_text(encoding="utf-8").splitlines():
        start, end, test = line.split(" ", 2)
        first, last = bisect_left(times, float(start)), bisect_right(times, float(end))
        methods[test] = frozenset(name for _, name in calls[first:last])
        seconds[test] = float(end) - float(start)
    clauses = {clause["id"]: [test["nodeid"] for test in clause["tests"]] for clause in report["clauses"]}
    return Trace(methods, {clause: tests for clause, tests in clauses.items() if tests}, seconds)


def matrix(chosen: Sequence[Listed], options: Sequence[str], jobs: int, *, whole: bool = False) -> Iterator[Row]:
    """Runs the suite of its target against each rogue, so many at a time; rows come as they are done.

    First with the quick profile and, unless `whole`, with a selection of the tests; with the default profile and every
    test where that misses it. `options` are the runs' own.
    """
    _import_what_every_run_does()
    own_profile = any(option.startswith("--profile") for option in options)
    with _prefork() as prefork, tempfile.TemporaryDirectory(prefix="trr-rogues-") as temporary:
        folder = Path(temporary)
        thorough = (*options, "--no-shrinking", "--prefork", prefork)
        quick = ("--profile", "quick", *thorough)
        forks = _Forks(folder, jobs)
        for target, count in Counter(rogue.target for rogue in chosen).items():
            if count >= _WORTH_A_TRACE and not whole:
                (folder / target).mkdir()
                forks.waiting.append(_Attempt(target, (*quick, "--trace-calls", str(folder / target))))
        traces = {
            attempt.target: read_trace(folder / attempt.target, report)
            for attempt, report, _ in forks.run()
            if report is not None
        }
        for rogue in chosen:
            tests: tuple[str, ...] = ()
            if rogue.target in traces:
                selection = folder / f"{rogue.name}.json"
                selection.write_text(json.dumps(traces[rogue.target].selection(rogue)), encoding="utf-8")
                tests = ("--tests", str(selection))
            forks.waiting.append(_Attempt(rogue.target, (*quick, *tests), rogue, final=own_profile))
        for attempt, report, seconds in forks.run():
            assert attempt.rogue is not None
            failed = () if report is None else failed_clauses(report, attempt.rogue.breaks)
            row = judge(attempt.rogue, failed, attempt.before_s + seconds)
            if row.caught or attempt.final:
                yield row
            else:
                again = _Attempt(attempt.target, thorough, attempt.rogue, before_s=row.seconds)
                forks.waiting.appendleft(again)


def _import_what_every_run_does() -> None:
    """Imports it once, before the forks."""
    for module in ("conformance.plugin", "conformance.fixtures", "conformance.strategies", "schemathesis", "psycopg"):
        importlib.import_module(module)


@contextmanager
def _prefork() -> Iterator[str]:
    """A reference that the runs' own are forked from: the address of its socket."""
    with tempfile.TemporaryDirectory(prefix="trr-prefork-") as folder:
        path = str(Path(folder) / "socket")
        process = subprocess.Popen(
            bundled.command("--prefork", path),
            env=bundled.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # where rogues crash, as some are to
            text=True,
        )
        assert process.stdout is not None
        try:
            if not process.stdout.readline():
                raise TargetUnreachable("the bundled reference did not start")
            yield path
        finally:
            process.terminate()
            process.wait()


class _Forks:
    """Attempts that wait for their turn, each in a fork of this process."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self.waiting: deque[_Attempt] = deque()
        """May be added to while they run."""
        self._folder, self._jobs = folder, jobs
        self._started = 0

    def run(self) -> Iterator[tuple[_Attempt, dict[str, Any] | None, float]]:
        """Each attempt when it is done, with its report (None where it left none) and its seconds."""
        running: dict[int, tuple[_Attempt, Path, float]] = {}
        while self.waiting or running:
            while self.waiting and len(running) < self._jobs:
                attempt = self.waiting.popleft()
                self._started += 1
                place = self._folder / f"attempt-{self._started}"
                place.mkdir()
                running[_fork(attempt, place)] = attempt, place, time.monotonic()
            pid, status = os.wait()
            if pid not in running:  # the preforking reference has ended: every run says so
                continue
            attempt, place, started = running.pop(pid)
            yield attempt, _read_report(attempt, place, os.waitstatus_to_exitcode(status)), time.monotonic() - started
            shutil.rmtree(place)


def _fork(attempt: _Attempt, place: Path) -> int:
    """Starts an attempt in a fork; its output and its report come to lie at `place`."""
    from conformance import cli

    sys.stdout.flush()
    if pid := os.fork():
        return pid
    code = 3
    try:
        signal.alarm(_LIMIT_S)  # ends a run that hangs
        output = os.open(place / "output.txt", os.O_WRONLY | os.O_CREAT)
        for number in (1, 2):
            os.dup2(output, number)
        rogue = () if attempt.rogue is None else ("--rogue", attempt.rogue.name)
        given = ("-n", "0", "--report-dir", str(place), *attempt.options)
        code = cli.main(["run", "--target", attempt.target, *rogue, *given])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _read_report(attempt: _Attempt, place: Path, code: int) -> dict[str, Any] | None:
    try:
        report: dict[str, Any] = json.loads((place / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        said = (place / "output.txt").read_text(encoding="utf-8", errors="replace")
        name = attempt.target if attempt.rogue is None else attempt.rogue.name
        print(f"{name}: no report: {error!r} (exit {code})\n{said}", file=sys.stderr)
        return None
    return report


def _line(row: Row) -> str:
    verdict = "caught" if row.caught else "MISSED"
    beyond = [clause for clause in row.failed if clause not in row.breaks]
    note = "" if row.named or not row.failed else f"  UNDECLARED: {' '.join(beyond)}"
    seen = " ".join(row.failed) or "-"
    return f"{verdict:<7} {row.name:<52} {' '.join(row.breaks):<26} by {seen}{note}  {row.seconds:.1f} s"


def main(arguments: Sequence[str]) -> int:
    """Lists the rogues, or with `--run` prints the matrix; exit 1 where one is missed or misnamed."""
    parser = argparse.ArgumentParser(prog="trr-conformance rogues", description=main.__doc__)
    parser.add_argument("--run", action="store_true", help="run each against the suite and print the matrix")
    parser.add_argument("--target", action="append", help="only rogues of this target")
    parser.add_argument("--output", metavar="FILE", help="write the matrix there as JSON, and as HTML beside it")
    parser.add_argument("--whole", action="store_true", help="every test for every rogue")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time")
    parser.add_argument("names", nargs="*", help="only these rogues")
    try:
        options, suite_options = parser.parse_known_args(list(arguments))
    except SystemExit as stop:
        return 4 if stop.code else 0
    chosen = [
        rogue
        for rogue in listed()
        if (not options.names or rogue.name in options.names) and (not options.target or rogue.target in options.target)
    ]
    unknown = set(options.names) - {rogue.name for rogue in chosen}
    if unknown or not chosen:
        print(
            f"trr-conformance rogues: no such rogue: {', '.join(sorted(unknown)) or 'none selected'}", file=sys.stderr
        )
        return 4
    if not options.run:
        for rogue in chosen:
            print(f"{rogue.name:<52} {rogue.target:<14} {' '.join(rogue.breaks):<26} {rogue.summary}")
        return 0
    started = time.monotonic()
    rows: list[Row] = []
    for row in matrix(chosen, suite_options, options.jobs, whole=options.whole):
        rows.append(row)
        print(_line(row), flush=True)
    order = [rogue.name for rogue in chosen]
    rows.sort(key=lambda row: order.index(row.name))
    if options.output:
        path = Path(options.output)
        path.parent.mkdir(parents=True, exist_ok=True)
        table = [asdict(row) for row in rows]
        path.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
        path.with_suffix(".html").write_text(html.matrix(table), encoding="utf-8")
    caught, named = sum(row.caught for row in rows), sum(row.named for row in rows)
    print(f"{len(rows)} rogues: {caught} caught, {named} named, {time.monotonic() - started:.0f} s")
    return 0 if caught == named == len(rows) else 1
