"""The order of a rollout: backend, app, Screenalytics. Where a stage fails, the later ones are not verified."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from conformance.backend import Backend
from conformance.environment import TARGETS, Environment
from conformance.errors import NotVerified
from conformance.live import SomebodyElse, settled
from conformance.plugin import RUN, Run

HERE = Path(__file__).parent
FAILED_STAGES = pytest.StashKey[dict[str, str]]()
"""Stage → what failed in it first."""


def stage(item: pytest.Item) -> str | None:
    """The target that a check is about; None for what is no smoke check."""
    return item.path.stem.removeprefix("test_") if item.path.parent == HERE else None


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FAILED_STAGES] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: TARGETS.index(name) if (name := stage(item)) in TARGETS else -1)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    own, failed = stage(item), item.config.stash[FAILED_STAGES]
    for earlier in TARGETS[: TARGETS.index(own)] if own in TARGETS else ():
        if earlier in failed:
            raise NotVerified(f"the {earlier} stage, which comes before, failed: {failed[earlier]}")


# outside of the plugin's own, which puts the verdicts into the report
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    made = yield
    own, waived = stage(item), item.config.stash[RUN].waived
    for result in json.loads(getattr(made, "conformance", "[]")):
        broken = result["verdict"] == "failed" and result["clause"] not in waived
        if own is not None and (broken or result["verdict"] == "error"):
            item.config.stash[FAILED_STAGES].setdefault(own, f"{result['clause']}: {result['reason']}")
    if own is not None and call.excinfo is not None and isinstance(call.excinfo.value, SomebodyElse):
        item.config.stash[FAILED_STAGES].setdefault(own, str(call.excinfo.value.message))
    return made


@pytest.fixture
def may_probe(run: Run) -> None:
    """Refusal probes may be sent: everywhere but where `--no-probes` says otherwise."""
    if run.config.option.no_probes:
        raise NotVerified("--no-probes")


@pytest.fixture(scope="session")
def nobody_else(backend: Backend, environment: Environment) -> None:
    """Nobody else seems to be at work on the fixture's link."""
    settled(backend, environment.fixture("seeded_person"))
