"""From the results of single tests to one verdict per clause and the exit code of the run. Pure functions over data."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from contracts import Clause

MUST, SHOULD = "MUST", "SHOULD"


class Verdict(enum.StrEnum):
    """What a run knows of a clause, or of a clause in one test."""

    PASSED = "passed"
    FAILED = "failed"
    WARNED = "warned"
    NOT_VERIFIED = "not_verified"
    WAIVED = "waived"
    ERROR = "error"
    NOT_SELECTED = "not_selected"


_WORST_FIRST = (
    Verdict.FAILED,
    Verdict.ERROR,
    Verdict.NOT_VERIFIED,
    Verdict.WARNED,
    Verdict.WAIVED,
    Verdict.PASSED,
)


class ExitCode(enum.IntEnum):
    """The exit code of a run, as fixed in the design."""

    CONFORMING = 0
    FAILED = 1
    INTERRUPTED = 2
    CRASHED = 3
    USAGE = 4
    NOTHING_VERIFIED = 5
    TARGET_ERROR = 6
    NOT_RESTORED = 7

    @property
    def meaning(self) -> str:
        """What a run says that ends with it."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.CONFORMING: "conforming",
    ExitCode.FAILED: "not conforming",
    ExitCode.INTERRUPTED: "interrupted: no verdict",
    ExitCode.CRASHED: "the harness crashed: no verdict",
    ExitCode.USAGE: "usage error: no verdict",
    ExitCode.NOTHING_VERIFIED: "nothing was verified: no verdict",
    ExitCode.TARGET_ERROR: "the target could not be reached or broke the protocol: no verdict",
    ExitCode.NOT_RESTORED: "something on a live system could not be put back",
}

_PRECEDENCE = (
    ExitCode.NOT_RESTORED,
    ExitCode.CRASHED,
    ExitCode.INTERRUPTED,
    ExitCode.USAGE,
    ExitCode.FAILED,
    ExitCode.TARGET_ERROR,
    ExitCode.NOTHING_VERIFIED,
)


def worst_exit_code(codes: Iterable[int]) -> ExitCode:
    """The one that counts where several hold: 7, 3, 2, 4, 1, 6, 5, else 0."""
    held = set(codes)
    return next((code for code in _PRECEDENCE if code in held), ExitCode.CONFORMING)


@dataclass(frozen=True)
class FailureDetail:
    """What another team needs to see of a failure; every text in it is redacted."""

    level: str
    message: str
    expected: Any
    actual: Any
    exchange: dict[str, Any] | None
    reproduce: str | None


@dataclass(frozen=True)
class Result:
    """What one test says of one clause. `reason` is there for everything but a pass."""

    clause: str
    nodeid: str
    verdict: Verdict
    level: str = MUST
    duration_s: float = 0.0
    reason: str | None = None
    failure: FailureDetail | None = None
    premise: bool = False
    """The failure was met in a step that prepares the check of another clause."""
    crashed: bool = False
    """An error of the harness, not of the target."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-like, to travel from an xdist worker."""
        return {**asdict(self), "verdict": self.verdict.value}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Result:
        """The inverse of `as_dict`."""
        detail = data["failure"]
        return Result(
            **{
                **data,
                "verdict": Verdict(data["verdict"]),
                "failure": None if detail is None else FailureDetail(**detail),
            }
        )


