"""From results to verdicts and an exit code: the order of the ones, the precedence of the others, and their laws."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.verdict import ExitCode, FailureDetail, Judgement, Result, Terms, Verdict, judge, worst_exit_code
from contracts import Clause

CLAUSES = {
    id: Clause(id=id, level=level, targets=("backend",), statement=f"{id} holds.")
    for id, level in (("A-01", "MUST"), ("A-02", "MUST"), ("B-01", "SHOULD"))
}
ALL = frozenset(CLAUSES)
ORDER = (
    Verdict.FAILED,
    Verdict.ERROR,
    Verdict.NOT_VERIFIED,
    Verdict.WARNED,
    Verdict.WAIVED,
    Verdict.PASSED,
)


def result(verdict: Verdict, clause: str = "A-01", **more: object) -> Result:
    reason = None if verdict is Verdict.PASSED else str(more.pop("reason", verdict.value))
    return Result(clause, "test_a", verdict, reason=reason, **more)  # type: ignore[arg-type]


def judged(*results: Result, selected: frozenset[str] = ALL, **terms: object) -> Judgement:
    return judge(CLAUSES, results, Terms(selected, **terms))  # type: ignore[arg-type]


def of(judgement: Judgement, clause: str = "A-01") -> Verdict:
    return next(verdict.verdict for verdict in judgement.clauses if verdict.clause.id == clause)


# --- one clause ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "worse, better", list(itertools.combinations_with_replacement(ORDER, 2)), ids=lambda verdict: verdict.value
)
def test_the_worse_of_two_results_counts(worse: Verdict, better: Verdict) -> None:
    for pair in ((worse, better), (better, worse)):
        assert of(judged(*map(result, pair))) is worse


def test_every_clause_is_listed_in_the_order_of_the_registry() -> None:
    judgement = judged(result(Verdict.PASSED, "B-01"), selected=frozenset({"B-01", "A-02"}))
    assert [(verdict.clause.id, verdict.verdict.value) for verdict in judgement.clauses] == [
        ("A-01", "not_selected"),
        ("A-02", "not_verified"),
        ("B-01", "passed"),
    ]


def test_a_clause_whose_tests_did_not_run_says_so() -> None:
    (verdict, *_) = judged().clauses
    assert (verdict.verdict, verdict.reason) == (Verdict.NOT_VERIFIED, "no test of this clause ran")


def test_a_skipped_test_among_passed_ones_is_no_pass() -> None:
    assert of(judged(result(Verdict.PASSED), result(Verdict.NOT_VERIFIED), result(Verdict.PASSED))) is (
        Verdict.NOT_VERIFIED
    )


def test_the_reason_is_the_first_and_how_many_more() -> None:
    reasons = ("one", "two", "one", "three")
    (verdict, *_) = judged(*(result(Verdict.FAILED, reason=reason) for reason in reasons)).clauses
    assert verdict.reason == "one (and 2 more)"
    assert len(verdict.results) == 4


def test_every_key_that_is_missing_is_told() -> None:
    reasons = ("credentials.jwt_secret is not set", "429", "purge is not set", "purge is not set")
    (verdict, *_) = judged(*(result(Verdict.NOT_VERIFIED, reason=reason) for reason in reasons)).clauses
    assert verdict.reason == "credentials.jwt_secret is not set; purge is not set (and 1 more)"


def test_a_passed_clause_has_no_reason() -> None:
    assert judged(result(Verdict.PASSED)).clauses[0].reason is None


# --- exit code -------------------------------------------------------------------------------------------------------

PRECEDENCE = (7, 3, 2, 4, 1, 6, 5, 0)


@pytest.mark.parametrize("count", range(len(PRECEDENCE) + 1))
def test_of_several_exit_codes_the_first_in_order_counts(count: int) -> None:
    for codes in itertools.permutations(PRECEDENCE, min(count, 3)):
        assert worst_exit_code(codes) == min(codes, key=PRECEDENCE.index, default=0)


PASSED, FAILED, WARNED = result(Verdict.PASSED), result(Verdict.FAILED), result(Verdict.WARNED)
ERROR, NOT_VERIFIED = result(Verdict.ERROR), result(Verdict.NOT_VERIFIED)
CRASHED = result(Verdict.ERROR, crashed=True)
OTHER_PASSED, OTHER_FAILED = result(Verdict.PASSED, "A-02"), result(Verdict.FAILED, "A-02")
WAIVER = {"A-01": "known (ana, until 2026-03-01)"}
ONLY = frozenset({"A-01"})

EXITS: dict[str, tuple[Judgement, int, str]] = {
    "passed": (judged(PASSED), 0, "conforming"),
    "failed": (judged(FAILED, OTHER_PASSED), 1, "failed"),
    "warned": (judged(WARNED, selected=ONLY), 0, "conforming"),
    "warned, the rest not verified": (judged(WARNED), 5, "nothing_verified"),
    "warned, another passed, the rest not verified": (
        judged(WARNED, OTHER_PASSED),
        0,
        "conforming",
    ),
    "warned, strict": (judged(WARNED, strict=True), 1, "failed"),
    "passed, strict": (judged(PASSED, strict=True), 0, "conforming"),
    "error": (judged(ERROR, OTHER_PASSED), 6, "error"),
    "crashed": (judged(CRASHED, OTHER_PASSED), 3, "error"),
    "error and failed": (judged(ERROR, OTHER_FAILED), 1, "failed"),
    "crashed and failed": (judged(CRASHED, OTHER_FAILED), 3, "error"),
    "not verified": (judged(NOT_VERIFIED), 5, "nothing_verified"),
    "not verified, another passed": (judged(NOT_VERIFIED, OTHER_PASSED), 0, "conforming"),
    "error alone": (judged(ERROR), 6, "error"),
    "no results": (judged(), 5, "nothing_verified"),
    "nothing selected": (judged(selected=frozenset()), 5, "nothing_verified"),
    "required and passed": (judged(PASSED, required=ONLY), 0, "conforming"),
    "required and warned": (judged(WARNED, selected=ONLY, required=ONLY), 0, "conforming"),
    "required and not verified": (judged(NOT_VERIFIED, OTHER_PASSED, required=ONLY), 1, "failed"),
    "required and not verified, nothing else": (judged(NOT_VERIFIED, required=ONLY), 1, "failed"),
    "required and error": (judged(ERROR, required=ONLY), 1, "failed"),
    "required and waived": (judged(FAILED, required=ONLY, waived=WAIVER), 0, "conforming"),
    "required and not selected": (judged(OTHER_PASSED, required=ONLY, selected=frozenset({"A-02"})), 1, "failed"),
    "waived": (judged(FAILED, waived=WAIVER), 0, "conforming"),
    "warning waived": (judged(WARNED, waived=WAIVER, strict=True), 0, "conforming"),
    "waived, another failed": (judged(FAILED, OTHER_FAILED, waived=WAIVER), 1, "failed"),
    "waiver unneeded": (judged(PASSED, waived=WAIVER), 1, "failed"),
    "waiver of what was not verified": (judged(NOT_VERIFIED, OTHER_PASSED, waived=WAIVER), 0, "conforming"),
    "waiver of what was not selected": (
        judged(OTHER_PASSED, waived=WAIVER, selected=frozenset({"A-02"})),
        0,
        "conforming",
    ),
    "waiver does not excuse an error": (judged(ERROR, OTHER_PASSED, waived=WAIVER), 6, "error"),
    "waiver does not excuse a crash": (judged(CRASHED, waived=WAIVER), 3, "error"),
    "waiver expired": (judged(PASSED, waiver_problems=("A-01: the waiver of ana expired",)), 1, "failed"),
    "unreachable": (judged(ERROR, codes=(ExitCode.TARGET_ERROR,)), 6, "error"),
    "interrupted after a failure": (judged(FAILED, codes=(ExitCode.INTERRUPTED,)), 2, "error"),
    "not restored after all that": (
        judged(FAILED, CRASHED, codes=(ExitCode.INTERRUPTED, ExitCode.NOT_RESTORED)),
        7,
        "error",
    ),
    "usage": (judged(codes=(ExitCode.USAGE,)), 4, "error"),
}


@pytest.mark.parametrize("judgement, exit_code, verdict", EXITS.values(), ids=EXITS)
def test_the_exit_code_is(judgement: Judgement, exit_code: int, verdict: str) -> None:
    assert (judgement.exit_code, judgement.verdict) == (exit_code, verdict)


def test_what_is_required_and_missing_is_named() -> None:
    judgement = judged(PASSED, required=frozenset({"B-01", "A-02", "A-01"}))
    assert judgement.problems == ("--require is not met: not verified: A-02, B-01",)


def test_a_waiver_that_is_not_needed_is_named() -> None:
    assert judged(PASSED, waived=WAIVER).problems == (
        "A-01: the waiver is not needed any more, the clause passed: take it out",
    )


def test_a_waived_clause_says_why() -> None:
    assert judged(FAILED, waived=WAIVER).clauses[0].reason == "waived: known (ana, until 2026-03-01)"


# --- premises --------------------------------------------------------------------------------------------------------

ON_THE_WAY = result(Verdict.FAILED, "A-02", premise=True)


def test_a_broken_premise_counts_where_nothing_failed_by_a_check_of_its_own() -> None:
    judgement = judged(NOT_VERIFIED, ON_THE_WAY)
    assert of(judgement, "A-02") is Verdict.FAILED
    assert judgement.exit_code == 1


def test_a_broken_premise_is_the_consequence_where_something_did() -> None:
    judgement = judged(FAILED, result(Verdict.PASSED, "A-02"), ON_THE_WAY)
    assert of(judgement, "A-02") is Verdict.PASSED
    assert judgement.exit_code == 1


@pytest.mark.parametrize("other", [PASSED, WARNED, ERROR, NOT_VERIFIED], ids=lambda other: other.verdict.value)
def test_only_a_failure_explains_a_broken_premise(other: Result) -> None:
    assert judged(other, ON_THE_WAY).exit_code == 1


# --- properties ------------------------------------------------------------------------------------------------------

results = st.builds(
    lambda clause, verdict, premise, crashed: Result(
        clause,
        "test_a",
        verdict,
        reason=None if verdict is Verdict.PASSED else "why",
        premise=premise and verdict in (Verdict.FAILED, Verdict.WARNED),
        crashed=crashed and verdict is Verdict.ERROR,
    ),
    st.sampled_from(tuple(CLAUSES)),
    st.sampled_from((Verdict.PASSED, Verdict.FAILED, Verdict.WARNED, Verdict.NOT_VERIFIED, Verdict.ERROR)),
    st.booleans(),
    st.booleans(),
)
some_clauses = st.sets(st.sampled_from(tuple(CLAUSES))).map(frozenset)
all_terms = st.builds(
    Terms,
    selected=some_clauses,
    required=some_clauses,
    strict=st.booleans(),
    waived=some_clauses.map(lambda ids: dict.fromkeys(ids, "known")),
    waiver_problems=st.sampled_from(((), ("expired",))),
    codes=st.lists(st.sampled_from(tuple(ExitCode)), max_size=2).map(tuple),
)
runs = st.tuples(st.lists(results, max_size=6), all_terms)


@given(runs, st.sampled_from(tuple(CLAUSES)))
def test_one_more_failure_is_never_green(run: tuple[list[Result], Terms], clause: str) -> None:
    others, terms = run
    terms = replace(terms, waived={waived: reason for waived, reason in terms.waived.items() if waived != clause})
    assert judge(CLAUSES, [*others, result(Verdict.FAILED, clause)], terms).exit_code is not ExitCode.CONFORMING


@given(runs, st.sampled_from(tuple(CLAUSES)))
def test_not_even_a_failure_met_on_the_way_is_lost(run: tuple[list[Result], Terms], clause: str) -> None:
    others, terms = run
    found = [*others, result(Verdict.FAILED, clause, premise=True)]
    assert judge(CLAUSES, found, replace(terms, waived={})).exit_code is not ExitCode.CONFORMING


@given(runs, st.randoms(use_true_random=False))
def test_the_order_of_results_does_not_matter(run: tuple[list[Result], Terms], random: object) -> None:
    found, terms = run
    shuffled = found[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = judge(CLAUSES, found, terms), judge(CLAUSES, shuffled, terms)
    assert first.exit_code is second.exit_code
    assert [v.verdict for v in first.clauses] == [v.verdict for v in second.clauses]


@given(runs)
def test_green_means_that_something_was_verified(run: tuple[list[Result], Terms]) -> None:
    found, terms = run
    judgement = judge(CLAUSES, found, terms)
    if judgement.exit_code is ExitCode.CONFORMING:
        assert judgement.having(Verdict.PASSED, Verdict.WARNED, Verdict.WAIVED)
        assert not judgement.having(Verdict.FAILED, Verdict.ERROR)
        assert not (terms.strict and judgement.having(Verdict.WARNED))
        assert not {v.clause.id for v in judgement.having(Verdict.NOT_VERIFIED)} & terms.required


@given(runs)
def test_a_passed_clause_has_only_passed_results(run: tuple[list[Result], Terms]) -> None:
    found, terms = run
    for verdict in judge(CLAUSES, found, terms).having(Verdict.PASSED):
        assert verdict.results
        assert all(each.verdict is Verdict.PASSED for each in verdict.results)


@given(runs)
def test_what_is_not_green_says_why(run: tuple[list[Result], Terms]) -> None:
    found, terms = run
    judgement = judge(CLAUSES, found, terms)
    for verdict in judgement.clauses:
        assert verdict.verdict in (Verdict.PASSED, Verdict.NOT_SELECTED) or verdict.reason


detail = FailureDetail("MUST", "message", {"a": 1}, [1], {"request": {}, "response": None}, "curl")


@given(results, st.sampled_from((None, detail)))
def test_a_result_travels_from_a_worker_unchanged(result: Result, detail: FailureDetail | None) -> None:
    sent = replace(result, failure=detail)
    assert Result.from_dict(sent.as_dict()) == sent
