"""The matrix of rogues: does the suite catch each of them, and does it name the clause that is broken?"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from conformance import bundled, html
from conformance.arguments import Parser
from conformance.forks import Forks, prefork, preload
from conformance.verdict import ExitCode

_WORTH_A_TRACE = 8
_OF_EACH_OTHER_CLAUSE = 1
_ALWAYS_TRIED_S = 0.015


@dataclass(frozen=True)
class Listed:
    """A rogue as the reference lists it: the clauses it breaks, the main one first, and what it does."""

    name: str
    target: str
    breaks: tuple[str, ...]
    summary: str
    overrides: tuple[str, ...] | None
    """The methods of the service that it takes otherwise; None where that is not all."""
    profile: str = "default"
    """The profile that it takes to notice it: `thorough` where the others have not the time."""


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
    schemathesis: Alone | None = None
    """What schemathesis alone made of it, where that was measured."""


@dataclass(frozen=True)
class Alone:
    """Schemathesis alone against a rogue: `caught` when it complains of what it does not on the true reference."""

    caught: bool
    cases: int
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
            rogue["profile"],
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
    failed_before: tuple[str, ...] = ()
    """What failed in an earlier attempt, where this one tries the rogue's own clauses alone."""

    @property
    def label(self) -> str:
        return self.target if self.rogue is None else self.rogue.name

    def run(self, place: Path) -> int:
        from conformance import cli

        rogue = () if self.rogue is None else ("--rogue", self.rogue.name)
        given = ("-n", "0", "--report-dir", str(place), *self.options)
        return cli.main(["run", "--target", self.target, *rogue, *given])


@dataclass(frozen=True)
class _Baseline:
    """One run of schemathesis alone against a rogue, or against the true reference."""

    target: str
    prefork: str
    vision_url: str
    rogue: Listed | None = None

    @property
    def label(self) -> str:
        return f"schemathesis on {self.target if self.rogue is None else self.rogue.name}"

    def run(self, place: Path) -> int:
        from conformance import baseline, environment

        name = None if self.rogue is None else self.rogue.name
        reference = bundled.BundledReference(rogue=name, extra=["--vision-url", self.vision_url], prefork=self.prefork)
        try:
            found = baseline.find(self.target, environment.resolve(reference.source), place)
        finally:
            reference.stop()
        (place / "report.json").write_text(json.dumps(found), encoding="utf-8")
        return 0


@dataclass(frozen=True)
class Trace:
    """Which methods of the service each test of a target called, on the true reference."""

    methods: Mapping[str, frozenset[str]]
    """Test → methods; none for one that called no service."""
    clauses: Mapping[str, Sequence[str]]
    """Clause that was verified → its tests."""
    seconds: Mapping[str, float]
    """Test → how long it took."""

    def tells(self, test: str, overrides: Collection[str] | None) -> bool:
        """Whether a test can tell a service that takes these methods (None: any) otherwise from the true one.

        One that calls none of them makes the same calls, and gets the same answers, from both.
        """
        called = self.methods.get(test)
        return overrides is None or not called or not called.isdisjoint(overrides)

    def selection(self, rogue: Listed) -> list[str]:
        """The tests to try on a rogue: of its own clauses all, of every other clause some, others for each rogue.

        Of those, the longer a test takes, the fewer rogues it is tried on. Tests that cannot tell it are left out.
        """
        chance = random.Random(rogue.name)
        chosen: set[str] = set()
        for clause, tests in self.clauses.items():
            telling = [test for test in tests if self.tells(test, rogue.overrides)]
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
    clauses = {
        clause["id"]: [test["nodeid"] for test in clause["tests"]]
        for clause in report["clauses"]
        if clause["verdict"] == "passed"
    }
    return Trace(methods, clauses, seconds)


def trace(targets: Iterable[str], options: Sequence[str], folder: Path, jobs: int) -> dict[str, Trace]:
    """Runs the suite once against the true reference of each target, to see what its tests call."""
    forks: Forks[_Attempt] = Forks(folder, jobs)
    for target in targets:
        (folder / target).mkdir()
        forks.waiting.append(_Attempt(target, (*options, "--trace-calls", str(folder / target))))
    return {
        attempt.target: read_trace(folder / attempt.target, report)
        for attempt, report, _ in forks.run()
        if report is not None
    }


