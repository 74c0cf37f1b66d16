"""What the tests of the harness share: quiet hypothesis settings, and a registry of clauses small enough to read."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile(
    "tests",
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("tests")
