"""BADGE-01: the badge of the app's preview, by the JUnit file of a run over the vectors."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import badge
from conformance.environment import Environment
from conformance.plugin import Run


@pytest.mark.clause("BADGE-01")
def test_badge_reads_as_the_vectors_say(run: Run, environment: Environment) -> None:
    """Each vector of contracts/vectors/badge.json has a test case of its name, and it passed."""
    badge.judge(Path(environment.need("badge_junit")), run.contracts.vectors("badge"))
