"""The terminal summary: first what failed and what was not verified, then the rest in one line each kind."""

from __future__ import annotations

from collections import defaultdict

import pytest

from conformance.redaction import Redactor
from conformance.report import Run
from conformance.results import as_text
from conformance.verdict import ClauseVerdict, ExitCode, Judgement, Verdict


def summarize(out: pytest.TerminalReporter, run: Run, judgement: Judgement, replay: str, redactor: Redactor) -> None:
    """Writes the verdicts of a run."""

    def line(text: str = "", **markup: bool) -> None:
        out.write_line(redactor.text(text), **markup)

    out.section("conformance")
    for verdict, title, colour in (
        (Verdict.FAILED, "FAILED", "red"),
        (Verdict.ERROR, "ERROR", "red"),
        (Verdict.WARNED, "WARNED", "yellow"),
    ):
        for clause in judgement.having(verdict):
            if any(result.verdict is verdict and result.failure for result in clause.results):
                line(f"{title} {_told(clause, verdict, replay)}", **{colour: True})
                line()
    for verdict, title in ((Verdict.ERROR, "ERROR"), (Verdict.NOT_VERIFIED, "NOT VERIFIED")):
        by_reason: defaultdict[str, list[str]] = defaultdict(list)
        for clause in judgement.having(verdict):
            if not any(result.verdict is verdict and result.failure for result in clause.results):
                by_reason[clause.reason or "no reason"].append(clause.clause.id)
        if by_reason:
            line(title, yellow=True, bold=True)
            for reason, ids in by_reason.items():
                line(f"  {', '.join(ids)}: {reason}", yellow=True)
            line()
    for clause in judgement.having(Verdict.WAIVED):
        line(f"WAIVED {clause.clause.id}: {clause.reason}", yellow=True)
    passed = judgement.having(Verdict.PASSED)
    if passed:
        line(f"passed: {' '.join(clause.clause.id for clause in passed)}", green=True)
    for problem in judgement.problems:
        line(f"PROBLEM {problem}", red=True, bold=judgement.exit_code is ExitCode.NOT_RESTORED)
    counts = ", ".join(
        f"{len(judgement.having(verdict))} {verdict.value.replace('_', ' ')}"
        for verdict in Verdict
        if judgement.having(verdict)
    )
    where = ", ".join(f"{name} {url}" for name, url in run.targets.items())
    line(f"{run.environment} ({where}), contracts {run.contracts_version}, {replay}")
    good = judgement.exit_code is ExitCode.CONFORMING
    meaning = judgement.exit_code.meaning
    line(
        f"{meaning if good else meaning.upper()}: {counts} (exit {int(judgement.exit_code)})",
        bold=True,
        green=good,
        red=not good,
    )


def _told(clause: ClauseVerdict, verdict: Verdict, replay: str) -> str:
    """The first failure whole, the other tests that saw the same clause by name."""
    results = [result for result in clause.results if result.verdict is verdict]
    others = [f"  also in:  {result.nodeid}" for result in results[1:]]
    return "\n".join([as_text(results[0], clause.clause, replay), *others[:5], *(["  …"] if len(others) > 5 else [])])
