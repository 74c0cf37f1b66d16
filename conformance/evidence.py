"""`evidence.md`: what the rollout document's "Execution Evidence" section needs, ready to be pasted into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.html import NAMES
from conformance.verdict import ExitCode


def markdown(report: Mapping[str, Any]) -> str:
    """The evidence of a report in the form of `report.schema.json`, whose secrets are redacted already."""
    headline = ExitCode(report["exit_code"]).meaning.capitalize()
    lines = [
        f"# Execution evidence: {report['environment']}",
        "",
        f"**{headline}** (exit {report['exit_code']})",
        "",
        f"- When: {report['started_at']}, {report['duration_s']:.1f} s",
        *(f"- {name}: <{url}>" for name, url in report["targets"].items()),
        f"- trr-conformance {report['tool_version']}, contracts {report['contracts_version']}, seed {report['seed']}",
        "",
    ]
    for problem in report.get("problems", ()):
        lines += [f"> **{_inline(problem)}**", ""]
    for number, stage in enumerate(report.get("evidence", ()), 1):
        lines += [f"{number}. {_inline(stage['stage'])}:", *(f"   - {_inline(each)}" for each in stage["observed"])]
    if report.get("evidence"):
        lines.append("")
    for verdict, title in NAMES.items():
        clauses = [clause for clause in report["clauses"] if clause["verdict"] == verdict]
        if not clauses or verdict == "not_selected":
            continue
        lines += [f"## {title.capitalize()} ({len(clauses)})", ""]
        if verdict == "passed":
            lines += [", ".join(clause["id"] for clause in clauses), ""]
            continue
        lines += [f"- **{clause['id']}** {_inline(clause['statement'])} {_why(clause)}" for clause in clauses]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _why(clause: Mapping[str, Any]) -> str:
    return f"– {_inline(clause['reason'])}" if clause["reason"] else ""


def _inline(text: str) -> str:
    """A text on one line, whose own marks are no Markdown; what is quoted as code stays so."""
    line = " ".join(text.split())
    parts = line.split("`")
    if len(parts) % 2 == 0:  # an unpaired backtick is text
        return _escaped(line)
    return "`".join(part if number % 2 else _escaped(part) for number, part in enumerate(parts))


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\*_[]<>#|`" else letter for letter in text)
