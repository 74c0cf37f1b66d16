"""Rogues of the backend's cast metadata, delete, exclusion and counts, and of the purge script."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, LiteralString
from uuid import UUID

import httpx
from fastapi import HTTPException, Request, Response
from psycopg.types.json import Jsonb

from reference import page
from reference.access import Connection, Settings
from reference.backend import Backend
from reference.fetching import FetchError
from reference.media import Asset, AssetLink, Entity, Order, Outcome, Scraped, Wanted
from reference.page import Image, Page
from reference.purge import Import, Purge
from reference.rogues import rogue

# CAST-01: the caption


class _OwnContext(Backend):
    """Takes what a page says about an image from elsewhere on it."""

    async def scraped(self, order: Order, wanted: Wanted, source: Page | None) -> Scraped:
        if source is not None and self.needs_page(wanted):
            own = source.find(wanted.url)
            if own is not None:
                said = replace(own, context=self.context_of(order, wanted, source, own))
                source = replace(source, images=(said,))
        return await super().scraped(order, wanted, source)

    def context_of(self, order: Order, wanted: Wanted, source: Page, own: Image) -> str | None:
        """The text from which caption and people are taken."""
        raise NotImplementedError


@rogue(breaks=["CAST-01", "CAST-02"])
class ContextOfTheFirstImage(_OwnContext):
    """Takes caption and people of every image from the context of the first on the page."""

    def context_of(self, order: Order, wanted: Wanted, source: Page, own: Image) -> str | None:
        return source.images[0].context


@rogue(breaks=["CAST-01", "CAST-02"])
class ContextByPlace(_OwnContext):
    """Takes the context of the image that has the same place on the page as this one in the request."""

    def context_of(self, order: Order, wanted: Wanted, source: Page, own: Image) -> str | None:
        place = order.images.index(wanted)
        return source.images[place].context if place < len(source.images) else own.context


class _OwnCaption(Backend):
    """Takes the caption that nobody sent from somewhere else."""

    async def scraped(self, order: Order, wanted: Wanted, source: Page | None) -> Scraped:
        scraped = await super().scraped(order, wanted, source)
        if source is None or not self.needs_page(wanted) or self.sent_caption(wanted):
            return scraped
        return scraped._replace(caption=self.other_caption(wanted, source, scraped))

    def other_caption(self, wanted: Wanted, source: Page, scraped: Scraped) -> str | None:
        """The caption."""
        raise NotImplementedError


@rogue(breaks=["CAST-01"])
class CaptionIsThePagesTitle(_OwnCaption):
    """Captions every cast photo with the title of the page."""

    def other_caption(self, wanted: Wanted, source: Page, scraped: Scraped) -> str | None:
        return source.title


@rogue(breaks=["CAST-01"])
class NoCaptionBesidePeople(_OwnCaption):
    """Takes the caption from the page only where the people are to be taken from there too."""

    def other_caption(self, wanted: Wanted, source: Page, scraped: Scraped) -> str | None:
        return None if wanted.person_ids else scraped.caption


@rogue(breaks=["CAST-01"])
class EmptyCaptionStands(_OwnCaption):
    """Takes an empty caption for one that was sent."""

    def other_caption(self, wanted: Wanted, source: Page, scraped: Scraped) -> str | None:
        return scraped.caption if wanted.caption is None else wanted.caption


@rogue(breaks=["CAST-01"])
class NameAsCaption(Backend):
    """Captions a photo with the name line, and drops the rest."""

    def auto_caption(self, context: str) -> str:
        return re.split(r"\n|: ", context)[0]


@rogue(breaks=["CAST-01"])
class CaptionNeedsALineOfItsOwn(Backend):
    """Finds no caption in a context of one line."""

    def auto_caption(self, context: str) -> str:
        return context.partition("\n")[2]


# CAST-02: the people


@rogue(breaks=["CAST-02"])
class PartsOfNames(Backend):
    """Tags whoever's name is somewhere in the text, inside another name too."""

    async def auto_people(self, order: Order, context: str) -> tuple[UUID, ...]:
        text = page.folded(context)
        return tuple(person for person, name in await self.season_cast(order.entity) if page.folded(name) in text)


@rogue(breaks=["CAST-02"])
class LastNamesAreEnough(Backend):
    """Tags whoever shares a last name with somebody who is named."""

    async def auto_people(self, order: Order, context: str) -> tuple[UUID, ...]:
        cast = await self.season_cast(order.entity)
        named = page.names_in(context, (name.split()[-1] for _, name in cast))
        return tuple(person for person, name in cast if page.folded(name.split()[-1]) in named)


@rogue(breaks=["CAST-02"])
class OnlyWhoeverIsInTheNameLine(Backend):
    """Looks for people in the name line alone."""

    async def auto_people(self, order: Order, context: str) -> tuple[UUID, ...]:
        return await super().auto_people(order, re.split(r"\n|: ", context)[0])


@rogue(breaks=["CAST-02"])
class OnePersonAPhoto(Backend):
    """Tags one of the people who are named."""

    async def auto_people(self, order: Order, context: str) -> tuple[UUID, ...]:
        return (await super().auto_people(order, context))[:1]


@rogue(breaks=["CAST-02"])
class AnybodyWithThatName(Backend):
    """Looks among all people instead of the season's cast."""

    async def season_cast(self, entity: Entity) -> Sequence[tuple[UUID, str]]:
        async with self.pool.connection() as connection:
            cursor = await connection.execute("select id, full_name from core.people")
            return [(person, name) for person, name in await cursor.fetchall()]


