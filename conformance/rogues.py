"""The matrix of rogues: does the suite catch each of them, and does it name the clause that is broken?"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from conformance import bundled


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


def try_out(rogue: Listed, options: Sequence[str]) -> Row:
    """Runs the suite of the rogue's target against it: the quick profile, and the default one where that misses it."""
    row = _try_out(rogue, ["--profile", "quick", *options])
    if row.caught or "--profile" in options:
        return row
    again = _try_out(rogue, options)
    return replace(again, seconds=round(row.seconds + again.seconds, 2))


def _try_out(rogue: Listed, options: Sequence[str]) -> Row:
    """One run in a process of its own."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="trr-rogue-") as folder:
        command = bundled.command(
            *("run", "--rogue", rogue.name, "--target", rogue.target, "-n", "0", "--report-dir", folder, *options),
            module="conformance",
        )
        done = subprocess.run(
            command, env=bundled.variables(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        try:
            failed = failed_clauses(
                json.loads((Path(folder) / "report.json").read_text(encoding="utf-8")), rogue.breaks
            )
        except (OSError, ValueError, KeyError) as error:
            print(f"{rogue.name}: no report: {error!r} (exit {done.returncode})\n{done.stdout}", file=sys.stderr)
            failed = ()
    return judge(rogue, failed, time.monotonic() - started)


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
    with ThreadPoolExecutor(options.jobs) as pool:
        for row in pool.map(lambda rogue: try_out(rogue, suite_options), chosen):
            rows.append(row)
            print(_line(row), flush=True)
    if options.output:
        path = Path(options.output)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    caught, named = sum(row.caught for row in rows), sum(row.named for row in rows)
    print(f"{len(rows)} rogues: {caught} caught, {named} named, {time.monotonic() - started:.0f} s")
    return 0 if caught == named == len(rows) else 1
