"""Schemathesis alone: it reaches the target with its credentials and ids, and what it finds comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

import contracts
from conformance import baseline, environment
from conformance.bundled import BundledReference


def test_schemathesis_finds_an_answer_of_another_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a backend that answers photos in another shape, it complains at the operation that lists them."""
    monkeypatch.setattr(baseline, "EXAMPLES", 1)
    reference = BundledReference(rogue="seeds-have-their-width-as-text", extra=["--only", "backend"])
    try:
        found = baseline.find("backend", environment.resolve(reference.source), tmp_path)
    finally:
        reference.stop()
    assert found["cases"] > 0
    assert [each for each in found["failures"] if each.endswith("/photos")]


def test_known_ids_are_drawn_as_often_as_others() -> None:
    document = contracts.load().openapi("backend")
    baseline._feed(document, {"person_id": "here"})
    drawn = document["components"]["parameters"]["PersonId"]
    assert drawn["schema"]["anyOf"][0] == {"enum": ["here"]}
    assert drawn["example"] == "here"