@rogue(breaks=["CAST-02"])
class NamesInAsciiOnly(Backend):
    """Does not find names with letters that ASCII lacks."""

    async def season_cast(self, entity: Entity) -> Sequence[tuple[UUID, str]]:
        return [(person, name) for person, name in await super().season_cast(entity) if name.isascii()]


@rogue(breaks=["CAST-02"])
class NamesBetweenSpaces(Backend):
    """Does not find a name that is followed by a comma or full stop."""

    async def auto_people(self, order: Order, context: str) -> tuple[UUID, ...]:
        named = await super().auto_people(order, context)
        return tuple(
            person
            for person, name in await self.season_cast(order.entity)
            if person in named and re.search(rf"(?<!\S){re.escape(name)}(?:$|[\s:])", context)
        )


@rogue(breaks=["CAST-02"])
class NoPeopleBesideACaption(Backend):
    """Takes the people from the page only where the caption is to be taken from there too."""

    async def scraped(self, order: Order, wanted: Wanted, source: Page | None) -> Scraped:
        scraped = await super().scraped(order, wanted, source)
        return scraped._replace(person_ids=wanted.person_ids) if self.sent_caption(wanted) else scraped


class _NobodySent(tuple[UUID, ...]):
    """An empty list of people that was sent as one."""

    def __bool__(self) -> bool:
        return True


@rogue(breaks=["CAST-02"])
class EmptyListOfPeopleStands(Backend):
    """Takes an empty list of people for the answer that there are none."""

    def parse_people(self, value: Any) -> tuple[UUID, ...]:
        return _NobodySent() if value == [] else super().parse_people(value)


@rogue(breaks=["CAST-02", "CAST-04"])
class PeopleOfTheShowsLink(Backend):
    """Tags people on the link of the show, and not on the season's."""

    def link_context(self, order: Order, entity: Entity, wanted: Wanted, scraped: Scraped) -> dict[str, Any]:
        context = super().link_context(order, entity, wanted, scraped)
        if entity.type == "season":
            context.pop("people_ids", None)
        return context


@rogue(breaks=["CAST-02", "CAST-04"])
class PeopleUnderAnotherKey(Backend):
    """Keeps the people of a photo as `person_ids`, where nobody looks for them."""

    def link_context(self, order: Order, entity: Entity, wanted: Wanted, scraped: Scraped) -> dict[str, Any]:
        context = super().link_context(order, entity, wanted, scraped)
        return {"person_ids" if key == "people_ids" else key: value for key, value in context.items()}


# CAST-03: the date


@rogue(breaks=["CAST-03"])
class CreatedWhenImported(Backend):
    """Says that a photo was created when it was imported."""

    def source_created_at(self, source: Page) -> str | None:
        return datetime.datetime.now(datetime.UTC).isoformat()


@rogue(breaks=["CAST-03"])
class UndatedMeansToday(Backend):
    """Dates the photos of a page without a date to the day of their import."""

    def source_created_at(self, source: Page) -> str | None:
        return super().source_created_at(source) or datetime.datetime.now(datetime.UTC).date().isoformat()


@rogue(breaks=["CAST-03"])
class MonthOfTheArticle(Backend):
    """Keeps year and month of the publish date, as the first of it."""

    def source_created_at(self, source: Page) -> str | None:
        published = super().source_created_at(source)
        return published and f"{published[:7]}-01"


@rogue(breaks=["CAST-03"])
class DateOfTheLatestPage(Backend):
    """Dates every photo by the first dated page that this process has seen."""

    def source_created_at(self, source: Page) -> str | None:
        return next((seen.published_at for seen in self.pages.values() if seen.published_at), source.published_at)


@rogue(breaks=["CAST-03"])
class NoDateWhereNothingIsMissing(Backend):
    """Looks at the page only where caption or people are missing, and so finds no date where both were sent."""

    async def scraped(self, order: Order, wanted: Wanted, source: Page | None) -> Scraped:
        scraped = await super().scraped(order, wanted, source)
        return scraped._replace(source_created_at=None) if wanted.caption and wanted.person_ids else scraped


@rogue(breaks=["CAST-03"])
class DateUnderAnotherKey(Backend):
    """Keeps the article's date as `published_at`."""

    def asset_metadata(self, order: Order, wanted: Wanted, scraped: Scraped) -> dict[str, Any]:
        metadata = super().asset_metadata(order, wanted, scraped)
        return {"published_at" if key == "source_created_at" else key: value for key, value in metadata.items()}


# CAST-04: what was sent


@rogue(breaks=["CAST-04"])
class PageBeatsTheSentCaption(Backend):
    """Replaces a caption that was sent by the page's."""

    async def scraped(self, order: Order, wanted: Wanted, source: Page | None) -> Scraped:
        return await super().scraped(order, replace(wanted, caption=None), source)


@rogue(breaks=["CAST-04"])
class SentCaptionInAscii(Backend):
    """Drops what is no ASCII from a caption that was sent."""

    def sent_caption(self, wanted: Wanted) -> str | None:
        caption = super().sent_caption(wanted)
        return caption and caption.encode("ascii", "ignore").decode()


@rogue(breaks=["CAST-04"])
class PeopleAreAdded(Backend):
    """Adds the people of the context to those that were sent."""

    async def scraped(self, order: Order, wanted: Wanted, source: Page | None) -> Scraped:
        scraped = await super().scraped(order, wanted, source)
        found = (await super().scraped(order, replace(wanted, person_ids=()), source)).person_ids
        return scraped._replace(person_ids=tuple(dict.fromkeys((*wanted.person_ids, *found))))


