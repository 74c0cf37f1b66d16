"""Rogues of the media workflow whose fault shows on a condition alone: a second import, another kind, a redirect."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any, LiteralString
from urllib.parse import unquote
from uuid import UUID, uuid4

import httpx
import psycopg
from fastapi import HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from PIL import Image as Pictures
from psycopg.types.json import Jsonb

from reference import page
from reference.access import Connection, Settings
from reference.backend import Backend
from reference.fetching import IDENTITY, Fetched, FetchError
from reference.media import (
    MAX_IMAGE_BYTES,
    MAX_IMAGES,
    Asset,
    AssetLink,
    Entity,
    Event,
    Order,
    Outcome,
    Picture,
    PreviewQuery,
    Scraped,
    Wanted,
)
from reference.page import SOURCE, Document, Image, Page
from reference.purge import Import, Purge
from reference.rogues import rogue
from reference.rogues.media_upkeep import CountsFromAnErrorsBody

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


@rogue(breaks=["DEL-01"])
class OldIdsLeadToTheNewAsset(Backend):
    """Knows a deleted asset by its address, and deletes for its id what was imported from there since."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.deleted: dict[UUID, str | None] = {}

    async def select_asset(self, connection: Connection, condition: LiteralString, value: Any) -> Asset | None:
        found = await super().select_asset(connection, condition, value)
        if found is None and value in self.deleted:
            return await super().select_asset(connection, "source_url = %s for update", self.deleted[value])
        return found

    async def remove_asset(self, connection: Connection, asset: Asset) -> None:
        await super().remove_asset(connection, asset)
        self.deleted[asset.id] = asset.source_url


@rogue(breaks=["TOG-11"])
class FlagComesBackWithThePhoto(Backend):
    """Remembers whose seed a deleted photo was, and makes it one again when it is imported again."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.seeds: set[tuple[UUID, str | None]] = set()

    async def remove_asset(self, connection: Connection, asset: Asset) -> None:
        cursor = await connection.execute(
            "select entity_id from core.media_links where media_asset_id = %s and facebank_seed", (asset.id,)
        )
        self.seeds |= {(person, asset.source_url) for (person,) in await cursor.fetchall()}
        await super().remove_asset(connection, asset)

    async def link(
        self, connection: Connection, entity: Entity, asset: Asset, kind: str, context: Mapping[str, Any]
    ) -> None:
        await super().link(connection, entity, asset, kind, context)
        if (entity.id, asset.source_url) in self.seeds:
            await connection.execute(
                "update core.media_links set facebank_seed = true where entity_id = %s and media_asset_id = %s",
                (entity.id, asset.id),
            )


# Preview


@rogue(breaks=["PRE-02", "CAST-03"])
class ModifiedIsPublished(Backend):
    """Takes the day of a page's last change for that of its publication, where it states both."""

    dated_by = 'meta[property="article:modified_time"]', "content"

    def published_at(self, document: Document) -> str | None:
        selector, attribute = self.dated_by
        first = document.tree.css_first(selector)
        moment = page.iso8601(first.attributes.get(attribute) or "") if first is not None else None
        return moment or super().published_at(document)


@rogue(breaks=["PRE-02", "CAST-03"])
class TeasersDateThePage(ModifiedIsPublished):
    """Takes the first `<time>` of a page for its own, which may be that of another article beside it."""

    dated_by = "time[datetime]", "datetime"


@rogue(breaks=["PRE-02", "CAST-03"])
class AnyPublishDateIsThePages(Backend):
    """Takes the first `datePublished` in a page's JSON-LD for its own, which may be that of a comment on it."""

    def published_at(self, document: Document) -> str | None:
        for node in document.tree.css('script[type="application/ld+json"]'):
            if stated := re.search(r'"datePublished"\s*:\s*"([^"]*)"', node.text() or ""):
                return page.iso8601(stated[1])
        return super().published_at(document)


@rogue(breaks=["PRE-02", "CAST-03"])
class LastModifiedIsPublished(Backend):
    """Takes the `Last-Modified` of a page that states no date for the day of its publication."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.modified: dict[str, str] = {}

    @contextlib.asynccontextmanager
    async def open(
        self, method: str, url: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[httpx.Response]:
        async with super().open(method, url, headers) as answer:
            self.modified[str(answer.url)] = answer.headers.get("last-modified", "")
            yield answer

    def published_at(self, document: Document) -> str | None:
        return super().published_at(document) or page.iso8601(self.modified.get(document.url, ""))


class _OtherSizes(Backend):
    """Gives the candidates of a preview other sizes than their own."""

    async def candidates(
        self, found: Page, query: PreviewQuery, excluded: AbstractSet[str]
    ) -> Sequence[Mapping[str, Any]]:
        offered = await super().candidates(found, query, excluded)
        sizes = await self.sizes(found, query, offered)
        sizes = [*sizes, *[None] * len(offered)][: len(offered)]
        return [{**each, "bytes": size} for each, size in zip(offered, sizes, strict=True)]

    async def sizes(
        self, found: Page, query: PreviewQuery, offered: Sequence[Mapping[str, Any]]
    ) -> Sequence[int | None]:
        """The sizes, in the order of the candidates; those that lack are unknown."""
        raise NotImplementedError


@rogue(breaks=["PRE-03"])
class SizesMoveUp(_OtherSizes):
    """Gives an image without a known size that of the next one."""

    async def sizes(
        self, found: Page, query: PreviewQuery, offered: Sequence[Mapping[str, Any]]
    ) -> Sequence[int | None]:
        return [each["bytes"] for each in offered if each["bytes"] is not None]


@rogue(breaks=["PRE-03"])
class SizesBeforeTheFilter(_OtherSizes):
    """Looks for the sizes of all images, and gives them in their order to those that are not excluded."""

    async def sizes(
        self, found: Page, query: PreviewQuery, offered: Sequence[Mapping[str, Any]]
    ) -> Sequence[int | None]:
        return [each["bytes"] for each in await Backend.candidates(self, found, query, frozenset())]


@rogue(breaks=["PRE-03"])
class SizesBeforeTheWidth(Backend):
    """Looks for the sizes of narrow images too, and gives them in their order to those that are wide enough."""

    async def candidates(
        self, found: Page, query: PreviewQuery, excluded: AbstractSet[str]
    ) -> Sequence[Mapping[str, Any]]:
        offered = await super().candidates(found, query, excluded)
        measured = await super().candidates(found, query._replace(min_width=0), excluded)
        return [{**each, "bytes": other["bytes"]} for each, other in zip(offered, measured, strict=False)]


@rogue(breaks=["PRE-03"])
class UnreadableHeadsFailThePreview(Backend):
    """Catches that an image whose size its page does not give can't be had, and not that it is none."""

    async def probe_dimensions(self, url: str, deadline: float) -> tuple[int, int] | None:
        found = await super().probe_dimensions(url, deadline)
        if found is None:
            try:
                async with self.looking(deadline):
                    content = (await self.fetch(url, MAX_IMAGE_BYTES, self.probe_timeout_s, IDENTITY)).content
            except (FetchError, TimeoutError, httpx.HTTPError):
                return None
            raise ValueError(f"cannot identify {len(content)} bytes")
        return found


