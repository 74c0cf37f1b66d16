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
    """Whether some order of the operations respects their times and the register's meaning.

    A read that fits the present value is taken at once, as it changes nothing; of the writes of one value, the one that
    ends first, as it leaves the others more room. So at most two ways lead on from a state, and the states are few.
    """
    operations = sorted(history, key=lambda operation: operation.started)
    everything = (1 << len(operations)) - 1
    tried: set[tuple[int, bool]] = set()
    stack = [(0, initial)]
    while stack:
        done, value = stack.pop()
        if done == everything:
            return True
        if (done, value) in tried:
            continue
        tried.add((done, value))
        pending = [index for index in range(len(operations)) if not done >> index & 1]
        # whatever started after a pending operation ended cannot come before it
        first_end = min(operations[index].ended for index in pending)
        possible = [index for index in pending if operations[index].started <= first_end]
        fitting = [i for i in possible if not operations[i].is_write and operations[i].value is value]
        if fitting:
            stack.append((done | sum(1 << index for index in fitting), value))
            continue
        for written in (True, False):
            writes = [i for i in possible if operations[i].is_write and operations[i].value is written]
            if writes:
                soonest = min(writes, key=lambda index: operations[index].ended)
                stack.append((done | 1 << soonest, written))
    return False