@rogue(breaks=["CAST-04"])
class SentPeopleNeedACaption(Backend):
    """Believes the people that were sent only where a caption came with them."""

    async def scraped(self, order: Order, wanted: Wanted, source: Page | None) -> Scraped:
        believed = wanted if self.sent_caption(wanted) or source is None else replace(wanted, person_ids=())
        return await super().scraped(order, believed, source)


# CAST-05: other kinds


@rogue(breaks=["CAST-05"])
class EveryKindIsTagged(Backend):
    """Tags people whatever the kind of an image."""

    def needs_page(self, wanted: Wanted) -> bool:
        return True


@rogue(breaks=["CAST-05"])
class ReunionsAreTagged(Backend):
    """Takes the photos of a reunion for cast photos."""

    def needs_page(self, wanted: Wanted) -> bool:
        return wanted.kind in ("cast", "reunion")


# DEL-01: what a delete takes away


@rogue(breaks=["DEL-01"])
class AssetStays(Backend):
    """Deletes the links and leaves the asset."""

    async def remove_asset(self, connection: Connection, asset: Asset) -> None:
        await connection.execute("delete from core.media_links where media_asset_id = %s", (asset.id,))


@rogue(breaks=["DEL-01"])
class PeopleKeepTheirs(Backend):
    """Leaves asset and link where a person has the image in the gallery."""

    async def remove_asset(self, connection: Connection, asset: Asset) -> None:
        cursor = await connection.execute(
            "delete from core.media_links where media_asset_id = %s and entity_type <> 'person' and exists"
            " (select from core.media_links where media_asset_id = %s and entity_type = 'person')",
            (asset.id, asset.id),
        )
        if not cursor.rowcount:
            await super().remove_asset(connection, asset)


@rogue(breaks=["DEL-01"])
class NeighboursGoToo(Backend):
    """Deletes every asset of the page that the image is from."""

    async def remove_asset(self, connection: Connection, asset: Asset) -> None:
        await super().remove_asset(connection, asset)
        await connection.execute(
            "delete from core.media_assets where metadata ->> 'source_page_url' = %s",
            (asset.metadata.get("source_page_url"),),
        )


@rogue(breaks=["DEL-01", "DEL-02", "GEN-01"])
class UnknownAssetCrashes(Backend):
    """Takes it for granted that there is an asset to delete."""

    def unknown_asset(self) -> HTTPException:
        return HTTPException(500, "Internal Server Error")


@rogue(breaks=["DEL-02", "DEL-01"])
class UnknownAssetIsDeleted(Backend):
    """Says that an asset was deleted which is not there."""

    async def delete_asset(self, request: Request, asset_id: str) -> Response:
        try:
            return await super().delete_asset(request, asset_id)
        except HTTPException as refusal:
            if refusal.status_code == 404:
                return self.json({"asset_id": asset_id, "deleted_links": 0, "deleted_asset": True})
            raise


@rogue(breaks=["DEL-01", "EXC-03"])
class SecondDeleteExcludes(Backend):
    """Remembers whom a deleted asset was linked to, and excludes it for them when it is deleted again."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.gone: dict[str, tuple[Asset, Sequence[AssetLink]]] = {}

    def delete_answer(self, asset: Asset, links: Sequence[AssetLink], removed: bool) -> Mapping[str, Any]:
        self.gone[str(asset.id)] = asset, links
        return super().delete_answer(asset, links, removed)

    async def delete_asset(self, request: Request, asset_id: str) -> Response:
        if asset_id.lower() in self.gone and self.parse_query_flag(request, "exclude"):
            async with self.pool.connection() as connection:
                await self.write_exclusions(connection, *self.gone[asset_id.lower()], None)
        return await super().delete_asset(request, asset_id)


# DEL-02: what deletes nothing


@rogue(breaks=["DEL-02"])
class LongIdsAreCut(Backend):
    """Reads an id as far as a UUID goes, and forgets the rest."""

    async def delete_asset(self, request: Request, asset_id: str) -> Response:
        return await super().delete_asset(request, asset_id[:36])


@rogue(breaks=["DEL-02", "GEN-01"])
class MalformedIdsCrashADelete(Backend):
    """Hands an id to the database unread."""

    async def delete_asset(self, request: Request, asset_id: str) -> Response:
        self.authorize_media(request)
        try:
            self.parse_id("asset_id", asset_id)
        except HTTPException as refusal:
            raise HTTPException(500, "invalid input syntax for type uuid") from refusal
        return await super().delete_asset(request, asset_id)


@rogue(breaks=["DEL-02"])
class WhatIsNotFalseIsTrue(Backend):
    """Takes whatever is said of `exclude`, other than false, for true."""

    def parse_query_flag(self, request: Request, name: str) -> bool:
        given = request.query_params.get(name)
        return given is not None and given.lower() != "false"


@rogue(breaks=["DEL-02"])
class EntityLosesItsLinks(Backend):
    """Deletes the links of a season, show or person whose id is taken for an asset's."""

    async def delete_asset(self, request: Request, asset_id: str) -> Response:
        try:
            return await super().delete_asset(request, asset_id)
        except HTTPException as refusal:
            if refusal.status_code == 404:
                async with self.pool.connection() as connection:
                    await connection.execute("delete from core.media_links where entity_id = %s", (UUID(asset_id),))
            raise


# EXC-01: the rows


class _ChosenLinks(Backend):
    """Excludes an image for some of the entities that it was linked to."""

    async def write_exclusions(
        self, connection: Connection, asset: Asset, links: Sequence[AssetLink], caller: str | None
    ) -> None:
        await super().write_exclusions(connection, asset, self.chosen(links), caller)

    def chosen(self, links: Sequence[AssetLink]) -> Sequence[AssetLink]:
        """For whom."""
        raise NotImplementedError


