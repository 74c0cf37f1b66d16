"""Changes for people, for programs, and as annotations of a pull request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from conformance.compat import openapi
from conformance.compat.openapi import Finding
from conformance.compat.policy import Outcome
from conformance.compat.schemas import Change, Comparison, Verdict
from conformance.compat.witness import MISSING

_MAX_PAYLOAD: Final = 400
_MAX_CLAUSES: Final = 6
_LEVELS: Final = {Verdict.BREAKING: "error", Verdict.UNPROVEN: "warning", Verdict.COMPATIBLE: "notice"}


def payload(witness: Any) -> str:
    """A witness on one line, cut where it is long."""
    text = json.dumps(witness, ensure_ascii=False)
    return text if len(text) <= _MAX_PAYLOAD else f"{text[:_MAX_PAYLOAD]}… ({len(text)} characters)"


def change_line(change: Change) -> str:
    """A change of a schema in one line."""
    shown = "" if change.witness is MISSING else f"; payload {payload(change.witness)}"
    return f"{change.verdict:<10} {change.rule} at {change.path or '/'}: {change.message}{shown}"


def comparison_text(comparison: Comparison) -> str:
    """The text of `contracts diff-schema`."""
    return "\n".join([*map(change_line, comparison.changes), comparison.verdict.value])


def line(finding: Finding) -> str:
    """A change in one line: what breaks, for whom, with which payload."""
    change = finding.change
    name = finding.operation_id or finding.operation
    who = f" for {', '.join(finding.consumers)}" if finding.consumers else ""
    listed = [*finding.clauses[:_MAX_CLAUSES], *(["…"] if finding.clauses[_MAX_CLAUSES:] else [])]
    clauses = f" ({', '.join(listed)})" if listed else ""
    at = f" {change.path}" if change.path else ""
    shown = "" if change.witness is MISSING else f"; payload {payload(change.witness)}"
    where = f"{name}, {finding.where}{at}"
    return f"{change.verdict.value}{who}: {where}: {change.message} [{change.rule}]{clauses}{shown}"


def diff_text(findings: Sequence[Finding], outcome: Outcome, base: str, version: str) -> str:
    """The text of `contracts diff`."""
    lines = []
    for finding in findings:
        mark = " accepted" if finding.fingerprint in outcome.accepted else ""
        shown = "" if finding.change.verdict is Verdict.COMPATIBLE else f" #{finding.fingerprint}{mark}"
        lines.append(f"{line(finding)}{shown}")
    counts = ", ".join(
        f"{sum(finding.change.verdict is verdict for finding in findings)} {verdict}" for verdict in Verdict
    )
    return "\n".join([*lines, f"{base} → {version}: {counts}", *outcome.problems])


def diff_json(findings: Sequence[Finding], outcome: Outcome, base: str, version: str) -> dict[str, Any]:
    """The form of `contracts diff --json`."""
    return {
        "base": base,
        "version": version,
        "verdict": worst(findings).value,
        "changes": [{**finding.as_json(), "accepted": finding.fingerprint in outcome.accepted} for finding in findings],
        "problems": list(outcome.problems),
    }


def worst(findings: Sequence[Finding]) -> Verdict:
    """The verdict of all together."""
    verdicts = {finding.change.verdict for finding in findings}
    return next(
        (verdict for verdict in (Verdict.BREAKING, Verdict.UNPROVEN) if verdict in verdicts), Verdict.COMPATIBLE
    )


def drift_text(findings: Sequence[Finding]) -> str:
    """The text of `drift`: what is promised less, what may be, and in one line what only one side states."""
    less = [finding for finding in findings if finding.change.verdict is Verdict.BREAKING]
    finer = [finding for finding in findings if openapi.is_finer(finding.change)]
    open_ = [one for one in findings if one.change.verdict is Verdict.UNPROVEN and one not in finer]
    lines = [f"promises less: {line(finding).removeprefix('breaking').lstrip(': ')}" for finding in less]
    lines += [f"may promise less: {line(finding).removeprefix('unproven').lstrip(': ')}" for finding in open_]
    if finer:
        lines.append(f"{len(finer)} bounds, patterns or formats are stated on one side only (--json lists them)")
    if less:
        lines.append(f"the document promises less than the contract in {len(less)} places")
    else:
        lines.append("the document promises no less than the contract")
    return "\n".join(lines)


def drift_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """The form of `drift --json`; `finer` are bounds, patterns and formats that only one side states."""
    finer = [finding for finding in findings if openapi.is_finer(finding.change)]
    coarse = [finding for finding in findings if finding not in finer]
    return {
        "verdict": worst(coarse).value,
        "changes": [finding.as_json() for finding in coarse],
        "finer": [finding.as_json() for finding in finer],
    }


def workflow_commands(findings: Sequence[Finding], outcome: Outcome | None, folder: Path) -> Iterator[str]:
    """GitHub workflow commands, each at the line that it is about: in the contracts' folder, or in a document."""
    for finding in findings:
        accepted = outcome is not None and finding.fingerprint in outcome.accepted
        level = "notice" if accepted else _LEVELS[finding.change.verdict]
        file, number = _place(finding, folder)
        place = f"file={_property(file)},line={number},title={_property(finding.change.rule)}"
        yield f"::{level} {place}::{_data(line(finding))}"
    for problem in outcome.problems if outcome is not None else ():
        yield f"::error file={_property(str(folder / 'VERSION'))},line=1,title=version::{_data(problem)}"


def _place(finding: Finding, folder: Path) -> tuple[str, int]:
    """The file and line where somebody would look for what changed."""
    if not folder.is_dir():
        return str(folder), _find(folder, f'"{finding.change.name}"') if folder.is_file() else 1
    schema = folder / "schemas" / f"{finding.schema}.schema.json"
    if finding.schema is not None and schema.is_file():
        name = finding.change.name
        return str(schema), _find(schema, f'"{name}"') if name else 1
    for path in sorted((folder / "openapi").glob("*.yaml")):
        number = _find(path, f"operationId: {finding.operation_id}")
        if number > 1:
            return str(path), number
    return str(folder / "VERSION"), 1


def _find(path: Path, text: str) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((number for number, one in enumerate(lines, 1) if text in one), 1)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
