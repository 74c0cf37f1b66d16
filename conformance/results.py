"""From what happened in one test to its result for each of its clauses."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from conformance.errors import PremiseBroken, TargetBroken, Violation
from conformance.exchange import Exchange
from conformance.redaction import Redactor
from conformance.verdict import SHOULD, FailureDetail, Result, Verdict
from contracts import Clause


@dataclass(frozen=True)
class Claim:
    """That a test checks a clause, at a level that may be lower than the clause's own (an "S:" rider)."""

    clause: str
    level: str


def claims(item: pytest.Item, clauses: Mapping[str, Clause]) -> tuple[Claim, ...]:
    """The clauses of a test, by its `clause` markers: nearest first, each clause once."""
    found: dict[str, Claim] = {}
    for marker in item.iter_markers("clause"):
        for clause in marker.args:
            if clause not in clauses:
                raise pytest.UsageError(f"{item.nodeid}: {clause!r} is no clause of the contract")
            level = marker.kwargs.get("level", clauses[clause].level)
            found.setdefault(clause, Claim(clause, level))
    return tuple(found.values())


@dataclass(frozen=True)
class Judge:
    """What results need to know of the run."""

    clauses: Mapping[str, Clause]
    redactor: Redactor

    def results(
        self, nodeid: str, claimed: Sequence[Claim], error: BaseException | None, duration_s: float
    ) -> list[Result]:
        """One result per clause of the test, and one more where a premise broke another clause."""
        if error is None:
            return [Result(claim.clause, nodeid, Verdict.PASSED, claim.level, duration_s) for claim in claimed]
        violation = _find(error, Violation)
        if isinstance(violation, Violation):
            return self._violated(nodeid, claimed, violation, error, duration_s)
        reason = self.redactor.text(str(getattr(error, "message", None) or getattr(error, "msg", None) or error))
        verdict, crashed = Verdict.NOT_VERIFIED, False
        detail: FailureDetail | None = None
        extra: list[Result] = []
        if isinstance(error, PremiseBroken):
            clause = error.clause or claimed[0].clause
            level = self.clauses[clause].level
            broken = self._detail(level, error.message, error.expected, error.actual, error.exchange, nodeid)
            seen = Verdict.WARNED if level == SHOULD else Verdict.FAILED
            extra.append(Result(clause, nodeid, seen, level, duration_s, reason, broken, premise=True))
            reason = f"{clause} is broken already: {reason}"
        elif isinstance(error, TargetBroken):
            verdict = Verdict.ERROR
            detail = self._detail(claimed[0].level, reason, "a usable answer", reason, error.exchange, nodeid)
        elif not isinstance(error, pytest.skip.Exception):
            verdict, crashed = Verdict.ERROR, True
            reason = f"the harness crashed: {type(error).__name__}: {reason}"
            trace = self.redactor.text("".join(traceback.format_exception(error, limit=-5)))
            detail = self._detail(claimed[0].level, trace, None, reason, None, nodeid)
        own = [
            Result(claim.clause, nodeid, verdict, claim.level, duration_s, reason, detail, crashed=crashed)
            for claim in claimed
        ]
        return own + extra

    def _violated(
        self, nodeid: str, claimed: Sequence[Claim], violation: Violation, error: BaseException, duration_s: float
    ) -> list[Result]:
        clause = violation.clause or claimed[0].clause
        level = next((claim.level for claim in claimed if claim.clause == clause), self.clauses[clause].level)
        message = "\n".join([violation.message, *_notes(error, violation)])
        detail = self._detail(level, message, violation.expected, violation.actual, violation.exchange, nodeid)
        seen = Verdict.WARNED if level == SHOULD else Verdict.FAILED
        reason = self.redactor.text(violation.message)
        return [
            Result(clause, nodeid, seen, level, duration_s, reason, detail),
            *(
                Result(
                    claim.clause,
                    nodeid,
                    Verdict.NOT_VERIFIED,
                    claim.level,
                    duration_s,
                    f"{clause} failed first: {reason}",
                )
                for claim in claimed
                if claim.clause != clause
            ),
        ]

    def _detail(
        self, level: str, message: str, expected: Any, actual: Any, exchange: Exchange | None, nodeid: str
    ) -> FailureDetail:
        return FailureDetail(
            level=level,
            message=self.redactor.text(message),
            expected=self.redactor.value(expected),
            actual=self.redactor.value(actual),
            exchange=None if exchange is None else exchange.as_dict(self.redactor),
            reproduce=None if exchange is None else exchange.curl(self.redactor),
        )


def _find(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """The first error of a kind in an error or exception group (hypothesis groups what it saw once and not again)."""
    if isinstance(error, kind):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for inner in error.exceptions if (found := _find(inner, kind))), None)
    return None


def _notes(error: BaseException, violation: BaseException) -> Iterable[str]:
    """What hypothesis adds: the example that failed, and whether it failed again."""
    if error is not violation:
        yield "It was seen once and not again when the same steps were repeated: the target's answers vary."
    for note in (
        *getattr(violation, "__notes__", ()),
        *(getattr(error, "__notes__", ()) if error is not violation else ()),
    ):
        if "reproduce this" not in note:
            yield note


def as_text(result: Result, clause: Clause, replay: str) -> str:
    """A failure as a person reads it, fit to be pasted into a ticket for another team; `replay` repeats the run."""
    lines = [f"{clause.id} ({result.level}): {clause.statement}"]
    detail = result.failure
    if detail is None:
        lines.append(f"  {result.reason}")
    else:
        lines += [f"  {line}" for line in detail.message.splitlines()]
        if detail.expected is not None:
            lines.append(f"  expected: {detail.expected}")
        lines.append("  actual:   " + str(detail.actual).replace("\n", "\n            "))
        if detail.exchange is not None:
            lines += [f"  {line}" for line in _exchange_lines(detail.exchange)]
        if detail.reproduce is not None:
            lines.append(f"  by hand:  {detail.reproduce}")
    lines.append(f"  test:     {result.nodeid}")
    lines.append(f"  again:    trr-conformance run --clause {clause.id} {replay}, with the options of this run")
    return "\n".join(lines)


def _exchange_lines(exchange: dict[str, Any]) -> Iterable[str]:
    request, response = exchange["request"], exchange["response"]
    yield f"> {request['method']} {request['url']}"
    yield from (f"> {name}: {value}" for name, value in request["headers"].items())
    if request["body"] is not None:
        yield f"> {request['body'][:500]}"
    if response is None:
        yield "< no answer"
        return
    yield f"< {response['status']}"
    yield from (f"< {name}: {value}" for name, value in response["headers"].items())
    yield from (f"< {line}" for line in response["body"][:1000].splitlines()[:20])
