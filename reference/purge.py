"""`python -m reference.purge`: delete what was imported from one web page for one season, to import it anew.

Nothing is excluded by it, and nothing is deleted without `--execute`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from reference.database import one_line
from reference.page import SOURCE, canonical_address

Connection = psycopg.Connection[tuple[Any, ...]]


class Import(NamedTuple):
    """A link through which a season, or its show along with it, has a scraped image."""

    link_id: UUID
    media_asset_id: UUID
    entity_type: str
    kind: str
    page_url: str | None
    source_url: str | None


class Purge:
    """The purge, decision by decision; a rogue is a subclass that takes one of them differently."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def find_season(self, show_id: UUID, season_number: int) -> UUID | None:
        """The season of that number."""
        row = self.connection.execute(
            "select id from core.seasons where show_id = %s and season_number = %s::numeric", (show_id, season_number)
        ).fetchone()
        return None if row is None else row[0]

    def select(self, season_id: UUID, page_url: str) -> Sequence[Import]:
        """The season's imports from that page, locked until the transaction ends."""
        with self.connection.cursor(row_factory=class_row(Import)) as cursor:
            cursor.execute(
                "select links.id as link_id, media_asset_id, entity_type, kind, source_url,"
                " coalesce(context ->> 'source_page_url', metadata ->> 'source_page_url') as page_url"
                " from core.media_links as links join core.media_assets as assets on assets.id = media_asset_id"
                " where entity_type = 'season' and entity_id = %s and source = %s"
                " order by assets.created_at, assets.id for update",
                (season_id, SOURCE),
            )
            return [found for found in cursor if self.is_from(found, page_url)]

    def is_from(self, found: Import, page_url: str) -> bool:
        """Whether an image was imported from that page."""
        return found.page_url is not None and canonical_address(found.page_url) == canonical_address(page_url)

    def linked_along(self, season_id: UUID, imports: Sequence[Import]) -> Sequence[Import]:
        """The links of the show that only these imports are the reason for."""
        with self.connection.cursor(row_factory=class_row(Import)) as cursor:
            cursor.execute(
                "select links.id as link_id, media_asset_id, entity_type, kind, source_url, null as page_url"
                " from core.media_links as links join core.media_assets as assets on assets.id = media_asset_id"
                " where entity_type = 'show' and context ->> 'season_id' = %s and media_asset_id = any(%s)"
                " and not exists (select from core.media_links as other"
                "  join core.seasons on other.entity_type = 'season' and seasons.id = other.entity_id"
                "  where seasons.show_id = links.entity_id and other.media_asset_id = links.media_asset_id"
                "  and other.kind = links.kind and other.id <> all(%s))"
                " for update of links",
                (str(season_id), [found.media_asset_id for found in imports], [found.link_id for found in imports]),
            )
            return cursor.fetchall()

    def orphans(self, imports: Sequence[Import]) -> Sequence[UUID]:
        """The assets that nobody has any more without these links."""
        cursor = self.connection.execute(
            "select id from core.media_assets where id = any(%s) and not exists"
            " (select from core.media_links where media_asset_id = media_assets.id and id <> all(%s))",
            ([found.media_asset_id for found in imports], [found.link_id for found in imports]),
        )
        return [asset_id for (asset_id,) in cursor.fetchall()]

    def describe(self, imports: Sequence[Import], orphans: Sequence[UUID], execute: bool) -> Sequence[str]:
        """What is said of it: a line for each link, one for each asset, and their number."""
        verb = "deleted" if execute else "would delete"
        addresses = {found.media_asset_id: found.source_url for found in imports}
        return [
            *(f"{verb} {found.entity_type} {found.kind} link {found.link_id}" for found in imports),
            *(f"{verb} asset {asset_id} {addresses[asset_id]}" for asset_id in orphans),
            f"{verb} {len(orphans)} assets and {len(imports)} links",
            *([] if execute or not imports else ["this was a dry run: --execute deletes them"]),
        ]

    def delete(self, imports: Sequence[Import], orphans: Sequence[UUID]) -> None:
        """Delete the links, the assets that were left without any, and their hosted copies."""
        links = [found.link_id for found in imports]
        self.connection.execute("delete from core.media_links where id = any(%s)", (links,))
        self.connection.execute(
            "delete from reference.objects where key in (select hosted_key from core.media_assets where id = any(%s))",
            (list(orphans),),
        )
        self.connection.execute("delete from core.media_assets where id = any(%s)", (list(orphans),))

    def run(self, season_id: UUID, page_url: str, execute: bool) -> Sequence[str]:
        """Look, delete where that is asked for, and return what is to be said of it."""
        selected = self.select(season_id, page_url)
        imports = [*selected, *self.linked_along(season_id, selected)]
        orphans = self.orphans(imports)
        if execute:
            self.delete(imports, orphans)
        return self.describe(imports, orphans, execute)


def main(arguments: Sequence[str] | None = None) -> int:
    """Say what would be deleted, or delete it (0); 4 where there is no such season, database or rogue."""
    parser = argparse.ArgumentParser(prog="python -m reference.purge", description=__doc__)
    parser.add_argument("show_id", type=UUID)
    parser.add_argument("season_number", type=int)
    parser.add_argument("page_url", help="the page that the images were imported from")
    parser.add_argument("--execute", action="store_true", help="delete, instead of saying what would be deleted")
    parser.add_argument(
        "--database-url", metavar="URL", default=os.environ.get("TRR_DB_URL"), help="by default $TRR_DB_URL"
    )
    parser.add_argument("--rogue", metavar="NAME", help="purge with this one fault")
    options = parser.parse_args(arguments)
    try:
        if not options.database_url:
            raise LookupError("--database-url or TRR_DB_URL has to be set")
        make = find_rogue(options.rogue) if options.rogue else Purge
        with psycopg.connect(options.database_url, connect_timeout=10) as connection:
            purge = make(connection)
            season_id = purge.find_season(options.show_id, options.season_number)
            if season_id is None:
                raise LookupError(f"show {options.show_id} has no season {options.season_number}")
            lines = purge.run(season_id, options.page_url, options.execute)
    except LookupError as error:
        return usage_error(error.args[0])
    except psycopg.Error as error:
        return usage_error(one_line(error))
    print("\n".join(lines))
    return 0


def usage_error(message: str) -> int:
    """Say what is wrong, and return the exit code for it."""
    print(f"python -m reference.purge: {message}", file=sys.stderr)
    return 4


def find_rogue(name: str) -> type[Purge]:
    """The rogue of that name, whose fault is in the purge; raises KeyError with a clear message where there is none."""
    from reference import rogues

    implementation = rogues.find(name).implementation
    if not issubclass(implementation, Purge):
        raise KeyError(f"the rogue {name} has no fault in the purge")
    return implementation


if __name__ == "__main__":
    # by the name under which the rogues know it, whose classes are others than this module's
    from reference import purge

    sys.exit(purge.main())