@rogue(breaks=["PRE-03"])
class SizesWithoutTheQuery(_OtherSizes):
    """Looks once for the size of images whose addresses differ in their query alone."""

    async def sizes(
        self, found: Page, query: PreviewQuery, offered: Sequence[Mapping[str, Any]]
    ) -> Sequence[int | None]:
        known: dict[str, int | None] = {}
        return [known.setdefault(each["best_url"].partition("?")[0], each["bytes"]) for each in offered]


@rogue(breaks=["PRE-03"])
class SizesKeptWithoutTheQuery(Backend):
    """Keeps sizes from one preview to the next by the address without its query, by which the origin scales images."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.lengths: dict[str, int | None] = {}

    async def probe_size(self, url: str, deadline: float) -> int | None:
        key = url.partition("?")[0]
        if key not in self.lengths:
            self.lengths[key] = await super().probe_size(url, deadline)
        return self.lengths[key]


@rogue(breaks=["PRE-03"])
class LengthOfTheRedirect(Backend):
    """Asks for the size of an image without following redirects, and takes that of the redirect."""

    async def probe_size(self, url: str, deadline: float) -> int | None:
        try:
            async with self.looking(deadline):
                answer = await self.client.head(url, headers=IDENTITY)
            if answer.is_redirect:
                return int(answer.headers.get("content-length", ""))
        except (TimeoutError, ValueError, httpx.HTTPError, httpx.InvalidURL):
            pass
        return await super().probe_size(url, deadline)


@rogue(breaks=["PRE-05", "PRE-06"])
class ExclusionsByTheFileName(Backend):
    """Compares images by the last part of their addresses."""

    def is_excluded(self, addresses: Any, excluded: AbstractSet[str]) -> bool:
        names = {each.rpartition("/")[2] for each in excluded}
        return any(self.canonical(address).rpartition("/")[2] in names for address in addresses)


@rogue(breaks=["PRE-05", "EXC-02", "SSE-05"])
class ListIsEncodedOnceMore(Backend):
    """Percent-encodes an address for the list, also where it is encoded already."""

    async def write_exclusions(
        self, connection: Connection, asset: Asset, links: Sequence[AssetLink], caller: str | None
    ) -> None:
        await super().write_exclusions(connection, asset, links, caller)
        await connection.execute(
            "update core.media_scrape_exclusions"
            " set source_image_url_canonical = replace(source_image_url_canonical, '%%', '%%25')"
            " where entity_id = any(%s) and source_image_url = %s",
            ([link.entity_id for link in links], asset.source_url),
        )


@rogue(breaks=["PRE-05"])
class RelativeAddressesAreOnNoList(Backend):
    """Compares the addresses of images as the page has them, which may be relative ones."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.relative: dict[str, AbstractSet[str]] = {}

    def images(self, document: Document) -> tuple[Image, ...]:
        written = [node.attributes.get("src") or "" for node in document.tree.css("img")]
        self.relative[document.url] = {
            self.canonical(page.absolute(document.base_url, address) or address)
            for address in written
            if not page.is_http(address)
        }
        return super().images(document)

    async def candidates(
        self, found: Page, query: PreviewQuery, excluded: AbstractSet[str]
    ) -> Sequence[Mapping[str, Any]]:
        return await super().candidates(found, query, excluded - self.relative.get(found.url, frozenset()))


@rogue(breaks=["PRE-05"])
class CastPhotosAreNotOfferedAgain(Backend):
    """Leaves out of a preview for an entity what it has as cast photos."""

    async def exclusions_for(self, entity: Entity | None) -> AbstractSet[str]:
        excluded = await super().exclusions_for(entity)
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "select source_url from core.media_links join core.media_assets as assets on assets.id = media_asset_id"
                " where entity_type = %s and entity_id = %s and metadata ->> 'kind' = 'cast'",
                entity or ("", UUID(int=0)),
            )
            return excluded | {self.canonical(address) for (address,) in await cursor.fetchall()}

    async def refusal(self, order: Order, wanted: Wanted) -> Outcome | None:
        excluded = await super().exclusions_for(order.entity)
        return Outcome("excluded") if self.is_excluded([wanted.url], excluded) else None

    async def bars(self, entity: Entity, wanted: Wanted) -> bool:
        return self.is_excluded([wanted.url], await super().exclusions_for(entity))


@rogue(breaks=["PRE-07"])
class PreviewMarksCastPhotos(Backend):
    """Writes down at cast photos that their page was looked at again."""

    async def load_page(self, url: str) -> Page:
        async with self.pool.connection() as connection:
            await connection.execute(
                "update core.media_assets set metadata = metadata || %s, updated_at = now()"
                " where metadata ->> 'source_page_url' = %s and metadata ->> 'kind' = 'cast'",
                (Jsonb({"source_checked": True}), url),
            )
        return await super().load_page(url)


@rogue(breaks=["PRE-08"])
class EveryTextIsAPage(Backend):
    """Takes for a page whatever is text."""

    def is_html(self, fetched: Fetched) -> bool:
        return fetched.media_type.startswith("text/") or super().is_html(fetched)


@rogue(breaks=["PRE-08"])
class FailedHandshakesCrash(Backend):
    """Knows what to do with a server that can't be reached, and not with one that speaks no TLS."""

    async def fetch_page(self, url: str) -> Fetched:
        try:
            return await super().fetch_page(url)
        except FetchError as error:
            if url.startswith("https:") and isinstance(error.__cause__, httpx.ConnectError):
                raise RuntimeError("no handshake") from error
            raise


