"""The run's report: `report.json`, whose form is `contracts/schemas/report.schema.json`."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from conformance import __version__
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
        "clauses": [_clause(verdict) for verdict in judgement.clauses],
    }


def write(folder: Path, run: Run, judgement: Judgement, redactor: Redactor) -> None:
    """Writes `report.json` into the folder, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.json"
    draft = path.with_suffix(".json.part")
    report = redactor.value(as_dict(run, judgement))
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    # a lone surrogate from a body becomes the JSON escape that it came from
    draft.write_text(text, encoding="utf-8", errors="backslashreplace")
    draft.replace(path)
