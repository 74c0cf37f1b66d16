"""Rogues of the backend's preview, import and stream, and of who may call them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid4

import httpx
import jwt
from fastapi import HTTPException, Request, Response
from fastapi.responses import StreamingResponse

from reference.access import Connection, Settings
from reference.backend import Backend
from reference.fetching import Fetched, FetchError
from reference.media import (
    MAX_TEXT,
    Asset,
    Entity,
    Event,
    Order,
    Outcome,
    Picture,
    PreviewQuery,
    Scraped,
    Size,
    Wanted,
    kinds,
)
from reference.page import Image, Page
from reference.rogues import rogue

# GEN-01: malformed input


@rogue(breaks=["GEN-01"])
class LoneSurrogatesCrash(Backend):
    """Takes any text, and encodes it when it is stored."""

    def parse_text(self, name: str, value: Any) -> str:
        if not isinstance(value, str) or len(value) > MAX_TEXT or "\0" in value:
            raise HTTPException(422, f"{name} must be text")
        return value


@rogue(breaks=["GEN-01"])
class HalfAnAddressCrashes(Backend):
    """Takes an address apart without expecting that it has no parts."""

    def check_address(self, url: str) -> None:
        if urlsplit(url).port == 0:
            raise FetchError("nobody listens at port 0")
        super().check_address(url)


@rogue(breaks=["GEN-01"])
class ImagesThatAreNoObjectsCrash(Backend):
    """Looks for members in whatever the images of an import are."""

    def parse_wanted(self, item: Any) -> Wanted:
        return super().parse_wanted({"kind": "other", **item})


# AUTH-12: who may call


@rogue(breaks=["AUTH-12"])
class AnyPersonMayImport(Backend):
    """Lets everybody pass whose token is good."""

    def authorize_media(self, request: Request) -> Mapping[str, Any]:
        token = self.bearer_token(request)
        if token is None:
            raise self.unauthenticated()
        return self.verify_token(token)


@rogue(breaks=["AUTH-12"])
class MediaTokensAreTrusted(Backend):
    """Reads the claims of a token without looking at its signature."""

    def authorize_media(self, request: Request) -> Mapping[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                self.bearer_token(request) or b"", options={"verify_signature": False, "verify_exp": True}
            )
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise self.unauthenticated() from error
        if not self.is_service_role(claims) and not self.is_allowlisted(claims):
            raise self.forbidden()
        return claims


@rogue(breaks=["AUTH-12"])
class SecretOpensTheImport(Backend):
    """Takes the internal secret for enough, whoever sends it."""

    def authorize_media(self, request: Request) -> Mapping[str, Any]:
        if self.secret_matches(self.header(request, "x-trr-internal-admin-secret")):
            return {}
        return super().authorize_media(request)


@rogue(breaks=["AUTH-12"])
class PreviewIsPublic(Backend):
    """Shows pages to everybody: nothing is written by it."""

    async def preview(self, request: Request) -> Response:
        public = _public(self)
        return await public.preview(request)


@rogue(breaks=["AUTH-12"])
class RefusalInsideTheStream(Backend):
    """Answers a streamed import that it refuses with a 200 and an event that says so."""

    async def import_stream(self, request: Request) -> Response:
        try:
            return await super().import_stream(request)
        except HTTPException as refusal:
            if refusal.status_code not in (401, 403):
                raise
            body = self.frame("error", {"error": str(refusal.detail)})
            return Response(body, headers=self.stream_headers(), media_type="text/event-stream")


@rogue(breaks=["AUTH-12"])
class DeleteAsksForAnyToken(Backend):
    """Deletes for everybody who has a token of ours."""

    async def delete_asset(self, request: Request, asset_id: str) -> Response:
        self.verify_token(self.bearer_token(request) or b"")
        return await _public(self).delete_asset(request, asset_id)


def _public(backend: Backend) -> Backend:
    """The same backend with the door open."""

    class Public(Backend):
        def __init__(self) -> None:
            self.__dict__ = backend.__dict__

        def authorize_media(self, request: Request) -> Mapping[str, Any]:
            return {}

    return Public()


# PRE-01: the shape of a preview


@rogue(breaks=["PRE-01"])
class CandidatesWithoutAnId(Backend):
    """Leaves it to the app to name the candidates."""

    def candidate(self, image: Image, size: Size) -> Mapping[str, Any]:
        found = dict(super().candidate(image, size))
        del found["id"]
        return found


@rogue(breaks=["PRE-01"])
class PreviewNeedsAnEntity(Backend):
    """Refuses a preview that does not say whom it is for."""

    async def preview_entity(self, body: Mapping[str, Any]) -> Entity | None:
        if "entity_type" not in body:
            raise HTTPException(422, "entity_type is missing")
        return await super().preview_entity(body)


@rogue(breaks=["PRE-01"])
class PreviewWithoutATotal(Backend):
    """Counts the candidates only where there are more than are shown."""

    def preview_answer(
        self, query: PreviewQuery, found: Page, candidates: Sequence[Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        answer = dict(super().preview_answer(query, found, candidates))
        if answer["total_found"] <= query.limit:
            del answer["total_found"]
        return answer


# PRE-02: the publish date


class _Dated(Backend):
    """Says another publish date than the page's."""

    def preview_answer(
        self, query: PreviewQuery, found: Page, candidates: Sequence[Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        answer = super().preview_answer(query, found, candidates)
        return {**answer, "page_published_at": self.date_of(found)}

    def date_of(self, found: Page) -> Any:
        """What is said."""
        raise NotImplementedError


@rogue(breaks=["PRE-02"])
class UndatedPagesAreOfToday(_Dated):
    """Takes the time of the fetch for the date of a page that states none."""

    def date_of(self, found: Page) -> Any:
        return found.published_at or datetime.now(UTC).isoformat()


@rogue(breaks=["PRE-02"])
class DateAsSeconds(_Dated):
    """Says the publish date in seconds since 1970."""

    def date_of(self, found: Page) -> Any:
        return None if found.published_at is None else int(datetime.fromisoformat(found.published_at).timestamp())


@rogue(breaks=["PRE-02"])
class DatesAreOfNewYork(_Dated):
    """Takes a date without a time for midnight in UTC, and tells it in its own time zone."""

    def date_of(self, found: Page) -> Any:
        if found.published_at is None:
            return None
        moment = datetime.fromisoformat(found.published_at)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return moment.astimezone(timezone(timedelta(hours=-5))).isoformat()


# PRE-03: sizes in bytes


@rogue(breaks=["PRE-03"])
class BytesAsText(Backend):
    """Hands the header's value on as it is."""

    def candidate(self, image: Image, size: Size) -> Mapping[str, Any]:
        length = None if size.bytes is None else str(size.bytes)
        return {**super().candidate(image, size), "bytes": length}


@rogue(breaks=["PRE-03"])
class UnknownLengthIsZero(Backend):
    """Says zero where the origin says nothing."""

    def candidate(self, image: Image, size: Size) -> Mapping[str, Any]:
        return {**super().candidate(image, size), "bytes": size.bytes or 0}


@rogue(breaks=["PRE-03"])
class LengthOfTheErrorPage(Backend):
    """Takes the Content-Length of any answer for the image's, also where HEAD is refused."""

    def stated_length(self, answer: httpx.Response) -> int | None:
        length = answer.headers.get("content-length", "")
        return int(length) if length.isdecimal() else None


@rogue(breaks=["PRE-03", "PRE-01"])
class FailedProbeFailsThePreview(Backend):
    """Does not catch what goes wrong with the look at an image."""

    async def probe_size(self, url: str, deadline: float) -> int | None:
        async with self.open("HEAD", url) as answer:
            return self.stated_length(answer)


class _Patient(Backend):
    """Has no time limit for what others serve but those of its decisions."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.client.timeout = httpx.Timeout(None)


@rogue(breaks=["PRE-03"], profile="thorough")
class SizesAreWaitedFor(_Patient):
    """Waits for the size of an image as long as its origin takes."""

    def looking(self, deadline: float) -> asyncio.Timeout:
        return asyncio.timeout(None)


# PRE-04: sizes in pixels


@rogue(breaks=["PRE-04"])
class HeightIsEstimated(Backend):
    """Works out a height that the markup does not give, to fractions of a pixel."""

    async def measure(self, image: Image, deadline: float) -> Size:
        size = await super().measure(image, deadline)
        if image.width is not None and image.height is None:
            return size._replace(height=image.width / 1.7777)  # type: ignore[arg-type]
        return size


@rogue(breaks=["PRE-04"])
class SidesAreScaled(Backend):
    """Scales an image's true size to the one side that the markup gives, to fractions of a pixel."""

    async def measure(self, image: Image, deadline: float) -> Size:
        size = await super().measure(image, deadline)
        if (image.width is None) == (image.height is None) or size.width is None or size.height is None:
            return size
        scale = image.width / size.width if image.width is not None else (image.height or 0) / size.height
        return size._replace(width=size.width * scale, height=size.height * scale)  # type: ignore[arg-type]


@rogue(breaks=["PRE-04"])
class UnknownPixelsAreEmptyText(Backend):
    """Says an empty text where it does not know a width."""

    def candidate(self, image: Image, size: Size) -> Mapping[str, Any]:
        return {**super().candidate(image, size), "width": size.width or "", "height": size.height or ""}


# PRE-05, PRE-06, PRE-10: exclusions


class _Filtered(Backend):
    """Filters a preview by another list than the entity's; imports keep to that one."""

    async def preview_entity(self, body: Mapping[str, Any]) -> Entity | None:
        entity = await super().preview_entity(body)
        return _Previewed(*entity) if entity is not None else None

    async def exclusions_for(self, entity: Entity | None) -> AbstractSet[str]:
        if entity is not None and not isinstance(entity, _Previewed):
            return await super().exclusions_for(entity)
        return await self.filter_of(entity)

    async def filter_of(self, entity: Entity | None) -> AbstractSet[str]:
        """The canonical addresses that a preview leaves out."""
        raise NotImplementedError

    async def addresses(self, query: Any, *values: Any) -> AbstractSet[str]:
        """The canonical addresses that a query finds."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(query, values)
            return {self.canonical(address) for (address,) in await cursor.fetchall()}


class _Previewed(Entity):
    """Whom a preview is for."""


@rogue(breaks=["PRE-05", "EXC-02", "EXC-06"])
class PreviewShowsTheExcluded(_Filtered):
    """Heeds exclusions in imports alone."""

    async def filter_of(self, entity: Entity | None) -> AbstractSet[str]:
        return frozenset()


@rogue(breaks=["PRE-05", "PRE-10"])
class NobodysPreviewIsFiltered(_Filtered):
    """Leaves out, where a preview is for nobody, what anybody has excluded."""

    async def filter_of(self, entity: Entity | None) -> AbstractSet[str]:
        if entity is not None:
            return await Backend.exclusions_for(self, Entity(*entity))
        return await self.addresses("select source_image_url from core.media_scrape_exclusions")


@rogue(breaks=["PRE-05", "EXC-02", "EXC-06"])
class OneExclusionIsEnough(_Filtered):
    """Heeds the first exclusion of an entity and no further one."""

    async def filter_of(self, entity: Entity | None) -> AbstractSet[str]:
        if entity is None:
            return frozenset()
        return await self.addresses(
            "select source_image_url from core.media_scrape_exclusions where entity_type = %s and entity_id = %s"
            " order by created_at, id limit 1",
            *entity,
        )


@rogue(breaks=["PRE-05"])
class PreviewHidesWhatIsThere(_Filtered):
    """Leaves out what the entity has already, too."""

    async def filter_of(self, entity: Entity | None) -> AbstractSet[str]:
        if entity is None:
            return frozenset()
        return await Backend.exclusions_for(self, Entity(*entity)) | await self.addresses(
            "select assets.source_url from core.media_links join core.media_assets assets on assets.id = media_asset_id"
            " where entity_type = %s and entity_id = %s and assets.source_url is not null",
            *entity,
        )


@rogue(breaks=["PRE-06", "EXC-04", "PRE-10"])
class ExclusionsByType(_Filtered):
    """Leaves out of a preview what any entity of that type has excluded."""

    async def filter_of(self, entity: Entity | None) -> AbstractSet[str]:
        if entity is None:
            return frozenset()
        return await self.addresses(
            "select source_image_url from core.media_scrape_exclusions where entity_type = %s", entity.type
        )


@rogue(breaks=["PRE-10"])
class TypeAloneMeansAnyOfThem(_Filtered):
    """Takes the exclusions of a whole type where an id names nobody."""

    async def preview_entity(self, body: Mapping[str, Any]) -> Entity | None:
        entity = await super().preview_entity(body)
        if entity is None and body.get("entity_type") is not None:
            return _Previewed(self.parse_entity_type(body["entity_type"]), UUID(int=0))
        return entity

    async def filter_of(self, entity: Entity | None) -> AbstractSet[str]:
        if entity is None or entity.id.int:
            return frozenset() if entity is None else await Backend.exclusions_for(self, Entity(*entity))
        return await self.addresses(
            "select source_image_url from core.media_scrape_exclusions where entity_type = %s", entity.type
        )


@rogue(breaks=["PRE-10", "GEN-01"])
class MalformedEntityCrashes(Backend):
    """Leaves it to the UUID type to read the id of an entity."""

    async def preview_entity(self, body: Mapping[str, Any]) -> Entity | None:
        if isinstance(body.get("entity_id"), str):
            UUID(body["entity_id"])
        return await super().preview_entity(body)


# PRE-07: previews write nothing


@rogue(breaks=["PRE-07"])
class PreviewKeepsCandidates(Backend):
    """Stores an asset for each candidate, to have it at hand for the import."""

    async def candidates(
        self, found: Page, query: PreviewQuery, excluded: AbstractSet[str]
    ) -> Sequence[Mapping[str, Any]]:
        offered = await super().candidates(found, query, excluded)
        async with self.pool.connection() as connection:
            for each in offered:
                await connection.execute(
                    "insert into core.media_assets (source, source_url) values ('preview', %s)", (each["best_url"],)
                )
        return offered


@rogue(breaks=["PRE-07", "EXC-02", "EXC-06"])
class PreviewForgetsExclusions(Backend):
    """Takes an exclusion for done with once a preview has heeded it."""

    async def preview(self, request: Request) -> Response:
        answer = await super().preview(request)
        entity = await self.preview_entity(self.parse_object(await self.read_body(request)))
        if entity is not None:
            async with self.pool.connection() as connection:
                await connection.execute(
                    "delete from core.media_scrape_exclusions where entity_type = %s and entity_id = %s", entity
                )
        return answer


# PRE-08, PRE-09: pages that are none


@rogue(breaks=["PRE-08"])
class ErrorPagesAreRead(Backend):
    """Does not look at the status of a page."""

    async def fetch_page(self, url: str) -> Fetched:
        try:
            return await super().fetch_page(url)
        except FetchError:
            async with self.open("GET", url) as answer:
                fetched = Fetched(url, "text/html", "utf-8", await answer.aread())
                if answer.is_success:
                    raise
                return fetched


@rogue(breaks=["PRE-08"])
class UnreachablePagesAreEmpty(Backend):
    """Answers for a page that it cannot have as for one without images."""

    async def preview(self, request: Request) -> Response:
        try:
            return await super().preview(request)
        except HTTPException as refusal:
            if refusal.status_code != 400:
                raise
            query = self.parse_preview(self.parse_object(await self.read_body(request)))
            return self.json(self.preview_answer(query, Page(query.url, None, None, ()), []))


@rogue(breaks=["PRE-08"])
class AnyDocumentIsAPage(Backend):
    """Reads whatever it gets as HTML."""

    def is_html(self, fetched: Fetched) -> bool:
        return True


@rogue(breaks=["PRE-08", "GEN-01"])
class UnreachablePagesAreBadGateways(Backend):
    """Answers 502 for a page that it cannot have."""

    async def preview(self, request: Request) -> Response:
        try:
            return await super().preview(request)
        except HTTPException as refusal:
            raise HTTPException(502 if refusal.status_code == 400 else refusal.status_code, refusal.detail) from refusal


@rogue(breaks=["PRE-08"])
class UnreachablePagesInSilence(Backend):
    """Refuses a page that it cannot have without a word."""

    async def preview(self, request: Request) -> Response:
        try:
            return await super().preview(request)
        except HTTPException as refusal:
            if refusal.status_code != 400:
                raise
            return Response(status_code=400)


@rogue(breaks=["PRE-08"], profile="thorough")
class PagesAreWaitedFor(_Patient):
    """Waits a day for a page."""

    page_timeout_s = 86_400.0


@rogue(breaks=["PRE-08"], profile="thorough")
class OnlyTheHeadIsTimed(PagesAreWaitedFor):
    """Gives up what is not answered in time, and waits a day for the body of a page that is."""

    @contextlib.asynccontextmanager
    async def open(
        self, method: str, url: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[httpx.Response]:
        try:
            async with asyncio.timeout(Backend.page_timeout_s) as limit, super().open(method, url, headers) as answer:
                limit.reschedule(None)
                yield answer
        except TimeoutError as error:
            raise FetchError(f"{url} is not answered in time") from error


@rogue(breaks=["PRE-09"])
class SchemesAreCorrected(Backend):
    """Puts http in front of whatever stands after the colon."""

    def parse_preview(self, body: Mapping[str, Any]) -> PreviewQuery:
        url = body.get("url")
        if isinstance(url, str) and "://" in url and not url.lower().startswith("http"):
            body = {**body, "url": "http" + url[url.index("://") :]}
        return super().parse_preview(body)


@rogue(breaks=["PRE-09"])
class DataAddressesAreRead(Backend):
    """Reads the page that stands in a `data:` address."""

    def parse_page_address(self, name: str, value: Any) -> str:
        if isinstance(value, str) and value.startswith("data:text/html,"):
            return value
        return super().parse_page_address(name, value)

    async def fetch_page(self, url: str) -> Fetched:
        if url.startswith("data:"):
            return Fetched(url, "text/html", "utf-8", unquote(url.partition(",")[2]).encode())
        return await super().fetch_page(url)


@rogue(breaks=["PRE-09"])
class OtherSchemesAreNoRefusal(Backend):
    """Answers 200 for an address of another scheme, with the reason in `error`."""

    async def preview(self, request: Request) -> Response:
        self.authorize_media(request)
        body = self.parse_object(await self.read_body(request))
        url = body.get("url")
        if isinstance(url, str) and url.partition(":")[0].lower() in ("file", "ftp", "gopher", "javascript"):
            return self.json({"url": url, "images": [], "total_found": 0, "error": "only http(s) is fetched"})
        return await super().preview(request)


# KIND-01, KIND-02: kinds


class _Kinds(Backend):
    """Has another allowlist of kinds."""

    known: AbstractSet[str] = kinds()

    def parse_kind(self, value: Any) -> str:
        kind = super().parse_kind(value)
        if kind not in self.known:
            raise HTTPException(422, f"kind must be one of {', '.join(sorted(self.known))}")
        return kind


@rogue(breaks=["KIND-01"])
class KindsBeforeTheAddendum(_Kinds):
    """Knows neither intro nor reunion."""

    known = kinds() - {"intro", "reunion"}


@rogue(breaks=["KIND-01"])
class PeopleHaveNoStills(Backend):
    """Refuses stills of episodes for a person."""

    async def import_entities(self, body: Mapping[str, Any]) -> tuple[Entity, ...]:
        linked = await super().import_entities(body)
        if linked[0].type == "person" and any(image.get("kind") == "episode_still" for image in body["images"]):
            raise HTTPException(422, "a person has no episodes")
        return linked


@rogue(breaks=["KIND-01", "IMP-05"])
class StreamFailsAtBackdrops(Backend):
    """Tells an error for each backdrop of a streamed import."""

    async def import_stream(self, request: Request) -> Response:
        order = await self.read_order(request)
        images = tuple(
            replace(wanted, url=f"{wanted.url}#backdrop") if wanted.kind == "backdrop" else wanted
            for wanted in order.images
        )
        order = replace(order, images=images)
        return StreamingResponse(self.frames(order), headers=self.stream_headers(), media_type="text/event-stream")

    async def import_one(self, order: Order, wanted: Wanted, source: Page | None) -> Outcome:
        if wanted.url.endswith("#backdrop"):
            return Outcome("error", error="no backdrops here")
        return await super().import_one(order, wanted, source)

    def place(self, order: Order, wanted: Wanted, number: int) -> dict[str, Any]:
        return {**super().place(order, wanted, number), "url": wanted.url.removesuffix("#backdrop")}


@rogue(breaks=["KIND-02"])
class UnknownKindsAreOther(Backend):
    """Takes every kind that it does not know for `other`."""

    def parse_kind(self, value: Any) -> str:
        return value if isinstance(value, str) and value in kinds() else "other"


@rogue(breaks=["KIND-02"])
class KindsByTheirLetters(Backend):
    """Looks for the kind anywhere in the text of the allowlist."""

    def parse_kind(self, value: Any) -> str:
        if isinstance(value, str) and value in " ".join(sorted(kinds())):
            return value
        return super().parse_kind(value)


@rogue(breaks=["KIND-02"])
class KindsAreCheckedOnTheWay(Backend):
    """Refuses a nonsense kind when it comes to that image: those before it are imported."""

    async def read_order(self, request: Request) -> Order:
        try:
            return await super().read_order(request)
        except HTTPException as refusal:
            if not str(refusal.detail).startswith("kind "):
                raise
            body = self.parse_object(await self.read_body(request))
            kept = next(n for n, image in enumerate(body["images"]) if image.get("kind") not in list(kinds()))
            if kept:
                images = self.parse_images(body["images"][:kept])
                linked = await self.import_entities(body)
                order = Order(linked[0], linked, self.parse_address("source_url", body.get("source_url")), images)
                async for _ in self.events(order):
                    pass
            raise


# IMP-01, IMP-02: the answer


class _Answered(Backend):
    """Answers a plain import in another way; the stream tells what it should."""

    async def import_images(self, request: Request) -> Response:
        order = await self.read_order(request)
        events = [data async for _, data in self.events(order)]
        return self.answer(events[-1])

    def answer(self, summary: Mapping[str, Any]) -> Response:
        """The answer to a plain import."""
        raise NotImplementedError


@rogue(breaks=["IMP-01"])
class ErrorsAreCounted(_Answered):
    """Answers how many errors there were."""

    def answer(self, summary: Mapping[str, Any]) -> Response:
        return self.json({**summary, "errors": len(summary["errors"])})


@rogue(breaks=["IMP-01"])
class AssetsAreIds(_Answered):
    """Answers the ids of the assets instead of the assets."""

    def answer(self, summary: Mapping[str, Any]) -> Response:
        return self.json({**summary, "assets": [asset["id"] for asset in summary["assets"]]})


@rogue(breaks=["IMP-01"])
class AssetsOnlyWhereThereAreSome(_Answered):
    """Leaves `assets` out where nothing was imported."""

    def answer(self, summary: Mapping[str, Any]) -> Response:
        return self.json({name: value for name, value in summary.items() if name != "assets" or value})


@rogue(breaks=["IMP-01"])
class NothingToImportIsOneError(_Answered):
    """Answers 200 with one error for all, where none of the images could be had."""

    def answer(self, summary: Mapping[str, Any]) -> Response:
        if summary["errors"] and not (summary["imported"] or summary["skipped_duplicates"]):
            return self.json({"error": "none of the images could be imported"})
        return self.json(summary)


@rogue(breaks=["IMP-01"])
class SeasonsByIdAlone(Backend):
    """Finds no season by its show and number."""

    async def find_season(self, body: Mapping[str, Any]) -> tuple[Entity, Entity]:
        if body.get("season_id") is None and body.get("season_number") is not None:
            raise HTTPException(404, "Season not found")
        return await super().find_season(body)


@rogue(breaks=["IMP-02", "IMP-03", "EXC-02"])
class DuplicatesAreImported(_Answered):
    """Counts a duplicate among the imported as well as among the skipped."""

    def answer(self, summary: Mapping[str, Any]) -> Response:
        return self.json({**summary, "imported": summary["imported"] + summary["skipped_duplicates"]})


@rogue(breaks=["IMP-02"])
class OnlyTheFirstErrorIsTold(_Answered):
    """Tells the first error of an import, however many there were."""

    def answer(self, summary: Mapping[str, Any]) -> Response:
        return self.json({**summary, "errors": [] if summary["imported"] else summary["errors"][:1]})


# IMP-03: the same image again


@rogue(breaks=["IMP-03"])
class ImagesByTheirAddress(Backend):
    """Takes the same bytes from another address for another image."""

    def identify(self, fetched: Fetched) -> Picture:
        picture = super().identify(fetched)
        return picture._replace(sha256=self.sha256(fetched.content + fetched.url.encode()))


@rogue(breaks=["IMP-03"])
class DuplicatesAreNotLinked(Backend):
    """Leaves a known image with those who have it: only a new one is linked."""

    async def store(self, order: Order, wanted: Wanted, picture: Picture, scraped: Scraped) -> Outcome:
        async with self.pool.connection() as connection:
            asset = await self.find_asset(connection, picture)
        if asset is None or order.entity.type != "person":
            return await super().store(order, wanted, picture, scraped)
        return Outcome("duplicate", asset)


# IMP-04: broken images


@rogue(breaks=["IMP-04", "SSE-07", "IMP-02"])
class FirstErrorEndsTheImport(Backend):
    """Imports nothing any more after an image that it could not have."""

    async def events(self, order: Order) -> AsyncIterator[Event]:
        source = await self.source_page(order)
        outcomes = []
        for number, wanted in enumerate(order.images, 1):
            outcome = await self.refusal(order, wanted)
            if outcome is None:
                yield self.progress(order, wanted, number)
                outcome = await self.import_one(order, wanted, source)
            outcomes.append(outcome)
            yield self.result(order, wanted, number, outcome)
            if outcome.status == "error":
                break
        yield "complete", self.summary(outcomes)


@rogue(breaks=["IMP-04", "IMP-05"])
class AllOrNothing(Backend):
    """Imports none of the images of a plain import where one of them cannot be had."""

    async def import_images(self, request: Request) -> Response:
        order = await self.read_order(request)
        errors = []
        for wanted in order.images:
            try:
                self.identify(await self.fetch_image(wanted.url))
            except FetchError as error:
                errors.append(str(error))
        if errors:
            rest = len(order.images) - len(errors)
            return self.json({"imported": 0, "skipped_duplicates": rest, "errors": errors, "assets": []})
        return await super().import_images(request)


@rogue(breaks=["IMP-04", "SSE-07"])
class LostConnectionsCrash(Backend):
    """Knows what to do with an image that is refused, and not with one whose connection breaks off."""

    async def fetch_image(self, url: str) -> Fetched:
        try:
            return await super().fetch_image(url)
        except FetchError as error:
            if isinstance(error.__cause__, httpx.RemoteProtocolError | httpx.ReadError):
                raise RuntimeError("connection lost") from error
            raise


# IMP-05: two endpoints, one state


@rogue(breaks=["IMP-05", "CAST-04"])
class PlainImportDropsCaptions(Backend):
    """Imports without captions where nobody watches."""

    async def import_images(self, request: Request) -> Response:
        order = await self.read_order(request)
        order = replace(order, images=tuple(replace(wanted, caption=None) for wanted in order.images))
        return self.json([data async for _, data in self.events(order)][-1])


@rogue(breaks=["IMP-05"])
class PlainImportLinksNoShow(Backend):
    """Links the images of a plain import to the season, and not to its show as the stream does."""

    async def import_images(self, request: Request) -> Response:
        order = await self.read_order(request)
        order = replace(order, linked=(order.entity,))
        return self.json([data async for _, data in self.events(order)][-1])


@rogue(breaks=["IMP-05", "SSE-05"])
class StreamKeepsTheExcluded(Backend):
    """Tells that an excluded image is excluded, and imports it all the same, where it is streamed."""

    async def import_stream(self, request: Request) -> Response:
        order = await self.read_order(request)
        excluded = await self.exclusions_for(order.entity)
        for wanted in order.images:
            if self.is_excluded([wanted.url], excluded):
                await self.import_one(order, wanted, None)
        return await super().import_stream(request)


# IMP-06: requests that lack something


@rogue(breaks=["IMP-06"])
class NoImagesAreFine(Backend):
    """Imports nothing where there is nothing to import, and calls it a success."""

    def parse_images(self, value: Any) -> tuple[Wanted, ...]:
        return () if value == [] else super().parse_images(value)


@rogue(breaks=["IMP-06"])
class AnySeasonOfTheShow(Backend):
    """Takes the first season of a show where none is named."""

    async def find_season(self, body: Mapping[str, Any]) -> tuple[Entity, Entity]:
        if body.get("season_id") is None and body.get("season_number") is None and body.get("show_id") is not None:
            body = {**body, "season_number": 1}
            show = self.parse_member_id("show_id", body["show_id"])
            async with self.pool.connection() as connection:
                cursor = await connection.execute("select id from core.seasons where show_id = %s limit 1", (show,))
                row = await cursor.fetchone()
            if row is not None:
                return Entity("season", row[0]), Entity("show", show)
        return await super().find_season(body)


@rogue(breaks=["IMP-06"])
class ImagesOfNobody(Backend):
    """Imports for nobody where a person is not named."""

    async def import_entities(self, body: Mapping[str, Any]) -> tuple[Entity, ...]:
        if body.get("entity_type") == "person" and body.get("person_id") is None:
            return (Entity("person", uuid4()),)
        return await super().import_entities(body)


@rogue(breaks=["IMP-06"])
class IncompleteImportsAreImportedFirst(Backend):
    """Finds out whom the images are for when they are there: their assets stay."""

    async def read_order(self, request: Request) -> Order:
        try:
            return await super().read_order(request)
        except HTTPException as refusal:
            body = self.parse_object(await self.read_body(request))
            if refusal.status_code == 422 and isinstance(body.get("images"), list) and "season" in str(refusal.detail):
                images = self.parse_images(body["images"])
                nobody = Entity("season", uuid4())
                order = Order(nobody, (), self.parse_address("source_url", body.get("source_url")), images)
                async for _ in self.events(order):
                    pass
            raise


# SSE-01: the form of a stream


@rogue(breaks=["SSE-01"])
class StreamOfPlainText(Backend):
    """Sends the events as plain text."""

    async def import_stream(self, request: Request) -> Response:
        answer = await super().import_stream(request)
        answer.headers["content-type"] = "text/plain; charset=utf-8"
        return answer


@rogue(breaks=["SSE-01"])
class EventsOverSeveralLines(Backend):
    """Sends each event's JSON in pretty print, as server-sent events allow."""

    def frame(self, name: str, data: Mapping[str, Any]) -> bytes:
        lines = "".join(f"data: {line}\n" for line in json.dumps(data, indent=2).splitlines())
        return f"event: {name}\n{lines}\n".encode()


@rogue(breaks=["SSE-01"])
class NoSpaceAfterTheColon(Backend):
    """Saves the space after `data:`, as server-sent events allow."""

    def frame(self, name: str, data: Mapping[str, Any]) -> bytes:
        return super().frame(name, data).replace(b"\ndata: ", b"\ndata:")


@rogue(breaks=["SSE-01"])
class StreamsEndWithAWord(Backend):
    """Says `[DONE]` at the end, as others do."""

    async def frames(self, order: Order) -> AsyncIterator[bytes]:
        async for frame in super().frames(order):
            yield frame
        yield b"data: [DONE]\n\n"


@rogue(breaks=["SSE-01"])
class CaptionsBreakTheLine(Backend):
    """Writes the line feeds of a caption as they are."""

    def frame(self, name: str, data: Mapping[str, Any]) -> bytes:
        return super().frame(name, data).replace(b"\\n", b"\n")


# SSE-02 to SSE-04: what is told of each image


class _Told(Backend):
    """Tells the end of an image in another way."""

    def result(self, order: Order, wanted: Wanted, number: int, outcome: Outcome) -> Event:
        name, data = super().result(order, wanted, number, outcome)
        return name, self.told(order, outcome, dict(data))

    def told(self, order: Order, outcome: Outcome, data: dict[str, Any]) -> Mapping[str, Any]:
        """What is said of the image, made from what should be."""
        raise NotImplementedError


@rogue(breaks=["SSE-02", "SSE-07"])
class SuccessIsCalledImported(_Told):
    """Has a word of its own for a success."""

    def told(self, order: Order, outcome: Outcome, data: dict[str, Any]) -> Mapping[str, Any]:
        return data | ({"status": "imported"} if outcome.status == "success" else {})


@rogue(breaks=["SSE-02"])
class ErrorsAreCalledFailed(_Told):
    """Has a word of its own for an error, and tells why in `message`."""

    def told(self, order: Order, outcome: Outcome, data: dict[str, Any]) -> Mapping[str, Any]:
        return data | ({"status": "failed", "error": None, "message": outcome.error} if outcome.error else {})


@rogue(breaks=["SSE-02"])
class StatusByTheEventsName(_Told):
    """Leaves the status of a duplicate to the event's name."""

    def told(self, order: Order, outcome: Outcome, data: dict[str, Any]) -> Mapping[str, Any]:
        return data | ({"status": None} if outcome.status == "duplicate" else {})


@rogue(breaks=["SSE-02"])
class ErrorsWithoutTheirNumber(_Told):
    """Tells an error with its address alone, so that the app takes the whole import for failed."""

    def told(self, order: Order, outcome: Outcome, data: dict[str, Any]) -> Mapping[str, Any]:
        return {"url": data["url"], "error": outcome.error} if outcome.error else data


@rogue(breaks=["SSE-03"])
class NumbersFromZero(Backend):
    """Counts the images from zero."""

    def place(self, order: Order, wanted: Wanted, number: int) -> dict[str, Any]:
        return {**super().place(order, wanted, number), "current": number - 1}


@rogue(breaks=["SSE-03"])
class TotalWithoutTheBroken(_Told):
    """Counts one image less in `total` after each error."""

    def told(self, order: Order, outcome: Outcome, data: dict[str, Any]) -> Mapping[str, Any]:
        return data | ({"total": data["total"] - 1} if outcome.error else {})


@rogue(breaks=["SSE-03", "SSE-07"])
class AddressOfTheHostedCopy(_Told):
    """Tells the end of an image under the address of its hosted copy."""

    def told(self, order: Order, outcome: Outcome, data: dict[str, Any]) -> Mapping[str, Any]:
        return data | ({"url": outcome.asset.hosted_url} if outcome.asset is not None else {})


@rogue(breaks=["SSE-03"])
class AddressesWithoutTheirQuery(_Told):
    """Tells the end of an image under its address up to the question mark."""

    def told(self, order: Order, outcome: Outcome, data: dict[str, Any]) -> Mapping[str, Any]:
        return data | {"url": data["url"].partition("?")[0]}


@rogue(breaks=["SSE-03", "SSE-06", "SSE-07"])
class ExcludedInSilence(Backend):
    """Passes over excluded images without a word."""

    async def frames(self, order: Order) -> AsyncIterator[bytes]:
        async for name, data in self.events(order):
            if data.get("status") != "excluded":
                yield self.frame(name, data)


@rogue(breaks=["SSE-03", "SSE-06"])
class DuplicatesAreToldTwice(Backend):
    """Tells of a duplicate when it is found, and again when it is linked."""

    async def frames(self, order: Order) -> AsyncIterator[bytes]:
        async for name, data in self.events(order):
            yield self.frame(name, data)
            if data.get("status") == "duplicate":
                yield self.frame(name, data)


@rogue(breaks=["SSE-04"])
class AssetUnderAnotherName(_Told):
    """Calls the asset's id `asset_id`."""

    def told(self, order: Order, outcome: Outcome, data: dict[str, Any]) -> Mapping[str, Any]:
        return {"asset_id" if name == "media_asset_id" else name: value for name, value in data.items()}


@rogue(breaks=["SSE-04"])
class DuplicatesWithoutTheirAsset(_Told):
    """Names the asset of a success alone."""

    def told(self, order: Order, outcome: Outcome, data: dict[str, Any]) -> Mapping[str, Any]:
        return data | ({"media_asset_id": None} if outcome.status == "duplicate" else {})


@rogue(breaks=["SSE-04", "IMP-03"])
class DuplicatesHaveANewId(_Told):
    """Makes up an id for a duplicate."""

    def told(self, order: Order, outcome: Outcome, data: dict[str, Any]) -> Mapping[str, Any]:
        return data | ({"media_asset_id": str(uuid4())} if outcome.status == "duplicate" else {})


@rogue(breaks=["SSE-04"])
class ShowsLearnTheLinksId(_Told):
    """Tells a show the id of its link where the asset's is asked for."""

    def told(self, order: Order, outcome: Outcome, data: dict[str, Any]) -> Mapping[str, Any]:
        of_show = outcome.status == "success" and order.entity.type == "show"
        return data | ({"media_asset_id": str(uuid4())} if of_show else {})


# SSE-05: the excluded


@rogue(breaks=["SSE-05", "EXC-02", "EXC-06"])
class ExcludedIsAnError(_Told):
    """Calls it an error where an image is excluded."""

    def told(self, order: Order, outcome: Outcome, data: dict[str, Any]) -> Mapping[str, Any]:
        if outcome.status == "excluded":
            return data | {"status": "error", "error": "this image is excluded"}
        return data

    def summary(self, outcomes: Sequence[Outcome]) -> Mapping[str, Any]:
        return super().summary(
            [
                Outcome("error", error="this image is excluded") if outcome.status == "excluded" else outcome
                for outcome in outcomes
            ]
        )


@rogue(breaks=["SSE-05"])
class ExcludedIsKept(Backend):
    """Stores an excluded image for the others who may want it."""

    async def refusal(self, order: Order, wanted: Wanted) -> Outcome | None:
        outcome = await super().refusal(order, wanted)
        if outcome is not None and outcome.status == "excluded":
            try:
                picture = self.identify(await self.fetch_image(wanted.url))
            except FetchError:
                return outcome
            await self.store(replace(order, linked=()), wanted, picture, Scraped(None, (), None))
        return outcome


@rogue(breaks=["SSE-05"])
class KnownImagesAreNeverExcluded(Backend):
    """Links an excluded image to the entity where somebody else has it."""

    async def refusal(self, order: Order, wanted: Wanted) -> Outcome | None:
        outcome = await super().refusal(order, wanted)
        if outcome is not None and outcome.status == "excluded":
            async with self.pool.connection() as connection:
                asset = await self.select_asset(connection, "source_url = %s", wanted.url)
                if asset is not None:
                    await self.link(connection, order.entity, asset, self.link_kind(order.entity, wanted), {})
        return outcome


# SSE-06: the summary


class _Ended(Backend):
    """Ends a stream in another way."""

    async def frames(self, order: Order) -> AsyncIterator[bytes]:
        told: list[Mapping[str, Any]] = []
        async for name, data in self.events(order):
            if name != "complete":
                yield self.frame(name, data)
                told.append(data)
                continue
            for last in self.end(data, told):
                yield self.frame("complete", last)

    def end(self, summary: Mapping[str, Any], told: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """The events at the end."""
        raise NotImplementedError


@rogue(breaks=["SSE-06"])
class SummaryWithoutAssets(_Ended):
    """Leaves the assets out of the summary, as they were told before."""

    def end(self, summary: Mapping[str, Any], told: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        return [{name: value for name, value in summary.items() if name != "assets"}]


@rogue(breaks=["SSE-06"])
class SummaryCountsTheSent(_Ended):
    """Counts all images but the broken as imported."""

    def end(self, summary: Mapping[str, Any], told: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        return [{**summary, "imported": summary["imported"] + summary["skipped_duplicates"]}]


@rogue(breaks=["SSE-06"])
class SummaryWithoutErrors(_Ended):
    """Forgets the errors in the summary where something was imported."""

    def end(self, summary: Mapping[str, Any], told: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        return [{**summary, "errors": [] if summary["imported"] else summary["errors"]}]


@rogue(breaks=["SSE-06"])
class AWordAfterTheSummary(_Ended):
    """Says goodbye after the summary."""

    def end(self, summary: Mapping[str, Any], told: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        return [summary, {"status": "closed"}]


@rogue(breaks=["SSE-06"])
class NoSummaryAfterALastError(_Ended):
    """Ends the stream where its last image fails."""

    def end(self, summary: Mapping[str, Any], told: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        return [] if told and told[-1].get("error") else [summary]


# SSE-07: errors


@rogue(breaks=["SSE-07"])
class ErrorsSayNothing(_Told):
    """Tells that an image failed, and not why."""

    def told(self, order: Order, outcome: Outcome, data: dict[str, Any]) -> Mapping[str, Any]:
        return data | ({"error": ""} if outcome.error else {})


@rogue(breaks=["SSE-07", "SSE-06", "IMP-04"])
class AnErrorEndsTheStream(Backend):
    """Ends the stream at the first image that fails."""

    async def frames(self, order: Order) -> AsyncIterator[bytes]:
        async for name, data in self.events(order):
            yield self.frame(name, data)
            if data.get("status") == "error":
                return


# SSE-08, SSE-09: while the work goes on


@rogue(breaks=["SSE-08"])
class EventsAtTheEnd(Backend):
    """Gathers the events and sends them when all is done."""

    async def frames(self, order: Order) -> AsyncIterator[bytes]:
        yield b"".join([self.frame(*event) async for event in self.events(order)])


@rogue(breaks=["SSE-08"])
class TooSmallToSend(Backend):
    """Sends events once there are some kilobytes of them."""

    async def frames(self, order: Order) -> AsyncIterator[bytes]:
        waiting = b""
        async for event in self.events(order):
            waiting += self.frame(*event)
            if len(waiting) > 4096:
                yield waiting
                waiting = b""
        yield waiting


@rogue(breaks=["SSE-09"])
class OneImportAtATime(Backend):
    """Refuses a second import for an entity until the first has told its end, which a lost client never hears."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.under_way: set[Entity] = set()

    async def read_order(self, request: Request) -> Order:
        order = await super().read_order(request)
        if order.entity in self.under_way:
            raise HTTPException(409, "An import is under way")
        return order

    async def frames(self, order: Order) -> AsyncIterator[bytes]:
        self.under_way.add(order.entity)
        async for frame in super().frames(order):
            yield frame
        self.under_way.discard(order.entity)


@rogue(breaks=["SSE-09"])
class LinksComeLast(Backend):
    """Links all images of a stream when the last one is there, and takes it that its own assets are linked."""

    def asset_metadata(self, order: Order, wanted: Wanted, scraped: Scraped) -> dict[str, Any]:
        return {**super().asset_metadata(order, wanted, scraped), "imported_for": str(order.entity.id)}

    async def store(self, order: Order, wanted: Wanted, picture: Picture, scraped: Scraped) -> Outcome:
        async with self.pool.connection() as connection, connection.transaction():
            asset, is_new = await self.obtain_asset(connection, order, wanted, picture, scraped)
            if not is_new and asset.metadata.get("imported_for") != str(order.entity.id):
                await self.link_all(connection, order, asset, wanted, scraped)
        outcome = Outcome("success" if is_new else "duplicate", asset)
        if is_new:
            self.later.setdefault(id(order), []).append((asset, wanted, scraped))
        return outcome

    async def link_all(
        self, connection: Connection, order: Order, asset: Asset, wanted: Wanted, scraped: Scraped
    ) -> None:
        """Link an asset to everybody who gets it."""
        for entity in order.linked:
            context = self.link_context(order, entity, wanted, scraped)
            await self.link(connection, entity, asset, self.link_kind(entity, wanted), context)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.later: dict[int, list[tuple[Asset, Wanted, Scraped]]] = {}

    async def events(self, order: Order) -> AsyncIterator[Event]:
        async for event in super().events(order):
            if event[0] == "complete":
                async with self.pool.connection() as connection:
                    for asset, wanted, scraped in self.later.pop(id(order), []):
                        await self.link_all(connection, order, asset, wanted, scraped)
            yield event
