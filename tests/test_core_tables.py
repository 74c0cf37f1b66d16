"""Looks at the media tables: whole rows of any columns, the same whoever owns them, and a missing table named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from types import MappingProxyType
from uuid import uuid4

import psycopg
import pytest

from conformance.core_tables import CoreTables, Look, names
from conformance.environment import EnvironmentSource, resolve
from conformance.errors import NotVerified
from reference import database
from reference.warden import Warden

TABLES = """
create schema core;
create table core.media_assets (id uuid primary key, source_url text, metadata jsonb, fancy point, stamp timestamptz);
create table core.media_links (id uuid primary key, entity_id uuid, entity_type text, media_asset_id uuid, kind text);
create type core.entity as enum ('season', 'show', 'person');
create table core.media_scrape_exclusions (id uuid primary key, entity_type core.entity, entity_id text, image text);
"""

ENVIRONMENT = resolve(EnvironmentSource("test", {"production": False}))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A database that has the tables in a form of its own."""
    with Warden() as warden:
        (url,) = database.start(None, ["screenalytics"], warden).values()
        with psycopg.connect(url) as connection:
            connection.execute(TABLES)
        yield url


@pytest.fixture
def tables(url: str) -> Iterator[CoreTables]:
    tables = at(url)
    yield tables
    tables.close()


def at(url: str) -> CoreTables:
    return CoreTables(replace(ENVIRONMENT, values=MappingProxyType({"database_url": url})))


def test_rows_are_whole_and_found_by_any_spelling_of_an_id(url: str, tables: CoreTables) -> None:
    asset, link, season, other = (str(uuid4()) for _ in range(4))
    with psycopg.connect(url) as connection:
        connection.execute(
            "insert into core.media_assets values (%s, 'https://a.invalid/1.png', %s, '(1,2)', now())",
            (asset, '{"deep": ["text"]}'),
        )
        connection.execute(
            "insert into core.media_links values (%s, %s, 'season', %s, 'cast'), (%s, %s, 'show', %s, 'cast')",
            (link, season, asset, str(uuid4()), other, asset),
        )
        connection.execute(
            "insert into core.media_scrape_exclusions values (%s, 'season', %s, 'https://a.invalid/1.png')",
            (str(uuid4()), season.upper()),
        )
    row = tables.asset(asset.upper())
    assert row is not None
    assert row.keys() == {"id", "source_url", "metadata", "fancy", "stamp"}
    assert names(row, "/1.png")
    assert names(row, "text")
    assert not names(row, "/2.png")
    assert tables.assets_about("invalid/1.p") == (row,)
    assert tables.assets_about("invalid/1_p") == ()
    assert [found["entity_id"] for found in tables.links_to([season])] == [season]
    assert len(tables.links_of([asset.replace("-", "")])) == 2
    assert [found["entity_type"] for found in tables.exclusions([season])] == ["season"]
    assert tables.exclusions([other]) == ()
    assert tables.assets(["no uuid", str(uuid4())]) == ()


def test_a_look_says_what_differs(url: str, tables: CoreTables) -> None:
    asset, gone, season = (str(uuid4()) for _ in range(3))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("insert into core.media_assets (id, source_url) values (%s, 'a')", (asset,))
        connection.execute("insert into core.media_links values (%s, %s, 'season', %s, 'cast')", (gone, season, asset))
        before = tables.look(assets=[asset], entities=[season])
        assert before.difference(tables.look(assets=[asset], entities=[season])) == []
        connection.execute("update core.media_assets set source_url = 'b' where id = %s", (asset,))
        connection.execute("delete from core.media_links where id = %s", (gone,))
        after = tables.look(assets=[asset], entities=[season])
    assert before.difference(after) == [f"assets {asset}: source_url changed", f"links lost {gone}"]
    assert Look((), (), ()).difference(before) == [f"assets gained {asset}", f"links gained {gone}"]


def test_no_table_of_exclusions_is_a_table_without_rows(url: str) -> None:
    """The backend's fault, not the database's: EXC-01 then finds no row."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("alter table core.media_scrape_exclusions rename to elsewhere")
        try:
            tables = at(url)
            assert tables.exclusions([str(uuid4())]) == ()
            tables.close()
        finally:
            connection.execute("alter table core.elsewhere rename to media_scrape_exclusions")


def test_another_database_is_not_verified(url: str) -> None:
    tables = at(database.with_database(url, "postgres"))
    for look in (tables.assets, tables.links_of, tables.links_to, tables.exclusions):
        with pytest.raises(NotVerified, match=r"^database_url: .*core"):
            look([str(uuid4())])
    tables.close()


def test_no_database_is_not_verified() -> None:
    tables = CoreTables(ENVIRONMENT)
    assert not tables.present
    with pytest.raises(NotVerified, match="database_url is not set"):
        tables.look()
    tables.close()


def test_a_pooler_may_stand_before_the_database(url: str, tables: CoreTables) -> None:
    """Poolers refuse `options`, and hand a session's prepared statements to nobody."""
    for _ in range(10):
        tables.assets([str(uuid4())])
    assert tables._rows("select to_jsonb(p) as row from pg_prepared_statements p") == ()
    (setting,) = tables._rows(
        "select to_jsonb(s) as row from pg_settings s where name = 'default_transaction_read_only'"
    )
    assert setting["source"] == "default"
    with pytest.raises(NotVerified, match="read-only"):
        tables._rows("delete from core.media_assets returning to_jsonb(media_assets) as row")


def test_a_session_that_was_ended_is_made_anew(url: str, tables: CoreTables) -> None:
    for _ in range(3):
        (session,) = tables._rows("select to_jsonb(s) as row from pg_stat_activity s where pid = pg_backend_pid()")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("select pg_terminate_backend(%s, 5000)", (session["pid"],))
    with pytest.raises(NotVerified, match="terminating connection"):
        tables._rows("select to_jsonb(pg_terminate_backend(pg_backend_pid())) as row")


@pytest.mark.parametrize(
    ("policies", "hides"),
    [
        ([], True),
        (["using (source_url is null)"], True),
        (["using (true)"], False),
        (["to reader using (true)"], False),
        (["to pg_monitor using (true)"], True),
        (["for update using (true)"], True),
        (["using (true)", "as restrictive using (source_url is null)"], True),
    ],
)
def test_rows_that_a_policy_hides_are_not_verified(url: str, policies: list[str], hides: bool) -> None:
    """A role that row level security binds finds nothing where there is something."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create role reader login")
        connection.execute("grant usage on schema core to reader")
        connection.execute("grant select on all tables in schema core to reader")
        connection.execute("alter table core.media_assets enable row level security")
        for number, policy in enumerate(policies):
            connection.execute(f"create policy p{number} on core.media_assets {policy}".encode())
        reader = at(f"{url}&user=reader")
        try:
            assert reader.links_of([str(uuid4())]) == ()
            with pytest.raises(NotVerified, match='policy for table "media_assets"') if hides else nullcontext():
                assert reader.assets([str(uuid4())]) == ()
        finally:
            reader.close()
            for number, _ in enumerate(policies):
                connection.execute(f"drop policy p{number} on core.media_assets".encode())
            connection.execute("alter table core.media_assets disable row level security")
            connection.execute("drop owned by reader; drop role reader")