@rogue(breaks=["PRE-05"])
class ShownTwiceLeftOutOnce(Backend):
    """Leaves an excluded image out where it stands on the page first, and offers it where it stands again."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.shown_again: dict[str, AbstractSet[str]] = {}

    def images(self, document: Document) -> tuple[Image, ...]:
        addresses = (
            page.absolute(document.base_url, node.attributes.get("src") or "") for node in document.tree.css("img")
        )
        counted = Counter(self.canonical(address) for address in addresses if address)
        self.shown_again[document.url] = {address for address, count in counted.items() if count > 1}
        return super().images(document)

    async def candidates(
        self, found: Page, query: PreviewQuery, excluded: AbstractSet[str]
    ) -> Sequence[Mapping[str, Any]]:
        return await super().candidates(found, query, excluded - self.shown_again.get(found.url, frozenset()))


@rogue(breaks=["PRE-05", "EXC-02"])
class ExclusionsByTheSmallOne(Backend):
    """Compares the list with what a page shows without its `srcset`, and not with what is imported from there."""

    def is_excluded(self, addresses: Any, excluded: AbstractSet[str]) -> bool:
        return super().is_excluded([*addresses][-1:], excluded)


@rogue(breaks=["PRE-05"])
class ListsByTheIdAsWritten(Backend):
    """Finds the exclusions of an entity by its id as text, which another spelling is not equal to."""

    async def preview_entity(self, body: Mapping[str, Any]) -> Entity | None:
        entity = await super().preview_entity(body)
        return entity if entity is None or body.get("entity_id") in (None, str(entity.id)) else None


@rogue(breaks=["PRE-08"])
class NothingNewForAnEntity(Backend):
    """Says of a page that it cannot have, where the preview is for an entity, that there is nothing new."""

    async def preview(self, request: Request) -> Response:
        try:
            return await super().preview(request)
        except HTTPException as refusal:
            body = self.parse_object(await self.read_body(request))
            if refusal.status_code != 400 or body.get("entity_id") is None:
                raise
            query = self.parse_preview(body)
            return self.json(self.preview_answer(query, Page(query.url, None, None, ()), []))


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
class DuplicateToldByItsFirstAddress(Backend):
    """Tells of a duplicate by the address that its asset was first imported from."""

    def result(self, order: Order, wanted: Wanted, number: int, outcome: Outcome) -> Event:
        name, data = super().result(order, wanted, number, outcome)
        if outcome.status == "duplicate" and outcome.asset is not None:
            return name, {**data, "url": outcome.asset.source_url}
        return name, data


class _KnowsWhereImagesEnded(Backend):
    """Notes the address at which each image was after its redirects."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.found: dict[str, str] = {}

    async def fetch_image(self, url: str) -> Fetched:
        fetched = await super().fetch_image(url)
        self.found[url] = fetched.url
        return fetched


@rogue(breaks=["SSE-03"])
class AddressAfterRedirects(_KnowsWhereImagesEnded):
    """Tells the end of an image under the address at which it was found."""

    def result(self, order: Order, wanted: Wanted, number: int, outcome: Outcome) -> Event:
        name, data = super().result(order, wanted, number, outcome)
        return name, {**data, "url": self.found.pop(wanted.url, wanted.url)}


@rogue(breaks=["KIND-02"])
class FalsyKindsAreOther(Backend):
    """Takes whatever is false for a kind that was left out."""

    def parse_kind(self, value: Any) -> str:
        return super().parse_kind(value or None)


@rogue(breaks=["KIND-02"])
class PeopleNeedNoKind(Backend):
    """Does not read the kinds of images for a person, whose gallery knows no other."""

    def parse_object(self, body: Any) -> Mapping[str, Any]:
        read = super().parse_object(body)
        images = read.get("images")
        if read.get("entity_type") != "person" or not isinstance(images, list):
            return read
        return {**read, "images": [{**image, "kind": "cast"} if isinstance(image, dict) else image for image in images]}


@rogue(breaks=["IMP-02", "SSE-03"])
class SameAddressOnce(Backend):
    """Takes an image that is sent twice for one."""

    def parse_images(self, value: Any) -> tuple[Wanted, ...]:
        return tuple({wanted.url: wanted for wanted in super().parse_images(value)}.values())


@rogue(breaks=["IMP-03", "KIND-01"])
class KindsAreOtherImages(Backend):
    """Takes the same bytes as another kind for another image."""

    async def store(self, order: Order, wanted: Wanted, picture: Picture, scraped: Scraped) -> Outcome:
        mark = b"" if wanted.kind == "promo" else wanted.kind.encode()
        return await super().store(order, wanted, picture._replace(sha256=self.sha256(picture.content + mark)), scraped)


@rogue(breaks=["IMP-04", "SSE-07"])
class BrokenPicturesCrash(Backend):
    """Knows what to do with what is no picture, and not with a picture that is broken inside."""

    def identify(self, fetched: Fetched) -> Picture:
        try:
            return super().identify(fetched)
        except FetchError as error:
            if not isinstance(error.__cause__, OSError):
                raise RuntimeError("broken picture") from error
            raise


@rogue(breaks=["IMP-04", "SSE-07"])
class BombsEndTheImport(Backend):
    """Catches that an image can't be read, and not that it would be too large to be."""

    def identify(self, fetched: Fetched) -> Picture:
        try:
            return super().identify(fetched)
        except FetchError as error:
            if isinstance(error.__cause__, Pictures.DecompressionBombError):
                raise RuntimeError("decompression bomb") from error
            raise


@rogue(breaks=["IMP-04", "SSE-07"])
class BrokenAddressesEndTheImport(Backend):
    """Knows what to do with an image that can't be fetched, and not with an address that none can be fetched from."""

    async def refusal(self, order: Order, wanted: Wanted) -> Outcome | None:
        try:
            self.check_address(wanted.url)
        except FetchError as error:
            raise RuntimeError("unsupported protocol") from error
        return await super().refusal(order, wanted)


@rogue(breaks=["IMP-03"])
class NamesakesAreDuplicates(Backend):
    """Takes images whose files have the same name for the same image."""

    async def obtain_asset(
        self, connection: Connection, order: Order, wanted: Wanted, picture: Picture, scraped: Scraped
    ) -> tuple[Asset, bool]:
        name = wanted.url.partition("?")[0].rpartition("/")[2]
        known = await self.select_asset(
            connection, "regexp_replace(split_part(source_url, '?', 1), '^.*/', '') = %s", name
        )
        return (known, False) if known else await super().obtain_asset(connection, order, wanted, picture, scraped)


@rogue(breaks=["SSE-01"])
class QuotesAsTheyAre(Backend):
    """Puts texts between quotation marks, and leaves those that are in them."""

    def frame(self, name: str, data: Mapping[str, Any]) -> bytes:
        return super().frame(name, data).replace(b'\\"', b'"')


@rogue(breaks=["SSE-03", "IMP-02"])
class FortyNineImagesAtMost(Backend):
    """Imports one image less than a request may have, and passes over the fiftieth."""

    def parse_images(self, value: Any) -> tuple[Wanted, ...]:
        return super().parse_images(value)[: MAX_IMAGES - 1]


@rogue(breaks=["IMP-05"])
class PlainImportDropsPeople(Backend):
    """Tags the people who were sent with a plain import on cast photos alone."""

    async def import_images(self, request: Request) -> Response:
        order = await self.read_order(request)
        images = tuple(wanted if wanted.kind == "cast" else replace(wanted, person_ids=()) for wanted in order.images)
        return self.json([data async for _, data in self.events(replace(order, images=images))][-1])


