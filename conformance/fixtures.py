"""The fixtures of suites and smoke: the targets, one client for each worker."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from conformance.app import App
from conformance.backend import Backend
from conformance.environment import Environment
from conformance.errors import NotVerified
from conformance.lab import Lab
from conformance.plugin import RUN, Run
from conformance.screenalytics import Screenalytics


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
    backend = Backend(run.environment, client, run.contracts, run.redactor, may_write=run.may_write)
    yield backend
    backend.close()
    client.close()


@pytest.fixture(scope="session")
def lab(run: Run) -> Iterator[Lab]:
    """The suite's own servers, which play the backend."""
    if run.lab_url is None:
        raise NotVerified("stub_backend is not set")
    lab = Lab(run.lab_url)
    yield lab
    lab.close()


@pytest.fixture(scope="session")
def app(run: Run, lab: Lab) -> Iterator[App]:
    """The app that is checked, before the lab."""
    client = run.client()
    yield App(run.environment, client, lab, run.redactor, timeout_s=run.config.option.request_timeout)
    client.close()


@pytest.fixture(scope="session")
def screenalytics(run: Run, lab: Lab) -> Iterator[Screenalytics]:
    """The Screenalytics that is checked."""
    target = Screenalytics(run.environment, run.client, lab)
    yield target
    target.close()


@pytest.fixture
def chance(run: Run, request: pytest.FixtureRequest) -> random.Random:
    """Random choices that hypothesis does not make, the same again for the same seed and test."""
    return random.Random(f"{run.seed} {request.node.name}")
