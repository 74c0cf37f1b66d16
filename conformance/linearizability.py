"""Whether a concurrent history of one boolean register could have happened one operation at a time.

A history is linearizable when each operation can be given a moment between its start and its end so that every read
sees the last write before it. The search is Wing and Gong's, with Lowe's memory of states already tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Operation:
    """A write of `value`, or a read that saw it; times in seconds of one monotonic clock."""

    is_write: bool
    value: bool
    started: float
    ended: float

    def __str__(self) -> str:
        return (
            f"{self.started * 1000:8.1f}-{self.ended * 1000:.1f} ms {'write' if self.is_write else 'read'} {self.value}"
        )


def is_linearizable(history: Sequence[Operation], initial: bool) -> bool:
    """Whether some order of the operations respects their times and the register's meaning. Up to some dozens of them."""
    operations = sorted(history, key=lambda operation: operation.started)
    everything = (1 << len(operations)) - 1
    tried: set[tuple[int, bool]] = set()
    stack = [(0, initial)]
    while stack:
        done, value = state = stack.pop()
        if done == everything:
            return True
        if state in tried:
            continue
        tried.add(state)
        pending = [index for index in range(len(operations)) if not done >> index & 1]
        # whatever started after a pending operation ended cannot come before it
        first_end = min(operations[index].ended for index in pending)
        for index in pending:
            operation = operations[index]
            if operation.started > first_end:
                break
            if operation.is_write:
                stack.append((done | 1 << index, operation.value))
            elif operation.value is value:
                stack.append((done | 1 << index, value))
    return False