@rogue(breaks=["EXC-01"])
class FirstEntityOnly(_ChosenLinks):
    """Excludes a deleted image for one entity, a season where there is one."""

    def chosen(self, links: Sequence[AssetLink]) -> Sequence[AssetLink]:
        return sorted(links, key=lambda link: ("season", "show", "person").index(link.entity_type))[:1]


@rogue(breaks=["EXC-01", "EXC-02"])
class PeopleAreNotAsked(_ChosenLinks):
    """Excludes a deleted image for seasons and shows, and not for people."""

    def chosen(self, links: Sequence[AssetLink]) -> Sequence[AssetLink]:
        return [link for link in links if link.entity_type != "person"]


@rogue(breaks=["EXC-01", "EXC-02"])
class HostedCopyIsExcluded(Backend):
    """Writes the address of the hosted copy on the list, which no page has."""

    async def write_exclusions(
        self, connection: Connection, asset: Asset, links: Sequence[AssetLink], caller: str | None
    ) -> None:
        hosted = [link._replace(context={**link.context, "source_image_url": asset.hosted_url}) for link in links]
        await super().write_exclusions(connection, asset, hosted, caller)


@rogue(breaks=["EXC-01"])
class ExclusionsInMemory(Backend):
    """Keeps the exclusions in the process and not in their table."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.unwanted: dict[tuple[str, UUID], set[str]] = {}

    async def write_exclusions(
        self, connection: Connection, asset: Asset, links: Sequence[AssetLink], caller: str | None
    ) -> None:
        for link in links:
            address = self.canonical(link.context.get("source_image_url") or asset.source_url or "")
            self.unwanted.setdefault((link.entity_type, link.entity_id), set()).add(address)

    async def exclusions_for(self, entity: Entity | None) -> AbstractSet[str]:
        return set() if entity is None else self.unwanted.get((entity.type, entity.id), set())


# EXC-02: what is kept out


class _OtherRefusal(Backend):
    """Imports some of the images that are on the list."""

    async def refusal(self, order: Order, wanted: Wanted) -> Outcome | None:
        outcome = await super().refusal(order, wanted)
        if outcome is None or outcome.status != "excluded" or await self.minds(order, wanted):
            return outcome
        return None

    async def minds(self, order: Order, wanted: Wanted) -> bool:
        """Whether this image is kept out."""
        raise NotImplementedError

    async def listed(self, order: Order, wanted: Wanted) -> str | None:
        """The page that the image was excluded on."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "select source_page_url from core.media_scrape_exclusions where entity_type = %s and entity_id = %s"
                " and source_image_url_canonical = %s",
                (*order.entity, self.canonical(wanted.url)),
            )
            row = await cursor.fetchone()
            return None if row is None else str(row[0])


@rogue(breaks=["EXC-02", "SSE-05"])
class ImportForgetsTheList(_OtherRefusal):
    """Looks at the exclusions in the preview, and imports whatever is asked for."""

    async def minds(self, order: Order, wanted: Wanted) -> bool:
        return False


@rogue(breaks=["EXC-02"])
class ExclusionOfOnePage(_OtherRefusal):
    """Imports an excluded image where it is found on another page."""

    async def minds(self, order: Order, wanted: Wanted) -> bool:
        return await self.listed(order, wanted) == order.source_url


@rogue(breaks=["EXC-02"])
class PostersAreAlwaysWanted(_OtherRefusal):
    """Imports an excluded image as a poster."""

    async def minds(self, order: Order, wanted: Wanted) -> bool:
        return wanted.kind != "poster"


class _Numbered(Entity):
    """A season that was named by its number."""


@rogue(breaks=["EXC-02"])
class SeasonByNumberHasNoList(_OtherRefusal):
    """Looks exclusions up by what an import says, and finds none for a season that is named by show and number."""

    async def import_entities(self, body: Mapping[str, Any]) -> tuple[Entity, ...]:
        first, *along = await super().import_entities(body)
        return (_Numbered(*first) if body.get("season_number") is not None else first, *along)

    async def minds(self, order: Order, wanted: Wanted) -> bool:
        return not isinstance(order.entity, _Numbered)


@rogue(breaks=["EXC-02"])
class LaterDeleteForgives(Backend):
    """Takes the exclusions of an entity back when something else of it is deleted without excluding."""

    def delete_answer(self, asset: Asset, links: Sequence[AssetLink], removed: bool) -> Mapping[str, Any]:
        self.forgiven = [link.entity_id for link in links]
        return super().delete_answer(asset, links, removed)

    async def delete_asset(self, request: Request, asset_id: str) -> Response:
        answer = await super().delete_asset(request, asset_id)
        if not self.parse_query_flag(request, "exclude"):
            async with self.pool.connection() as connection:
                await connection.execute(
                    "delete from core.media_scrape_exclusions where entity_id = any(%s)", (self.forgiven,)
                )
        return answer


@rogue(breaks=["EXC-02"])
class ImportForSomebodyElseForgives(Backend):
    """Takes an image off every list when somebody imports it."""

    async def store(self, order: Order, wanted: Wanted, picture: Any, scraped: Scraped) -> Outcome:
        outcome = await super().store(order, wanted, picture, scraped)
        async with self.pool.connection() as connection:
            await connection.execute(
                "delete from core.media_scrape_exclusions where source_image_url_canonical = %s",
                (self.canonical(wanted.url),),
            )
        return outcome


# EXC-03: no exclusion


@rogue(breaks=["EXC-03", "PRE-05"])
class DeleteAlwaysExcludes(Backend):
    """Excludes whatever is deleted."""

    async def remove_asset(self, connection: Connection, asset: Asset) -> None:
        await self.write_exclusions(connection, asset, await self.asset_links(connection, asset), None)
        await super().remove_asset(connection, asset)


