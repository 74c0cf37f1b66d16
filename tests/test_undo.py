"""The undo journal and what is put back by it."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance import environment, undo
from conformance.environment import EnvironmentSource
from conformance.errors import NotVerified, UsageError
from conformance.undo import Change, Journal, NotRestored, put_back


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(undo, "SETTLE_S", 0.0)
    return tmp_path / "state"


def journal(name: str = "prod", url: str = "https://backend.invalid") -> Journal:
    return Journal(environment.resolve(EnvironmentSource(name, {"production": True, "backend_url": url})))


def change(first: bool = True) -> Change:
    return Change(str(uuid.uuid4()), str(uuid.uuid4()), "https://cdn.invalid/1.jpg", first)


# --- the journal -----------------------------------------------------------------------------------------------------


def test_what_is_noted_is_on_disk_and_gone_once_it_is_put_back(state_folder: Path) -> None:
    one, other = change(), change(first=False)
    journal().note(one)
    journal().note(other)
    assert journal().changes() == {one.link_id: one, other.link_id: other}
    journal().forget(one)
    assert journal().changes() == {other.link_id: other}
    journal().forget(other)
    assert list(state_folder.rglob("*.json")) == []


def test_a_system_has_one_journal_under_all_its_names() -> None:
    assert journal("prod").path == journal("live", "https://BACKEND.invalid/").path
    assert journal("prod").path != journal("prod", "https://backend.invalid/other").path


def test_what_is_left_is_named() -> None:
    left = change()
    journal().note(left)
    with pytest.raises(NotRestored, match=f"link {left.link_id} .*smoke --env prod --restore"):
        journal().require_nothing_left()


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]", '[{"link_id": "x"}]', "[" * 100_000])
def test_a_journal_that_is_none_is_one_clear_line(text: str) -> None:
    path = journal().path
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="is no undo journal"):
        assert journal().changes() is None


def test_one_run_at_a_time() -> None:
    with journal("prod").alone():
        with pytest.raises(UsageError, match=r"environments\.live: another run is at work"), journal("live").alone():
            pass
        with journal("prod", "https://other.invalid").alone():
            pass
    with journal("live").alone():
        pass


def test_a_folder_that_cannot_be_made_is_one_clear_line(state_folder: Path) -> None:
    state_folder.write_text("a file", encoding="utf-8")
    with pytest.raises(UsageError, match="XDG_STATE_HOME"), journal().alone():
        pass


# --- what is put back ------------------------------------------------------------------------------------------------


@dataclass
class System:
    """A live system with one flag, which fails as it is told."""

    flag: bool
    failures: list[bool] = field(default_factory=list)
    """For each call to come, whether it fails."""
    before_write: Callable[[System], None] = lambda system: None
    follows: bool = True
    writes: int = 0

    def read(self, change: Change) -> bool:
        self._answer()
        return self.flag

    def write(self, change: Change) -> None:
        self.before_write(self)
        self._answer()
        self.writes += 1
        if self.follows:
            self.flag = change.first

    def _answer(self) -> None:
        if self.failures and self.failures.pop(0):
            raise NotVerified("the connection was refused")

    def put_back(self, change: Change, *, patience_s: float = 5, interrupted: bool = True) -> None:
        journal().note(change)
        put_back(journal(), change, self.read, self.write, patience_s=patience_s, interrupted=interrupted)


@settings(max_examples=25)
@given(first=st.booleans(), now=st.booleans(), interrupted=st.booleans(), failures=st.lists(st.booleans(), max_size=4))
def test_a_flag_gets_its_first_value_however_often_the_system_is_away(
    first: bool, now: bool, interrupted: bool, failures: list[bool]
) -> None:
    system = System(now, list(failures))
    system.put_back(change(first), interrupted=interrupted)
    assert system.flag is first
    assert journal().changes() == {}
    assert system.writes == (1 if interrupted or first is not now else 0)


def test_a_write_that_was_under_way_is_overwritten() -> None:
    """It arrives when the flag seems to be as it was."""

    def arrive(system: System) -> None:
        if not system.writes:
            system.flag = False

    system = System(True, before_write=arrive)
    system.put_back(change(True))
    assert system.flag is True


def test_nobody_is_fought_with() -> None:
    """Writes without effect: it is told, and stays in the journal."""
    system, left = System(False, follows=False), change(True)
    with pytest.raises(NotRestored, match="somebody else is at work on it, or writes have no effect"):
        system.put_back(left)
    assert system.writes <= undo.MAX_WRITES + 1
    assert journal().changes() == {left.link_id: left}


def test_a_system_that_stays_away_is_given_up() -> None:
    system, left = System(False, [True] * 1000), change(True)
    with pytest.raises(NotRestored, match="the connection was refused"):
        system.put_back(left, patience_s=0.2)
    assert journal().changes() == {left.link_id: left}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_waits_until_the_flag_is_back(number: signal.Signals) -> None:
    system = System(False, before_write=lambda system: os.kill(os.getpid(), number))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with undo.ended_like_by_ctrl_c(), pytest.raises(KeyboardInterrupt):
            system.put_back(change(True))
    finally:
        signal.signal(signal.SIGINT, before)
    assert system.flag is True
    assert journal().changes() == {}


def test_what_is_ignored_stays_ignored() -> None:
    """As nohup has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with undo.ended_like_by_ctrl_c():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