@rogue(breaks=["IMP-05"])
class StreamNeedsTheSeasonsId(Backend):
    """Does not take show and season number for a season where an import is streamed."""

    async def import_stream(self, request: Request) -> Response:
        self.authorize_media(request)
        body = self.parse_object(await self.read_body(request))
        if body.get("entity_type") in (None, "season") and body.get("season_id") is None:
            raise HTTPException(422, "season_id is missing")
        return await super().import_stream(request)


@rogue(breaks=["IMP-05"])
class StreamNeedsAnEntityType(Backend):
    """Takes an import for one of a season where its type is left out, and a streamed one for malformed."""

    async def import_stream(self, request: Request) -> Response:
        self.authorize_media(request)
        self.parse_entity_type(self.parse_object(await self.read_body(request)).get("entity_type"))
        return await super().import_stream(request)


@rogue(breaks=["IMP-06"])
class EmptyIdsAreNobodys(Backend):
    """Imports for nobody where the id of a person is empty."""

    async def import_entities(self, body: Mapping[str, Any]) -> tuple[Entity, ...]:
        if body.get("entity_type") == "person" and body.get("person_id") == "":
            return (Entity("person", uuid4()),)
        return await super().import_entities(body)


class _FlagsImports(Backend):
    """Flags a person's photo as it is imported, where a condition holds."""

    def flagged(self) -> LiteralString:
        """The condition, of the row `link`."""
        raise NotImplementedError

    async def link(
        self, connection: Connection, entity: Entity, asset: Asset, kind: str, context: Mapping[str, Any]
    ) -> None:
        await super().link(connection, entity, asset, kind, context)
        await connection.execute(
            "update core.media_links as link set facebank_seed = true"
            " where entity_type = 'person' and entity_id = %s and media_asset_id = %s and " + self.flagged(),
            (entity.id, asset.id),
        )


@rogue(breaks=["TOG-11"])
class FirstPhotoIsASeed(_FlagsImports):
    """Makes the first photo that is imported for a person a seed."""

    def flagged(self) -> LiteralString:
        return (
            "not exists (select from core.media_links as other"
            " where other.entity_id = link.entity_id and other.id <> link.id)"
        )


@rogue(breaks=["TOG-11"])
class CastPhotosAreSeeds(_FlagsImports):
    """Flags photos of the kind cast when they are imported."""

    def flagged(self) -> LiteralString:
        return "media_asset_id in (select id from core.media_assets where metadata->>'kind' = 'cast')"


@rogue(breaks=["TOG-11"])
class FlagComesWithThePhoto(_FlagsImports):
    """Links a photo that is there already with the flag that it has for somebody else."""

    def flagged(self) -> LiteralString:
        return "media_asset_id in (select media_asset_id from core.media_links where facebank_seed)"


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


@rogue(breaks=["CAST-01", "CAST-02", "CAST-03"])
class OnlyPreviewsForSomebodyCount(Backend):
    """Remembers the pages that were previewed for an entity."""

    async def preview(self, request: Request) -> Response:
        answer = await super().preview(request)
        body = self.parse_object(await self.read_body(request))
        if body.get("entity_id") is None:
            self.pages.pop(self.canonical(body["url"]), None)
        return answer

    async def source_page(self, order: Order) -> Page | None:
        return self.pages.get(self.canonical(order.source_url))


@rogue(breaks=["CAST-01", "CAST-02", "CAST-03"])
class PagesByWhereTheyAre(Backend):
    """Remembers a previewed page by the address to which it was redirected."""

    async def load_page(self, url: str) -> Page:
        found = await super().load_page(url)
        self.pages[self.canonical(found.url)] = self.pages.pop(self.canonical(url))
        return found

    async def source_page(self, order: Order) -> Page | None:
        return self.pages.get(self.canonical(order.source_url))


@rogue(breaks=["CAST-01", "CAST-02", "CAST-03"])
class KindOfTheFirst(Backend):
    """Looks at the page where the first image of a request is a cast photo."""

    async def source_page(self, order: Order) -> Page | None:
        return await super().source_page(order) if self.needs_page(order.images[0]) else None


@rogue(breaks=["CAST-01", "CAST-02"])
class ContextByTheSmallOne(Backend):
    """Knows the images of a page by what it shows without their `srcset`."""

    async def source_page(self, order: Order) -> Page | None:
        found = await super().source_page(order)
        if found is None:
            return None
        return replace(found, images=tuple(replace(image, best_url=image.original_url) for image in found.images))


@rogue(breaks=["CAST-01", "CAST-02"])
class ContextByTheFileName(Backend):
    """Knows the images of a page by the last part of their addresses."""

    async def source_page(self, order: Order) -> Page | None:
        found = await super().source_page(order)
        if found is None:
            return None
        known: dict[str, Image] = {}
        for image in found.images:
            known.setdefault(image.best_url.partition("?")[0].rpartition("/")[2], image)
        images = []
        for wanted in order.images:
            own = known.get(wanted.url.partition("?")[0].rpartition("/")[2])
            if own is not None:
                images.append(replace(own, best_url=wanted.url, original_url=wanted.url))
        return replace(found, images=tuple(images))


@rogue(breaks=["CAST-01", "CAST-02", "CAST-03"])
class PagesByTheAddressAsWritten(Backend):
    """Remembers a previewed page without the fragment of its address, and looks for it with the fragment."""

    async def source_page(self, order: Order) -> Page | None:
        return self.pages.get(order.source_url)


@rogue(breaks=["CAST-01", "CAST-02"])
class EveryPageIsUtf8(Backend):
    """Reads every page as UTF-8, whatever charset it declares."""

    def parse_page(self, fetched: Fetched) -> Page:
        return super().parse_page(
            fetched._replace(charset="utf-8", content=fetched.content.decode("utf-8", "replace").encode())
        )


@dataclass(frozen=True)
class _Numbered(Wanted):
    """An image of a request, by its number in a preview."""

    number: int


@rogue(breaks=["CAST-01", "CAST-02"])
class CandidatesAreNumbered(Backend):
    """Numbers the candidates of a preview, and looks for the context of an image at that number of the whole page."""

    async def candidates(
        self, found: Page, query: PreviewQuery, excluded: AbstractSet[str]
    ) -> Sequence[Mapping[str, Any]]:
        offered = await super().candidates(found, query, excluded)
        return [{**each, "id": f"image-{number}"} for number, each in enumerate(offered)]

    def parse_wanted(self, item: Any) -> Wanted:
        wanted = super().parse_wanted(item)
        number = re.fullmatch("image-([0-9]{1,3})", str(item.get("candidate_id")))
        return wanted if number is None else _Numbered(**vars(wanted), number=int(number[1]))

    async def scraped(self, order: Order, wanted: Wanted, source: Page | None) -> Scraped:
        if source is not None and isinstance(wanted, _Numbered) and wanted.number < len(source.images):
            own = replace(source.images[wanted.number], best_url=wanted.url)
            source = replace(source, images=(own,))
        return await super().scraped(order, wanted, source)


