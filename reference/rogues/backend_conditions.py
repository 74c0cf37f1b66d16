"""Rogues of the backend whose fault shows on a condition alone: a second call, a second page, another spelling."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, LiteralString
from urllib.parse import unquote
from uuid import UUID

import httpx
import psycopg
from fastapi import HTTPException, Request, Response
from psycopg.types.json import Jsonb

from reference.access import Connection, Settings
from reference.backend import Backend, Link, PhotoQuery
from reference.fetching import Fetched
from reference.media import Asset, AssetLink, Entity, Event, Order, Outcome, Picture, Wanted
from reference.page import Page
from reference.purge import Import, Purge
from reference.rogues import rogue

# AUTH: who may call


@rogue(breaks=["AUTH-02", "AUTH-03", "AUTH-05"])
class GrantRememberedForALink(Backend):
    """Remembers, by path and token, who was let in, and asks for the secret no more."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.granted: set[tuple[str, bytes | None]] = set()

    def authorize_admin(self, request: Request) -> None:
        call = request.url.path.lower(), self.bearer_token(request)
        if call not in self.granted:
            super().authorize_admin(request)
            self.granted.add(call)


@rogue(breaks=["AUTH-03"])
class SecretAnywhereInAList(Backend):
    """Reads the header as a list, for the time of a rotation, and takes it where the secret is one of it."""

    def secret_matches(self, given: bytes | None) -> bool:
        return given is not None and any(
            super(SecretAnywhereInAList, self).secret_matches(one.strip()) for one in given.split(b",")
        )


@rogue(breaks=["AUTH-06", "AUTH-08"])
class AllowlistMatchedByPart(Backend):
    """Looks for the address in the allowlist as it is written, which holds the parts of addresses too."""

    def is_allowlisted(self, claims: Mapping[str, Any]) -> bool:
        email = claims.get("email")
        return isinstance(email, str) and bool(email) and email.lower() in ",".join(sorted(self.settings.admin_emails))


@rogue(breaks=["AUTH-06", "AUTH-08"])
class AllowlistReadsTheProfile(Backend):
    """Takes the address that people write into their own profile for theirs."""

    def is_allowlisted(self, claims: Mapping[str, Any]) -> bool:
        profile = claims.get("user_metadata")
        email = (isinstance(profile, dict) and profile.get("email")) or claims.get("email")
        return super().is_allowlisted({"email": email})


@rogue(breaks=["AUTH-11"])
class LaterPagesForEverybody(Backend):
    """Guards the first page of the photos."""

    def authorize_reader(self, request: Request) -> None:
        if request.query_params.get("offset", "0") == "0":
            super().authorize_reader(request)


@rogue(breaks=["AUTH-09"])
class StorageErrorShowsTheRequest(Backend):
    """Answers a storage error with the request that it came with, headers and all."""

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        try:
            return await super().toggle(request, person_id, link_id)
        except psycopg.Error:
            return self.json({"detail": "Database error", "request": dict(request.headers)}, 502)


# The toggle


@rogue(breaks=["TOG-10", "TOG-06"])
class FailedWriteMadeUpFor(Backend):
    """Tells that a flag could not be stored, and stores it when the next one can be."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.waiting: list[tuple[Link, bool]] = []

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        try:
            stored = await super().store_flag(connection, link, flag)
        except psycopg.Error:
            self.waiting.append((link, flag))
            raise
        waiting, self.waiting = self.waiting, []
        for late, value in waiting:
            try:
                await super().store_flag(connection, late, value)
            except (psycopg.Error, HTTPException):
                continue
        return stored


@rogue(breaks=["TOG-05"])
class ListsCachedByTheIdAsWritten(Backend):
    """Caches the lists by the person's id as it stands in the path, and drops those of the id in a toggle's path."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.lists: dict[str, dict[str, bytes]] = {}
        self.changes: dict[str, int] = {}

    def changed(self, person_id: str) -> None:
        self.changes[person_id] = self.changes.get(person_id, 0) + 1
        self.lists.pop(person_id, None)

    async def photos(self, request: Request, person_id: str) -> Response:
        self.authorize_reader(request)
        query, seen = str(request.query_params), self.changes.get(person_id)
        cached = self.lists.get(person_id, {}).get(query)
        if cached is not None:
            return Response(cached, media_type="application/json")
        answer = await super().photos(request, person_id)
        if seen == self.changes.get(person_id):
            self.lists.setdefault(person_id, {})[query] = bytes(answer.body)
        return answer

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        self.changed(person_id)
        try:
            return await super().toggle(request, person_id, link_id)
        finally:
            self.changed(person_id)

    async def events(self, order: Order) -> Any:
        async for event in super().events(order):
            self.lists.clear()
            yield event

    async def delete_asset(self, request: Request, asset_id: str) -> Response:
        try:
            return await super().delete_asset(request, asset_id)
        finally:
            self.lists.clear()


