"""Schemathesis alone, over the OpenAPI fragments: what a team would use otherwise, as a measure for the suite.

It gets what such a team would give it: the strict fragments, working credentials, and ids of things that are there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import contracts
from conformance.environment import Environment
from conformance.exchange import Client
from conformance.states import ProviderStates

EXAMPLES = 20
"""Cases that it draws for each operation and phase, at most."""

LIMIT_S = 120
"""What it may take; then it is counted as having found nothing."""

REJECTS_WHAT_THE_SCHEMA_ALLOWS = "positive_data_acceptance"
"""The one check that is left out: a schema cannot say that an address leads nowhere, so every true server fails it."""

Found = dict[str, Any]
"""`failures`: ["check: operation"], `cases`: how many requests it sent, `seconds`: how long it took."""


def find(target: str, resolved: Environment, folder: Path) -> Found:
    """What schemathesis says of a target of the environment; `folder` is for its files."""
    started = time.monotonic()
    with ExitStack() as stack:
        ids = _ids(target, resolved, stack)
        document = contracts.load().openapi(target)
        _feed(document, ids)
        (folder / "openapi.json").write_text(json.dumps(document), encoding="utf-8")
        (folder / "schemathesis.toml").write_text(_configuration(target, resolved), encoding="utf-8")
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml"]
        command += ["run", "openapi.json", "--url", resolved.need(f"{target}_url"), "--checks", "all"]
        command += ["--exclude-checks", REJECTS_WHAT_THE_SCHEMA_ALLOWS, "--max-examples", str(EXAMPLES), "--seed", "1"]
        command += ["--continue-on-failure", "--no-color", "--report", "json", "--report-json-path", "found.json"]
        try:
            subprocess.run(command, cwd=folder, capture_output=True, timeout=LIMIT_S, check=False)
        except subprocess.TimeoutExpired:
            return {"failures": [], "cases": 0, "seconds": round(time.monotonic() - started, 2)}
    said = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    return {
        "failures": sorted(f"{each['title']}: {where}" for each in said["failures"] for where in each["operations"]),
        "cases": said["test_cases"]["generated"],
        "seconds": round(time.monotonic() - started, 2),
    }


def _ids(target: str, resolved: Environment, stack: ExitStack) -> dict[str, str]:
    """Ids of things that are there, by the path parameters that take them."""
    client = Client(run_id=uuid.uuid4().hex[:12], timeout_s=10)
    stack.callback(client.close)
    backend = ProviderStates(resolved, client, "backend_states_url")
    if target == "screenalytics":
        episodes = ProviderStates(resolved, client, "screenalytics_states_url")
        person = stack.enter_context(backend.given("person with gallery", seeded=1, unseeded=1, unhosted=0))
        return {
            "ep_id": stack.enter_context(episodes.given("episode with cast", person_ids=[person["person_id"]]))["ep_id"]
        }
    person = stack.enter_context(backend.given("person with gallery", seeded=2, unseeded=2, unhosted=0))
    asset = stack.enter_context(backend.given("media asset", hosted=True))
    ids = {
        "person_id": person["person_id"],
        "link_id": person["links"][0]["link_id"],
        "asset_id": asset["media_asset_id"],
    }
    if target == "backend":
        return ids
    seasons = ProviderStates(resolved, client, "app_states_url")
    season = stack.enter_context(seasons.given("season backdrops"))
    return {_camel(name): value for name, value in (ids | {"season_id": season["season_id"]}).items()}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.title, others))


def _feed(part: Any, ids: Mapping[str, str]) -> None:
    """Has every path parameter of these names drawn as the id or, as often, as before."""
    if isinstance(part, dict):
        if part.get("in") == "path" and part.get("name") in ids:
            known = ids[part["name"]]
            part.update(schema={"anyOf": [{"enum": [known]}, part["schema"]]}, example=known)
        for each in part.values():
            _feed(each, ids)
    elif isinstance(part, list):
        for each in part:
            _feed(each, ids)


def _configuration(target: str, resolved: Environment) -> str:
    """The credentials, as schemathesis' own configuration file."""

    def bearer(key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {resolved.credential(key)}"}

    if target == "backend":
        secret = resolved.credential("internal_admin_secret")
        return (
            _headers(bearer("service_role_token") | {"X-TRR-Internal-Admin-Secret": secret})
            + '[[operations]]\ninclude-operation-id = "listPersonPhotos"\n'
            + _headers(bearer("screenalytics_token"))
        )
    return _headers(bearer("app_admin_token")) if target == "app" else ""


def _headers(headers: Mapping[str, str]) -> str:
    return "headers = { " + ", ".join(f"{name} = {json.dumps(value)}" for name, value in headers.items()) + " }\n"
