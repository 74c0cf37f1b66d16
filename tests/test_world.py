"""The reference as one world: what is toggled in the app changes what Screenalytics imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class World:
    """The addresses of a running reference, and the credentials that fit."""

    environment: dict[str, Any]
    variables: dict[str, str]

    def state(self, service: str, name: str, **params: Any) -> Any:
        """Set up a provider state and return its values."""
        url = self.environment[f"{service}_states_url"]
        return httpx.post(url, json={"state": name, "params": params}).raise_for_status().json()

    def toggle(self, person_id: str, link_id: str, seed: bool) -> None:
        """Toggle as an admin does in the browser."""
        httpx.patch(
            f"{self.environment['app_url']}/api/admin/trr-api/people/{person_id}/gallery/{link_id}/facebank-seed",
            json={"facebank_seed": seed},
            headers={"Authorization": f"Bearer {self.variables['TRR_APP_ADMIN_TOKEN']}"},
        ).raise_for_status()

    def sync(self, ep_id: str, **body: Any) -> tuple[int, int, int]:
        """Import an episode and return its images, people and errors."""
        sync = self.environment["sync"]
        url = self.environment["screenalytics_url"] + sync["path"].format(ep_id=ep_id)
        answer = httpx.request(sync["method"], url, json=body or None, timeout=20).raise_for_status().json()
        return answer["imported_facebank_images"], answer["imported_facebank_people"], answer["import_errors"]

    def images(self, person_id: str) -> list[str]:
        """The addresses in a person's face bank, in the order of their import."""
        with psycopg.connect(self.variables["SCREENALYTICS_DB_URL"]) as connection:
            rows = connection.execute(
                "select source_url from face_bank_images where person_id = %s order by created_at", (person_id,)
            )
            return [address for (address,) in rows]


@contextmanager
def running(*arguments: str) -> Iterator[World]:
    """A `python -m reference` with these arguments."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "reference", "--json", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        printed = json.loads(process.stdout.readline())
        yield World(printed["environment"], printed["variables"])
    finally:
        process.terminate()
        assert process.wait(10) == 0


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with running() as world:
        yield world


def test_a_toggle_in_the_app_changes_what_is_imported(world: World) -> None:
    """No seeds: the first photos. One seed, by the app: that one alone. None again: what is known stays."""
    gallery = world.state("backend", "person with gallery", unseeded=9)
    person_id, links = gallery["person_id"], gallery["links"]
    ep_id = world.state("screenalytics", "episode with cast", person_ids=[person_id])["ep_id"]
    offered = [link["served_url"] for link in links]

    assert world.sync(ep_id) == (5, 1, 0)
    assert world.images(person_id) == offered[:5]

    world.toggle(person_id, links[7]["link_id"], True)
    assert world.sync(ep_id) == (1, 1, 0)
    assert world.images(person_id) == [*offered[:5], offered[7]]

    world.toggle(person_id, links[7]["link_id"], False)
    assert world.sync(ep_id) == (0, 0, 0)
    assert world.sync(ep_id, import_limit=6) == (1, 1, 0)
    assert world.images(person_id) == [*offered[:5], offered[7], offered[5]]


def test_the_cast_comes_from_the_backend(world: World) -> None:
    """An episode that Screenalytics does not know has the cast that the backend lists, in billing order."""
    galleries = [world.state("backend", "person with gallery", seeded=1) for _ in range(2)]
    season = world.state("backend", "show with season")
    ep_id = str(uuid4())
    with psycopg.connect(world.variables["TRR_DB_URL"]) as connection:
        connection.execute(
            "insert into core.episodes (id, season_id, episode_number) values (%s, %s, 7)", (ep_id, season["season_id"])
        )
        for order, gallery in enumerate(galleries):
            connection.execute(
                "with credit as (insert into core.credits"
                " (show_id, person_id, credit_category, billing_order, source_type)"
                " values (%s, %s, 'Self', %s, 'manual') returning id)"
                " insert into core.credit_occurrences (credit_id, episode_id) select id, %s from credit",
                (season["show_id"], gallery["person_id"], order, ep_id),
            )
    assert world.sync(ep_id) == (2, 2, 0)
    assert [world.images(gallery["person_id"]) for gallery in galleries] == [
        [gallery["links"][0]["served_url"]] for gallery in galleries
    ]
    assert world.sync(str(uuid4())) == (0, 0, 0)


def test_imports_at_once_add_no_duplicate(world: World) -> None:
    """Of many imports at the same time, each image is new to one."""
    people = [world.state("backend", "person with gallery", seeded=5)["person_id"] for _ in range(3)]
    ep_id = world.state("screenalytics", "episode with cast", person_ids=people)["ep_id"]
    with ThreadPoolExecutor(6) as threads:
        results = list(threads.map(world.sync, [ep_id] * 6))
    assert [sum(counts) for counts in zip(*results, strict=True)][0::2] == [15, 0]
    assert [len(world.images(person_id)) for person_id in people] == [5, 5, 5]


def test_an_approval_stays(world: World) -> None:
    """The provider state approves one image, and another import leaves it so."""
    gallery = world.state("backend", "person with gallery", seeded=2)
    person_id = gallery["person_id"]
    ep_id = world.state("screenalytics", "episode with cast", person_ids=[person_id])["ep_id"]
    assert world.sync(ep_id) == (2, 1, 0)
    image_id = world.state("screenalytics", "approved face bank image", person_id=person_id)["image_id"]
    assert world.sync(ep_id) == (0, 0, 0)
    with psycopg.connect(world.variables["SCREENALYTICS_DB_URL"]) as connection:
        approved = connection.execute("select image_id::text from face_bank_images where approved").fetchall()
    assert (image_id,) in approved


def test_a_part_of_the_world_calls_a_backend_elsewhere(world: World) -> None:
    """`--only` and `--trr-api-url`: Screenalytics alone, on the server of somebody's database."""
    elsewhere = world.environment["backend_url"]
    server = world.variables["TRR_DB_URL"]
    with running("--only", "screenalytics", "--trr-api-url", elsewhere, "--database-url", server) as alone:
        assert alone.environment["targets"] == ["screenalytics"]
        assert "backend_url" not in alone.environment
        person_id = world.state("backend", "person with gallery", seeded=1)["person_id"]
        ep_id = alone.state("screenalytics", "episode with cast", person_ids=[person_id])["ep_id"]
        # A world has secrets of its own, so the backend elsewhere refuses: an error, and no fallback.
        assert alone.sync(ep_id) == (0, 0, 1)
        assert alone.images(person_id) == []


@pytest.mark.parametrize(
    ("params", "status"), [({"person_ids": ["no-id"]}, 422), ({"person_ids": "x"}, 422), ({"people": []}, 422)]
)
def test_params_of_the_episode(world: World, params: dict[str, Any], status: int) -> None:
    """Malformed parameters are refused."""
    url = world.environment["screenalytics_states_url"]
    assert httpx.post(url, json={"state": "episode with cast", "params": params}).status_code == status


def test_unknown_states_of_screenalytics(world: World) -> None:
    """A state that Screenalytics does not have is a 404, and an approval without an image a 409."""
    url = world.environment["screenalytics_states_url"]
    assert httpx.post(url, json={"state": "person with gallery"}).status_code == 404
    approve = {"state": "approved face bank image", "params": {"person_id": str(uuid4())}}
    assert httpx.post(url, json=approve).status_code == 409