@rogue(breaks=["TOG-06", "TOG-03"])
class BodyNamesTheLink(Backend):
    """Merges path and body, and has the body win."""

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        self.authorize_admin(request)
        body = await self.read_body(request)
        named = body.get("link_id") if isinstance(body, dict) else None
        return await super().toggle(request, person_id, named if isinstance(named, str) else link_id)


@rogue(breaks=["TOG-05", "TOG-09"])
class RepeatsAnsweredFromACache(Backend):
    """Answers a toggle as it answered the same one some seconds ago, whatever came between."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.stored: dict[tuple[UUID, bool], float] = {}

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        if time.monotonic() - self.stored.get((link.id, flag), -60.0) < 5:
            return flag
        self.stored[link.id, flag] = time.monotonic()
        return await super().store_flag(connection, link, flag)


# The photos


@rogue(breaks=["PHO-03"])
class ThirtySeedsAtMost(Backend):
    """Answers with no more than thirty seeds."""

    def photos_page(self, query: PhotoQuery) -> LiteralString:
        return "limit least(%(limit)s, 30) offset %(offset)s" if query.seed_only else super().photos_page(query)


@rogue(breaks=["PHO-09"])
class TiesInAnyOrder(Backend):
    """Leaves open how photos without a position are sorted, as those of an import are."""

    def photos_order(self, query: PhotoQuery) -> LiteralString:
        return "is_primary desc nulls last, position asc nulls last, random()"


@rogue(breaks=["PHO-09"])
class TiesAsTheyCome(Backend):
    """Sorts by primary and position, and by nothing else."""

    def photos_order(self, query: PhotoQuery) -> LiteralString:
        return "is_primary desc nulls last, position asc nulls last"


@rogue(breaks=["PHO-04", "PHO-03"])
class UnplacedPhotosLeftOut(Backend):
    """Lists photos that have a position, which those of an import have not."""

    def photos_condition(self, query: PhotoQuery) -> LiteralString:
        return f"{super().photos_condition(query)} and position is not null"


# What an import or a delete does to a seed


@rogue(breaks=["TOG-05"])
class ReimportTakesTheFlagBack(Backend):
    """Writes a link anew that is there already, with the flag of a new one."""

    async def link(
        self, connection: Connection, entity: Entity, asset: Asset, kind: str, context: Mapping[str, Any]
    ) -> None:
        await connection.execute(
            "insert into core.media_links (entity_type, entity_id, media_asset_id, kind, context)"
            " values (%s, %s, %s, %s, %s) on conflict (entity_type, entity_id, kind, media_asset_id)"
            " do update set context = excluded.context, facebank_seed = excluded.facebank_seed",
            (*entity, asset.id, kind, Jsonb(context)),
        )


@rogue(breaks=["DEL-01"])
class SeedsSurviveADelete(Backend):
    """Deletes an asset for all but those whose seed it is."""

    async def remove_asset(self, connection: Connection, asset: Asset) -> None:
        await connection.execute(
            "delete from core.media_links where media_asset_id = %s and not facebank_seed", (asset.id,)
        )
        await connection.execute(
            "delete from core.media_assets where id = %s"
            " and not exists (select from core.media_links where media_asset_id = media_assets.id)",
            (asset.id,),
        )


# Import


@rogue(breaks=["EXC-03", "IMP-03", "KIND-01"])
class HitsAreRemembered(Backend):
    """Caches the asset of a duplicate by its hash, and keeps it when it is deleted."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.known: dict[str, Asset] = {}

    async def find_asset(self, connection: Connection, picture: Picture) -> Asset | None:
        found = self.known.get(picture.sha256) or await super().find_asset(connection, picture)
        if found is not None:
            self.known[picture.sha256] = found
        return found


@rogue(breaks=["EXC-02"])
class ListsDroppedForTheFirst(Backend):
    """Caches the exclusions of each entity, and drops them for the first of those whom a delete excludes for."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.lists: dict[Entity, AbstractSet[str]] = {}

    async def exclusions_for(self, entity: Entity | None) -> AbstractSet[str]:
        if entity is None:
            return frozenset()
        if entity not in self.lists:
            self.lists[entity] = await super().exclusions_for(entity)
        return self.lists[entity]

    async def delete_asset(self, request: Request, asset_id: str) -> Response:
        self.first: Entity | None = None
        try:
            return await super().delete_asset(request, asset_id)
        finally:
            if self.first is not None:
                self.lists.pop(self.first, None)

    async def write_exclusions(
        self, connection: Connection, asset: Asset, links: Sequence[AssetLink], caller: str | None
    ) -> None:
        await super().write_exclusions(connection, asset, links, caller)
        self.first = Entity(links[0].entity_type, links[0].entity_id) if links else None


@rogue(breaks=["SSE-03", "IMP-02"])
class TwentyFiveImagesAtMost(Backend):
    """Imports the first twenty-five images of a request, and passes over the others."""

    def parse_images(self, value: Any) -> tuple[Wanted, ...]:
        return super().parse_images(value)[:25]


@rogue(breaks=["SSE-01"])
class LongEventsAreWrapped(Backend):
    """Breaks an event of more than four kilobytes into several lines, as server-sent events allow."""

    def frame(self, name: str, data: Mapping[str, Any]) -> bytes:
        frame = super().frame(name, data)
        return frame if len(frame) <= 4096 else frame.replace(b',"', b',\ndata: "')


@rogue(breaks=["SSE-03"])
class ToldAddressIsDecoded(Backend):
    """Tells of an image by its address with the percent-encoding taken off."""

    def place(self, order: Order, wanted: Wanted, number: int) -> dict[str, Any]:
        return super().place(order, wanted, number) | {"url": unquote(wanted.url)}


@rogue(breaks=["SSE-03"])
class AddressAfterRedirects(Backend):
    """Tells the end of an image under the address at which it was found."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.found: dict[str, str] = {}

    async def fetch_image(self, url: str) -> Fetched:
        fetched = await super().fetch_image(url)
        self.found[url] = fetched.url
        return fetched

    def result(self, order: Order, wanted: Wanted, number: int, outcome: Outcome) -> Event:
        name, data = super().result(order, wanted, number, outcome)
        return name, {**data, "url": self.found.pop(wanted.url, wanted.url)}