@dataclass(frozen=True)
class ClauseVerdict:
    """One clause of the registry with its verdict, the reason, and the tests that it rests on."""

    clause: Clause
    verdict: Verdict
    reason: str | None = None
    results: tuple[Result, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """The verdicts of a run and what they mean for its exit code."""

    clauses: tuple[ClauseVerdict, ...]
    exit_code: ExitCode
    problems: tuple[str, ...] = ()
    """Reasons for the exit code that are no clause's: an unmet requirement, an unneeded waiver, a crash."""

    def having(self, *verdicts: Verdict) -> tuple[ClauseVerdict, ...]:
        """The clauses with one of these verdicts, in the registry's order."""
        return tuple(clause for clause in self.clauses if clause.verdict in verdicts)

    @property
    def verdict(self) -> str:
        """The run's verdict as report.json words it."""
        match self.exit_code:
            case ExitCode.CONFORMING:
                return "conforming"
            case ExitCode.FAILED:
                return "failed"
            case ExitCode.NOTHING_VERIFIED:
                return "nothing_verified"
            case _:
                return "error"


@dataclass(frozen=True)
class Terms:
    """Under which terms a run is judged."""

    selected: frozenset[str]
    """Ids of the clauses that the run was asked to check."""
    required: frozenset[str] = frozenset()
    strict: bool = False
    waived: Mapping[str, str] = field(default_factory=dict)
    """Clause id → reason, of the waivers in force."""
    waiver_problems: tuple[str, ...] = ()
    codes: tuple[ExitCode, ...] = ()
    """Exit codes that are already certain: interrupted, crashed, unreachable …"""
    problems: tuple[str, ...] = ()


def _promote_premises(results: Sequence[Result], waived: Collection[str]) -> list[Result]:
    """Drops the failures met in premises where they say nothing new, else they stand, so that none is lost.

    They say nothing new of a clause that failed in a check of its own, and where another clause failed anyway.
    """
    own = {result.clause for result in results if result.verdict is Verdict.FAILED and not result.premise}
    told = own if own <= set(waived) else {result.clause for result in results}
    return [result for result in results if not (result.premise and result.clause in told)]


def _waive(result: Result, waived: Mapping[str, str]) -> Result:
    if result.verdict in (Verdict.FAILED, Verdict.WARNED) and result.clause in waived:
        return replace(result, verdict=Verdict.WAIVED, reason=f"waived: {waived[result.clause]}")
    return result


def _judge_clause(clause: Clause, results: Sequence[Result], selected: bool) -> ClauseVerdict:
    for verdict in _WORST_FIRST:
        reasons = [result.reason for result in results if result.verdict is verdict]
        if reasons:
            distinct = list(dict.fromkeys(reason for reason in reasons if reason))
            # whoever sets one key and runs again should not be told of the next
            told = [reason for reason in distinct if reason.endswith(" is not set")] or distinct[:1]
            more = f" (and {len(distinct) - len(told)} more)" if len(distinct) > len(told) else ""
            return ClauseVerdict(clause, verdict, "; ".join(told) + more if distinct else None, tuple(results))
    if selected:
        return ClauseVerdict(clause, Verdict.NOT_VERIFIED, "no test of this clause ran")
    return ClauseVerdict(clause, Verdict.NOT_SELECTED)


def _anything_verified(verdicts: Set[Verdict]) -> bool:
    """Whether a run says anything of its target: a warning alone does not where other clauses could not be verified."""
    if verdicts & {Verdict.PASSED, Verdict.FAILED, Verdict.WAIVED}:
        return True
    return Verdict.WARNED in verdicts and Verdict.NOT_VERIFIED not in verdicts


def judge(clauses: Mapping[str, Clause], results: Iterable[Result], terms: Terms) -> Judgement:
    """One verdict per clause of the registry, and the exit code of the run."""
    by_clause: dict[str, list[Result]] = {clause: [] for clause in clauses}
    for result in _promote_premises(list(results), terms.waived):
        by_clause[result.clause].append(_waive(result, terms.waived))
    verdicts = tuple(
        _judge_clause(clause, by_clause[clause.id], clause.id in terms.selected) for clause in clauses.values()
    )
    codes, problems = list(terms.codes), [*terms.problems, *terms.waiver_problems]
    of = {verdict.clause.id: verdict.verdict for verdict in verdicts}

    if any(result.crashed for group in by_clause.values() for result in group):
        codes.append(ExitCode.CRASHED)
    failing = {Verdict.FAILED, Verdict.WARNED} if terms.strict else {Verdict.FAILED}
    if any(verdict in failing for verdict in of.values()) or terms.waiver_problems:
        codes.append(ExitCode.FAILED)
    unneeded = [clause for clause in terms.waived if of[clause] is Verdict.PASSED]
    problems += [f"{clause}: the waiver is not needed any more, the clause passed: take it out" for clause in unneeded]
    unmet = [
        clause
        for clause in sorted(terms.required)
        if of[clause] not in (Verdict.PASSED, Verdict.WARNED, Verdict.WAIVED)
    ]
    if unmet:
        problems.append(f"--require is not met: not verified: {', '.join(unmet)}")
    if unneeded or unmet:
        codes.append(ExitCode.FAILED)
    if any(verdict is Verdict.ERROR for verdict in of.values()):
        codes.append(ExitCode.TARGET_ERROR)
    if not _anything_verified(set(of.values())):
        codes.append(ExitCode.NOTHING_VERIFIED)
    return Judgement(verdicts, worst_exit_code(codes), tuple(problems))