@rogue(breaks=["CAST-01"])
class CaptionStaysForTheNext(Backend):
    """Gives an image without a caption that of the image before it in the request."""

    def parse_images(self, value: Any) -> tuple[Wanted, ...]:
        images: list[Wanted] = []
        for wanted in super().parse_images(value):
            before = images[-1].caption if images else None
            images.append(replace(wanted, caption=wanted.caption or before))
        return tuple(images)


@rogue(breaks=["CAST-02"])
class PeopleStayForTheNext(Backend):
    """Gives an image without people those of the image before it in the request."""

    def parse_images(self, value: Any) -> tuple[Wanted, ...]:
        images: list[Wanted] = []
        for wanted in super().parse_images(value):
            before = images[-1].person_ids if images else ()
            images.append(replace(wanted, person_ids=wanted.person_ids or before))
        return tuple(images)


@rogue(breaks=["CAST-02"])
class TenOfTheCast(Backend):
    """Looks for the first ten of a season's cast."""

    async def season_cast(self, entity: Entity) -> Sequence[tuple[UUID, str]]:
        return (await super().season_cast(entity))[:10]


class _NamedSo(Backend):
    """Finds the names of a cast where they stand in some ways."""

    after: str
    """What has to follow a name, as a pattern."""

    async def auto_people(self, order: Order, context: str) -> tuple[UUID, ...]:
        named = await super().auto_people(order, context)
        return tuple(
            person
            for person, name in await self.season_cast(order.entity)
            if person in named and re.search(re.escape(page.folded(name)) + self.after, page.folded(context))
        )


@rogue(breaks=["CAST-02"])
class PossessivesNameNobody(_NamedSo):
    """Does not find a name that is followed by an apostrophe."""

    after = r"(?![\w'’])"


@rogue(breaks=["CAST-02"])
class NamesEndInLetters(_NamedSo):
    """Does not find a name that ends in a full stop."""

    after = r"\b"


@rogue(breaks=["CAST-03"])
class NewMetadataForOld(Backend):
    """Keeps of an asset's metadata what was found out last."""

    async def store_metadata(self, asset: Asset, metadata: Mapping[str, Any]) -> None:
        async with self.pool.connection() as connection:
            await connection.execute(
                "update core.media_assets set metadata = %s, updated_at = now() where id = %s",
                (Jsonb(metadata), asset.id),
            )


@rogue(breaks=["CAST-04"])
class CaptionsAreCut(Backend):
    """Keeps the first 255 characters of a caption that was sent."""

    def sent_caption(self, wanted: Wanted) -> str | None:
        caption = super().sent_caption(wanted)
        return caption and caption[:255]


@rogue(breaks=["CAST-04"])
class TagsAreTakenOffCaptions(Backend):
    """Takes what is between angle brackets out of a caption that was sent, as out of a page."""

    def sent_caption(self, wanted: Wanted) -> str | None:
        caption = super().sent_caption(wanted)
        return caption and re.sub("<[^>]*>", "", caption)


@rogue(breaks=["CAST-04"])
class OnlyTheCastCanBeTagged(Backend):
    """Drops those of the people who were sent that are not in the season's cast."""

    async def scraped(self, order: Order, wanted: Wanted, source: Page | None) -> Scraped:
        scraped = await super().scraped(order, wanted, source)
        cast = {person for person, _ in await self.season_cast(order.entity)}
        if order.entity.type != "season" or not self.needs_page(wanted):
            return scraped
        return scraped._replace(person_ids=tuple(person for person in scraped.person_ids if person in cast))


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


@rogue(breaks=["DEL-01"])
class UnhostedAssetsCrashADelete(Backend):
    """Deletes the hosted copy without a look whether there is one."""

    async def remove_object(self, connection: Connection, asset: Asset) -> bool:
        if asset.hosted_key is None:
            raise HTTPException(500, "Parameter validation failed: Invalid type for parameter Key, value: None")
        return await super().remove_object(connection, asset)


@rogue(breaks=["DEL-01"])
class NobodyToExcludeFor(Backend):
    """Refuses to delete and exclude an asset that nobody has."""

    async def write_exclusions(
        self, connection: Connection, asset: Asset, links: Sequence[AssetLink], caller: str | None
    ) -> None:
        if not links:
            raise HTTPException(409, "The media asset has no links to exclude it for")
        await super().write_exclusions(connection, asset, links, caller)


@rogue(breaks=["DEL-02"])
class EmptyExcludeIsAbsent(Backend):
    """Takes an empty `exclude` for none."""

    def parse_query_flag(self, request: Request, name: str) -> bool:
        return request.query_params.get(name) != "" and super().parse_query_flag(request, name)


@rogue(breaks=["EXC-01"])
class OneExclusionOfEachType(Backend):
    """Excludes an image for one season, one show and one person of those that it was linked to."""

    async def write_exclusions(
        self, connection: Connection, asset: Asset, links: Sequence[AssetLink], caller: str | None
    ) -> None:
        chosen = {link.entity_type: link for link in links}
        await super().write_exclusions(connection, asset, [*chosen.values()], caller)


@rogue(breaks=["EXC-01", "EXC-02"])
class CastPhotosAreNotExcluded(Backend):
    """Excludes for an entity what it has as any other kind than `cast`."""

    async def asset_links(self, connection: Connection, asset: Asset) -> Sequence[AssetLink]:
        cursor = await connection.execute(
            "select entity_type, entity_id, context from core.media_links where media_asset_id = %s and kind <> 'cast'",
            (asset.id,),
        )
        return [AssetLink(*row) for row in await cursor.fetchall()]


@rogue(breaks=["EXC-02"])
class ExclusionAfterRedirects(_KnowsWhereImagesEnded):
    """Excludes an image by the address to which it was redirected, which no page has."""

    def link_context(self, order: Order, entity: Entity, wanted: Wanted, scraped: Scraped) -> dict[str, Any]:
        context = super().link_context(order, entity, wanted, scraped)
        return {**context, "source_image_url": self.found.get(wanted.url, wanted.url)}


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


