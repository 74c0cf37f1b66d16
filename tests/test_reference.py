"""The reference: its supervisor leaves nothing behind, its states are what they say, and every clause has its rogue."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpcore
import httpx
import psutil  # type: ignore[import-untyped, unused-ignore]
import psycopg
import pytest
from openapi_spec_validator import validate

import contracts
from reference.__main__ import main
from reference.database import with_database
from reference.environment import Environment, fresh_settings
from reference.rogues import MAX_BREAKS, ROGUES
from reference.transport import Transport

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Running:
    """A reference that serves."""

    process: subprocess.Popen[str]
    environment: dict[str, Any]
    variables: dict[str, str]

    @property
    def database_url(self) -> str:
        return self.variables["TRR_DB_URL"]

    def state(self, name: str, action: str = "setup", /, **params: Any) -> httpx.Response:
        body = {"state": name, "action": action, "params": params}
        return httpx.post(self.environment["backend_states_url"], json=body)

    def photos(self, person_id: str, **query: Any) -> list[str]:
        """The addresses of a person's photos."""
        response = httpx.get(
            f"{self.environment['backend_url']}/api/v1/screenalytics/people/{person_id}/photos",
            params=query,
            headers={"Authorization": f"Bearer {self.variables['SCREENALYTICS_SERVICE_TOKEN']}"},
        )
        assert response.status_code == 200, response.text
        return [row["served_url"] for row in response.json()]

    def toggle(self, person_id: str, link_id: str, flag: bool) -> httpx.Response:
        return httpx.patch(
            f"{self.environment['backend_url']}/api/v1/admin/person/{person_id}/gallery/{link_id}/facebank-seed",
            json={"facebank_seed": flag},
            headers={
                "Authorization": f"Bearer {self.variables['TRR_CORE_SUPABASE_SERVICE_ROLE_KEY']}",
                "X-TRR-Internal-Admin-Secret": self.variables["TRR_INTERNAL_ADMIN_SHARED_SECRET"],
            },
        )


def command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", module, *arguments]


def start(words: list[str], folder: str | None = None) -> subprocess.Popen[str]:
    variables = {**os.environ, "PYTHONPATH": str(ROOT)} | ({"TMPDIR": folder} if folder else {})
    return subprocess.Popen(words, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def first_line(process: subprocess.Popen[str]) -> str:
    """What the process prints once it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    return line


def serving(process: subprocess.Popen[str]) -> Running:
    printed = json.loads(first_line(process))
    return Running(process, printed["environment"], printed["variables"])


def eventually(condition: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def mentioned_in(folder: str) -> list[str]:
    """The commands of the running processes that work in the folder."""
    lines = []
    for process in psutil.process_iter(["status", "cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if folder in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            lines.append(line)
    return lines


@pytest.fixture(scope="module")
def reference() -> Iterator[Running]:
    process = start(command("reference", "--json"))
    try:
        yield serving(process)
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")


@pytest.fixture
def folder() -> Iterator[str]:
    """A temporary folder whose path is short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="trr-test-") as name:
        yield name


@pytest.fixture
def foreign_url(reference: Running) -> Iterator[str]:
    """An empty database that the reference has not made."""
    name = f"foreign_{uuid4().hex}"
    with psycopg.connect(reference.database_url, autocommit=True) as connection:
        connection.execute(f'create database "{name}"')
        yield with_database(reference.database_url, name)
        connection.execute(f'drop database "{name}" with (force)')


# The supervisor


def test_ready_means_that_it_answers(reference: Running) -> None:
    """The first request after the line is answered, by the documents as well as by the database."""
    assert reference.photos(str(uuid4())) == []
    document = httpx.get(f"{reference.environment['backend_url']}/openapi.json").json()
    validate(document)
    operations = {operation["operationId"] for item in document["paths"].values() for operation in item.values()}
    assert operations >= {"toggleFacebankSeed", "listPersonPhotos"}


IN_BETWEEN = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"
ENDS: dict[str, tuple[list[str], signal.Signals]] = {
    "it is told to stop": ([], signal.SIGTERM),
    "it is interrupted": ([], signal.SIGINT),
    "it is killed": ([], signal.SIGKILL),
    "its parent is killed": ([sys.executable, "-c", IN_BETWEEN], signal.SIGKILL),
}


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_left_when(end: str, folder: str) -> None:
    """No Postgres, no server and no temporary folder outlives the reference, whatever ends it."""
    prefix, number = ENDS[end]
    process = start([*prefix, *command("reference", "--json")], folder)
    running = serving(process)
    assert os.listdir(folder)
    assert mentioned_in(folder)
    process.send_signal(number)
    process.wait(timeout=30)
    if number is not signal.SIGKILL:
        assert process.returncode == 0
    assert eventually(lambda: not os.listdir(folder) and not mentioned_in(folder)), mentioned_in(folder)
    with pytest.raises(httpx.ConnectError):
        httpx.get(running.environment["backend_url"])


