"""The reference TRR-Backend's media workflow: preview, import, delete and exclusion, people count and text overlay.

Every method of `Media` is one decision, so that a rogue is a subclass that takes one of them differently.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import http
import io
import json
import math
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, LiteralString, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import psycopg
from fastapi import HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from PIL import Image as Pictures
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

import contracts
from reference import overlay, page
from reference.access import Access, Connection, Settings
from reference.database import one_line
from reference.fetching import IDENTITY, Fetched, Fetcher, FetchError
from reference.page import MAX_ADDRESS, SOURCE, Document, Image, Page

ENTITY_TYPES = ("season", "show", "person")
ENTITY_TABLES: Mapping[str, LiteralString] = {
    "season": "core.seasons",
    "show": "core.shows",
    "person": "core.people",
}
MEDIA_PATH = "/media"
"""Under it the hosted copies are served."""

DEFAULT_MIN_WIDTH = 200
DEFAULT_CANDIDATES, MAX_CANDIDATES = 50, 100
MAX_IMAGES = 50
MAX_TEXT = 10_000
MAX_PEOPLE = 10_000

MAX_PAGE_BYTES = 5 * 1024 * 1024
MAX_IMAGE_BYTES = 20 * 1024 * 1024
HEADER_BYTES = 64 * 1024
"""How much of an image is read to find its size in pixels."""
MAX_PAGES = 256
"""How many previewed pages are remembered for their imports."""

HTML_TYPES = ("text/html", "application/xhtml+xml")

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_NO_ADDRESS = re.compile("[\0-\x20\x7f\ud800-\udfff]")
_LENGTH = re.compile(r"[0-9]{1,15}", re.ASCII)


class Entity(NamedTuple):
    """Whom images are for."""

    type: str
    id: UUID


class PreviewQuery(NamedTuple):
    """What a preview asks for."""

    url: str
    min_width: int
    limit: int


@dataclass(frozen=True)
class Wanted:
    """One image of an import request."""

    url: str
    kind: str
    caption: str | None
    person_ids: tuple[UUID, ...]


@dataclass(frozen=True)
class Order:
    """An import request that has been found good."""

    entity: Entity
    linked: tuple[Entity, ...]
    """Who gets a link: the entity, and whoever is linked along."""
    source_url: str
    images: tuple[Wanted, ...]


class Size(NamedTuple):
    """What a preview knows of an image without importing it."""

    width: int | None = None
    height: int | None = None
    bytes: int | None = None


class Picture(NamedTuple):
    """An image that was downloaded."""

    content: bytes
    sha256: str
    content_type: str
    extension: str
    width: int
    height: int


class Scraped(NamedTuple):
    """What the page says about an image, as far as it is used."""

    caption: str | None
    person_ids: tuple[UUID, ...]
    source_created_at: str | None


class Asset(NamedTuple):
    """A row of `core.media_assets`."""

    id: UUID
    source: str
    source_url: str | None
    hosted_url: str | None
    hosted_key: str | None
    width: int | None
    height: int | None
    caption: str | None
    metadata: dict[str, Any]


class AssetLink(NamedTuple):
    """A row of `core.media_links`, as far as a delete needs it."""

    entity_type: str
    entity_id: UUID
    context: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of one image: `success`, `duplicate`, `excluded`, or `error` with its message."""

    status: str
    asset: Asset | None = None
    error: str | None = None


Event = tuple[str, Mapping[str, Any]]
"""The name and the data of a server-sent event."""


@functools.cache
def kinds() -> frozenset[str]:
    """The kinds of images that the contracts allow."""
    return frozenset(contracts.load().schema("kind")["enum"])