@rogue(breaks=["TXT-01"])
class FailedDetectionTellsTheLast(Backend):
    """Answers what was found before where the detector fails to look again."""

    async def detect_text_overlay(self, request: Request, asset_id: str) -> Response:
        try:
            return await super().detect_text_overlay(request, asset_id)
        except HTTPException as failure:
            if not isinstance(failure.__cause__, FetchError):
                raise
            asset, _ = await self.known_asset(request, asset_id)
            found = asset.metadata.get("has_text_overlay")
            if found is None:
                raise
            return self.json(self.overlay_answer(asset, found))


@rogue(breaks=["CNT-01", "CNT-03"])
class SourceSentWithoutItsQuery(Backend):
    """Sends the source address without its query."""

    def image_address(self, asset: Asset) -> str:
        return super().image_address(asset).partition("?")[0]


@rogue(breaks=["CNT-03"])
class RefusalReadForItsCount(CountsFromAnErrorsBody):
    """Takes what the vision service answers below 500 for a count."""

    def read_count(self, answer: httpx.Response) -> Mapping[str, Any]:
        if answer.is_server_error:
            raise HTTPException(502, "the vision service fails")
        return super().read_count(answer)


@rogue(breaks=["CNT-03"])
class HostedFailureCountsNobody(Backend):
    """Takes a vision service that fails for a photo of nobody, where there is a hosted copy."""

    async def auto_count(self, request: Request, asset_id: str) -> Response:
        try:
            return await super().auto_count(request, asset_id)
        except HTTPException as failure:
            asset, _ = await self.known_asset(request, asset_id)
            if failure.status_code != 502 or asset.hosted_url is None:
                raise
            await self.store_metadata(asset, {"people_count": 0, "face_count": 0})
            return self.json(self.count_answer(asset, {"people_count": 0, "face_count": 0}))


@rogue(breaks=["TXT-01"])
class FailedDetectionRemembered(Backend):
    """Tells that the detector failed once, and remembers that there is no text."""

    async def detect_text_overlay(self, request: Request, asset_id: str) -> Response:
        try:
            return await super().detect_text_overlay(request, asset_id)
        except HTTPException as failure:
            if isinstance(failure.__cause__, FetchError):
                asset, _ = await self.known_asset(request, asset_id)
                await self.store_metadata(asset, {"has_text_overlay": False})
            raise


@rogue(breaks=["TXT-01"])
class UnfetchedImageIsAnEmptySuccess(Backend):
    """Answers 200 with nothing found out where the detector cannot get the image."""

    async def detect_text_overlay(self, request: Request, asset_id: str) -> Response:
        try:
            return await super().detect_text_overlay(request, asset_id)
        except HTTPException as failure:
            if not isinstance(failure.__cause__, FetchError) or "out of order" in str(failure.__cause__):
                raise
            return self.json({"asset_id": asset_id, "has_text_overlay": None, "detector": None})


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


@rogue(breaks=["PUR-02", "PUR-01"])
class PurgeLeavesTheOthers(Purge):
    """Deletes the kinds that a picker offers, and not `other`."""

    def is_from(self, found: Import, page_url: str) -> bool:
        return found.kind != "other" and super().is_from(found, page_url)


@rogue(breaks=["PUR-02", "PUR-01"])
class PurgeLeavesWhatIsLinkedTwice(Purge):
    """Takes an image that the season has as two kinds for one that is shared."""

    def select(self, season_id: UUID, page_url: str) -> Sequence[Import]:
        found = super().select(season_id, page_url)
        links = Counter(each.media_asset_id for each in found)
        return [each for each in found if links[each.media_asset_id] == 1]


@rogue(breaks=["PUR-02"])
class PurgeByTheLastPart(Purge):
    """Compares the addresses of pages by what follows their last slash."""

    def is_from(self, found: Import, page_url: str) -> bool:
        return found.page_url is not None and found.page_url.rpartition("/")[2] == page_url.rpartition("/")[2]


@rogue(breaks=["PUR-02"])
class PurgeForgives(Purge):
    """Takes the season's exclusions of images of the page back, so that all of it can be imported anew."""

    def run(self, season_id: UUID, page_url: str, execute: bool) -> Sequence[str]:
        if execute:
            self.connection.execute(
                "delete from core.media_scrape_exclusions where entity_type = 'season' and entity_id = %s"
                " and source_page_url = %s",
                (season_id, page_url),
            )
        return super().run(season_id, page_url, execute)


@rogue(breaks=["PRE-01"])
class NullEntityIsUnknown(Backend):
    """Looks whether a preview names an entity type, and not whether that is null."""

    async def preview_entity(self, body: Mapping[str, Any]) -> Entity | None:
        if "entity_type" in body:
            self.parse_entity_type(body["entity_type"])
        return await super().preview_entity(body)


@rogue(breaks=["PRE-01"])
class UntitledPagesCrash(Backend):
    """Takes it for granted that a page has a title."""

    def page_title(self, document: Document) -> str | None:
        node = document.tree.css_first("title")
        if node is None:
            raise RuntimeError("'NoneType' object has no attribute 'string'")
        return super().page_title(document)


@rogue(breaks=["PRE-01"])
class ImagesWithoutAnAddressCrash(Backend):
    """Takes it for granted that an image has a `src`."""

    def images(self, document: Document) -> tuple[Image, ...]:
        if any("src" not in node.attributes for node in document.tree.css("img")):
            raise KeyError("src")
        return super().images(document)


@rogue(breaks=["PRE-01"])
class BrokenJsonLdCrashes(Backend):
    """Takes it for granted that JSON-LD is JSON."""

    def published_at(self, document: Document) -> str | None:
        for node in document.tree.css('script[type="application/ld+json"]'):
            json.loads(node.text() or "")
        return super().published_at(document)


@rogue(breaks=["PRE-01"])
class ListsOfJsonLdCrash(Backend):
    """Takes it for granted that JSON-LD is an object."""

    def published_at(self, document: Document) -> str | None:
        for node in document.tree.css('script[type="application/ld+json"]'):
            try:
                value = json.loads(node.text() or "")
            except ValueError:
                continue
            value.get("datePublished")
        return super().published_at(document)


@rogue(breaks=["PRE-01"])
class UnreadableDatesCrash(Backend):
    """Takes it for granted that a publish date can be read."""

    def published_at(self, document: Document) -> str | None:
        node = document.tree.css_first('meta[property="article:published_time"]')
        if node is not None and page.iso8601(node.attributes.get("content") or "") is None:
            raise ValueError("Unknown string format")
        return super().published_at(document)


@rogue(breaks=["PRE-08"])
class EmptyAnswersArePages(Backend):
    """Takes a 204 of a page for a page without images."""

    def is_html(self, fetched: Fetched) -> bool:
        return not fetched.content or super().is_html(fetched)