def test_nothing_is_left_when_it_is_killed_while_it_starts(folder: str) -> None:
    """The folder is known to the warden before it exists."""
    process = start(command("reference", "--json"), folder)
    assert eventually(lambda: bool(os.listdir(folder)))
    process.kill()
    process.wait()
    assert eventually(lambda: not os.listdir(folder) and not mentioned_in(folder)), mentioned_in(folder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_database_of_its_own_on_an_existing_server(reference: Running, number: signal.Signals) -> None:
    """`--database-url` makes one database, drops it at the end, and touches nothing else."""

    def databases() -> set[str]:
        with psycopg.connect(reference.database_url) as connection:
            return {name for (name,) in connection.execute("select datname from pg_database")}

    before = databases()
    process = start(command("reference", "--json", "--database-url", reference.database_url))
    running = serving(process)
    assert databases() > before
    gallery = running.state("person with gallery", seeded=1).json()
    assert running.photos(gallery["person_id"]) == [gallery["links"][0]["served_url"]]
    assert reference.photos(gallery["person_id"]) == []
    process.send_signal(number)
    process.wait(timeout=30)
    assert eventually(lambda: databases() == before)


ERRORS = {
    "no such server": (["--database-url", "postgresql://127.0.0.1:1/x"], "--database-url"),
    "no such URL": (["--database-url", "postgresql://[/x"], "--database-url"),
    "no such rogue": (["--rogue", "mr-nobody"], "mr-nobody"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_line(case: str) -> None:
    """Bad usage is one line that names it, and exit code 4."""
    arguments, named = ERRORS[case]
    process = start(command("reference", *arguments))
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors.count("\n")) == (4, "", 1), errors
    assert named in errors


def test_environment_file(reference: Running) -> None:
    """What is printed for people is the same environment, as TOML, with its variables as shell commands."""
    described = Environment(reference.environment, reference.variables)
    text = described.toml()
    assert tomllib.loads(text) == {"environments": {"reference": reference.environment}}
    exports = [shlex.split(line.removeprefix("# ")) for line in text.splitlines() if line.startswith("# export")]
    assert dict(words[1].split("=", 1) for words in exports) == reference.variables
    named = {credential["env"] for credential in reference.environment["credentials"].values()}
    assert named < reference.variables.keys()


def test_secrets_are_fresh() -> None:
    """No two runs share a secret."""
    (_, one), (_, other) = fresh_settings(), fresh_settings()
    assert not set(one.values()) & set(other.values())


# The provider states


@pytest.mark.parametrize(
    "counts", [{}, {"seeded": 1}, {"unseeded": 2}, {"unhosted": 1}, {"seeded": 3, "unseeded": 4, "unhosted": 2}]
)
def test_person_with_gallery(reference: Running, counts: dict[str, int]) -> None:
    """The links come in the backend's order, with the flags that were asked for, seeds not all in one block."""
    gallery = reference.state("person with gallery", **counts).json()
    person_id, links = gallery["person_id"], gallery["links"]
    assert reference.photos(person_id) == [link["served_url"] for link in links]
    seeds = [link["served_url"] for link in links if link["facebank_seed"]]
    assert reference.photos(person_id, seed_only=True) == seeds
    assert (len(links), len(seeds)) == (sum(counts.values()), counts.get("seeded", 0))
    flags = [link["facebank_seed"] for link in links]
    if len(set(flags)) == 2:
        assert flags not in (sorted(flags), sorted(flags, reverse=True))
    assert reference.state("person with gallery", "teardown", **gallery).json() == {}
    assert reference.photos(person_id) == []


VALUES = {
    "media link outside a person gallery": {"person_id", "link_id"},
    "photo linked twice": {"person_id", "link_id", "other_link_id", "served_url"},
    "person": {"person_id"},
    "media asset": {"media_asset_id", "source_url", "hosted_url"},
    "shared photo": {
        "person_id", "link_id", "other_person_id", "other_link_id", "media_asset_id", "served_url",
    },
    "show with season": {"show_id", "season_id", "season_number", "cast"},
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_state_returns_its_values_and_leaves_nothing(reference: Running, name: str) -> None:
    """Setup answers the agreed values; teardown with them takes all rows away again."""
    tables = ("people", "media_assets", "media_links", "shows", "seasons")

    def rows() -> list[Any]:
        with psycopg.connect(reference.database_url) as connection:
            return [connection.execute(f"select count(*) from core.{table}").fetchone() for table in tables]

    before = rows()
    response = reference.state(name)
    assert response.status_code == 200
    assert response.json().keys() >= VALUES[name]
    assert rows() != before
    assert reference.state(name, "teardown", **response.json()).status_code == 200
    assert rows() == before


def test_a_state_that_the_database_rules_out_is_not_known_there(reference: Running) -> None:
    with psycopg.connect(reference.database_url, autocommit=True) as connection:
        connection.execute("create unique index once on core.media_links (entity_type, entity_id, media_asset_id)")
        try:
            response = reference.state("photo linked twice")
        finally:
            connection.execute("drop index core.once")
    assert response.status_code == 404
    assert "once" in response.text


def test_params_of_states(reference: Running) -> None:
    """Names and the missing hosted copy arrive in the database."""
    person_id = reference.state("person", full_name="Zoë").json()["person_id"]
    cast = reference.state("show with season", cast=["Ann", "Bo"]).json()["cast"]
    assert reference.state("media asset", hosted=False).json()["hosted_url"] is None
    with psycopg.connect(reference.database_url) as connection:
        names: dict[str, str] = dict(connection.execute("select id::text, full_name from core.people").fetchall())
    assert [names[person_id], *(names[member["person_id"]] for member in cast)] == ["Zoë", "Ann", "Bo"]


def test_storage_failure(reference: Running) -> None:
    """That person's toggles fail and change nothing, anybody else's work, and teardown ends it."""
    gallery, other = (reference.state("person with gallery", unseeded=1).json() for _ in range(2))
    person_id, link_id = gallery["person_id"], gallery["links"][0]["link_id"]
    failure = reference.state("storage failure", operation="toggle", person_id=person_id).json()
    assert failure == {"person_id": person_id}
    assert reference.toggle(person_id, link_id, True).status_code == 502
    assert reference.photos(person_id, seed_only=True) == []
    assert reference.toggle(other["person_id"], other["links"][0]["link_id"], True).status_code == 200
    reference.state("storage failure", "teardown", **failure)
    assert reference.toggle(person_id, link_id, True).status_code == 200
    assert len(reference.photos(person_id)) == 1


REFUSED_STATES = {
    "unknown state": ({"state": "a happy backend", "action": "setup"}, 404),
    "no state": ({}, 404),
    "unknown action": ({"state": "person", "action": "destroy"}, 422),
    "unknown param": ({"state": "person", "params": {"name": "Ann"}}, 422),
    "negative count": ({"state": "person with gallery", "params": {"seeded": -1}}, 422),
    "count is a boolean": ({"state": "person with gallery", "params": {"seeded": True}}, 422),
    "NUL in a name": ({"state": "person", "params": {"full_name": "a\0"}}, 422),
    "surrogate in a name": ({"state": "show with season", "params": {"cast": ["\ud800"]}}, 422),
    "params are a list": ({"state": "person", "params": [1]}, 422),
    "no object": ([], 422),
}


@pytest.mark.parametrize("case", REFUSED_STATES)
def test_refused_states(reference: Running, case: str) -> None:
    """What can't be set up is a 4xx with one line that says why."""
    body, status = REFUSED_STATES[case]
    response = httpx.post(reference.environment["backend_states_url"], content=json.dumps(body))
    assert (response.status_code, response.json()["detail"].count("\n")) == (status, 0)


FOREIGN = """
create schema core;
create type core.origin as enum ('upload', 'scrape');
create domain core.score as numeric check (value > 0);
create table core.people (
    id uuid primary key, full_name varchar(40) not null unique, slug text not null unique, origin core.origin not null,
    tags text[] not null, birthday date not null, score core.score not null, number bigint generated always as identity
);
create table core.media_assets (
    id uuid primary key, source_url text not null, hosted_url text, media_type varchar(8) not null,
    details json not null, fetched_at timestamptz not null, host inet not null
);
create table core.media_links (
    id uuid primary key, entity_type text not null, entity_id uuid not null,
    media_asset_id uuid not null references core.media_assets (id), kind core.origin, role varchar(20) not null,
    position smallint not null, is_primary boolean, facebank_seed boolean not null default false, batch uuid not null
);
alter table core.media_links alter kind type text;
insert into core.people values (gen_random_uuid(), 'Theirs', 'theirs', 'upload', '{}', now(), 1);
"""


def test_states_on_a_foreign_database(foreign_url: str) -> None:
    """Unknown required columns are filled, unknown optional ones left alone, and only own rows are ever deleted."""
    with psycopg.connect(foreign_url, autocommit=True) as connection:
        connection.execute(FOREIGN)

        def count(table: str) -> int:
            row = connection.execute(f"select count(*) from core.{table}").fetchone()
            assert row is not None
            return int(row[0])

        process = start(command("reference.states", "--database-url", foreign_url, "--json"))
        url = json.loads(first_line(process))["states_url"]
        galleries = [
            httpx.post(url, json={"state": "person with gallery", "params": {"seeded": 2, "unseeded": 2}}).json()
            for _ in range(2)
        ]
        assert (count("people"), count("media_links")) == (3, 8)
        flagged = connection.execute("select id::text from core.media_links where facebank_seed").fetchall()
        links = [link for gallery in galleries for link in gallery["links"]]
        assert {row[0] for row in flagged} == {link["link_id"] for link in links if link["facebank_seed"]}
        for name in ("storage failure", "show with season"):
            assert httpx.post(url, json={"state": name}).status_code == 404

        theirs = connection.execute("select id::text from core.people where slug = 'theirs'").fetchone()
        assert theirs is not None
        named = galleries[0] | {"also": [theirs[0]]}
        torn_down = {"state": "person with gallery", "action": "teardown", "params": named}
        assert httpx.post(url, json=torn_down).status_code == 200
        assert (count("people"), count("media_links"), count("media_assets")) == (2, 4, 4)

        process.terminate()
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        assert (count("people"), count("media_links"), count("media_assets")) == (1, 0, 0)


def test_states_name_the_missing_table(foreign_url: str) -> None:
    """A database without the deployed tables is refused in one line."""
    process = start(command("reference.states", "--database-url", foreign_url))
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (4, "")
    assert errors == "python -m reference.states: --database-url: the database has no table core.people\n"


# The rogues


def test_every_backend_clause_has_a_rogue() -> None:
    """A clause that nobody breaks is a clause of which nobody knows whether the suite would notice."""
    clauses = contracts.load().clauses
    backend = {clause.id for clause in clauses.values() if "backend" in clause.targets}
    assert backend <= {rogue.breaks[0] for rogue in ROGUES.values()} <= clauses.keys()


@pytest.mark.parametrize("name", ROGUES)
def test_rogues_declare_what_they_break(name: str) -> None:
    """At most three clauses, all known, none twice; and one sentence on what it does."""
    rogue = ROGUES[name]
    assert 1 <= len(rogue.breaks) <= MAX_BREAKS
    assert len(set(rogue.breaks)) == len(rogue.breaks)
    assert set(rogue.breaks) <= contracts.load().clauses.keys()
    assert rogue.summary.endswith(".")
    assert "\n" not in rogue.summary


def test_list_of_rogues(capsys: pytest.CaptureFixture[str]) -> None:
    """`--list-rogues` prints them all, for people and for programs."""
    assert main(["--list-rogues", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in listed] == list(ROGUES)
    assert all(entry.keys() == {"name", "target", "breaks", "summary", "profile", "overrides"} for entry in listed)
    assert main(["--list-rogues"]) == 0
    assert capsys.readouterr().out.count("\n") == len(ROGUES)


def test_a_rogue_serves(reference: Running) -> None:
    """`--rogue` runs the reference with that fault and no other."""
    words = command("reference", "--json", "--rogue", "answer-is-always-true", "--database-url", reference.database_url)
    process = start(words)
    with contextlib.ExitStack() as stack:
        stack.callback(process.communicate)
        stack.callback(process.terminate)
        rogue = serving(process)
        gallery = rogue.state("person with gallery", seeded=1).json()
        response = rogue.toggle(gallery["person_id"], gallery["links"][0]["link_id"], False)
        assert (response.status_code, response.json()["facebank_seed"]) == (200, True)
        assert rogue.photos(gallery["person_id"], seed_only=True) == []


def test_a_connection_that_ends_at_once_is_one_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under uvloop it is an AttributeError of anyio's, which no service expects."""

    async def ended(self: httpcore.AsyncConnectionPool, request: httpcore.Request) -> httpcore.Response:
        raise AttributeError("'NoneType' object has no attribute 'getpeername'")

    async def call() -> None:
        async with httpx.AsyncClient(transport=Transport(httpx.Limits())) as client:
            await client.get("http://127.0.0.1:1")

    monkeypatch.setattr(httpcore.AsyncConnectionPool, "handle_async_request", ended)
    with pytest.raises(httpx.ConnectError, match="closed at once"):
        asyncio.run(call())
