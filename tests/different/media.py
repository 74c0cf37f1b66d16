"""The different backend's media workflow: previews, imports plain and streamed, deletes, people counts, text overlays.

Requests come as JSON values and answers go as JSON values, or as the bytes of a stream; HTTP and auth are backend.py's.
Every freedom of the contract is a member of `MediaStyle` or `StreamStyle`.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import http.client
import itertools
import json
import queue
import re
import threading
import unicodedata
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit
from uuid import UUID, uuid5

import web
from catalog import Asset, Catalog, Entity, Exclusion, Link, Season
from faults import Fault, refuse
from web import Dimensions, Page, Picture, Unavailable

JsonObject = dict[str, object]

KINDS = frozenset(["poster", "backdrop", "episode_still", "cast", "promo", "intro", "reunion", "other", "logo"])
ENTITY_TYPES = ("season", "show", "person")
DEFAULT_MIN_WIDTH = 200
DEFAULT_LIMIT = 50
MAX_LIMIT = 100
MAX_IMAGES = 50
PARALLEL = 4
VISION_TIMEOUT_S = 5.0
PROBED_BYTES = 64
ADDRESSES = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")


# --- Freedoms ---------------------------------------------------------------------------------------------------------


class Probe(Enum):
    """How a preview learns sizes."""

    NEVER = "bytes is null"
    ABSENT = "bytes is absent"
    HEAD = "HEAD, then GET where that says nothing"
    GET = "the head of a GET"


class Dates(Enum):
    """How a preview says a page's date."""

    AS_STATED = "as stated"
    IN_UTC = "in UTC, with fractions of a second"
    DAY = "the day alone"
    IN_WORDS = "in words"
    ABSENT = "not at all"


class Nobody(Enum):
    """What a preview does for an entity that there is not."""

    REFUSE = "refuse"
    EVERYTHING = "unfiltered"
    ANYBODYS = "filtered by the exclusions of all entities of that type: breaks PRE-10"


class Caption(Enum):
    """What a cast photo's caption is of its context."""

    WHOLE = "all of it, lines and all"
    ONE_LINE = "all of it in one line"
    WITHOUT_NAME = "what follows the name"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStyle:
    """How a stream is written."""

    media_type: str = "text/event-stream"
    line_ends: tuple[str, ...] = ("\n",)
    start: str = ""
    between: tuple[str, ...] = ()
    end: str = ""
    names: Callable[[str], str | None] = lambda role: role
    ids: bool = False
    encode: Callable[[object], str] = lambda value: json.dumps(value, ensure_ascii=False)
    on_the_way: tuple[str, ...] = ("downloading",)
    total: bool = True
    error_status: bool = True
    error_member: str = "error"
    more_members: bool = False
    parallel: bool = False
    at_once: bool = False
    survives_its_reader: bool = False
    bytes_at_a_time: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaStyle:
    """How the media workflow takes the contract's freedoms."""

    # Preview
    probe: Probe = Probe.HEAD
    dates: Dates = Dates.AS_STATED
    nobody: Nobody = Nobody.REFUSE
    reverses_candidates: bool = False
    candidate_id: Callable[[int, str], str] = lambda number, url: hashlib.sha1(url.encode()).hexdigest()
    canonical_best_url: bool = False
    reads_dimensions: bool = False
    tells_of_lost_pages_in_a_200: bool = False
    sparse_candidates: bool = False
    more_members: bool = False
    # Import
    stores_hosted_copies: bool = False
    looks_before_fetching: bool = False
    fetches: int = 1
    remembers_previews: bool = False
    knows_addresses: bool = False
    links_duplicates: bool = True
    one_link_for_all_kinds: bool = False
    links_show_of_season: bool = False
    skips_excluded: bool = True
    answers_duplicates: bool = False
    refuses_hopeless_imports: bool = False
    contexts_have_alt: bool = False
    caption: Caption = Caption.WHOLE
    matches_names: Callable[[str, str], bool] = field(default=lambda name, text: is_named(name, text))
    tags_all_kinds: bool = False
    # Delete and exclusion
    excludes_by: Callable[[str], str] = web.canonical
    excludes_by_default: bool = False
    deletes_silently: bool = False
    # Counts
    counts_hosted_copy: bool = True
    recounts_always: bool = False
    vision_mode: str | None = "accurate"
    asks_vision_in_chunks: bool = False
    stream: StreamStyle = field(default_factory=StreamStyle)