def matrix(chosen: Sequence[Listed], options: Sequence[str], jobs: int, *, whole: bool = False) -> Iterator[Row]:
    """Runs the suite of its target against each rogue, so many at a time; rows come as they are done.

    First with the quick profile and, unless `whole`, with a selection of the tests, of its own clauses only until the
    main one has failed; where that misses it, with its own profile and clauses. `options` are the runs' own.
    """
    preload()
    own_profile = any(option.startswith("--profile") for option in options)
    with prefork() as socket, tempfile.TemporaryDirectory(prefix="trr-rogues-") as temporary:
        folder = Path(temporary)
        given = (*options, "--no-shrinking", "--prefork", socket)
        quick = ("--profile", "quick", *given)
        forks: Forks[_Attempt] = Forks(folder, jobs)
        counts = Counter(rogue.target for rogue in chosen)
        worth = [target for target, count in counts.items() if count >= _WORTH_A_TRACE and not whole]
        traces = trace(worth, quick, folder, jobs)
        for rogue in chosen:
            tests: tuple[str, ...] = ()
            if rogue.target in traces:
                selection = folder / f"{rogue.name}.json"
                selection.write_text(json.dumps(traces[rogue.target].selection(rogue)), encoding="utf-8")
                tests = ("--tests", str(selection))
            until = () if whole else ("--until", ",".join(rogue.breaks))
            forks.waiting.append(_Attempt(rogue.target, (*quick, *tests, *until), rogue, final=own_profile))
        for attempt, report, seconds in forks.run():
            assert attempt.rogue is not None
            failed = () if report is None else failed_clauses(report, attempt.rogue.breaks)
            failed = tuple(dict.fromkeys((*attempt.failed_before, *failed)))
            row = judge(attempt.rogue, failed, attempt.before_s + seconds)
            if report is not None and not failed and report["exit_code"] > ExitCode.FAILED:
                print(f"{attempt.label}: {ExitCode(report['exit_code']).meaning}", file=sys.stderr)
            if row.caught or attempt.final:
                yield row
            else:
                own = ("--profile", attempt.rogue.profile, "--clause", ",".join(attempt.rogue.breaks))
                again = replace(attempt, options=(*given, *own), final=True, before_s=row.seconds, failed_before=failed)
                # thorough tests wait for a target's patience
                queue = forks.idle if attempt.rogue.profile == "thorough" else forks.waiting
                queue.appendleft(again)


def baseline(chosen: Sequence[Listed], jobs: int) -> Iterator[tuple[str, Alone]]:
    """Runs schemathesis alone against the true reference and then each rogue: the name of each, and what came of it."""
    from conformance.lab.client import LabProcess

    with prefork() as socket, tempfile.TemporaryDirectory(prefix="trr-baseline-") as folder:
        lab = LabProcess()
        try:
            forks: Forks[_Baseline] = Forks(Path(folder), jobs)
            at = socket, lab.urls["stub_vision"]
            forks.waiting.extend(_Baseline(target, *at) for target in {rogue.target for rogue in chosen})
            true = {work.target: set(found["failures"]) for work, found, _ in forks.run() if found is not None}
            forks.waiting.extend(_Baseline(rogue.target, *at, rogue) for rogue in chosen)
            for work, found, _ in forks.run():
                if work.rogue is not None and found is not None and work.target in true:
                    caught = bool(set(found["failures"]) - true[work.target])
                    yield work.rogue.name, Alone(caught, found["cases"], found["seconds"])
        finally:
            lab.stop()


def _line(row: Row) -> str:
    verdict = "caught" if row.caught else "MISSED"
    beyond = [clause for clause in row.failed if clause not in row.breaks]
    note = "" if row.named or not row.failed else f"  UNDECLARED: {' '.join(beyond)}"
    seen = " ".join(row.failed) or "-"
    return f"{verdict:<7} {row.name:<52} {' '.join(row.breaks):<26} by {seen}{note}  {row.seconds:.1f} s"


def main(arguments: Sequence[str]) -> int:
    """Lists the rogues, or with `--run` prints the matrix; exit 1 where one is missed or misnamed."""
    parser = Parser(prog="trr-conformance rogues", description=main.__doc__)
    parser.add_argument("--run", action="store_true", help="run each against the suite and print the matrix")
    parser.add_argument("--target", action="append", help="only rogues of this target")
    parser.add_argument("--output", metavar="FILE", help="write the matrix there as JSON, and as HTML beside it")
    parser.add_argument("--whole", action="store_true", help="every test for every rogue")
    parser.add_argument("--schemathesis", action="store_true", help="and schemathesis alone, for comparison")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time")
    parser.add_argument("names", nargs="*", help="only these rogues; options of the suite as --option=value")
    options, suite_options = parser.parse_known_args(list(arguments))
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
    if options.schemathesis:
        alone = dict(baseline(chosen, options.jobs))
        rows = [replace(row, schemathesis=alone.get(row.name)) for row in rows]
        found, cases = sum(each.caught for each in alone.values()), sum(each.cases for each in alone.values())
        spent = sum(each.seconds for each in alone.values())
        print(f"schemathesis alone: {found} of {len(alone)} caught, {cases / max(spent, 1):.0f} cases/s, {spent:.0f} s")
    order = [rogue.name for rogue in chosen]
    rows.sort(key=lambda row: order.index(row.name))
    if options.output:
        path = Path(options.output)
        path.parent.mkdir(parents=True, exist_ok=True)
        table = [{key: value for key, value in asdict(row).items() if value is not None} for row in rows]
        path.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
        path.with_suffix(".html").write_text(html.matrix(table), encoding="utf-8")
    caught, named = sum(row.caught for row in rows), sum(row.named for row in rows)
    print(f"{len(rows)} rogues: {caught} caught, {named} named, {time.monotonic() - started:.0f} s")
    return 0 if caught == named == len(rows) else 1