@rogue(breaks=["EXC-03", "PRE-05"])
class PeopleAlwaysExclude(_ChosenLinks):
    """Excludes for a person whatever is deleted from the gallery."""

    async def remove_asset(self, connection: Connection, asset: Asset) -> None:
        links = [link for link in await self.asset_links(connection, asset) if link.entity_type == "person"]
        await self.write_exclusions(connection, asset, links, None)
        await super().remove_asset(connection, asset)

    def chosen(self, links: Sequence[AssetLink]) -> Sequence[AssetLink]:
        return links


@rogue(breaks=["EXC-03"])
class DeleteLeavesANote(Backend):
    """Notes every delete on the list of exclusions, in a way that excludes nothing."""

    async def remove_asset(self, connection: Connection, asset: Asset) -> None:
        await connection.execute(
            "insert into core.media_scrape_exclusions (entity_type, entity_id, source_image_url,"
            " source_image_url_canonical, reason) select distinct entity_type, entity_id, %s::text, 'deleted: ' || %s,"
            " 'deleted' from core.media_links as links where media_asset_id = %s and not exists"
            " (select from core.media_scrape_exclusions as known"
            "  where known.entity_id = links.entity_id and source_image_url = %s) on conflict do nothing",
            (asset.source_url, asset.source_url, asset.id, asset.source_url),
        )
        await super().remove_asset(connection, asset)


# EXC-04: for whom


class _Importing(Entity):
    """Whom an import is for."""


class _WidePreview(Backend):
    """Leaves out of a preview what others do not want; imports mind their own list."""

    whose: LiteralString

    async def import_entities(self, body: Mapping[str, Any]) -> tuple[Entity, ...]:
        return tuple(_Importing(*entity) for entity in await super().import_entities(body))

    async def exclusions_for(self, entity: Entity | None) -> AbstractSet[str]:
        if entity is None or isinstance(entity, _Importing):
            return await super().exclusions_for(entity)
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                f"select source_image_url_canonical from core.media_scrape_exclusions where {self.whose}",
                {"entity_type": entity.type},
            )
            return {address for (address,) in await cursor.fetchall()}


@rogue(breaks=["EXC-04", "PRE-06", "PRE-10"])
class ExclusionForEverybody(_WidePreview):
    """Has one list for the previews of all entities."""

    whose = "true"


@rogue(breaks=["EXC-04", "PRE-06", "PRE-10"])
class ExclusionByType(_WidePreview):
    """Has one list for the previews of all seasons, one for all shows, and one for all people."""

    whose = "entity_type = %(entity_type)s"


@rogue(breaks=["EXC-04", "SSE-05"])
class ImportExcludesForEverybody(Backend):
    """Previews for each entity its own list, and refuses to import what is on anybody's."""

    async def refusal(self, order: Order, wanted: Wanted) -> Outcome | None:
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "select from core.media_scrape_exclusions where source_image_url_canonical = %s",
                (self.canonical(wanted.url),),
            )
            if await cursor.fetchone() is not None:
                return Outcome("excluded")
        return await super().refusal(order, wanted)


# EXC-05: twice


@rogue(breaks=["EXC-05"])
class EveryExclusionIsNew(Backend):
    """Adds a row for each delete, whether the image is on the list or not."""

    async def write_exclusions(
        self, connection: Connection, asset: Asset, links: Sequence[AssetLink], caller: str | None
    ) -> None:
        for link in links:
            address = link.context.get("source_image_url") or asset.source_url or ""
            await connection.execute(
                "insert into core.media_scrape_exclusions (entity_type, entity_id, source_image_url,"
                " source_image_url_canonical) values (%s, %s, %s, %s || '#' || gen_random_uuid())",
                (link.entity_type, link.entity_id, address, self.canonical(address)),
            )

    async def exclusions_for(self, entity: Entity | None) -> AbstractSet[str]:
        return {address.partition("#")[0] for address in await super().exclusions_for(entity)}


@rogue(breaks=["EXC-05"])
class OneExclusionAPage(Backend):
    """Tells exclusions of one image apart by the page that it was found on."""

    async def write_exclusions(
        self, connection: Connection, asset: Asset, links: Sequence[AssetLink], caller: str | None
    ) -> None:
        for link in links:
            address = link.context.get("source_image_url") or asset.source_url or ""
            await connection.execute(
                "insert into core.media_scrape_exclusions (entity_type, entity_id, source_page_url, source_image_url,"
                " source_image_url_canonical) values (%s, %s, %s, %s, %s) on conflict do nothing",
                (
                    *(link.entity_type, link.entity_id, link.context.get("source_page_url"), address),
                    f"{self.canonical(address)}#{link.context.get('source_page_url')}",
                ),
            )

    async def exclusions_for(self, entity: Entity | None) -> AbstractSet[str]:
        return {address.partition("#")[0] for address in await super().exclusions_for(entity)}


@rogue(breaks=["EXC-05"])
class SecondExclusionFails(Backend):
    """Can't delete an image that is on the list already."""

    async def write_exclusions(
        self, connection: Connection, asset: Asset, links: Sequence[AssetLink], caller: str | None
    ) -> None:
        for link in links:
            address = link.context.get("source_image_url") or asset.source_url or ""
            await connection.execute(
                "insert into core.media_scrape_exclusions (entity_type, entity_id, source_image_url,"
                " source_image_url_canonical) values (%s, %s, %s, %s)",
                (link.entity_type, link.entity_id, address, self.canonical(address)),
            )


# EXC-06: equivalent addresses


