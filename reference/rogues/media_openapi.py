"""Rogues of the backend's own OpenAPI document; what they do is what the contract says."""

from __future__ import annotations

from typing import Any

from reference.backend import PHOTOS_PATH, TOGGLE_PATH, Backend
from reference.rogues import rogue

# OAS-01: no less than the contract


@rogue(breaks=["OAS-01"])
class ForgetsTheToggle(Backend):
    """Leaves the toggle out of its own OpenAPI document."""

    def describe(self, document: dict[str, Any]) -> dict[str, Any]:
        return document | {"paths": {path: item for path, item in document["paths"].items() if path != TOGGLE_PATH}}


@rogue(breaks=["OAS-01"])
class PromisesNoAddress(Backend):
    """Says in its own OpenAPI document that a photo may come without its served_url."""

    def describe(self, document: dict[str, Any]) -> dict[str, Any]:
        photo = document["components"]["schemas"]["Photo"]
        photo["required"] = [name for name in photo["required"] if name != "served_url"]
        return document


@rogue(breaks=["OAS-01"])
class DemandsMoreThanTheContract(Backend):
    """Says in its own OpenAPI document that seed_only has to be sent."""

    def describe(self, document: dict[str, Any]) -> dict[str, Any]:
        for parameter in document["paths"][PHOTOS_PATH]["get"]["parameters"]:
            parameter["required"] = parameter["required"] or parameter["name"] == "seed_only"
        return document