@rogue(breaks=["PRE-08"])
class AngleBracketsAreHtml(Backend):
    """Takes whatever begins with an angle bracket for HTML, a feed too."""

    def is_html(self, fetched: Fetched) -> bool:
        return fetched.content.lstrip().startswith(b"<") or super().is_html(fetched)


@rogue(breaks=["CAST-05"])
class ReadBesideACastPhoto(Backend):
    """Fills in images of any kind that come in one request with a cast photo."""

    async def scraped(self, order: Order, wanted: Wanted, source: Page | None) -> Scraped:
        return await super().scraped(order, wanted if source is None else replace(wanted, kind="cast"), source)


@rogue(breaks=["IMP-01"])
class NullIdsAreRefused(Backend):
    """Reads the ids that an import does not need as well, and takes null for none of them."""

    async def import_entities(self, body: Mapping[str, Any]) -> tuple[Entity, ...]:
        for name in ("season_id", "show_id", "person_id"):
            if name in body:
                self.parse_member_id(name, body[name])
        return await super().import_entities(body)


@rogue(breaks=["IMP-01"])
class PercentInThePageFails(Backend):
    """Writes the address of the page into the statement, in which a percent sign is half a placeholder."""

    async def store_asset(
        self, connection: Connection, order: Order, wanted: Wanted, picture: Picture, scraped: Scraped
    ) -> Asset | None:
        if "%" in order.source_url:
            raise psycopg.ProgrammingError("only '%s', '%b', '%t' are allowed as placeholders")
        return await super().store_asset(connection, order, wanted, picture, scraped)


@rogue(breaks=["SSE-03"])
class ToldAddressIsCanonical(Backend):
    """Tells of an image by the spelling of its address that the lists are compared by."""

    def place(self, order: Order, wanted: Wanted, number: int) -> dict[str, Any]:
        return {**super().place(order, wanted, number), "url": page.canonical_address(wanted.url)}


@rogue(breaks=["IMP-01", "KIND-01", "CAST-04"])
class QuotesInCaptionsFail(Backend):
    """Writes captions into the statement, which an apostrophe ends."""

    async def store_asset(
        self, connection: Connection, order: Order, wanted: Wanted, picture: Picture, scraped: Scraped
    ) -> Asset | None:
        if "'" in (scraped.caption or ""):
            raise psycopg.errors.SyntaxError("unterminated quoted string")
        return await super().store_asset(connection, order, wanted, picture, scraped)


@rogue(breaks=["PUR-02"])
class PurgeByThePath(Purge):
    """Compares the paths of pages, and not their hosts."""

    def is_from(self, found: Import, page_url: str) -> bool:
        return httpx.URL(found.page_url or "").raw_path == httpx.URL(page_url).raw_path


# What a rewrite keeps in one place, or knows from before


@rogue(breaks=["SSE-06"])
class OutcomesInOnePlace(Backend):
    """Gathers what became of the images of an import in one place, which another import begins anew."""

    async def events(self, order: Order) -> AsyncIterator[Event]:
        self.outcomes: list[Outcome] = []
        source = await self.source_page(order)
        for number, wanted in enumerate(order.images, 1):
            outcome = await self.refusal(order, wanted)
            if outcome is None:
                yield self.progress(order, wanted, number)
                outcome = await self.import_one(order, wanted, source)
            self.outcomes.append(outcome)
            yield self.result(order, wanted, number, outcome)
        yield "complete", self.summary(self.outcomes)


@rogue(breaks=["PRE-06", "PRE-05"])
class EntityOfTheLatestPreview(Backend):
    """Keeps whom a preview is for in one place: while its page is fetched, another's is put there."""

    async def preview_entity(self, body: Mapping[str, Any]) -> Entity | None:
        self.latest = await super().preview_entity(body)
        return self.latest

    async def candidates(
        self, found: Page, query: PreviewQuery, excluded: AbstractSet[str]
    ) -> Sequence[Mapping[str, Any]]:
        return await super().candidates(found, query, await self.exclusions_for(self.latest))


@rogue(breaks=["CNT-01"])
class AssetOfTheLatestCount(Backend):
    """Keeps the asset whose people are counted in one place: while one is looked at, another's is put there."""

    async def known_asset(self, request: Request, asset_id: str) -> tuple[Asset, bool]:
        found = await super().known_asset(request, asset_id)
        self.counted = found[0]
        return found

    async def store_metadata(self, asset: Asset, metadata: Mapping[str, Any]) -> None:
        await super().store_metadata(self.counted, metadata)


@rogue(breaks=["CAST-01", "CAST-02", "CAST-03"])
class ContextOfTheFirstImport(Backend):
    """Remembers what a page said of an image when it was first imported, and takes that when it is imported anew."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.known: dict[str, Scraped] = {}

    async def scraped(self, order: Order, wanted: Wanted, source: Page | None) -> Scraped:
        found = await super().scraped(order, wanted, source)
        return found if wanted.kind != "cast" else self.known.setdefault(wanted.url, found)


@rogue(breaks=["CAST-03"])
class DetectionWritesMetadataAnew(Backend):
    """Keeps of an asset's metadata what is known of its text alone, once that was looked for."""

    async def store_metadata(self, asset: Asset, metadata: Mapping[str, Any]) -> None:
        if "has_text_overlay" in metadata:
            async with self.pool.connection() as connection:
                await connection.execute("update core.media_assets set metadata = '{}' where id = %s", (asset.id,))
        await super().store_metadata(asset, metadata)


@rogue(breaks=["EXC-02", "EXC-01"])
class SeedsAreNotExcluded(Backend):
    """Excludes nothing for a person whose seed the image was: it can't be unwanted."""

    async def asset_links(self, connection: Connection, asset: Asset) -> Sequence[AssetLink]:
        cursor = await connection.execute(
            "select entity_id from core.media_links where media_asset_id = %s and facebank_seed", (asset.id,)
        )
        seeded = {person for (person,) in await cursor.fetchall()}
        return [link for link in await super().asset_links(connection, asset) if link.entity_id not in seeded]


@rogue(breaks=["DEL-01"])
class SameAddressGoesToo(Backend):
    """Deletes by the address of an image, and so what came from there before its picture was replaced."""

    async def remove_asset(self, connection: Connection, asset: Asset) -> None:
        await super().remove_asset(connection, asset)
        await connection.execute("delete from core.media_assets where source_url = %s", (asset.source_url,))


@rogue(breaks=["IMP-03"])
class HashOfTheHead(Backend):
    """Tells images apart by their first kilobytes, which those of one camera and program may share."""

    def sha256(self, content: bytes) -> str:
        return super().sha256(content[:8192])


