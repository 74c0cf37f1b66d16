"""Waiting for a condition of somebody else's: asking until it holds, for so long."""

from __future__ import annotations

import time
from collections.abc import Iterator


def polls(within_s: float, pause_s: float = 0.0) -> Iterator[None]:
    """One turn, and another after each pause until so many seconds are over; who has seen enough leaves the loop."""
    deadline = time.monotonic() + within_s
    yield
    while time.monotonic() < deadline:
        time.sleep(pause_s)
        yield