@rogue(breaks=["EXC-06"])
class AddressesAsTheyStand(Backend):
    """Compares addresses letter by letter."""

    def canonical(self, url: str) -> str:
        return url


@rogue(breaks=["EXC-06"])
class HostsByCase(Backend):
    """Drops the fragment of an address, and minds the case of its host."""

    def canonical(self, url: str) -> str:
        return url.partition("#")[0]


# CNT-01: the address that is sent, and the count that is kept


class _NoCount(Backend):
    """Refuses to count some assets."""

    async def known_asset(self, request: Request, asset_id: str) -> tuple[Asset, bool]:
        asset, force = await super().known_asset(request, asset_id)
        if request.url.path.endswith("/auto-count") and not self.countable(asset, force):
            raise HTTPException(409, "The media asset has no hosted_url")
        return asset, force

    def countable(self, asset: Asset, force: bool) -> bool:
        """Whether it has what a count needs."""
        raise NotImplementedError


@rogue(breaks=["CNT-01", "CNT-03"])
class CountNeedsAHostedCopy(_NoCount):
    """Counts nobody on an asset without a hosted copy."""

    def countable(self, asset: Asset, force: bool) -> bool:
        return asset.hosted_url is not None


@rogue(breaks=["CNT-01"])
class RecountNeedsAHostedCopy(_NoCount):
    """Counts anew only where there is a hosted copy."""

    def countable(self, asset: Asset, force: bool) -> bool:
        return not force or asset.hosted_url is not None


@rogue(breaks=["CNT-01"])
class RecountNeverAsks(Backend):
    """Answers what was counted before, though it is to be counted anew."""

    async def known_asset(self, request: Request, asset_id: str) -> tuple[Asset, bool]:
        asset, force = await super().known_asset(request, asset_id)
        return asset, force and self.stored_count(asset) is None


class _KeepsSome(Backend):
    """Keeps some counts only."""

    async def store_metadata(self, asset: Asset, metadata: Mapping[str, Any]) -> None:
        if "people_count" not in metadata or self.keeps(asset, metadata):
            await super().store_metadata(asset, metadata)

    def keeps(self, asset: Asset, metadata: Mapping[str, Any]) -> bool:
        """Whether this one is stored."""
        raise NotImplementedError


@rogue(breaks=["CNT-01"])
class CountIsOnlyTold(_KeepsSome):
    """Answers the count and forgets it."""

    def keeps(self, asset: Asset, metadata: Mapping[str, Any]) -> bool:
        return False


@rogue(breaks=["CNT-01"])
class FirstCountStays(_KeepsSome):
    """Answers a new count and keeps the old one."""

    def keeps(self, asset: Asset, metadata: Mapping[str, Any]) -> bool:
        return asset.metadata.get("people_count") is None


@rogue(breaks=["CNT-01"])
class RecountIsKeptBeside(Backend):
    """Keeps a new count under another name, and goes by the old one."""

    async def store_metadata(self, asset: Asset, metadata: Mapping[str, Any]) -> None:
        if "people_count" in metadata and self.stored_count(asset) is not None:
            metadata = {"people_recount": metadata["people_count"]}
        await super().store_metadata(asset, metadata)


@rogue(breaks=["CNT-01"])
class ZeroIsNoCount(_KeepsSome):
    """Does not store that there is nobody."""

    def keeps(self, asset: Asset, metadata: Mapping[str, Any]) -> bool:
        return bool(metadata["people_count"])


@rogue(breaks=["CNT-01", "CNT-03"])
class FacesForPeople(Backend):
    """Takes the number of faces for the number of people."""

    def read_count(self, answer: httpx.Response) -> Mapping[str, Any]:
        count = super().read_count(answer)
        return {**count, "people_count": count["face_count"]}


# CNT-02: the hosted copy


@rogue(breaks=["CNT-02"])
class SourceIsAlwaysSent(Backend):
    """Sends the source address, though there is a hosted copy."""

    def image_address(self, asset: Asset) -> str:
        return asset.source_url or asset.hosted_url or ""


@rogue(breaks=["CNT-02"])
class RecountSendsTheSource(Backend):
    """Sends the source address when it counts anew."""

    async def known_asset(self, request: Request, asset_id: str) -> tuple[Asset, bool]:
        asset, force = await super().known_asset(request, asset_id)
        counts_anew = force and request.url.path.endswith("/auto-count")
        return (asset._replace(hosted_url=None) if counts_anew and asset.source_url else asset), force


# CNT-03: a vision service that fails


class _OtherFailure(Backend):
    """Does something else than to say so where the vision service fails."""

    async def auto_count(self, request: Request, asset_id: str) -> Response:
        try:
            return await super().auto_count(request, asset_id)
        except HTTPException as failure:
            if failure.status_code != 502:
                raise
            return await self.failed(request, asset_id, failure)

    async def failed(self, request: Request, asset_id: str, failure: HTTPException) -> Response:
        """The answer."""
        raise NotImplementedError


@rogue(breaks=["CNT-03"])
class FailureCountsNobody(Backend):
    """Takes a vision service that fails for a photo of nobody."""

    async def count_people(self, image_url: str) -> Mapping[str, Any]:
        try:
            return await super().count_people(image_url)
        except HTTPException:
            return {"people_count": 0, "face_count": 0, "detector": None, "model": None}


@rogue(breaks=["CNT-03"])
class CountFailureIsASuccess(_OtherFailure):
    """Answers 200 with the error in the body."""

    async def failed(self, request: Request, asset_id: str, failure: HTTPException) -> Response:
        return self.json({"asset_id": asset_id, "people_count": None, "error": failure.detail})


