"""The fixtures of suites and smoke: the targets, one client for each worker."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from conformance.backend import Backend
from conformance.environment import Environment
from conformance.plugin import RUN, Run


@pytest.fixture(scope="session")
def run(pytestconfig: pytest.Config) -> Run:
    """The run that this test belongs to."""
    return pytestconfig.stash[RUN]


@pytest.fixture(scope="session")
def environment(run: Run) -> Environment:
    """The environment that is checked."""
    return run.environment


@pytest.fixture(scope="session")
def backend(run: Run) -> Iterator[Backend]:
    """The backend that is checked."""
    client = run.client()
    yield Backend(run.environment, client, run.contracts, run.redactor, may_write=run.may_write)
    client.close()


@pytest.fixture
def chance(run: Run, request: pytest.FixtureRequest) -> random.Random:
    """Random choices that hypothesis does not make, the same again for the same seed and test."""
    return random.Random(f"{run.seed} {request.node.name}")
