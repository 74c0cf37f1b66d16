"""The deployed tables as views: what the different backend's catalog holds is kept in Postgres, a document a row.

A reader of ``core.media_assets``, ``core.media_links`` and ``core.media_scrape_exclusions`` finds the deployed columns
with their types, others besides, and a count of people in a place of its own in the metadata.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import psycopg
from catalog import Asset, Exclusion, Link, Thing
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

SCHEMA = """
create schema different;
create table different.documents (id uuid primary key, sort text not null, body jsonb not null);
create schema core;
create view core.media_assets as
select
    id,
    body ->> 'source' as source,
    body ->> 'source_url' as source_url,
    body ->> 'hosted_url' as hosted_url,
    body ->> 'hosted_key' as hosted_key,
    body ->> 'hosted_sha256' as hosted_sha256,
    (body ->> 'width')::bigint as width,
    (body ->> 'height')::bigint as height,
    body ->> 'caption' as caption,
    body -> 'metadata' as metadata,
    array['photo', 'web'] as labels,
    false as is_archived
from different.documents where sort = 'asset';
create view core.media_links as
select
    id,
    body ->> 'entity_type' as entity_type,
    (body ->> 'entity_id')::uuid as entity_id,
    (body ->> 'media_asset_id')::uuid as media_asset_id,
    body ->> 'kind' as kind,
    (body ->> 'position')::numeric as position,
    body -> 'context' as context,
    1.5 as weight
from different.documents where sort = 'link';
create view core.media_scrape_exclusions as
select
    id,
    body ->> 'entity_type' as entity_type,
    body ->> 'entity_id' as entity_id,
    body ->> 'source_page_url' as source_page_url,
    body ->> 'source_image_url' as source_image_url,
    body ->> 'source_image_url_canonical' as source_image_url_canonical,
    null::text as reason,
    null::text as created_by
from different.documents where sort = 'exclusion';
"""


class Tables:
    """Where the catalog's changes are written; ``shown`` writes an id in a document as this backend writes ids.

    Used by one thread at a time: the catalog's lock is held.
    """

    def __init__(self, connection: psycopg.Connection, shown: Callable[[str], str]) -> None:
        self._connection = connection
        self._shown = shown

    def put(self, things: Iterable[Thing]) -> None:
        rows = [(thing.id, *self._document(thing)) for thing in things]
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "insert into different.documents values (%s, %s, %s)"
                " on conflict (id) do update set body = excluded.body",
                rows,
            )

    def drop(self, things: Iterable[Thing]) -> None:
        ids = [thing.id for thing in things]
        if ids:
            self._connection.execute("delete from different.documents where id = any(%s::uuid[])", [ids])

    def _document(self, thing: Thing) -> tuple[str, Jsonb]:
        match thing:
            case Asset():
                return "asset", Jsonb(_asset(thing))
            case Link():
                tagged = {"people_ids": [self._shown(person) for person in thing.tagged]} if thing.tagged else {}
                return "link", Jsonb(
                    {
                        "entity_type": thing.owner.type,
                        "entity_id": thing.owner.id,
                        "media_asset_id": thing.asset.id,
                        "kind": thing.kind,
                        "position": thing.position,
                        "context": {"by": "import", **tagged},
                    }
                )
            case Exclusion():
                return "exclusion", Jsonb(
                    {
                        "entity_type": thing.owner.type,
                        "entity_id": self._shown(thing.owner.id),
                        "source_page_url": thing.page_url,
                        "source_image_url": thing.image_url,
                        "source_image_url_canonical": thing.key,
                    }
                )


def _asset(asset: Asset) -> dict[str, object]:
    metadata: dict[str, object] = {"source_page_url": asset.page_url, "analysis": {"people": {"n": asset.people}}}
    if asset.published is not None:
        metadata["source_created_at"] = asset.published
    return {
        "source": "web" if asset.page_url else "upload",
        "source_url": asset.source_url,
        "hosted_url": asset.hosted_url,
        "hosted_key": asset.hosted_url and f"photos/{asset.id}",
        "hosted_sha256": asset.digest,
        "width": asset.width,
        "height": asset.height,
        "caption": _storable(asset.caption),
        "metadata": metadata,
    }


def _storable(text: str | None) -> str | None:
    """A text as Postgres can keep it."""
    return None if text is None else text.replace("\0", "").encode("utf-8", "replace").decode()


@contextmanager
def made(server: str, shown: Callable[[str], str]) -> Iterator[tuple[str, Tables]]:
    """A database of its own on a server, dropped at the end: its connection string, and its tables."""
    name = f"different_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as administrator:
        administrator.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        try:
            url = make_conninfo(server, dbname=name)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(SCHEMA)
                yield url, Tables(connection, shown)
        finally:
            # whoever gave us the server may have taken it away
            with suppress(psycopg.OperationalError):
                administrator.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