@rogue(breaks=["CNT-03"])
class CountFailureIsSilent(_OtherFailure):
    """Answers 502 with an empty body."""

    async def failed(self, request: Request, asset_id: str, failure: HTTPException) -> Response:
        return Response(status_code=502)


@rogue(breaks=["CNT-03"])
class CountFailureNamesTheAsset(_OtherFailure):
    """Answers 502 with the asset's id, and not a word of what went wrong."""

    async def failed(self, request: Request, asset_id: str, failure: HTTPException) -> Response:
        return self.json({"asset_id": asset_id, "people_count": None, "detail": None}, 502)


@rogue(breaks=["CNT-03"])
class FailedRecountForgets(_OtherFailure):
    """Throws the old count away before the new one is there."""

    async def failed(self, request: Request, asset_id: str, failure: HTTPException) -> Response:
        async with self.pool.connection() as connection:
            await connection.execute(
                "update core.media_assets set metadata = metadata - 'people_count' - 'face_count' where id = %s",
                (UUID(asset_id),),
            )
        raise failure


@rogue(breaks=["CNT-03"])
class FailureIsNoted(_OtherFailure):
    """Stores a count of -1 where there is none."""

    async def failed(self, request: Request, asset_id: str, failure: HTTPException) -> Response:
        async with self.pool.connection() as connection:
            await connection.execute(
                "update core.media_assets set metadata = metadata || %s where id = %s",
                (Jsonb({"people_count": -1}), UUID(asset_id)),
            )
        raise failure


@rogue(breaks=["CNT-03"])
class NobodyWhereItIsDown(Backend):
    """Takes a vision service that can't be reached for a photo of nobody."""

    async def count_people(self, image_url: str) -> Mapping[str, Any]:
        try:
            return await super().count_people(image_url)
        except HTTPException as failure:
            if isinstance(failure.__cause__, httpx.ConnectError):
                return {"people_count": 0, "face_count": 0, "detector": None, "model": None}
            raise


@rogue(breaks=["CNT-03"])
class AnAnswerWithoutACountIsZero(Backend):
    """Reads an answer of the vision service without a count as 0."""

    def read_count(self, answer: httpx.Response) -> Mapping[str, Any]:
        try:
            return super().read_count(answer)
        except HTTPException:
            return {"people_count": 0, "face_count": 0, "detector": None, "model": None}


@rogue(breaks=["CNT-03"])
class CountsFromAnErrorsBody(Backend):
    """Reads the count without a look at the status."""

    async def count_people(self, image_url: str) -> Mapping[str, Any]:
        try:
            return await super().count_people(image_url)
        except HTTPException as failure:
            if failure.__cause__ is not None:
                raise
            answer = await self.client.post(
                f"{self.settings.vision_url}/vision/people-count", json=self.vision_body(image_url)
            )
            return self.read_count(answer)


# TXT-01: a detector that fails


class _OtherDetection(Backend):
    """Answers something else where the detector fails."""

    async def detect_text_overlay(self, request: Request, asset_id: str) -> Response:
        try:
            return await super().detect_text_overlay(request, asset_id)
        except HTTPException as failure:
            if isinstance(failure.__cause__, FetchError):
                return self.undetected(asset_id, failure)
            raise

    def undetected(self, asset_id: str, failure: HTTPException) -> Response:
        """The answer."""
        raise NotImplementedError


@rogue(breaks=["TXT-01"])
class FailedDetectionFindsNoText(_OtherDetection):
    """Says that there is no text where the detector fails."""

    def undetected(self, asset_id: str, failure: HTTPException) -> Response:
        return self.json({"asset_id": asset_id, "has_text_overlay": False, "detector": "none"})


@rogue(breaks=["TXT-01"])
class FailedDetectionIsASuccess(_OtherDetection):
    """Answers 200 with the detector's error in the body."""

    def undetected(self, asset_id: str, failure: HTTPException) -> Response:
        return self.json({"asset_id": asset_id, "has_text_overlay": None, "error": failure.detail})


@rogue(breaks=["TXT-01"])
class FailedDetectionIsEmpty(_OtherDetection):
    """Answers 204 where the detector fails."""

    def undetected(self, asset_id: str, failure: HTTPException) -> Response:
        return Response(status_code=204)


@rogue(breaks=["TXT-01"])
class FailedDetectionSaysNothing(_OtherDetection):
    """Answers 502 with an empty message."""

    def undetected(self, asset_id: str, failure: HTTPException) -> Response:
        return self.json({"detail": ""}, 502)


@rogue(breaks=["TXT-01"])
class FailedDetectionIsOk(_OtherDetection):
    """Answers 502 with the message `OK`."""

    def undetected(self, asset_id: str, failure: HTTPException) -> Response:
        return self.json({"detail": "OK"}, 502)


@rogue(breaks=["TXT-01"])
class ForcedDetectionIsNotTold(_OtherDetection):
    """Hides the detector's failure where it is to look again."""

    async def detect_text_overlay(self, request: Request, asset_id: str) -> Response:
        self.forced = self.parse_query_flag(request, "force")
        return await super().detect_text_overlay(request, asset_id)

    def undetected(self, asset_id: str, failure: HTTPException) -> Response:
        if not self.forced:
            raise failure
        return self.json({"asset_id": asset_id, "has_text_overlay": None, "detector": "none"})


# PUR-01: the dry run


@rogue(breaks=["PUR-01"])
class DryRunDeletes(Purge):
    """Deletes without being told to."""

    def run(self, season_id: UUID, page_url: str, execute: bool) -> Sequence[str]:
        return super().run(season_id, page_url, True)