class Media(Fetcher):
    """TRR-Backend's media workflow, decision by decision."""

    page_timeout_s = 5.0
    """The whole time that a page has."""
    image_timeout_s = 10.0
    """The same for an image that is imported."""
    probe_timeout_s = 2.0
    """The same for one look at an image that is previewed."""
    probes_timeout_s = 6.0
    """The time for all of these looks together."""
    vision_timeout_s = 10.0
    """The whole time that a people count has."""
    probes_at_once = 16

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.pages: OrderedDict[str, Page] = OrderedDict()
        self.steps: set[asyncio.Future[Event | None]] = set()

    # Who calls

    def authorize_media(self, request: Request) -> Mapping[str, Any]:
        """The claims of a caller who may use the media workflow; refuse anyone else."""
        token = self.media_token(request)
        if token is None:
            raise self.unauthenticated()
        claims = self.verify_media_token(token)
        if not self.may_use_media(claims):
            raise self.forbidden()
        return claims

    # Not by `self`: what a rogue gets wrong at the toggle, it still gets right here, and the other way round.

    def media_token(self, request: Request) -> bytes | None:
        """The caller's bearer token."""
        return Access.bearer_token(self, request)

    def verify_media_token(self, token: bytes) -> Mapping[str, Any]:
        """The claims of a token; 401 for one that is not good."""
        return Access.verify_token(self, token)

    def may_use_media(self, claims: Mapping[str, Any]) -> bool:
        """Whether it is an allowlisted person, or the service role, whose secret is not asked for."""
        return Access.is_service_role(self, claims) or Access.is_allowlisted(self, claims)

    def caller(self, claims: Mapping[str, Any]) -> str | None:
        """What the database is told of a caller."""
        name = claims.get("email") or claims.get("role")
        return name if isinstance(name, str) else None

    # What is asked

    def parse_object(self, body: Any) -> Mapping[str, Any]:
        """A body that is a JSON object; 422 for any other."""
        if not isinstance(body, dict):
            raise HTTPException(422, "The body must be an object")
        return body

    def parse_text(self, name: str, value: Any) -> str:
        """Text that can be stored; 422 for anything else."""
        if not isinstance(value, str) or len(value) > MAX_TEXT or _UNSTORABLE.search(value):
            raise HTTPException(422, f"{name} must be text of at most {MAX_TEXT} characters")
        return value

    def parse_address(self, name: str, value: Any) -> str:
        """An address of any scheme; 422 for what is none."""
        if not isinstance(value, str) or not value or _NO_ADDRESS.search(value) or len(value.encode()) > MAX_ADDRESS:
            raise HTTPException(422, f"{name} must be an address of at most {MAX_ADDRESS} bytes")
        return value

    def parse_page_address(self, name: str, value: Any) -> str:
        """An http(s) address; 422 for any other."""
        url = self.parse_address(name, value)
        try:
            self.check_address(url)
        except FetchError as error:
            raise HTTPException(422, f"{name}: {error}") from error
        return url

    def parse_number(
        self, name: str, value: Any, default: int = 0, low: float = -math.inf, high: float = math.inf
    ) -> int:
        """A JSON integer between `low` and `high`, the default for null; 422 for anything else."""
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            limits = [f"{words} {limit}" for words, limit in (("from", low), ("to", high)) if math.isfinite(limit)]
            raise HTTPException(422, " ".join([f"{name} must be an integer", *limits]))
        return value

    def parse_member_id(self, name: str, value: Any) -> UUID:
        """A member as a UUID; 422 for anything else."""
        return self.parse_id(name, value if isinstance(value, str) else "")

    def parse_query_flag(self, request: Request, name: str) -> bool:
        """`true` or `false` in any case; left out means false; 422 for anything else."""
        given = request.query_params.getlist(name)
        try:
            return {"false": False, "true": True}[given[0].lower() if len(given) == 1 else ""] if given else False
        except KeyError:
            raise HTTPException(422, f"{name} must be true or false") from None

    def parse_entity_type(self, value: Any) -> str:
        """The type of an entity; 422 for any other."""
        if not isinstance(value, str) or value not in ENTITY_TYPES:
            raise HTTPException(422, f"entity_type must be one of {', '.join(ENTITY_TYPES)}")
        return value

    # The preview

    async def preview(self, request: Request) -> Response:
        """Authorize, read, fetch, parse, filter, measure, answer: in this order."""
        self.authorize_media(request)
        body = self.parse_object(await self.read_body(request))
        query = self.parse_preview(body)
        entity = await self.preview_entity(body)
        try:
            found = await self.load_page(query.url)
        except FetchError as error:
            raise HTTPException(400, str(error)) from error
        candidates = await self.candidates(found, query, await self.exclusions_for(entity))
        return self.json(self.preview_answer(query, found, candidates))

    def parse_preview(self, body: Mapping[str, Any]) -> PreviewQuery:
        """What the preview is of; 422 where it can't be read."""
        return PreviewQuery(
            self.parse_page_address("url", body.get("url")),
            self.parse_number("min_width", body.get("min_width"), DEFAULT_MIN_WIDTH, 0),
            self.parse_number("limit", body.get("limit"), DEFAULT_CANDIDATES, 1, MAX_CANDIDATES),
        )

    async def preview_entity(self, body: Mapping[str, Any]) -> Entity | None:
        """Whose exclusions count: named by type and id, a season also by show and number; None for nobody."""
        if body.get("entity_type") is None:
            if body.get("entity_id") is not None:
                raise HTTPException(422, "entity_id needs an entity_type")
            return None
        entity_type = self.parse_entity_type(body["entity_type"])
        for name in ("entity_id", f"{entity_type}_id"):
            if body.get(name) is not None:
                return Entity(entity_type, self.parse_member_id(name, body[name]))
        if entity_type == "season" and body.get("show_id") is not None and body.get("season_number") is not None:
            return (await self.find_season(body))[0]
        return None

    async def load_page(self, url: str) -> Page:
        """Fetch and read a page, and remember it for its imports; raises FetchError."""
        found = self.parse_page(await self.fetch_page(url))
        key = self.canonical(url)
        self.pages[key] = found
        self.pages.move_to_end(key)
        while len(self.pages) > MAX_PAGES:
            self.pages.popitem(last=False)
        return found

    async def fetch_page(self, url: str) -> Fetched:
        """A document that is HTML; FetchError for anything else."""
        fetched = await self.fetch(url, MAX_PAGE_BYTES, self.page_timeout_s)
        if not self.is_html(fetched):
            raise FetchError(f"{url} is no HTML page")
        return fetched

    def is_html(self, fetched: Fetched) -> bool:
        """Whether a body says that it is HTML, or looks like it where it says nothing."""
        if not fetched.media_type:
            return fetched.content.lstrip()[:1] == b"<"
        return fetched.media_type in HTML_TYPES

    def parse_page(self, fetched: Fetched) -> Page:
        """What the page says."""
        document = Document(fetched.content, fetched.charset, fetched.url)
        return Page(fetched.url, self.page_title(document), self.published_at(document), self.images(document))

    def page_title(self, document: Document) -> str | None:
        """The page's title."""
        return page.title(document)

    def published_at(self, document: Document) -> str | None:
        """The page's own publish date, in ISO 8601."""
        return page.published_at(document)

    def images(self, document: Document) -> tuple[Image, ...]:
        """The images of the page, in its order."""
        return page.images(document)

    async def exclusions_for(self, entity: Entity | None) -> AbstractSet[str]:
        """The canonical addresses of what this entity does not want; nothing for nobody."""
        if entity is None:
            return frozenset()
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "select source_image_url_canonical from core.media_scrape_exclusions"
                " where entity_type = %s and entity_id = %s",
                entity,
            )
            return {address for (address,) in await cursor.fetchall()}

    def is_excluded(self, addresses: Iterable[str], excluded: AbstractSet[str]) -> bool:
        """Whether an image that goes by these addresses is on the list."""
        return any(self.canonical(address) in excluded for address in addresses)

    async def candidates(
        self, found: Page, query: PreviewQuery, excluded: AbstractSet[str]
    ) -> Sequence[Mapping[str, Any]]:
        """The images that are offered: not excluded, wide enough, and no more than asked for."""
        deadline = asyncio.get_running_loop().time() + self.probes_timeout_s
        offered: list[Mapping[str, Any]] = []
        considered = [
            image
            for image in found.images
            if self.wide_enough(image.width, query) and not self.is_excluded(image.addresses, excluded)
        ]
        for start in range(0, len(considered), self.probes_at_once):
            images = considered[start : start + self.probes_at_once]
            sizes = await asyncio.gather(*(self.measure(image, deadline) for image in images))
            for image, size in zip(images, sizes, strict=True):
                if self.wide_enough(size.width, query):
                    offered.append(self.candidate(image, size))
            if len(offered) >= query.limit:
                break
        return offered[: query.limit]

    def wide_enough(self, width: int | None, query: PreviewQuery) -> bool:
        """Whether an image may be offered; one of unknown width may."""
        return width is None or width >= query.min_width

    async def measure(self, image: Image, deadline: float) -> Size:
        """How large an image is, as far as it can be found out until the deadline."""
        width, height = image.width, image.height
        length = await self.probe_size(image.best_url, deadline)
        if width is None or height is None:
            width, height = await self.probe_dimensions(image.best_url, deadline) or (width, height)
        return Size(width, height, length)

    async def probe_size(self, url: str, deadline: float) -> int | None:
        """The length in bytes that the origin states for HEAD, else for GET; None where neither tells."""
        for method in ("HEAD", "GET"):
            try:
                async with self.looking(deadline), self.open(method, url, IDENTITY) as answer:
                    length = self.stated_length(answer)
            except (FetchError, TimeoutError, httpx.HTTPError):
                continue
            if length is not None:
                return length
        return None

    def looking(self, deadline: float) -> asyncio.Timeout:
        """The time that one look may take."""
        return asyncio.timeout_at(min(deadline, asyncio.get_running_loop().time() + self.probe_timeout_s))

    def stated_length(self, answer: httpx.Response) -> int | None:
        """The Content-Length of a success."""
        length = answer.headers.get("content-length", "")
        return int(length) if answer.status_code == http.HTTPStatus.OK and _LENGTH.fullmatch(length) else None

    async def probe_dimensions(self, url: str, deadline: float) -> tuple[int, int] | None:
        """The width and height in pixels from the head of the image; None where it can't be read."""
        head = bytearray()
        try:
            async with self.looking(deadline), self.open("GET", url, IDENTITY) as answer:
                async for piece in answer.aiter_bytes():
                    head += piece
                    if len(head) >= HEADER_BYTES:
                        break
        except (FetchError, TimeoutError, httpx.HTTPError):
            return None
        try:
            with Pictures.open(io.BytesIO(head)) as picture:
                return picture.size
        except (OSError, ValueError, SyntaxError, Pictures.DecompressionBombError):
            return None

    def candidate(self, image: Image, size: Size) -> Mapping[str, Any]:
        """One element of a preview's `images`."""
        return {
            "id": self.candidate_id(image),
            "original_url": image.original_url,
            "best_url": image.best_url,
            "width": size.width,
            "height": size.height,
            "bytes": size.bytes,
            "alt_text": image.alt_text,
            "context": image.context,
            "thumbnail_url": image.original_url,
        }

    def candidate_id(self, image: Image) -> str:
        """The name of an image, the same in every preview."""
        return hashlib.sha256(self.canonical(image.best_url).encode()).hexdigest()[:16]

    def preview_answer(
        self, query: PreviewQuery, found: Page, candidates: Sequence[Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        """The body of a preview."""
        return {
            "url": query.url,
            "page_title": found.title,
            "page_published_at": found.published_at,
            "domain": urlsplit(found.url).hostname,
            "images": candidates,
            "total_found": len(candidates),
            "error": None,
        }

    # The import

    async def import_images(self, request: Request) -> Response:
        """Import and answer with the summary."""
        order = await self.read_order(request)
        events = [data async for _, data in self.events(order)]
        return self.json(events[-1])

    async def import_stream(self, request: Request) -> Response:
        """Import and tell every step as it is taken."""
        order = await self.read_order(request)
        return StreamingResponse(self.frames(order), headers=self.stream_headers(), media_type="text/event-stream")

    async def read_order(self, request: Request) -> Order:
        """Authorize, read, find whom it is for: in this order; nothing is imported before all of it is good."""
        self.authorize_media(request)
        body = self.parse_object(await self.read_body(request))
        source_url = self.parse_address("source_url", body.get("source_url"))
        images = self.parse_images(body.get("images"))
        linked = await self.import_entities(body)
        return Order(linked[0], linked, source_url, images)

    def parse_images(self, value: Any) -> tuple[Wanted, ...]:
        """The images of a request, from 1 to 50; 422 for anything else."""
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_IMAGES:
            raise HTTPException(422, f"images must be a list of 1 to {MAX_IMAGES}")
        return tuple(self.parse_wanted(item) for item in value)

    def parse_wanted(self, item: Any) -> Wanted:
        """One image of a request; 422 where it can't be read."""
        if not isinstance(item, dict):
            raise HTTPException(422, "images must hold objects")
        if item.get("candidate_id") is not None:
            self.parse_text("candidate_id", item["candidate_id"])
        return Wanted(
            self.parse_address("images.url", item.get("url")),
            self.parse_kind(item.get("kind")),
            None if item.get("caption") is None else self.parse_text("caption", item["caption"]),
            self.parse_people(item.get("person_ids")),
        )

    def parse_kind(self, value: Any) -> str:
        """A kind on the allowlist, `other` for null; 422 for any other."""
        if value is None:
            return "other"
        if not isinstance(value, str) or value not in kinds():
            raise HTTPException(422, f"kind must be one of {', '.join(sorted(kinds()))}")
        return value

    def parse_people(self, value: Any) -> tuple[UUID, ...]:
        """A list of ids, each once, empty for null; 422 for anything else."""
        if value is None:
            return ()
        if not isinstance(value, list):
            raise HTTPException(422, "person_ids must be a list")
        return tuple(dict.fromkeys(self.parse_member_id("person_ids", person) for person in value))

    async def import_entities(self, body: Mapping[str, Any]) -> tuple[Entity, ...]:
        """Whom the images are for, first, and who is linked along; 404 or 422 where there is no such one."""
        value = body.get("entity_type")
        entity_type = "season" if value is None else self.parse_entity_type(value)
        if entity_type == "season":
            return self.linked_along(*await self.find_season(body))
        name = f"{entity_type}_id"
        entity = Entity(entity_type, self.parse_member_id(name, body.get(name)))
        await self.check_exists(entity)
        return (entity,)

    async def find_season(self, body: Mapping[str, Any]) -> tuple[Entity, Entity]:
        """The season of `season_id`, or of `show_id` and `season_number`, and its show; 404 where there is none."""
        condition: LiteralString
        arguments: tuple[Any, ...]
        if body.get("season_id") is not None:
            condition, arguments = "id = %s", (self.parse_member_id("season_id", body["season_id"]),)
        elif body.get("show_id") is None or body.get("season_number") is None:
            raise HTTPException(422, "a season needs season_id, or show_id and season_number")
        else:
            condition = "show_id = %s and season_number = %s::numeric"
            number = self.parse_number("season_number", body["season_number"])
            arguments = (self.parse_member_id("show_id", body["show_id"]), number)
        async with self.pool.connection() as connection:
            cursor = await connection.execute(f"select id, show_id from core.seasons where {condition}", arguments)
            row = await cursor.fetchone()
        if row is None:
            raise HTTPException(404, "Season not found")
        return Entity("season", row[0]), Entity("show", row[1])

    def linked_along(self, season: Entity, show: Entity) -> tuple[Entity, ...]:
        """Who gets a link to the images of a season: the show has them too."""
        return season, show

    async def check_exists(self, entity: Entity) -> None:
        """404 for an entity that there is not."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(f"select from {ENTITY_TABLES[entity.type]} where id = %s", (entity.id,))
            if await cursor.fetchone() is None:
                raise HTTPException(404, f"{entity.type.capitalize()} not found")

    async def events(self, order: Order) -> AsyncIterator[Event]:
        """An import, one image after the other: an event before each download, one after it, and the summary."""
        source = await self.source_page(order)
        outcomes = []
        for number, wanted in enumerate(order.images, 1):
            outcome = await self.refusal(order, wanted)
            if outcome is None:
                yield self.progress(order, wanted, number)
                outcome = await self.import_one(order, wanted, source)
            outcomes.append(outcome)
            yield self.result(order, wanted, number, outcome)
        yield "complete", self.summary(outcomes)

    async def refusal(self, order: Order, wanted: Wanted) -> Outcome | None:
        """What is said of an image that is not even downloaded: it is excluded, or has no address for it."""
        try:
            self.check_address(wanted.url)
            if self.is_excluded([wanted.url], await self.exclusions_for(order.entity)):
                return Outcome("excluded")
        except FetchError as error:
            return Outcome("error", error=str(error))
        except psycopg.Error as error:
            return self.storage_failed(error)
        return None

    async def import_one(self, order: Order, wanted: Wanted, source: Page | None) -> Outcome:
        """Download, identify, look up what the page says, store: a failure is this one image's alone."""
        try:
            picture = self.identify(await self.fetch_image(wanted.url))
            scraped = await self.scraped(order, wanted, source)
            return await self.store(order, wanted, picture, scraped)
        except FetchError as error:
            return Outcome("error", error=str(error))
        except psycopg.Error as error:
            return self.storage_failed(error)

    def storage_failed(self, error: psycopg.Error) -> Outcome:
        """What is said of an image that could not be stored."""
        return Outcome("error", error="Database error")

    async def fetch_image(self, url: str) -> Fetched:
        """The bytes of an image, as they are; FetchError where they can't be had whole."""
        return await self.fetch(url, MAX_IMAGE_BYTES, self.image_timeout_s, IDENTITY)

    def identify(self, fetched: Fetched) -> Picture:
        """What the bytes are; FetchError where they are no image."""
        try:
            with Pictures.open(io.BytesIO(fetched.content)) as picture:
                media_type, (width, height) = picture.get_format_mimetype(), picture.size
                extension = (picture.format or "bin").lower()
                picture.verify()
        except (OSError, ValueError, SyntaxError, Pictures.DecompressionBombError) as error:
            raise FetchError(f"{fetched.url} is no image") from error
        content_type = media_type or "application/octet-stream"
        return Picture(fetched.content, self.sha256(fetched.content), content_type, extension, width, height)

    def sha256(self, content: bytes) -> str:
        """What tells images apart."""
        return hashlib.sha256(content).hexdigest()

    # What the page says of it

    async def source_page(self, order: Order) -> Page | None:
        """The page of an import that asks for it, as previewed or fetched anew; None where it can't be had."""
        if not any(self.needs_page(wanted) for wanted in order.images):
            return None
        try:
            return self.pages.get(self.canonical(order.source_url)) or await self.load_page(order.source_url)
        except FetchError:
            return None

    def needs_page(self, wanted: Wanted) -> bool:
        """Whether what the page says becomes part of the image."""
        return wanted.kind == "cast"

    async def scraped(self, order: Order, wanted: Wanted, source: Page | None) -> Scraped:
        """Caption, people and date of an image: as sent, else as the page has them where the kind asks for it."""
        if source is None or not self.needs_page(wanted):
            return Scraped(self.sent_caption(wanted), wanted.person_ids, None)
        image = source.find(wanted.url)
        context = (image.context if image is not None else None) or ""
        return Scraped(
            self.sent_caption(wanted) or self.auto_caption(context) or None,
            wanted.person_ids or await self.auto_people(order, context),
            self.source_created_at(source),
        )

    def sent_caption(self, wanted: Wanted) -> str | None:
        """The caption of the request; one of nothing but spaces is none."""
        return wanted.caption if wanted.caption and wanted.caption.strip() else None

    def auto_caption(self, context: str) -> str:
        """The caption in a context: all but its first line, or all after `Name: `, or the whole where it has none."""
        first, _, rest = context.partition("\n")
        if rest:
            return rest
        name, colon, said = first.partition(": ")
        return said.strip() if colon and said.strip() and len(name.split()) <= 6 else first

    async def auto_people(self, order: Order, context: str) -> tuple[UUID, ...]:
        """The people of the season's cast who are named in a context."""
        cast = await self.season_cast(order.entity)
        named = page.names_in(context, (name for _, name in cast))
        return tuple(person for person, name in cast if page.folded(name) in named)

    async def season_cast(self, entity: Entity) -> Sequence[tuple[UUID, str]]:
        """The ids and names of a season's people; nobody for what is no season."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "select people.id, people.full_name from core.v_season_cast join core.people on people.id = person_id"
                " where %s = 'season' and season_id = %s order by episodes_in_season desc, people.id",
                entity,
            )
            return [(person, name) for person, name in await cursor.fetchall()]

    def source_created_at(self, source: Page) -> str | None:
        """When the image came into being, as far as the page tells: when it was published."""
        return source.published_at

    # What is stored

    async def store(self, order: Order, wanted: Wanted, picture: Picture, scraped: Scraped) -> Outcome:
        """The image's asset, found or made, and its links: all of it or nothing, and as often as one likes."""
        async with self.pool.connection() as connection, connection.transaction():
            asset, is_new = await self.obtain_asset(connection, order, wanted, picture, scraped)
            for entity in order.linked:
                if entity == order.entity or not await self.bars(entity, wanted):
                    kind = self.link_kind(entity, wanted)
                    context = self.link_context(order, entity, wanted, scraped)
                    await self.link(connection, entity, asset, kind, context)
        return Outcome("success" if is_new else "duplicate", asset)

    async def bars(self, entity: Entity, wanted: Wanted) -> bool:
        """Whether an entity that would be linked along does not want the image."""
        return self.is_excluded([wanted.url], await self.exclusions_for(entity))

    async def obtain_asset(
        self, connection: Connection, order: Order, wanted: Wanted, picture: Picture, scraped: Scraped
    ) -> tuple[Asset, bool]:
        """The asset with the image's bytes, and whether it was made just now."""
        while True:
            asset = await self.find_asset(connection, picture)
            if asset is not None:
                return asset, False
            # None where another import was faster: then its asset is found, unless that has been deleted again.
            asset = await self.store_asset(connection, order, wanted, picture, scraped)
            if asset is not None:
                return asset, True

    async def find_asset(self, connection: Connection, picture: Picture) -> Asset | None:
        """The asset of an image that is known already, kept from being deleted until the transaction ends."""
        return await self.select_asset(connection, "hosted_sha256 = %s for key share", picture.sha256)

    async def store_asset(
        self, connection: Connection, order: Order, wanted: Wanted, picture: Picture, scraped: Scraped
    ) -> Asset | None:
        """Store a new asset and its hosted copy; None where there is one with these bytes already."""
        key = self.hosted_key(picture)
        asset = Asset(
            id=uuid4(),
            source=SOURCE,
            source_url=wanted.url,
            hosted_url=self.hosted_url(key),
            hosted_key=key,
            width=picture.width,
            height=picture.height,
            caption=scraped.caption,
            metadata=self.asset_metadata(order, wanted, scraped),
        )
        cursor = await connection.execute(
            "insert into core.media_assets (id, source, source_url, hosted_url, hosted_key, width, height, caption,"
            " metadata, hosted_sha256, content_type, bytes) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " on conflict (hosted_sha256) where hosted_sha256 is not null do nothing",
            (
                *asset._replace(metadata=Jsonb(asset.metadata)),  # type: ignore[arg-type]
                picture.sha256,
                picture.content_type,
                len(picture.content),
            ),
        )
        if not cursor.rowcount:
            return None
        await self.store_object(connection, key, picture)
        return asset

    def asset_metadata(self, order: Order, wanted: Wanted, scraped: Scraped) -> dict[str, Any]:
        """What is kept about where an image comes from."""
        metadata = {"source": SOURCE, "source_page_url": order.source_url, "kind": wanted.kind}
        return metadata | ({"source_created_at": scraped.source_created_at} if scraped.source_created_at else {})

    def hosted_key(self, picture: Picture) -> str:
        """The name of the hosted copy in the object store."""
        return f"images/{picture.sha256[:2]}/{picture.sha256}.{picture.extension}"

    def hosted_url(self, key: str) -> str | None:
        """Where the hosted copy is served."""
        return f"{self.settings.public_url}{MEDIA_PATH}/{key}"

    async def store_object(self, connection: Connection, key: str, picture: Picture) -> None:
        """Put the hosted copy into the object store."""
        await connection.execute(
            "insert into reference.objects (key, content_type, content) values (%s, %s, %s) on conflict do nothing",
            (key, picture.content_type, picture.content),
        )

    def link_kind(self, entity: Entity, wanted: Wanted) -> str:
        """What an image is to an entity: a person has a gallery, the others have images of each kind."""
        return "gallery" if entity.type == "person" else wanted.kind

    def link_context(self, order: Order, entity: Entity, wanted: Wanted, scraped: Scraped) -> dict[str, Any]:
        """How an image came to an entity, and who is in it."""
        context: dict[str, Any] = {"source_page_url": order.source_url, "source_image_url": wanted.url}
        if scraped.person_ids:
            context["people_ids"] = [str(person) for person in scraped.person_ids]
        if entity != order.entity:
            context[f"{order.entity.type}_id"] = str(order.entity.id)
        return context

    async def link(
        self, connection: Connection, entity: Entity, asset: Asset, kind: str, context: Mapping[str, Any]
    ) -> None:
        """Link an asset to an entity, unless it is."""
        await connection.execute(
            "insert into core.media_links (entity_type, entity_id, media_asset_id, kind, context)"
            " values (%s, %s, %s, %s, %s) on conflict (entity_type, entity_id, kind, media_asset_id) do nothing",
            (*entity, asset.id, kind, Jsonb(context)),
        )

    # What is told of it

    async def frames(self, order: Order) -> AsyncIterator[bytes]:
        """The events of an import as they go over the wire."""
        events = self.events(order)
        while (event := await self.step(events)) is not None:
            yield self.frame(*event)

    async def step(self, events: AsyncIterator[Event]) -> Event | None:
        """The next event; what has begun for it is brought to its end, though the client may have gone meanwhile."""
        step = asyncio.ensure_future(anext(events, None))
        self.steps.add(step)
        step.add_done_callback(self.steps.discard)
        return await asyncio.shield(step)

    async def stop(self) -> None:
        """Give up what still runs for clients that have gone."""
        for step in self.steps:
            step.cancel()
        await asyncio.gather(*self.steps, return_exceptions=True)

    def frame(self, name: str, data: Mapping[str, Any]) -> bytes:
        """One server-sent event, its JSON on one line."""
        return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()

    def stream_headers(self) -> dict[str, str]:
        """What keeps everybody on the way from holding the stream back."""
        return {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

    def progress(self, order: Order, wanted: Wanted, number: int) -> Event:
        """The event before a download."""
        return "progress", {**self.place(order, wanted, number), "status": "downloading"}

    def result(self, order: Order, wanted: Wanted, number: int, outcome: Outcome) -> Event:
        """The final event of an image."""
        data = {**self.place(order, wanted, number), "status": outcome.status}
        if outcome.error is not None:
            return "error", {**data, "error": outcome.error}
        if outcome.asset is not None:
            data |= {"media_asset_id": str(outcome.asset.id), "hosted_url": outcome.asset.hosted_url}
        return "imported" if outcome.status == "success" else "skipped", data

    def place(self, order: Order, wanted: Wanted, number: int) -> dict[str, Any]:
        """Which of the images an event is about."""
        return {"current": number, "total": len(order.images), "url": wanted.url}

    def summary(self, outcomes: Sequence[Outcome]) -> Mapping[str, Any]:
        """The last event, and the answer of an import without a stream; what is excluded counts as skipped."""
        imported = [outcome for outcome in outcomes if outcome.status == "success"]
        errors = [outcome.error for outcome in outcomes if outcome.error is not None]
        return {
            "imported": len(imported),
            "skipped_duplicates": len(outcomes) - len(imported) - len(errors),
            "errors": errors,
            "assets": [self.asset_answer(outcome.asset) for outcome in imported if outcome.asset is not None],
        }

    def asset_answer(self, asset: Asset) -> Mapping[str, Any]:
        """One element of a summary's `assets`."""
        return {
            "id": str(asset.id),
            "hosted_url": asset.hosted_url,
            "source_url": asset.source_url,
            "width": asset.width,
            "height": asset.height,
            "caption": asset.caption,
        }

    async def hosted_copy(self, key: str) -> Response:
        """What the object store has under a name."""
        if _UNSTORABLE.search(key):
            raise HTTPException(404, "Not found")
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "select content, content_type from reference.objects where key = %s", (key,)
            )
            row = await cursor.fetchone()
        if row is None:
            raise HTTPException(404, "Not found")
        return Response(row[0], media_type=row[1])

    # Delete and exclusion

    async def delete_asset(self, request: Request, asset_id: str) -> Response:
        """Authorize, read, find, exclude, remove, answer: in this order, and all of it or nothing."""
        claims = self.authorize_media(request)
        asset_uuid = self.parse_id("asset_id", asset_id)
        exclude = self.parse_query_flag(request, "exclude")
        async with self.pool.connection() as connection, connection.transaction():
            asset = await self.select_asset(connection, "id = %s for update", asset_uuid)
            if asset is None:
                raise self.unknown_asset()
            links = await self.asset_links(connection, asset)
            if exclude:
                await self.write_exclusions(connection, asset, links, self.caller(claims))
            await self.remove_asset(connection, asset)
            removed = await self.remove_object(connection, asset)
        return self.json(self.delete_answer(asset, links, removed))

    def unknown_asset(self) -> HTTPException:
        """The refusal of a call about an asset that there is not."""
        return HTTPException(404, "Media asset not found")

    async def select_asset(self, connection: Connection, condition: LiteralString, value: Any) -> Asset | None:
        """The asset that meets a condition."""
        async with connection.cursor(row_factory=class_row(Asset)) as cursor:
            await cursor.execute(
                "select id, source, source_url, hosted_url, hosted_key, width, height, caption, metadata"
                f" from core.media_assets where {condition}",
                (value,),
            )
            return await cursor.fetchone()

    async def asset_links(self, connection: Connection, asset: Asset) -> Sequence[AssetLink]:
        """Whom an asset is linked to."""
        async with connection.cursor(row_factory=class_row(AssetLink)) as cursor:
            await cursor.execute(
                "select entity_type, entity_id, context from core.media_links where media_asset_id = %s", (asset.id,)
            )
            return await cursor.fetchall()

    async def write_exclusions(
        self, connection: Connection, asset: Asset, links: Sequence[AssetLink], caller: str | None
    ) -> None:
        """Exclude the image from every entity that it was linked to, by the address under which it came there."""
        for link in links:
            address = link.context.get("source_image_url") or asset.source_url
            page_url = link.context.get("source_page_url") or asset.metadata.get("source_page_url")
            if address is not None:
                await connection.execute(
                    "insert into core.media_scrape_exclusions (entity_type, entity_id, source_page_url,"
                    " source_image_url, source_image_url_canonical, reason, created_by)"
                    " values (%s, %s, %s, %s, %s, 'deleted by an admin', %s)"
                    " on conflict (entity_type, entity_id, source_image_url_canonical) do nothing",
                    (link.entity_type, link.entity_id, page_url, address, self.canonical(address), caller),
                )

    def canonical(self, url: str) -> str:
        """The one spelling of an address by which images and pages are compared."""
        return page.canonical_address(url)

    async def remove_asset(self, connection: Connection, asset: Asset) -> None:
        """Delete an asset, and its links with it."""
        await connection.execute("delete from core.media_assets where id = %s", (asset.id,))

    async def remove_object(self, connection: Connection, asset: Asset) -> bool:
        """Delete the hosted copy; whether there was one."""
        cursor = await connection.execute("delete from reference.objects where key = %s", (asset.hosted_key,))
        return cursor.rowcount > 0

    def delete_answer(self, asset: Asset, links: Sequence[AssetLink], removed: bool) -> Mapping[str, Any]:
        """The body of a delete."""
        return {
            "asset_id": str(asset.id),
            "deleted_links": len(links),
            "deleted_asset": True,
            "s3_deleted": removed,
            "s3_error": None,
        }

    # People count and text overlay

    async def known_asset(self, request: Request, asset_id: str) -> tuple[Asset, bool]:
        """Authorize and read a call about an asset: the asset, and whether to look at it again; 404 where unknown."""
        self.authorize_media(request)
        asset_uuid = self.parse_id("asset_id", asset_id)
        force = self.parse_query_flag(request, "force")
        async with self.pool.connection() as connection:
            asset = await self.select_asset(connection, "id = %s", asset_uuid)
        if asset is None:
            raise self.unknown_asset()
        return asset, force

    async def auto_count(self, request: Request, asset_id: str) -> Response:
        """The people in an image, counted where they are not or where it is forced."""
        asset, force = await self.known_asset(request, asset_id)
        count = None if force else self.stored_count(asset)
        if count is None:
            count = await self.count_people(self.image_address(asset))
            await self.store_metadata(asset, self.count_metadata(count))
        return self.json(self.count_answer(asset, count))

    def stored_count(self, asset: Asset) -> Mapping[str, Any] | None:
        """What was counted before."""
        if asset.metadata.get("people_count") is None:
            return None
        return {name: asset.metadata.get(key) for name, key in _COUNT_KEYS.items()}

    def image_address(self, asset: Asset) -> str:
        """Where others find the image: the hosted copy, or the source where there is none."""
        return asset.hosted_url or asset.source_url or ""

    async def count_people(self, image_url: str) -> Mapping[str, Any]:
        """What the vision service finds in the image; 502 or 503 with its reason where it finds nothing out."""
        if self.settings.vision_url is None:
            raise HTTPException(503, "The vision service is not configured")
        try:
            async with asyncio.timeout(self.vision_timeout_s):
                answer = await self.client.post(
                    f"{self.settings.vision_url}/vision/people-count", json=self.vision_body(image_url)
                )
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise HTTPException(502, f"The vision service can't be reached: {one_line(error)}") from error
        if not answer.is_success:
            raise HTTPException(502, f"The vision service answers {answer.status_code}")
        return self.read_count(answer)

    def vision_body(self, image_url: str) -> Mapping[str, Any]:
        """What the vision service is asked."""
        return {"image_url": image_url, "mode": "auto"}

    def read_count(self, answer: httpx.Response) -> Mapping[str, Any]:
        """The count in the vision service's answer; 502 where there is none."""
        try:
            body = answer.json()
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict) or not _is_count(body.get("people_count")):
            raise HTTPException(502, "The vision service's answer holds no people_count")
        return {name: body[name] if _is_reading(body.get(name)) else None for name in _COUNT_KEYS}

    def count_metadata(self, count: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is kept of a count."""
        return {key: count[name] for name, key in _COUNT_KEYS.items()}

    def count_answer(self, asset: Asset, count: Mapping[str, Any]) -> Mapping[str, Any]:
        """The body of a people count."""
        return {"asset_id": str(asset.id), **count}

    async def store_metadata(self, asset: Asset, metadata: Mapping[str, Any]) -> None:
        """Add to what is known of an asset; 404 where it has gone meanwhile."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "update core.media_assets set metadata = metadata || %s, updated_at = now() where id = %s",
                (Jsonb(metadata), asset.id),
            )
        if not cursor.rowcount:
            raise self.unknown_asset()

    async def detect_text_overlay(self, request: Request, asset_id: str) -> Response:
        """Whether text lies over an image, looked at where it is not or where it is forced."""
        asset, force = await self.known_asset(request, asset_id)
        found = None if force else asset.metadata.get("has_text_overlay")
        if found is None:
            try:
                found = await self.detect_text(asset)
            except FetchError as error:
                raise self.detection_failed(error) from error
            await self.store_metadata(asset, {"has_text_overlay": found, "text_overlay_detector": overlay.DETECTOR})
        return self.json(self.overlay_answer(asset, found))

    async def detect_text(self, asset: Asset) -> bool:
        """What the detector sees; FetchError where it fails."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "select from reference.undetectable_assets where media_asset_id = %s", (asset.id,)
            )
            if await cursor.fetchone() is not None:
                raise FetchError("the detector is out of order for this asset")
        content = await self.image_content(asset)
        try:
            return await asyncio.to_thread(overlay.has_text, content)
        except (OSError, ValueError, SyntaxError, Pictures.DecompressionBombError) as error:
            raise FetchError("the asset is no image") from error

    async def image_content(self, asset: Asset) -> bytes:
        """The bytes of an asset: from the object store, else from where others find it; raises FetchError."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "select content from reference.objects where key = %s", (asset.hosted_key,)
            )
            row = await cursor.fetchone()
        return bytes(row[0]) if row else (await self.fetch_image(self.image_address(asset))).content

    def detection_failed(self, error: FetchError) -> HTTPException:
        """The refusal to say anything of an image that could not be looked at."""
        return HTTPException(502, f"Text overlay detection failed: {error}")

    def overlay_answer(self, asset: Asset, found: bool) -> Mapping[str, Any]:
        """The body of a text overlay detection."""
        return {"asset_id": str(asset.id), "has_text_overlay": found, "detector": overlay.DETECTOR}


_COUNT_KEYS: Mapping[str, str] = {
    "people_count": "people_count",
    "face_count": "face_count",
    "detector": "people_count_detector",
    "model": "people_count_model",
}
"""The members of a count, and the keys of `metadata` under which they are kept."""


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_PEOPLE


def _is_reading(value: Any) -> bool:
    return _is_count(value) or (isinstance(value, str) and len(value) <= MAX_TEXT and not _UNSTORABLE.search(value))
