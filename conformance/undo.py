"""The undo journal: what a run changes on somebody's system is written down first, and put back afterwards.

A journal is a file for each environment, on disk before the first write. It holds the values that the flags had, and is
gone once they have them again. What outlives its run (SIGKILL, a machine that died) is for `smoke --restore`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from conformance.environment import Environment
from conformance.errors import Incomplete, UsageError

T = TypeVar("T")

PATIENCE_S = 60.0
"""How long a system may be away before its flags are given up."""
SETTLE_S = 0.3
"""How long a write whose answer was not waited for may take."""
MAX_WRITES = 5
"""Of a first value that does not stay."""


@dataclass(frozen=True)
class Change:
    """A flag that a run may change: the link, and the photo by which a consumer sees its flag."""

    person_id: str
    link_id: str
    served_url: str
    first: bool
    """The value before the run's first write."""

    def __str__(self) -> str:
        return f"link {self.link_id} of person {self.person_id}"


class NotRestored(Exception):
    """A flag does not have its first value again; one line that says which, and why (exit 7)."""


class Journal:
    """The changes of the run at work on an environment, on disk."""

    def __init__(self, environment: Environment) -> None:
        # by address: a system may have several names
        address = str(environment.get("backend_url") or "").lower()
        host = re.sub(r"[^a-z0-9.-]+", "-", address.partition("://")[2].partition("/")[0])
        self.environment = environment.name
        self.path = folder() / f"{host}-{sha256(address.encode()).hexdigest()[:12]}.json"

    def changes(self) -> dict[str, Change]:
        """What is not put back yet, by link; raises UsageError where the file is no journal."""
        try:
            entries = json.loads(self.path.read_bytes())
            if not isinstance(entries, list):
                raise ValueError("not a list of changes")
            changes = [Change(**entry) for entry in entries]
            for change in changes:
                if not isinstance(change.first, bool):
                    raise ValueError("first is neither true nor false")
                if not all(isinstance(text, str) for text in (change.person_id, change.link_id, change.served_url)):
                    raise ValueError("an id or URL is no text")
            return {change.link_id: change for change in changes}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise UsageError(f"{self.path}: is no undo journal: {error}") from None

    def note(self, change: Change) -> None:
        """Writes a change down; it is on disk when this returns."""
        self._write({**self.changes(), change.link_id: change})

    def forget(self, change: Change) -> None:
        """Takes out a change that is put back."""
        self._write({link_id: each for link_id, each in self.changes().items() if link_id != change.link_id})

    def _write(self, changes: Mapping[str, Change]) -> None:
        if not changes:
            self.path.unlink(missing_ok=True)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".part")
        with draft.open("w", encoding="utf-8") as file:
            json.dump([asdict(change) for change in changes.values()], file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)
        _sync_folder(self.path.parent)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other runs of this machine away from the environment; raises UsageError where one is at work."""
        lock = FileLock(self.path.with_suffix(".lock"), timeout=0)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise UsageError(
                f"environments.{self.environment}: another run is at work on it ({lock.lock_file})"
            ) from None
        except OSError as error:
            raise UsageError(
                f"{self.path.parent}: is no place for an undo journal: {error.strerror} (XDG_STATE_HOME names another)"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def require_nothing_left(self) -> None:
        """Raises NotRestored where an earlier run has left something behind."""
        for change in self.changes().values():
            raise NotRestored(
                f"an earlier run did not put {change} back to {str(change.first).lower()}"
                f" ({self.path}): trr-conformance smoke --env {self.environment} --restore"
            )


def folder() -> Path:
    """Where journals are kept: below the user's state folder, as the XDG base directories name it."""
    state = os.environ.get("XDG_STATE_HOME") or Path("~").expanduser() / ".local" / "state"
    return Path(state) / "trr-conformance"


def _sync_folder(path: Path) -> None:
    """Has a new name in a folder on disk, where the system opens folders."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


Read = Callable[[Change], bool]
"""The flag's present value, as a consumer sees it; raises Incomplete where the system does not say."""
Write = Callable[[Change], None]
"""Gives the flag its first value; raises Incomplete where the system does not take it."""


def put_back(
    journal: Journal,
    change: Change,
    read: Read,
    write: Write,
    *,
    patience_s: float = PATIENCE_S,
    interrupted: bool = True,
) -> None:
    """Gives a flag its first value again, and waits for a system that is away; raises NotRestored.

    Where the run was `interrupted`, a write of its own may still be under way: the first value is written even where it
    seems to be there. It does not fight for the flag: writes that are taken and show no effect are somebody else's
    doing. No signal but SIGKILL interrupts it.
    """
    deadline = time.monotonic() + patience_s
    was = f"{change} was {str(change.first).lower()} at first"

    def patiently(step: Callable[[Change], T]) -> T:
        for pause_s in _growing():
            try:
                return step(change)
            except Incomplete as error:
                if time.monotonic() > deadline:
                    raise NotRestored(f"{was}, and may be not: {error.message}") from None
            time.sleep(pause_s)
        raise AssertionError

    def is_back() -> bool:
        if patiently(read) != change.first:
            return False
        journal.forget(change)
        return True

    with undisturbed():
        if interrupted:
            patiently(write)
            time.sleep(SETTLE_S)
        for pause_s in islice(_growing(), MAX_WRITES):
            if is_back():
                return
            patiently(write)
            if is_back():
                return
            time.sleep(pause_s)
        raise NotRestored(f"{was}, and is not: somebody else is at work on it, or writes have no effect")


def _growing() -> Iterator[float]:
    """Seconds from one try to the next."""
    pause_s = 0.05
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, 2.0)


_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def undisturbed(*, deliver: bool = True) -> Iterator[None]:
    """Meanwhile the process is not interrupted; what came is delivered afterwards, or not."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came and deliver:
            signal.raise_signal(came[0])


@contextmanager
def ended_like_by_ctrl_c() -> Iterator[None]:
    """Meanwhile SIGTERM and SIGHUP end the process as Ctrl-C does, with everything that is put back then."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    # what is ignored stays so: nohup
    numbers = [n for n in _ENDING if n != signal.SIGINT and signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
