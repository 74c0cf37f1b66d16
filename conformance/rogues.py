"""The matrix of rogues: does the suite catch each of them, and does it name the clause that is broken?"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from conformance import bundled
from conformance.errors import TargetUnreachable

_LIMIT_S = 900


@dataclass(frozen=True)
class Listed:
    """A rogue as the reference lists it: the clauses it breaks, the main one first, and what it does."""

    name: str
    target: str
    breaks: tuple[str, ...]
    summary: str


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
    return [Listed(r["name"], r["target"], tuple(r["breaks"]), r["summary"]) for r in json.loads(output)]


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
    """One run of the suite against a rogue, in a fork of this process."""

    rogue: Listed
    options: tuple[str, ...]
    before_s: float = 0.0
    """What earlier attempts took."""


def matrix(chosen: Sequence[Listed], options: Sequence[str], jobs: int) -> Iterator[Row]:
    """Runs the suite of its target against each rogue, so many at a time; rows come as they are done.

    The quick profile is tried first, and the default one where that misses the rogue, unless `options` name a profile.
    """
    _import_what_every_run_does()
    own_profile = any(option.startswith("--profile") for option in options)
    quick = () if own_profile else ("--profile", "quick")
    with _prefork() as prefork, tempfile.TemporaryDirectory(prefix="trr-rogues-") as folder:
        given = (*options, "--no-shrinking", "--prefork", prefork)
        waiting = deque(_Attempt(rogue, (*quick, *given)) for rogue in chosen)
        running: dict[int, tuple[_Attempt, Path, float]] = {}
        while waiting or running:
            while waiting and len(running) < jobs:
                attempt = waiting.popleft()
                place = Path(folder) / f"{attempt.rogue.name}-{len(attempt.options)}"
                place.mkdir()
                running[_fork(attempt, place)] = attempt, place, time.monotonic()
            pid, status = os.wait()
            if pid not in running:  # the preforking reference has ended: every run says so
                continue
            attempt, place, started = running.pop(pid)
            failed = _read_report(attempt.rogue, place, os.waitstatus_to_exitcode(status))
            row = judge(attempt.rogue, failed, attempt.before_s + time.monotonic() - started)
            shutil.rmtree(place)
            if row.caught or attempt.options == given or own_profile:
                yield row
            else:
                waiting.appendleft(_Attempt(attempt.rogue, given, row.seconds))


def _import_what_every_run_does() -> None:
    """Imports it once, before the forks."""
    for module in ("conformance.cli", "conformance.fixtures", "conformance.strategies", "schemathesis", "psycopg"):
        importlib.import_module(module)


@contextmanager
def _prefork() -> Iterator[str]:
    """A reference that the runs' own are forked from: the address of its socket."""
    with tempfile.TemporaryDirectory(prefix="trr-prefork-") as folder:
        path = str(Path(folder) / "socket")
        process = subprocess.Popen(
            bundled.command("--prefork", path), env=bundled.variables(), stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        try:
            if not process.stdout.readline():
                raise TargetUnreachable("the bundled reference did not start; what it said is above")
            yield path
        finally:
            process.terminate()
            process.wait()


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
        selected = ("--rogue", attempt.rogue.name, "--target", attempt.rogue.target)
        code = cli.main(["run", *selected, "-n", "0", "--report-dir", str(place), *attempt.options])
    finally:
        sys.stdout.flush()
        os._exit(code)


def _read_report(rogue: Listed, place: Path, code: int) -> tuple[str, ...]:
    """The clauses that failed in the attempt at `place`, none where it left no report."""
    try:
        return failed_clauses(json.loads((place / "report.json").read_text(encoding="utf-8")), rogue.breaks)
    except (OSError, ValueError, KeyError) as error:
        said = (place / "output.txt").read_text(encoding="utf-8", errors="replace")
        print(f"{rogue.name}: no report: {error!r} (exit {code})\n{said}", file=sys.stderr)
        return ()


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
    parser.add_argument("--output", metavar="FILE", help="write the matrix there, as JSON")
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
    for row in matrix(chosen, suite_options, options.jobs):
        rows.append(row)
        print(_line(row), flush=True)
    order = [rogue.name for rogue in chosen]
    rows.sort(key=lambda row: order.index(row.name))
    if options.output:
        path = Path(options.output)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    caught, named = sum(row.caught for row in rows), sum(row.named for row in rows)
    print(f"{len(rows)} rogues: {caught} caught, {named} named, {time.monotonic() - started:.0f} s")
    return 0 if caught == named == len(rows) else 1