def is_named(name: str, text: str) -> bool:
    """Whether a text has a whole name, in any case."""
    return bool(name) and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None


def is_named_by_words(name: str, text: str) -> bool:
    """The same word by word, whatever stands between the words, and without accents."""
    wanted, found = (_words(each) for each in (name, text))
    return bool(wanted) and any(found[at : at + len(wanted)] == wanted for at in range(len(found)))


def _words(text: str) -> list[str]:
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return re.findall(r"\w+", plain)


# --- Imports ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Order:
    """An image to import."""

    url: str
    kind: str
    caption: str | None
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """An import: images of a page for an entity."""

    owner: Entity
    season: Season | None
    page_url: str
    orders: tuple[Order, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an image: ``status`` is success, duplicate, excluded or error."""

    order: Order
    status: str
    asset: Asset | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Article:
    """What an import takes from the page: contexts and the date."""

    page: Page | None
    with_alt: bool = False

    def context(self, url: str) -> str:
        return "" if self.page is None else self.page.context(url, with_alt=self.with_alt)

    @property
    def published(self) -> str | None:
        return None if self.page is None or moment(self.page.published) is None else self.page.published


def moment(text: str | None) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


class Media:
    """The workflow over a catalog; ``shown`` writes an id as this backend writes ids."""

    def __init__(
        self, style: MediaStyle, catalog: Catalog, *, vision_url: str | None, shown: Callable[[str], str]
    ) -> None:
        self.style = style
        self.catalog = catalog
        self._vision_url = vision_url
        self._shown = shown
        self._previewed: dict[str, Page] = {}

    # Preview

    def preview(self, asked: JsonObject) -> JsonObject:
        url = asked.get("url")
        if not isinstance(url, str):
            refuse(Fault.BAD_PREVIEW)
        if not web.is_web(url):
            refuse(Fault.BAD_ADDRESS)
        min_width = _whole(asked.get("min_width"), DEFAULT_MIN_WIDTH, 0, 100_000, Fault.BAD_PREVIEW)
        limit = _whole(asked.get("limit"), DEFAULT_LIMIT, 1, MAX_LIMIT, Fault.BAD_PREVIEW)
        hidden = self._hidden(asked)
        try:
            page = self._remembered(url) or web.read_page(url)
        except Unavailable as why:
            if self.style.tells_of_lost_pages_in_a_200:
                return {"error": f"{url}: {why}", "images": None}
            refuse(Fault.NO_HTML if isinstance(why, web.NotHtml) else Fault.NO_PAGE)
        self._previewed[url] = page
        shown = [
            picture
            for picture in page.pictures
            if (picture.width is None or picture.width >= min_width)
            and self.style.excludes_by(picture.url) not in hidden
        ]
        sizes = self._sizes(shown[:limit])
        images = [self._candidate(n, picture, sizes.get(picture.url)) for n, picture in enumerate(shown[:limit])]
        answer: JsonObject = {
            "url": url,
            "images": images[::-1] if self.style.reverses_candidates else images,
            "total_found": len(page.pictures),
        }
        if not self.style.sparse_candidates:
            answer |= {"page_title": page.title, "domain": urlsplit(url).hostname, "error": None}
        if self.style.dates is not Dates.ABSENT:
            answer["page_published_at"] = self._date(page.published)
        if self.style.more_members:
            answer |= {"excluded": len(page.pictures) - len(shown), "warnings": [], "fetched": {"by": "différent"}}
        return answer

    def _remembered(self, url: str) -> Page | None:
        return self._previewed.get(url) if self.style.remembers_previews else None

    def _hidden(self, asked: JsonObject) -> frozenset[str]:
        """The keys of what the entity has excluded."""
        kind = asked.get("entity_type")
        if kind is None:
            return frozenset()
        if kind not in ENTITY_TYPES:
            refuse(Fault.BAD_PREVIEW)
        entity = self._previewed_entity(str(kind), asked)
        if entity is not None and self.catalog.knows(entity):
            return frozenset(self.catalog.excluded(entity))
        match self.style.nobody:
            case Nobody.REFUSE:
                return refuse(Fault.BAD_PREVIEW)
            case Nobody.EVERYTHING:
                return frozenset()
            case _:
                lists = list(self.catalog.exclusions.items())
                return frozenset(key for owner, keys in lists if owner.type == kind for key in keys)

    def _previewed_entity(self, kind: str, asked: JsonObject) -> Entity | None:
        found = _uuid(asked.get("entity_id"))
        if found is not None:
            return Entity(kind, found)
        show, number = _uuid(asked.get("show_id")), asked.get("season_number")
        if kind == "season" and show is not None and isinstance(number, int):
            season = self.catalog.season_of(show, number)
            return None if season is None else Entity("season", season.id)
        return None

    def _sizes(self, pictures: Sequence[Picture]) -> dict[str, tuple[int | None, tuple[int, int] | None]]:
        """Address → stated length, and dimensions where they were read."""
        probe = {Probe.HEAD: _probe_by_head, Probe.GET: _probe_by_get}.get(self.style.probe)
        if probe is None or not pictures:
            return {}
        with ThreadPoolExecutor(PARALLEL) as pool:
            found = pool.map(lambda picture: probe(picture.url), pictures)
            return {picture.url: each for picture, each in zip(pictures, found, strict=True)}

    def _candidate(
        self, number: int, picture: Picture, probed: tuple[int | None, tuple[int, int] | None] | None
    ) -> JsonObject:
        length, size = probed or (None, None)
        width, height = size if size and self.style.reads_dimensions else (picture.width, picture.height)
        candidate: JsonObject = {
            "id": self.style.candidate_id(number, picture.url),
            "original_url": picture.url,
            "best_url": web.canonical(picture.url) if self.style.canonical_best_url else picture.url,
        }
        if self.style.probe is not Probe.ABSENT:
            candidate["bytes"] = length
        if self.style.sparse_candidates:
            return candidate | ({"context": picture.context} if number % 2 else {})
        candidate |= {
            "width": width,
            "height": height,
            "alt_text": picture.alt,
            "context": picture.context or None,
            "thumbnail_url": None,
        }
        if self.style.more_members:
            candidate |= {"aspect": "3:2", "srcset": [], "position": {"index": number}, "score": 0.5}
        return candidate

    def _date(self, text: str | None) -> str | None:
        found = moment(text)
        if found is None or text is None:
            return None
        match self.style.dates:
            case Dates.IN_UTC if found.tzinfo is not None:
                return found.astimezone(datetime.UTC).isoformat(timespec="milliseconds")
            case Dates.DAY:
                return found.date().isoformat()
            case Dates.IN_WORDS:
                return f"{found.day} {found:%B %Y}"
            case _:
                return text

    # Import

    def read_job(self, asked: JsonObject) -> Job:
        """What is to be imported; all of it is checked before anything is done."""
        page_url, images = asked.get("source_url"), asked.get("images")
        if not isinstance(page_url, str) or not page_url or not isinstance(images, list):
            refuse(Fault.BAD_IMPORT)
        if not 1 <= len(images) <= MAX_IMAGES:
            refuse(Fault.BAD_IMPORT)
        orders = tuple(_order(image) for image in images)
        owner = self._owner(asked)
        if not self.catalog.knows(owner):
            refuse(Fault.UNKNOWN_ENTITY)
        return Job(owner, self.catalog.seasons.get(owner.id), page_url, orders)

    def _owner(self, asked: JsonObject) -> Entity:
        kind = asked.get("entity_type", "season")
        if kind not in ENTITY_TYPES:
            refuse(Fault.BAD_IMPORT)
        own = _uuid(asked.get(f"{kind}_id"))
        if own is not None:
            return Entity(str(kind), own)
        show, number = _uuid(asked.get("show_id")), asked.get("season_number")
        if kind != "season" or show is None or not isinstance(number, int) or isinstance(number, bool):
            refuse(Fault.BAD_IMPORT)
        season = self.catalog.season_of(show, number)
        return refuse(Fault.UNKNOWN_ENTITY) if season is None else Entity("season", season.id)

    def import_all(self, job: Job) -> JsonObject:
        article = self._article(job)
        outcomes = [self._import_one(job, order, article) for order in job.orders]
        if self.style.refuses_hopeless_imports and all(outcome.status == "error" for outcome in outcomes):
            refuse(Fault.NO_IMAGES)
        return self._summary(outcomes)

    def _article(self, job: Job) -> Article:
        if not self.style.tags_all_kinds and not any(order.kind == "cast" for order in job.orders):
            return Article(None)
        if self.style.remembers_previews:
            return Article(self._remembered(job.page_url), self.style.contexts_have_alt)
        with contextlib.suppress(Unavailable):
            if web.is_web(job.page_url):
                return Article(web.read_page(job.page_url), self.style.contexts_have_alt)
        return Article(None)

    def _import_one(self, job: Job, order: Order, article: Article) -> Outcome:
        key = self.style.excludes_by(order.url)
        if key in self.catalog.excluded(job.owner):
            return Outcome(order, "excluded")
        if self.style.knows_addresses and (known := self.catalog.find(source_url=order.url)):
            self._link(job, order, article, known, is_new=False)
            return Outcome(order, "duplicate", known)
        try:
            if not web.is_web(order.url):
                raise Unavailable("its address is not http(s)")
            data, seen = self._fetch(order.url)
        except Unavailable as why:
            return Outcome(order, "error", None, f"{order.url}: {why}")
        digest = hashlib.sha256(data).hexdigest()
        asset = Asset(
            order.url,
            f"https://cdn.example.test/{digest}" if self.style.stores_hosted_copies else None,
            digest=digest,
            page_url=job.page_url,
            width=seen.width,
            height=seen.height,
        )
        asset.caption = self._caption(order, article)
        asset.published = article.published if order.kind == "cast" else None
        with self.catalog.lock:
            if known := self.catalog.find(digest=digest):
                self._link(job, order, article, known, is_new=False)
                return Outcome(order, "duplicate", known)
            self.catalog.add(asset)
            self._link(job, order, article, asset, is_new=True)
        return Outcome(order, "success", asset)

    def _fetch(self, url: str) -> tuple[bytes, Dimensions]:
        """An image's bytes, after as many tries as it takes, and what they are; raises Unavailable."""
        if self.style.looks_before_fetching:
            with contextlib.suppress(Unavailable):
                web.fetch(url, method="HEAD")
        for attempt in range(1, self.style.fetches + 1):
            try:
                data = web.fetch(url).body
                return data, web.look_at(data)
            except Unavailable:
                if attempt == self.style.fetches:
                    raise
        raise Unavailable("nobody tried")

    def _caption(self, order: Order, article: Article) -> str | None:
        if (order.caption or "").strip() or order.kind != "cast":
            return order.caption
        context = article.context(order.url)
        match self.style.caption:
            case Caption.WHOLE:
                return context or None
            case Caption.ONE_LINE:
                return " ".join(context.split()) or None
            case Caption.WITHOUT_NAME:
                _, separator, rest = context.partition("\n" if "\n" in context else ": ")
                return (rest if separator else context).strip() or None

    def _tagged(self, job: Job, order: Order, article: Article) -> tuple[str, ...]:
        if order.people or job.season is None or (order.kind != "cast" and not self.style.tags_all_kinds):
            return order.people
        context = article.context(order.url)
        return tuple(person for person, name in job.season.cast if self.style.matches_names(name, context))

    def _link(self, job: Job, order: Order, article: Article, asset: Asset, *, is_new: bool) -> None:
        """Links the asset with the entity, and a season's also with its show, unless it is linked already."""
        if not is_new and not self.style.links_duplicates:
            return
        owners = [job.owner]
        if self.style.links_show_of_season and job.season is not None:
            owners.append(Entity("show", job.season.show_id))
        with self.catalog.lock:
            if asset.id not in self.catalog.assets:
                return  # deleted meanwhile
            for owner in owners:
                kind = "gallery" if owner.type == "person" else order.kind
                links = self.catalog.owned.get(owner, ())
                same = (link for link in links if link.asset is asset)
                if any(link.kind == kind or self.style.one_link_for_all_kinds for link in same):
                    continue
                position = 1 + max((link.position for link in links), default=0)
                tagged = self._tagged(job, order, article)
                self.catalog.attach(Link(owner, asset, position=position, kind=kind, tagged=tagged))

    def _summary(self, outcomes: Sequence[Outcome]) -> JsonObject:
        counts = Counter(outcome.status for outcome in outcomes)
        skipped = counts["duplicate"] + (counts["excluded"] if self.style.skips_excluded else 0)
        told = ("success", "duplicate") if self.style.answers_duplicates else ("success",)
        answer: JsonObject = {
            "imported": counts["success"],
            "skipped_duplicates": skipped,
            "errors": [outcome.message for outcome in outcomes if outcome.status == "error"],
            "assets": [self._told(outcome.asset) for outcome in outcomes if outcome.asset and outcome.status in told],
        }
        if self.style.more_members:
            answer |= {"excluded": counts["excluded"], "duration_ms": 12, "status": "finished", "error": None}
        return answer

    def _told(self, asset: Asset) -> JsonObject:
        if self.style.sparse_candidates:
            return {"id": self._shown(asset.id), "caption": asset.caption}
        return {
            "id": self._shown(asset.id),
            "hosted_url": asset.hosted_url,
            "width": asset.width,
            "height": asset.height,
            "caption": asset.caption,
            "metadata": {"source_created_at": asset.published, "source_page_url": asset.page_url},
        }

    # Stream

    def stream(self, job: Job) -> Iterator[bytes]:
        """The stream of an import, event by event, as the work goes on."""
        pieces = (text.encode() for text in self._written(self._events(job)))
        if self.style.stream.at_once:
            return iter([b"".join(pieces)])
        return _kept_going(pieces) if self.style.stream.survives_its_reader else pieces

    def _events(self, job: Job) -> Iterator[tuple[str, JsonObject]]:
        """Role and members of each event."""
        style, total = self.style.stream, len(job.orders)
        article = self._article(job)
        outcomes: list[Outcome] = []
        work = self._at_once(job, article) if style.parallel else self._in_turn(job, article)
        for role, done in work:
            count = {"total": total} if style.total else {}
            if isinstance(done, Outcome):
                outcomes.append(done)
                yield done.status, self._final(done, len(outcomes)) | count
            else:
                number, order = done
                members: JsonObject = {"url": order.url, "status": role, **count}
                yield "progress", members | ({"step": number} if style.parallel else {"current": number})
        yield "complete", self._summary(outcomes)

    def _in_turn(self, job: Job, article: Article) -> Iterator[tuple[str, Outcome | tuple[int, Order]]]:
        for number, order in enumerate(job.orders, 1):
            for status in self.style.stream.on_the_way:
                yield status, (number, order)
            yield "", self._import_one(job, order, article)

    def _at_once(self, job: Job, article: Article) -> Iterator[tuple[str, Outcome | tuple[int, Order]]]:
        with ThreadPoolExecutor(PARALLEL) as pool:
            for number, order in enumerate(job.orders, 1):
                for status in self.style.stream.on_the_way:
                    yield status, (number, order)
            running = [pool.submit(self._import_one, job, order, article) for order in reversed(job.orders)]
            try:
                for done in as_completed(running):
                    yield "", done.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _final(self, outcome: Outcome, current: int) -> JsonObject:
        style = self.style.stream
        members: JsonObject = {"current": current, "url": outcome.order.url}
        if outcome.status == "error":
            members["error"] = outcome.message
            if style.error_status:
                members["status"] = "error"
                members[style.error_member] = members.pop("error")
        else:
            members["status"] = outcome.status
        if outcome.asset is not None:
            members["media_asset_id"] = self._shown(outcome.asset.id)
        if style.more_members:
            members |= {"kind": outcome.order.kind, "reason": None, "asset": None, "emoji": "\U0001f4f7 – ü\u2028"}
        return members

    def _written(self, events: Iterator[tuple[str, JsonObject]]) -> Iterator[str]:
        """Each event as text; what stands between events goes with the one before it."""
        style = self.style.stream
        ends = itertools.cycle(style.line_ends)

        def lines(*texts: str) -> str:
            return "".join(text + next(ends) for text in texts)

        between = itertools.cycle(style.between) if style.between else None
        yield style.start.replace("\n", style.line_ends[0])
        for number, (role, members) in enumerate(events, 1):
            name = style.names(role)
            fields = [f"event: {name}"] if name else []
            if style.ids:
                fields.append(f"id: {number}")
            event = lines(*fields, f"data: {style.encode(members)}", "")
            if between is not None and role != "complete":
                event += next(between).replace("\n", style.line_ends[0])
            yield event
        if style.end:
            yield style.end.replace("\n", style.line_ends[0])

    # Delete

    def delete(self, asset_id: str, *, exclude: bool | None) -> JsonObject | None:
        """Deletes an asset; None where the answer has no body."""
        exclude = self.style.excludes_by_default if exclude is None else exclude
        with self.catalog.lock:
            asset = self.catalog.assets.get(asset_id)
            if asset is None:
                if self.style.deletes_silently:
                    return None
                refuse(Fault.ASSET_GONE if asset_id in self.catalog.deleted else Fault.UNKNOWN_ASSET)
            links = self.catalog.remove(asset)
            if exclude:
                key = self.style.excludes_by(asset.source_url)
                for owner in {link.owner for link in links}:
                    self.catalog.exclude(Exclusion(owner, key, asset.source_url, asset.page_url))
        if self.style.deletes_silently:
            return None
        answer: JsonObject = {"asset_id": self._shown(asset.id), "deleted_links": len(links), "deleted_asset": True}
        if self.style.more_members:
            answer |= {"excluded_for": sorted({link.owner.type for link in links}), "undo": None}
        return answer

    def purge(self, show_id: str, number: int, page_url: str, *, execute: bool) -> list[str]:
        """The ids of a season's imports from a page; with ``execute`` they are deleted, and nothing is excluded."""
        season = self.catalog.season_of(show_id, number)
        if season is None:
            return []
        with self.catalog.lock:
            links = self.catalog.owned.get(Entity("season", season.id), ())
            found = {
                link.asset.id: link.asset
                for link in links
                if link.asset.page_url == page_url and self._is_of_nobody_else(season, link.asset)
            }
            if execute:
                for asset in found.values():
                    self.catalog.remove(asset)
        return list(found)

    def _is_of_nobody_else(self, season: Season, asset: Asset) -> bool:
        """Whether an asset is linked to a season, and at most to its show besides."""
        own = (Entity("season", season.id), Entity("show", season.show_id))
        return all(link.owner in own for link in self.catalog.links_of(asset))

    # Counts

    def count_people(self, asset_id: str, *, force: bool) -> JsonObject:
        asset = self._asset(asset_id)
        if asset.people is None or force or self.style.recounts_always:
            counted = self._ask_vision(asset)
            with self.catalog.lock:
                asset.people = counted
                self.catalog.save(asset)
        answer: JsonObject = {"people_count": asset.people}
        if self.style.more_members:
            answer |= {"media_asset_id": self._shown(asset.id), "detail": {"asked": force}, "people": []}
        return answer

    def _ask_vision(self, asset: Asset) -> int:
        image_url = asset.served_url if self.style.counts_hosted_copy else asset.source_url
        sent = {"image_url": image_url} | ({"mode": self.style.vision_mode} if self.style.vision_mode else {})
        if self._vision_url is None:
            refuse(Fault.VISION_FAILED)
        try:
            body = json.dumps(sent).encode()
            request = urllib.request.Request(
                f"{self._vision_url}/vision/people-count",
                iter([body[:9], body[9:]]) if self.style.asks_vision_in_chunks else body,
                {"Content-Type": "application/json", "Connection": "close"},
            )
            with web.OPENER.open(request, timeout=VISION_TIMEOUT_S) as response:
                said = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            refuse(Fault.VISION_FAILED)
        count = said.get("people_count") if isinstance(said, Mapping) else None
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            refuse(Fault.VISION_FAILED)
        return count

    def detect_text_overlay(self, asset_id: str) -> JsonObject:
        """Looks for text: there is none in any image here."""
        asset = self._asset(asset_id)
        if asset.id in self.catalog.unreadable:
            refuse(Fault.OVERLAY_FAILED)
        answer: JsonObject = {"has_text_overlay": False}
        if self.style.more_members:
            answer |= {"media_asset_id": self._shown(asset.id), "regions": [], "confidence": 0.5}
        return answer

    def _asset(self, asset_id: str) -> Asset:
        return self.catalog.assets.get(asset_id) or refuse(Fault.UNKNOWN_ASSET)


# --- Reading requests -------------------------------------------------------------------------------------------------


def _order(image: object) -> Order:
    if not isinstance(image, dict):
        refuse(Fault.BAD_IMPORT)
    url, kind, caption = image.get("url"), image.get("kind", "other"), image.get("caption")
    people, candidate = image.get("person_ids"), image.get("candidate_id")
    if not isinstance(url, str) or not url or not isinstance(candidate, str) or kind not in tuple(KINDS):
        refuse(Fault.BAD_IMPORT)
    if not isinstance(caption, str | None) or not isinstance(people, list | None):
        refuse(Fault.BAD_IMPORT)
    ids = tuple(_uuid(person) or refuse(Fault.BAD_IMPORT) for person in people or ())
    return Order(url, kind, caption, ids)


def _uuid(value: object) -> str | None:
    text = value if isinstance(value, str) else ""
    found = re.fullmatch(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", text, re.IGNORECASE | re.ASCII)
    return text.lower() if found else None


def _whole(value: object, default: int, least: int, most: int, fault: Fault) -> int:
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        refuse(fault)
    return value


# --- Other people's servers -------------------------------------------------------------------------------------------


def _probe_by_head(url: str) -> tuple[int | None, None]:
    with contextlib.suppress(Unavailable):
        length = web.fetch(url, method="HEAD").length
        if length is not None:
            return length, None
    return _probe_by_get(url)[0], None


def _probe_by_get(url: str) -> tuple[int | None, tuple[int, int] | None]:
    try:
        found = web.fetch(url, at_most=PROBED_BYTES, head_only=True)
    except Unavailable:
        return None, None
    return found.length, web.png_size(found.body)


def _kept_going(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces, made in a thread of its own, which goes on to the end though nobody reads."""
    made: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def make() -> None:
        try:
            for piece in pieces:
                made.put(piece)
        finally:
            made.put(None)

    threading.Thread(target=make, daemon=True).start()
    return iter(made.get, None)


def address_id(number: int, url: str) -> str:
    """A candidate's id that is a UUID of its address."""
    return str(uuid5(ADDRESSES, url)).upper()


def place_id(number: int, url: str) -> str:
    """A candidate's id that is its place on the page."""
    return f"image #{number + 1}"
