"""What can come of a check that does not pass.

Violation             the target broke a clause
Incomplete            the check could not be made (a pytest skip: hypothesis neither shrinks nor repeats it)
├── PremiseBroken     because the target broke another clause on the way to it
├── NotVerified       because something it needs is missing
└── TargetBroken      because the target gave no usable answer to a request that deserves one
UsageError            the command line, the environment file or the waivers are wrong
TargetUnreachable     there is nothing at the target's address
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conformance.exchange import Exchange


class UsageError(Exception):
    """One clear line that names the key, file or option at fault (exit 4)."""

    def __init__(self, line: str) -> None:
        # a quoted TOML key may hold a line break
        super().__init__(" ".join(line.split()))


class TargetUnreachable(Exception):
    """Nothing answers at the target's address (exit 6)."""


class _Broken:
    """A broken clause: which one (None: the running test's own), what was expected and what came."""

    message: str
    clause: str | None
    expected: Any
    actual: Any
    exchange: Exchange | None


class Violation(AssertionError, _Broken):
    """The target broke a clause.

    `clause` is None where it is the first clause of the running test. `expected` and `actual` are JSON-like or text.
    """

    def __init__(
        self,
        message: str,
        *,
        expected: Any,
        actual: Any,
        clause: str | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.clause = message, clause
        self.expected, self.actual, self.exchange = expected, actual, exchange


class Incomplete(pytest.skip.Exception):  # type: ignore[misc, name-defined, unused-ignore]
    """The check could not be made; the message says why in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotVerified(Incomplete):
    """A key, state or credential that the check needs is missing; the message names it."""


class TargetBroken(Incomplete):
    """The target gave no usable HTTP answer to a well-formed request: neither conforming nor not."""

    def __init__(self, message: str, exchange: Exchange | None = None) -> None:
        super().__init__(message)
        self.exchange = exchange


class PremiseBroken(Incomplete, _Broken):
    """The target broke `clause` in a step that only prepares the check of another one.

    The running test's clauses are not verified. `clause` fails where no clause fails by a check of its own, so that a
    fault which shows only on the way never leaves a run green.
    """

    def __init__(
        self, clause: str, message: str, *, expected: Any, actual: Any, exchange: Exchange | None = None
    ) -> None:
        super().__init__(message)
        self.clause = clause
        self.expected, self.actual, self.exchange = expected, actual, exchange
