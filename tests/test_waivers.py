"""A waivers file holds for its time and no longer; whatever is wrong with one is a line that names it."""

from __future__ import annotations

import contextlib
import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import contracts
from conformance.errors import UsageError
from conformance.verdict import Result, Terms, Verdict, judge
from conformance.waivers import DRAFT_DAYS, Waiver, draft, in_force, read

CLAUSES = contracts.load().clauses
TODAY = datetime.date(2026, 2, 6)
ONE = '[[waiver]]\nclause = "TOG-04"\nreason = "known"\nowner = "ana"\nexpires = 2026-03-01\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "waivers.toml"


def test_reads_what_the_contract_says(path: Path) -> None:
    path.write_text(ONE)
    assert read(path, CLAUSES) == (Waiver("TOG-04", "known", "ana", datetime.date(2026, 3, 1)),)


@pytest.mark.parametrize("expires", ["2026-03-01", '"2026-03-01"', "2026-03-01T12:00:00Z", "2026-03-01T12:00:00"])
def test_a_date_may_be_written_in_each_way_of_toml(path: Path, expires: str) -> None:
    path.write_text(ONE.replace("2026-03-01", expires))
    assert read(path, CLAUSES)[0].expires == datetime.date(2026, 3, 1)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "waiver = []"])
def test_no_waivers_are_none(path: Path, text: str) -> None:
    path.write_text(text)
    assert read(path, CLAUSES) == ()


WRONG = {
    "not TOML": ("[[waiver", "is not TOML"),
    "too many digits": ("a = " + "9" * 5000, "is not TOML"),
    "unknown table": ("[[waivers]]", "waivers: unknown key (known: waiver)"),
    "not a list": ("[waiver]", "waiver: must be a list of [[waiver]] tables"),
    "not a table": ("waiver = [1]", "waiver 1: must be a table"),
    "unknown key": (ONE + 'ticket = "1"', "waiver 1: ticket: unknown key"),
    "second one": (ONE + "[[waiver]]", "waiver 2: clause: is missing"),
    **{
        f"no {key}": ("\n".join(line for line in ONE.splitlines() if not line.startswith(key)), f"{key}: is missing")
        for key in ("clause", "reason", "owner", "expires")
    },
    "blank reason": (ONE.replace("known", "  "), "waiver 1: reason: must be a non-empty string"),
    "owner is a number": (ONE.replace('"ana"', "1"), "waiver 1: owner: must be a non-empty string"),
    "clause is a list": (ONE.replace('"TOG-04"', '["TOG-04"]'), "waiver 1: clause: must be a non-empty string"),
    "no such clause": (ONE.replace("TOG-04", "TOG-4"), "waiver 1: clause: 'TOG-4' is no clause"),
    "a pattern": (ONE.replace("TOG-04", "TOG-*"), "waiver 1: clause: 'TOG-*' is no clause"),
    "no date": (ONE.replace("2026-03-01", '"next month"'), "waiver 1: expires: 'next month' is no date"),
    "a number": (ONE.replace("2026-03-01", "20260301"), "waiver 1: expires: must be a date"),
    "a time": (ONE.replace("2026-03-01", "12:00:00"), "waiver 1: expires: must be a date"),
    "twice": (ONE + ONE, "TOG-04: is waived twice"),
}


@pytest.mark.parametrize("text, message", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(path: Path, text: str, message: str) -> None:
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read(path, CLAUSES)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read(path, CLAUSES)


@given(st.one_of(st.binary(max_size=80), st.binary(max_size=30).map(lambda more: ONE.encode() + more)))
def test_any_file_is_waivers_or_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "waivers.toml"
    path.write_bytes(content)
    with contextlib.suppress(UsageError):
        read(path, CLAUSES)


# --- in force --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days, holds", [(-1, False), (0, True), (1, True)], ids=["yesterday", "today", "tomorrow"])
def test_a_waiver_holds_on_its_last_day(days: int, holds: bool) -> None:
    waiver = Waiver("TOG-04", "known", "ana", TODAY + datetime.timedelta(days))
    held, expired = in_force((waiver,), TODAY)
    assert held == ({"TOG-04": f"known (ana, until {waiver.expires})"} if holds else {})
    assert expired == (() if holds else ("TOG-04: the waiver of ana expired on 2026-02-05",))


# --- drafts ----------------------------------------------------------------------------------------------------------


def test_a_draft_waives_what_failed_and_nothing_else(path: Path) -> None:
    verdicts = {
        "TOG-03": Verdict.FAILED,
        "TOG-04": Verdict.PASSED,
        "TOG-05": Verdict.FAILED,
        "TOG-06": Verdict.ERROR,
        "TOG-12": Verdict.WARNED,
    }
    results = [Result(clause, "test", verdict, reason="why") for clause, verdict in verdicts.items()]
    path.write_text(draft(judge(CLAUSES, results, Terms(frozenset(verdicts))), TODAY), encoding="utf-8")
    waivers = read(path, CLAUSES)
    assert [waiver.clause for waiver in waivers] == ["TOG-03", "TOG-05"]
    assert {waiver.expires for waiver in waivers} == {TODAY + datetime.timedelta(DRAFT_DAYS)}

    held, expired = in_force(waivers, TODAY)
    waived = judge(CLAUSES, results[:3], Terms(frozenset(verdicts), waived=held, waiver_problems=expired))
    assert waived.exit_code == 0
    assert [verdict.clause.id for verdict in waived.having(Verdict.WAIVED)] == ["TOG-03", "TOG-05"]


@given(reason=st.text(min_size=1).filter(str.strip))
def test_any_reason_survives_the_draft(tmp_path: Path, reason: str) -> None:
    """What a target answered may be in a reason, so any text may: control characters, quotes, lone surrogates."""
    path = tmp_path / "waivers.toml"
    judgement = judge(CLAUSES, [Result("TOG-03", "test", Verdict.FAILED, reason=reason)], Terms(frozenset()))
    path.write_text(draft(judgement, TODAY), encoding="utf-8")
    (waiver,) = read(path, CLAUSES)
    assert waiver.reason == reason


def test_a_lone_surrogate_can_be_drafted(path: Path) -> None:
    judgement = judge(CLAUSES, [Result("TOG-03", "test", Verdict.FAILED, reason="\ud800 is odd")], Terms(frozenset()))
    path.write_text(draft(judgement, TODAY), encoding="utf-8")
    assert read(path, CLAUSES)[0].reason == "\\ud800 is odd"


def test_a_draft_of_nothing_is_a_waivers_file(path: Path) -> None:
    path.write_text(draft(judge(CLAUSES, [], Terms(frozenset())), TODAY))
    assert read(path, CLAUSES) == ()
