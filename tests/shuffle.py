"""`-p tests.shuffle`: the tests in an order of their own."""

from __future__ import annotations

import random

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    random.Random(2026).shuffle(items)