@rogue(breaks=["KIND-02"])
class FalsyKindsAreOther(Backend):
    """Takes whatever is false for a kind that was left out."""

    def parse_kind(self, value: Any) -> str:
        return super().parse_kind(value or None)


# What is taken from the page


@rogue(breaks=["CAST-03", "CAST-01", "CAST-02"])
class PagesWithoutTheirQuery(Backend):
    """Remembers previewed pages by their address without its query."""

    async def load_page(self, url: str) -> Page:
        found = await super().load_page(url)
        self.pages[self.canonical(url).partition("?")[0]] = found
        return found

    async def source_page(self, order: Order) -> Page | None:
        if not any(self.needs_page(wanted) for wanted in order.images):
            return None
        return self.pages.get(self.canonical(order.source_url).partition("?")[0]) or await super().source_page(order)


@rogue(breaks=["CAST-01", "CAST-02", "CAST-03"])
class FirstPreviewStays(Backend):
    """Keeps for imports what the first preview of a page found."""

    async def load_page(self, url: str) -> Page:
        before = self.pages.get(self.canonical(url))
        found = await super().load_page(url)
        self.pages[self.canonical(url)] = before or found
        return found


@rogue(breaks=["CAST-01", "CAST-02", "CAST-03"])
class PageIsUsedUp(Backend):
    """Hands out a previewed page once: a second import of it takes nothing from there."""

    async def source_page(self, order: Order) -> Page | None:
        if not any(self.needs_page(wanted) for wanted in order.images):
            return None
        return self.pages.pop(self.canonical(order.source_url), None)


# Exclusion, delete


@rogue(breaks=["PRE-05"])
class ExclusionsInLowerCase(Backend):
    """Compares the addresses of images without case."""

    def is_excluded(self, addresses: Any, excluded: AbstractSet[str]) -> bool:
        return super().is_excluded([address.lower() for address in addresses], {each.lower() for each in excluded})


@rogue(breaks=["PRE-05"])
class ExclusionsWithoutTheQuery(Backend):
    """Compares the addresses of images without their query."""

    def is_excluded(self, addresses: Any, excluded: AbstractSet[str]) -> bool:
        bare = {each.partition("?")[0] for each in excluded}
        return super().is_excluded([address.partition("?")[0] for address in addresses], bare)


# Counts, purge


@rogue(breaks=["CNT-03"], profile="thorough")
class TimeoutsCountNobody(Backend):
    """Takes a vision service that does not answer in time for a photo of nobody."""

    vision_timeout_s = 3.0

    async def count_people(self, image_url: str) -> Mapping[str, Any]:
        try:
            return await super().count_people(image_url)
        except HTTPException as refusal:
            if not isinstance(refusal.__cause__, TimeoutError | httpx.TimeoutException):
                raise
            return {"people_count": 0, "face_count": 0, "detector": None, "model": None}


@rogue(breaks=["CNT-01", "CNT-03"])
class CountIsStoredAsText(Backend):
    """Stores a count as text."""

    def count_metadata(self, count: Mapping[str, Any]) -> Mapping[str, Any]:
        return {key: None if value is None else str(value) for key, value in super().count_metadata(count).items()}


@rogue(breaks=["PUR-02"])
class PurgeWithoutCase(Purge):
    """Compares the addresses of pages without case."""

    def is_from(self, found: Import, page_url: str) -> bool:
        return found.page_url is not None and found.page_url.lower() == page_url.lower()


@rogue(breaks=["PUR-02"])
class PurgeOfEveryQuery(Purge):
    """Compares the addresses of pages without their query."""

    def is_from(self, found: Import, page_url: str) -> bool:
        return found.page_url is not None and found.page_url.partition("?")[0] == page_url.partition("?")[0]


@rogue(breaks=["PUR-02"])
class PurgeLeavesPosters(Purge):
    """Deletes the photos of a page, and not its posters and backdrops."""

    def is_from(self, found: Import, page_url: str) -> bool:
        return found.kind not in ("poster", "backdrop") and super().is_from(found, page_url)
