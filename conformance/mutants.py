"""`make mutants`: what the suite makes of changes to the reference's code that nobody chose.

The mutants are made by cosmic-ray (`reference.mutation`); the suite is the judge. One that it does not kill is told
unless `survivors.toml` knows it, with the reason why nothing is missing. What was tried already is kept in the folder
and not tried again, so that a long run may be ended and taken up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance import bundled
from conformance.arguments import Parser
from conformance.forks import Forks, prefork, preload
from conformance.rogues import Trace, trace
from conformance.verdict import ExitCode

SURVIVORS = Path(__file__).with_name("survivors.toml")

_KILLED = (ExitCode.FAILED, ExitCode.TARGET_ERROR)


@dataclass(frozen=True)
class Mutant:
    """A mutant as the reference wrote it; `file` is what `--mutant` takes."""

    name: str
    target: str
    function: str
    diff: str
    file: Path

    @property
    def change(self) -> str:
        """What is changed, wherever it stands: the lines taken away and put in."""
        return "\n".join(line for line in self.diff.splitlines() if not line.startswith("@@"))


@dataclass(frozen=True)
class Trial:
    """The suite against a mutant, until its first failure."""

    mutant: Mutant
    options: tuple[str, ...]

    @property
    def label(self) -> str:
        """The mutant's name."""
        return self.mutant.name

    def run(self, place: Path) -> int:
        """Runs it; the report comes to lie in the folder."""
        from conformance import cli

        against = ("--target", self.mutant.target, "--mutant", str(self.mutant.file), "--strict", "-x")
        return cli.main(["run", *against, "--report-dir", str(place), *self.options])


def made(folder: Path, size: int, seed: int) -> list[Mutant]:
    """The sample of mutants, made in the folder where they are not there."""
    if not folder.is_dir():
        making = folder.with_name(f"{folder.name}.making")
        command = bundled.command(str(making), "--size", str(size), "--seed", str(seed), module="reference.mutation")
        subprocess.run(command, env=bundled.variables(), check=True)
        making.rename(folder)
    mutants = []
    for file in sorted(folder.glob("*.json")):
        written = json.loads(file.read_text(encoding="utf-8"))
        mutants.append(
            Mutant(written["name"], written["target"], written["function"], written["diff"], file.absolute())
        )
    return mutants


def tried(mutants: Sequence[Mutant], jobs: int) -> Iterator[dict[str, Any]]:
    """Runs the suite against each: its name, verdict, clauses that failed (or were not verified) and seconds.

    One is killed where a clause fails, or is not verified that is on the true reference.
    """
    preload()
    with prefork() as socket, tempfile.TemporaryDirectory(prefix="trr-mutants-") as temporary:
        folder = Path(temporary)
        quick = ("--profile", "quick", "--no-shrinking", "--prefork", socket)
        forks: Forks[Trial] = Forks(folder, jobs)
        traces = trace(sorted({mutant.target for mutant in mutants}), quick, folder, jobs)
        for mutant in mutants:
            traced = traces[mutant.target]
            tests = telling(mutant, traced)
            clauses = [clause for clause, its in traced.clauses.items() if not set(its).isdisjoint(tests)]
            selection = folder / f"{mutant.name}.json"
            selection.write_text(json.dumps(tests), encoding="utf-8")
            which = ("--tests", str(selection), "--require", ",".join(clauses))
            forks.waiting.append(Trial(mutant, ("-n", "0", *quick, *which)))
        for trial, report, seconds in forks.run():
            code = ExitCode.CRASHED if report is None else ExitCode(report["exit_code"])
            verdict = "killed" if code in _KILLED else "survived" if code is ExitCode.CONFORMING else code.name.lower()
            of = {each["id"]: each["verdict"] for each in (report or {}).get("clauses", ())}
            failed = [clause for clause, said in of.items() if said in ("failed", "warned")]
            clauses = failed or [clause for clause, said in of.items() if (verdict, said) == ("killed", "not_verified")]
            yield {"name": trial.mutant.name, "verdict": verdict, "clauses": clauses, "seconds": round(seconds, 2)}


def telling(mutant: Mutant, traced: Trace) -> list[str]:
    """The tests that can tell a mutant from the true reference: all, unless the trace knows who calls its function."""
    method = mutant.function.rpartition(".")[2]
    known = any(method in called for called in traced.methods.values())
    tests = {test for tests in traced.clauses.values() for test in tests}
    return sorted(test for test in tests if traced.tells(test, (method,) if known else None))


def known_survivors() -> Mapping[tuple[str, str], str]:
    """Why nothing is missing where a change survives: (function, change) → reason."""
    with SURVIVORS.open("rb") as file:
        listed = tomllib.load(file).get("survivor", [])
    return {(each["function"], each["change"].strip()): each["reason"] for each in listed}


def main(arguments: Sequence[str] | None = None) -> int:
    """Tries a fixed sample of mutants; exit 1 where one survives that `survivors.toml` does not know."""
    parser = Parser(prog="python -m conformance.mutants", description=main.__doc__)
    parser.add_argument(
        "--folder", type=Path, default=Path("build/mutants"), help="mutants and results (default: %(default)s)"
    )
    parser.add_argument("--size", type=int, default=300, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time")
    options = parser.parse_args(arguments)
    mutants = {each.name: each for each in made(options.folder, options.size, options.seed)}
    results = options.folder / "results.jsonl"
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    rows = {row["name"]: row for row in map(json.loads, lines) if row["name"] in mutants}
    left = [each for name, each in mutants.items() if name not in rows]
    for row in tried(left, options.jobs) if left else ():
        rows[row["name"]] = row
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{row['verdict']:<9} {row['name']:<52} {' '.join(row['clauses'][:6])}  {row['seconds']} s", flush=True)
    known = known_survivors()
    unknown = [
        mutants[name]
        for name, row in rows.items()
        if row["verdict"] != "killed" and (mutants[name].function, mutants[name].change.strip()) not in known
    ]
    for mutant in unknown:
        print(f"\nSURVIVED {mutant.name} in {mutant.function}\n{mutant.diff}")
    counts = Counter(row["verdict"] for row in rows.values())
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    print(f"{len(rows)} mutants: {told}; {len(unknown)} of them neither killed nor known")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