@rogue(breaks=["PUR-01"])
class DryRunLeavesAMark(Purge):
    """Marks in the metadata of assets that they would be deleted."""

    def describe(self, imports: Sequence[Import], orphans: Sequence[UUID], execute: bool) -> Sequence[str]:
        self.connection.execute(
            "update core.media_assets set metadata = metadata || %s where id = any(%s)",
            (Jsonb({"purge": "planned"}), list(orphans)),
        )
        return super().describe(imports, orphans, execute)


@rogue(breaks=["PUR-01"])
class DryRunIsSilent(Purge):
    """Says that it is a dry run, and nothing else."""

    def describe(self, imports: Sequence[Import], orphans: Sequence[UUID], execute: bool) -> Sequence[str]:
        return super().describe(imports, orphans, execute) if execute else ["this was a dry run: --execute deletes"]


@rogue(breaks=["PUR-01"])
class DryRunNamesOneOfThem(Purge):
    """Gives one asset as an example of what it would delete."""

    def describe(self, imports: Sequence[Import], orphans: Sequence[UUID], execute: bool) -> Sequence[str]:
        return [f"would delete assets, such as {asset_id}" for asset_id in orphans[:1]]


# PUR-02: exactly these


@rogue(breaks=["PUR-02"])
class PurgeExcludes(Purge):
    """Excludes what it deletes, so that it can't be imported again."""

    def delete(self, imports: Sequence[Import], orphans: Sequence[UUID]) -> None:
        self.connection.execute(
            "insert into core.media_scrape_exclusions (entity_type, entity_id, source_image_url,"
            " source_image_url_canonical) select distinct entity_type, entity_id, source_url, source_url"
            " from core.media_links join core.media_assets as assets on assets.id = media_asset_id"
            " where assets.id = any(%s) on conflict do nothing",
            (list(orphans),),
        )
        super().delete(imports, orphans)


@rogue(breaks=["PUR-02"])
class PurgeNeverDeletes(Purge):
    """Says what it deletes, and does not."""

    def delete(self, imports: Sequence[Import], orphans: Sequence[UUID]) -> None:
        pass


@rogue(breaks=["PUR-02"])
class PurgeOfLinksOnly(Purge):
    """Deletes the links and leaves the assets."""

    def delete(self, imports: Sequence[Import], orphans: Sequence[UUID]) -> None:
        super().delete(imports, ())


@rogue(breaks=["PUR-02"])
class PurgeOfPagesBelow(Purge):
    """Deletes what is from a page whose address begins as the one that is named."""

    def is_from(self, found: Import, page_url: str) -> bool:
        return found.page_url is not None and found.page_url.startswith(page_url)


@rogue(breaks=["PUR-02"])
class PurgeByPattern(Purge):
    """Looks for the page with LIKE, for which an underscore is any character."""

    def is_from(self, found: Import, page_url: str) -> bool:
        pattern = "".join({"_": ".", "%": ".*"}.get(letter, re.escape(letter)) for letter in page_url)
        return found.page_url is not None and re.fullmatch(pattern, found.page_url) is not None


@rogue(breaks=["PUR-02"])
class PurgeOfThePage(Purge):
    """Deletes what any season has from that page."""

    def select(self, season_id: UUID, page_url: str) -> Sequence[Import]:
        seasons = self.connection.execute("select id from core.seasons").fetchall()
        return [found for (each,) in seasons for found in super(PurgeOfThePage, self).select(each, page_url)]


@rogue(breaks=["PUR-02"])
class PurgeOfSharedImages(Purge):
    """Deletes the assets of a season's imports, whoever else has them."""

    def orphans(self, imports: Sequence[Import]) -> Sequence[UUID]:
        return list(dict.fromkeys(found.media_asset_id for found in imports))


@rogue(breaks=["PUR-02"])
class PurgeSweepsUp(Purge):
    """Deletes, along with the imports, every asset that nobody has."""

    def delete(self, imports: Sequence[Import], orphans: Sequence[UUID]) -> None:
        super().delete(imports, orphans)
        self.connection.execute(
            "delete from core.media_assets where not exists"
            " (select from core.media_links where media_asset_id = media_assets.id)"
        )


@rogue(breaks=["PUR-02"])
class PurgeOfTheSeason(Purge):
    """Deletes what the season has from any page."""

    def is_from(self, found: Import, page_url: str) -> bool:
        return True


@rogue(breaks=["PUR-02"])
class PurgeOfTheShow(Purge):
    """Does not look at the number of the season."""

    def find_season(self, show_id: UUID, season_number: int) -> UUID | None:
        row = self.connection.execute("select id from core.seasons where show_id = %s", (show_id,)).fetchone()
        return None if row is None else UUID(str(row[0]))


@rogue(breaks=["PUR-02"])
class PurgeOfTheGalleries(Purge):
    """Deletes what people have from that page as well."""

    def linked_along(self, season_id: UUID, imports: Sequence[Import]) -> Sequence[Import]:
        pages: Iterable[str | None] = {found.page_url for found in imports}
        rows = self.connection.execute(
            "select links.id, media_asset_id, entity_type, kind, null, source_url from core.media_links as links"
            " join core.media_assets as assets on assets.id = media_asset_id"
            " where entity_type = 'person' and metadata ->> 'source_page_url' = any(%s)",
            ([address for address in pages if address],),
        ).fetchall()
        return [*super().linked_along(season_id, imports), *(Import(*row) for row in rows)]


@rogue(breaks=["PUR-02", "PUR-01"])
class PurgeInPortions(Purge):
    """Deletes five imports at a time."""

    def select(self, season_id: UUID, page_url: str) -> Sequence[Import]:
        return super().select(season_id, page_url)[:5]
