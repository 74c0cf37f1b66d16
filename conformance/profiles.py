"""How hard the property-based tests try, and how their randomness is set."""

from __future__ import annotations

import hypothesis
from hypothesis.internal.conjecture import engine

PROFILES = ("quick", "default", "thorough")
DEFAULT_SEED = 20260206

_EXAMPLES = {"quick": 8, "default": 15, "thorough": 200}
_STEPS = {"quick": 10, "default": 15, "thorough": 40}
_SHRINKING_S = {"quick": 1, "default": 5, "thorough": 60}

MAX_SIZE = {"quick": 8, "default": 12, "thorough": 48}
"""Links in a generated gallery, at most: always less than anybody's page."""


def load(profile: str, *, shrinking: bool = True) -> None:
    """Makes a profile the one in force: always random by the run's seed, never from an example database."""
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile(
        f"conformance-{profile}",
        derandomize=False,
        database=None,
        deadline=None,
        max_examples=_EXAMPLES[profile],
        stateful_step_count=_STEPS[profile],
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[*phases, hypothesis.Phase.shrink] if shrinking else phases,
    )
    hypothesis.settings.load_profile(f"conformance-{profile}")
    # hypothesis has no setting for it: over HTTP its own five minutes would be spent on one failure
    engine.MAX_SHRINKING_SECONDS = _SHRINKING_S[profile]