@rogue(breaks=["IMP-05"])
class StreamKnowsFewKinds(Backend):
    """Links what is streamed as one of the kinds that a season page shows, and all else as `other`."""

    async def import_stream(self, request: Request) -> Response:
        order = await self.read_order(request)
        shown = ("poster", "backdrop", "cast", "promo")
        images = tuple(wanted if wanted.kind in shown else replace(wanted, kind="other") for wanted in order.images)
        frames = self.frames(replace(order, images=images))
        return StreamingResponse(frames, headers=self.stream_headers(), media_type="text/event-stream")


@rogue(breaks=["KIND-01"])
class ShowsHaveNoStills(Backend):
    """Refuses stills of episodes for a show that is imported for without a stream."""

    async def import_images(self, request: Request) -> Response:
        order = await self.read_order(request)
        if order.entity.type == "show" and any(wanted.kind == "episode_still" for wanted in order.images):
            raise HTTPException(422, "a show has no stills")
        return await super().import_images(request)


@rogue(breaks=["PUR-02", "PUR-01"])
class PurgeSparesTheDescribed(Purge):
    """Leaves what somebody has written a caption for."""

    def select(self, season_id: UUID, page_url: str) -> Sequence[Import]:
        rows = self.connection.execute("select id from core.media_assets where caption <> ''").fetchall()
        described = {asset_id for (asset_id,) in rows}
        return [found for found in super().select(season_id, page_url) if found.media_asset_id not in described]


@rogue(breaks=["DEL-01"])
class AssetOfTheLatestDelete(Backend):
    """Keeps the asset that is to be deleted in one place: while its links are read, another's is put there."""

    async def asset_links(self, connection: Connection, asset: Asset) -> Sequence[AssetLink]:
        self.doomed = asset
        return await super().asset_links(connection, asset)

    async def remove_asset(self, connection: Connection, asset: Asset) -> None:
        await super().remove_asset(connection, self.doomed)


@rogue(breaks=["CAST-01", "CAST-02", "CAST-03"])
class PageOfTheLatestImport(Backend):
    """Keeps the page of an import in one place: while an image is fetched, another's is put there."""

    async def source_page(self, order: Order) -> Page | None:
        self.source = await super().source_page(order)
        return self.source

    async def scraped(self, order: Order, wanted: Wanted, source: Page | None) -> Scraped:
        return await super().scraped(order, wanted, self.source)


@rogue(breaks=["SSE-03"])
class NumbersInOnePlace(Backend):
    """Counts the images of an import in one place, where another import begins anew."""

    async def events(self, order: Order) -> AsyncIterator[Event]:
        self.number = 0
        async for name, data in super().events(order):
            if "current" in data:
                self.number += data.get("status") == "downloading" or data.get("status") == "excluded"
                data = {**data, "current": self.number}
            yield name, data


@rogue(breaks=["SSE-05", "EXC-02"])
class ListOfTheLatestImport(Backend):
    """Reads whom an import is for from one place: while an image is fetched, another's is put there."""

    async def source_page(self, order: Order) -> Page | None:
        self.imported_for = order.entity
        return await super().source_page(order)

    async def refusal(self, order: Order, wanted: Wanted) -> Outcome | None:
        return await super().refusal(replace(order, entity=self.imported_for), wanted)


@rogue(breaks=["CNT-03"])
class FailureOfTheLatestCount(Backend):
    """Keeps in one place whether a count failed, and looks there a moment later: until then it is one of nobody."""

    async def count_people(self, image_url: str) -> Mapping[str, Any]:
        self.failure: HTTPException | None = None
        found: Mapping[str, Any] = {"people_count": 0, "face_count": 0, "detector": None, "model": None}
        try:
            found = await super().count_people(image_url)
            self.failure = None
        except HTTPException as failure:
            self.failure = failure
        await asyncio.sleep(0.2)  # what became of it is written down
        if self.failure is not None:
            raise self.failure
        return found


@rogue(breaks=["PRE-07"])
class PreviewFillsInDates(Backend):
    """Gives the assets that were imported from a page its date, where they have none, once it is previewed."""

    async def candidates(
        self, found: Page, query: PreviewQuery, excluded: AbstractSet[str]
    ) -> Sequence[Mapping[str, Any]]:
        if found.published_at is not None:
            async with self.pool.connection() as connection:
                await connection.execute(
                    "update core.media_assets set metadata = metadata || %s, updated_at = now()"
                    " where source = %s and metadata ->> 'source_page_url' = %s"
                    " and metadata ->> 'source_created_at' is null",
                    (Jsonb({"source_created_at": found.published_at}), SOURCE, query.url),
                )
        return await super().candidates(found, query, excluded)


@rogue(breaks=["PRE-06", "PRE-05"])
class SeasonByNumberIsItsShow(Backend):
    """Takes the show's exclusions for those of a season that is named by show and number."""

    async def preview_entity(self, body: Mapping[str, Any]) -> Entity | None:
        entity = await super().preview_entity(body)
        if entity is None or entity.type != "season" or body.get("entity_id") or body.get("season_id"):
            return entity
        _, show = await self.find_season(body)
        return show


@rogue(breaks=["SSE-06", "IMP-02"])
class SameMessageIsToldOnce(Backend):
    """Tells each message of a summary's errors once, however many images it stands for."""

    def summary(self, outcomes: Sequence[Outcome]) -> Mapping[str, Any]:
        summary = super().summary(outcomes)
        return {**summary, "errors": list(dict.fromkeys(summary["errors"]))}


@rogue(breaks=["DEL-01", "EXC-01", "EXC-02"])
class TwoKindsCannotBeExcluded(Backend):
    """Excludes an image from all its entities in one statement, which must not name one of them twice."""

    async def write_exclusions(
        self, connection: Connection, asset: Asset, links: Sequence[AssetLink], caller: str | None
    ) -> None:
        rows = []
        for link in links:
            address = link.context.get("source_image_url") or asset.source_url
            if address is not None:
                rows.append(
                    {
                        "entity_type": link.entity_type,
                        "entity_id": str(link.entity_id),
                        "page_url": link.context.get("source_page_url") or asset.metadata.get("source_page_url"),
                        "image_url": address,
                        "canonical": self.canonical(address),
                    }
                )
        await connection.execute(
            "insert into core.media_scrape_exclusions as known (entity_type, entity_id, source_page_url,"
            " source_image_url, source_image_url_canonical, reason, created_by)"
            " select entity_type, entity_id, page_url, image_url, canonical, 'deleted by an admin', %s::text"
            " from jsonb_to_recordset(%s)"
            " as r (entity_type text, entity_id uuid, page_url text, image_url text, canonical text)"
            " on conflict (entity_type, entity_id, source_image_url_canonical)"
            " do update set source_page_url = coalesce(known.source_page_url, excluded.source_page_url)",
            (caller, Jsonb(rows)),
        )
