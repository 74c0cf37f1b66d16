"""The fixtures of suites and smoke: the targets, one client for each worker."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from conformance.app import App, Browser
from conformance.backend import Backend
from conformance.environment import Environment
from conformance.errors import NotVerified
from conformance.lab.client import Lab
from conformance.media import Media
from conformance.plugin import OBSERVED, RUN, Run
from conformance.screenalytics import FaceBank, Importer, Screenalytics


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
    backend = run.backend()
    yield backend
    backend.close()
    backend.client.close()


@pytest.fixture(scope="session")
def every_listener(run: Run) -> Iterator[Lab | None]:
    """The suite's own servers, whichever the environment has."""
    lab = Lab(run.lab_url) if run.lab_url is not None else None
    yield lab
    if lab is not None:
        lab.close()


def _with(listener: str, lab: Lab | None) -> Lab:
    if lab is None or listener not in lab.urls:
        raise NotVerified(f"{listener} is not set")
    return lab


@pytest.fixture(scope="session")
def lab(every_listener: Lab | None) -> Lab:
    """The suite's own servers, which play the backend."""
    return _with("stub_backend", every_listener)


@pytest.fixture(scope="session")
def origin(every_listener: Lab | None) -> Lab:
    """The suite's own servers, which serve pages to scrape."""
    return _with("page_origin", every_listener)


@pytest.fixture(scope="session")
def vision(every_listener: Lab | None) -> Lab:
    """The suite's own servers, which play the vision service."""
    return _with("stub_vision", every_listener)


@pytest.fixture(scope="session")
def media(run: Run, backend: Backend, every_listener: Lab | None) -> Iterator[Media]:
    """The media workflow of the backend that is checked."""
    media = Media(backend, every_listener, timeout_s=run.config.option.request_timeout)
    yield media
    media.close()


@pytest.fixture(scope="session")
def browser(run: Run) -> Iterator[Browser]:
    """The app that is checked, before the backend that it has."""
    client = run.client()
    yield Browser(run.environment, client, run.redactor)
    client.close()


@pytest.fixture(scope="session")
def importer(run: Run) -> Iterator[Importer]:
    """The Screenalytics that is checked, with the backend that it has."""
    importer = Importer(run.environment, run.client)
    yield importer
    importer.close()


@pytest.fixture(scope="session")
def face_bank(run: Run) -> Iterator[FaceBank]:
    """What imports have left in the database of Screenalytics."""
    face_bank = FaceBank(run.environment)
    yield face_bank
    face_bank.close()


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


@pytest.fixture
def observe(run: Run, record_property: Callable[[str, object], None]) -> Callable[[str, str], None]:
    """Notes for the evidence what a check saw: `observe(what was looked at, what came)`."""

    def note(stage: str, observed: str) -> None:
        record_property(OBSERVED, [run.redactor.text(stage), run.redactor.text(observed)])

    return note
