"""The run's report: `report.json`, whose form is `contracts/schemas/report.schema.json`, and what is made of it."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import contracts
from conformance import __version__, evidence, html
from conformance.arguments import Parser
from conformance.errors import UsageError
from conformance.redaction import Redactor
from conformance.verdict import ClauseVerdict, Judgement, Verdict

SCHEMA_VERSION = "1.0.0"


@dataclass(frozen=True)
class Run:
    """What a report says about the run itself."""

    contracts_version: str
    environment: str
    targets: Mapping[str, str]
    """Target name → base URL."""
    started_at: datetime.datetime
    duration_s: float
    seed: int
    profile: str
    evidence: Sequence[tuple[str, str]] = ()
    """What smoke checks saw, in their order: (what was looked at, what came)."""


def _clause(verdict: ClauseVerdict) -> dict[str, Any]:
    return {
        "id": verdict.clause.id,
        "level": verdict.clause.level,
        "statement": verdict.clause.statement,
        "verdict": verdict.verdict.value,
        "reason": None if verdict.verdict is Verdict.PASSED else verdict.reason,
        "tests": [
            {"nodeid": result.nodeid, "outcome": result.verdict.value, "duration_s": round(result.duration_s, 4)}
            for result in verdict.results
        ],
        "failures": [asdict(result.failure) for result in verdict.results if result.failure is not None],
    }


def as_dict(run: Run, judgement: Judgement) -> dict[str, Any]:
    """The report, with every clause of the registry in the registry's order."""
    stages: dict[str, list[str]] = {}
    for stage, observed in run.evidence:
        stages.setdefault(stage, []).append(observed)
    more: dict[str, Any] = {}
    if judgement.problems:
        more["problems"] = list(judgement.problems)
    if stages:
        more["evidence"] = [{"stage": stage, "observed": observed} for stage, observed in stages.items()]
    return {
        "schema_version": SCHEMA_VERSION,
        "tool_version": __version__,
        "contracts_version": run.contracts_version,
        "environment": run.environment,
        "targets": dict(run.targets),
        "started_at": run.started_at.isoformat(),
        "duration_s": round(run.duration_s, 3),
        "exit_code": int(judgement.exit_code),
        "verdict": judgement.verdict,
        "seed": run.seed,
        "profile": run.profile,
        **more,
        "clauses": [_clause(verdict) for verdict in judgement.clauses],
    }


def write(folder: Path, run: Run, judgement: Judgement, redactor: Redactor) -> None:
    """Writes `report.json`, `report.html` and `evidence.md` into the folder, each whole or not at all."""
    report = redactor.value(as_dict(run, judgement))
    _write(folder / "report.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    render(folder, report)


def render(folder: Path, report: Mapping[str, Any]) -> None:
    """Writes `report.html` and `evidence.md` of a report into the folder."""
    _write(folder / "report.html", html.page(report))
    _write(folder / "evidence.md", evidence.markdown(report))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.part")
    # a lone surrogate from a body becomes the JSON escape that it came from
    draft.write_text(text, encoding="utf-8", errors="backslashreplace")
    draft.replace(path)


def read(path: Path) -> dict[str, Any]:
    """A `report.json`; raises UsageError where the file is none."""
    try:
        report = json.loads(path.read_bytes())
        if error := next(contracts.load().validator("report").iter_errors(report), None):
            raise ValueError(f"{error.json_path}: {error.message}")
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is no report: {' '.join(str(error).split())[:300]}") from None
    return cast(dict[str, Any], report)


def failed_tests(report: Mapping[str, Any]) -> frozenset[str]:
    """The tests of a report that failed, warned, or saw the target or the harness break."""
    ill = ("failed", "warned", "error", "waived")
    return frozenset(
        test["nodeid"] for clause in report["clauses"] for test in clause["tests"] if test["outcome"] in ill
    )


def main(arguments: Sequence[str]) -> int:
    """Makes `report.html` and `evidence.md` anew from a folder's `report.json`; 4 where there is none."""
    parser = Parser(prog="trr-conformance report", description=main.__doc__)
    parser.add_argument("folder", metavar="DIR", type=Path, help="where report.json is")
    folder = parser.parse_args(list(arguments)).folder
    try:
        render(folder, read(folder / "report.json"))
    except (UsageError, OSError) as error:
        print(f"trr-conformance report: {error}", file=sys.stderr)
        return 4
    print(f"{folder / 'report.html'}\n{folder / 'evidence.md'}")
    return 0
