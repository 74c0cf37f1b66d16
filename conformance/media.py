"""The backend's media workflow as a target: preview, import, delete and counts, and the entities and pages for them.

Called as the deployed app calls it. Pages and images are served by the page origin; where the target cannot reach that,
what needs it is not verified.
"""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from typing import Final as Constant
from urllib.parse import quote, urldefrag, urlsplit

import contracts
from conformance import sse
from conformance.backend import Backend, Caller
from conformance.core_tables import CoreTables
from conformance.errors import NotVerified, PremiseBroken, TargetBroken, Violation
from conformance.exchange import Exchange, Failure, Incoming, Request, typed
from conformance.lab.addresses import authority
from conformance.lab.client import Lab
from conformance.pages import Site
from conformance.sse import Event, Problem, Role

T = TypeVar("T")

KINDS: Constant = tuple(str(kind) for kind in contracts.load().schema("kind")["enum"])
"""Every kind of an image that an import accepts."""

OMIT: Constant = object()
"""Leaves a member out of a request, where None would send null."""

NOT_IMPORTED = {"error": "KIND-01", "duplicate": "IMP-03", "excluded": "EXC-04"}
"""What is broken where a sound new image, which nobody excluded, ends so."""

IMAGES_A_LIMIT = 5
"""So many images of a streamed import share the time limit of one request: who has more, has longer."""

_PREFIX = "/api/v1/admin"


# --- who and what ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entity:
    """What images are imported for. `by_import` are the members that name it in an import, besides its type."""

    entity_type: str
    entity_id: str
    by_import: Mapping[str, Any]

    @property
    def members(self) -> dict[str, Any]:
        """How a preview names it."""
        return {"entity_type": self.entity_type, "entity_id": self.entity_id}

    @property
    def in_import(self) -> dict[str, Any]:
        """How an import names it."""
        return {"entity_type": self.entity_type, **self.by_import}


@dataclass(frozen=True)
class CastMember:
    """A person of a season's cast."""

    person_id: str
    full_name: str


@dataclass(frozen=True)
class Show:
    """A show with one season and its cast."""

    show_id: str
    season_id: str
    season_number: int
    cast: tuple[CastMember, ...] = ()

    @property
    def show(self) -> Entity:
        """The show."""
        return Entity("show", self.show_id, {"show_id": self.show_id})

    @property
    def season(self) -> Entity:
        """The season, named by its id."""
        return Entity("season", self.season_id, {"season_id": self.season_id})

    @property
    def season_by_number(self) -> Entity:
        """The season, named by its show and number."""
        return Entity("season", self.season_id, {"show_id": self.show_id, "season_number": self.season_number})


@dataclass(frozen=True)
class Asset:
    """A media asset that no import made."""

    media_asset_id: str
    source_url: str
    hosted_url: str | None


def image_order(
    url: str, kind: str = "promo", *, caption: Any = OMIT, person_ids: Any = OMIT, candidate_id: str | None = None
) -> dict[str, Any]:
    """One element of an import's `images`."""
    order = {"candidate_id": candidate_id or url.rpartition("/")[2], "url": url, "kind": kind}
    more = {"caption": caption, "person_ids": person_ids}
    return order | {name: value for name, value in more.items() if value is not OMIT}


# --- answers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """An image that a preview offers."""

    raw: Mapping[str, Any]

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that it has as an image."""
        return tuple(self.raw[name] for name in ("best_url", "original_url") if isinstance(self.raw.get(name), str))

    @property
    def url(self) -> str:
        """The address that the app sends to import it."""
        return self.addresses[0]

    def is_at(self, url: str) -> bool:
        """Whether it is the image at this address."""
        return any(same_address(url, address) for address in self.addresses)


@dataclass(frozen=True)
class Preview:
    """A preview's answer, as far as every reader of it relies on."""

    raw: Mapping[str, Any]
    candidates: tuple[Candidate, ...]
    exchange: Exchange

    @property
    def error(self) -> str | None:
        """What it says went wrong, if anything."""
        error = self.raw.get("error")
        return None if not error else str(error)

    def find(self, url: str) -> Candidate | None:
        """The candidate at an address."""
        return next((candidate for candidate in self.candidates if candidate.is_at(url)), None)

    def shows(self, url: str) -> bool:
        """Whether the image at an address is offered."""
        return self.find(url) is not None


@dataclass(frozen=True)
class Imported:
    """A plain import's answer."""

    raw: Mapping[str, Any]
    exchange: Exchange

    @property
    def imported(self) -> int:
        """How many images became assets."""
        return int(self.raw["imported"])

    @property
    def skipped_duplicates(self) -> int:
        """How many were there already, or excluded."""
        return int(self.raw["skipped_duplicates"])

    @property
    def errors(self) -> list[Any]:
        """What went wrong, one element for each image."""
        return list(self.raw["errors"])

    @property
    def assets(self) -> list[Mapping[str, Any]]:
        """The assets that it tells of."""
        return list(self.raw["assets"])


def same_address(one: str, other: str) -> bool:
    """Whether two addresses differ in nothing but a fragment, the case of scheme and host, and a default port."""
    return _comparable(one) == _comparable(other)


def _comparable(url: str) -> tuple[str, ...]:
    try:
        parts = urlsplit(urldefrag(url).url)
    except ValueError:
        return (url,)
    return parts.scheme, authority(parts), parts.path, parts.query


def read_preview(exchange: Exchange) -> Preview:
    """A preview's answer; raises Violation of PRE-01 where it is no 200 with candidates that have an address."""
    raw = _object(exchange, "PRE-01", "a preview")
    images = raw.get("images")
    if not isinstance(images, list):
        raise Violation(
            "a preview's images are no array", clause="PRE-01", expected="an array", actual=images, exchange=exchange
        )
    for image in images:
        if not isinstance(image, dict) or not Candidate(image).addresses:
            raise Violation(
                "a preview's candidate has no address",
                clause="PRE-01",
                expected="best_url or original_url",
                actual=image,
                exchange=exchange,
            )
    return Preview(raw, tuple(map(Candidate, images)), exchange)


def read_import(exchange: Exchange) -> Imported:
    """A plain import's answer; raises Violation of IMP-01 where it is no 200 with the four pinned members."""
    raw = _object(exchange, "IMP-01", "an import")
    counts, lists = ("imported", "skipped_duplicates"), ("errors", "assets")
    for name in (*counts, *lists):
        if not (is_integer(raw.get(name)) if name in counts else isinstance(raw.get(name), list)):
            raise Violation(
                f"an import's answer has no {name} of the pinned type",
                clause="IMP-01",
                expected={"imported": "integer", "skipped_duplicates": "integer", "errors": "array", "assets": "array"},
                actual=raw,
                exchange=exchange,
            )
    return Imported(raw, exchange)


def _object(exchange: Exchange, clause: str, what: str) -> Mapping[str, Any]:
    if exchange.status != 200:
        raise Violation(
            f"{what} was answered {exchange.outcome()}",
            clause=clause,
            expected="200",
            actual=exchange.outcome(),
            exchange=exchange,
        )
    try:
        value = exchange.answer.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Violation(
            f"{what}'s answer is no JSON object",
            clause=clause,
            expected="a JSON object",
            actual=exchange.answer.text[:200],
            exchange=exchange,
        )
    return value


# --- streams ---------------------------------------------------------------------------------------------------------

MAX_EVENTS = 10_000
"""Of a stream; what has more is taken for one without an end."""

_BLANK_LINE = re.compile(rb"\n\n|\n\r|\r\r")
"""The end of an event; a stream that breaks off may have begun another."""


@dataclass(frozen=True)
class Final:
    """How the import of one image ended, by its final event."""

    url: str
    status: str
    media_asset_id: str | None
    message: str | None
    event: Event


@dataclass(frozen=True)
class Told:
    """A whole stream: what it said, about the images at `sent`."""

    events: tuple[Event, ...]
    sent: tuple[str, ...]
    exchange: Exchange
    timeout_s: float

    @property
    def finals(self) -> tuple[Final, ...]:
        """The final events, in their order."""
        return tuple(_final(event) for event in self.events if event.role is Role.RESULT)

    def final(self, url: str) -> Final:
        """The final event of an image; only of a stream that was judged."""
        return next(final for final in self.finals if final.url == url)

    @property
    def statuses(self) -> dict[str, str]:
        """Address → how its import ended."""
        return {final.url: final.status for final in self.finals}

    @property
    def summary(self) -> Mapping[str, Any]:
        """The members of the summary; only of a stream that was judged."""
        return next(event.members for event in self.events if event.role is Role.SUMMARY)

    @property
    def problems(self) -> list[Problem]:
        """What is wrong with it: as an answer, in its end, and in its events."""
        head = _wrong_head(self.exchange)
        if head:
            return [head]
        body = self.exchange.answer.body
        if self.exchange.failure is not None:
            body = body[: max((found.end() for found in _BLANK_LINE.finditer(body)), default=0)]
        return [*self._cut(), *sse.problems(body, self.sent)]

    @property
    def _was_going_on(self) -> bool:
        """Whether the time limit ended it between two images, and not while nothing came any more."""
        last = max((final.event.at or 0.0 for final in self.finals), default=0.0)
        return (
            self.exchange.failure is Failure.TIMEOUT
            and len(self.finals) < len(self.sent)
            and last - self.exchange.started > self.timeout_s / 2
        )

    def _cut(self) -> Iterator[Problem]:
        failure = self.exchange.failure
        if failure is None:
            return
        what = {
            Failure.TIMEOUT: f"the stream did not end within {self.timeout_s:g} s",
            Failure.TOO_LARGE: "the stream had no end within the size limit",
        }.get(failure, "the stream broke off")
        shown = [dict(event.members) for event in self.events[-3:]] or self.exchange.answer.text[:500]
        yield Problem("SSE-06" if self.events else "SSE-01", what, "the summary, then the end", shown)

    def judge(self, *clauses: str) -> Told:
        """Raises Violation where it breaks one of these clauses, PremiseBroken where only another one.

        Raises TargetBroken where it merely was not done within the time limit, as when a target is sparing with a host.
        """
        __tracebackhide__ = True
        if self._was_going_on:
            raise TargetBroken(
                f"the stream had told of {len(self.finals)} of {len(self.sent)} images after {self.timeout_s:g} s:"
                " --request-timeout gives it longer",
                self.exchange,
            )
        found = self.problems
        for problem in found:
            if problem.clause in clauses:
                raise Violation(
                    problem.message,
                    clause=problem.clause,
                    expected=problem.expected,
                    actual=problem.actual,
                    exchange=self.exchange,
                )
        if found:
            first = found[0]
            raise PremiseBroken(
                first.clause, first.message, expected=first.expected, actual=first.actual, exchange=self.exchange
            )
        return self


def _final(event: Event) -> Final:
    asset = event.members.get("media_asset_id")
    return Final(
        str(event.members.get("url")),
        event.final_status,
        asset if isinstance(asset, str) else None,
        event.message,
        event,
    )


def _wrong_head(exchange: Exchange) -> Problem | None:
    content_type = exchange.answer.header("Content-Type") or ""
    if not 200 <= exchange.status < 300:
        return Problem("SSE-01", f"an import was answered {exchange.outcome()}", sse.MEDIA_TYPE, exchange.outcome())
    if content_type.partition(";")[0].strip().lower() != sse.MEDIA_TYPE:
        return Problem("SSE-01", "the answer is no event stream", sse.MEDIA_TYPE, content_type or "no Content-Type")
    return None


@dataclass
class Stream:
    """An import's stream while it comes."""

    sent: tuple[str, ...]
    timeout_s: float
    events: list[Event] = field(default_factory=list)
    """The events that were read so far."""
    _incoming: Incoming = field(kw_only=True)
    _parser: sse.Parser = field(default_factory=sse.Parser)
    _unread: deque[Event] = field(default_factory=deque)
    _ended: bool = False

    @property
    def exchange(self) -> Exchange:
        """The exchange as far as it has come."""
        return self._incoming.exchange

    @property
    def status(self) -> int:
        """The status; raises as `Exchange.status` does."""
        return self.exchange.status

    def next_event(self) -> Event | None:
        """The next event as soon as it is there, or None: there will be no more, for whatever reason."""
        while not self._unread and not self._ended:
            piece = self._incoming.read()
            self._ended = not piece
            completed = self._parser.feed(piece) if piece else self._last()
            self._unread += [replace(event, at=time.monotonic()) for event in completed]
            if len(self.events) + len(self._unread) > MAX_EVENTS:
                self._incoming.failure, self._ended = Failure.TOO_LARGE, True
        if not self._unread:
            return None
        self.events.append(self._unread.popleft())
        return self.events[-1]

    def _last(self) -> list[Event]:
        """The event without a blank line, at the end of a stream that did not break off."""
        return [] if self._incoming.failure else self._parser.end()

    def __iter__(self) -> Iterator[Event]:
        while (event := self.next_event()) is not None:
            yield event

    def told(self) -> Told:
        """The whole stream, after reading the rest of it."""
        self.exchange.answer  # noqa: B018  (raises where there is none)
        for _ in self:
            pass
        return Told(tuple(self.events), self.sent, self.exchange, self.timeout_s)


# --- the target ------------------------------------------------------------------------------------------------------


class Media:
    """The media workflow of a backend. What is missing for a call is said, as NotVerified, when it is made."""

    def __init__(self, backend: Backend, lab: Lab | None, *, timeout_s: float) -> None:
        self.backend = backend
        self.tables = CoreTables(backend.environment)
        self._lab = lab
        self._timeout_s = timeout_s
        self._reached = False
        self._unreached: str | None = None
        self._base = f"{backend.environment.need('backend_url')}{_PREFIX}"

    def close(self) -> None:
        """Closes the connections."""
        self.tables.close()

    def over(self, backend: Backend) -> Media:
        """The same over another connection to the backend, for another thread."""
        other = copy(self)
        other.backend = backend
        return other

    # --- pages ---

    @property
    def has_origin(self) -> bool:
        """Whether the page origin runs."""
        return self._lab is not None and "page_origin" in self._lab.urls

    @property
    def origin(self) -> Lab:
        """The page origin; raises NotVerified where it does not run."""
        if self._lab is None or not self.has_origin:
            raise NotVerified("page_origin is not set")
        return self._lab

    def site(self) -> Site:
        """A fresh place on the page origin, once it is known that the target reaches it."""
        self.reach()
        return Site(self.origin)

    def reach(self) -> None:
        """Makes sure, once, that the target fetches pages of the page origin.

        Raises NotVerified where it does not, and PremiseBroken for PRE-01 where that is not for want of reaching it.
        """
        if self._reached:
            return
        if self._unreached is not None:
            # asked once: what waits in vain for an address would do so in each test
            raise NotVerified(self._unreached)
        site = Site(self.origin)
        page = site.page([site.image()])
        exchange = self.preview(page)
        if not site.fetches(page):
            if (
                exchange.status in (401, 405)
                # a page that cannot be reached may be a 404 too, a body without any `url` only of no endpoint
                or (exchange.status == 404 and self.preview(page, body=b"{}").status == 404)
                or (exchange.status < 400 and not premise(read_preview, exchange).error)
            ):
                raise _unfetched(exchange, "the page was never fetched")
            # a target that refuses what it finds incomplete reaches the page once all is said
            with suppress(NotVerified), self.show() as show:
                self.preview(page, entity=show.season, min_width=200, limit=50)
            if site.fetches(page):
                raise _unfetched(exchange, "with more than `url` the page is fetched")
            self._unreached = f"the target did not fetch a page from page_origin ({page}): {exchange.outcome()}"
            raise NotVerified(self._unreached)
        self._reached = True

    # --- entities ---

    @contextmanager
    def show(self, *, cast: Sequence[str] = ()) -> Iterator[Show]:
        """A fresh show with a season, and people of these names as its cast."""
        params = {"cast": list(cast)} if cast else {}
        with self.backend.states.given("show with season", **params) as values:
            try:
                people = (
                    [CastMember(str(each["person_id"]), str(each["full_name"])) for each in values["cast"]]
                    if cast
                    else []
                )
                number = int(values["season_number"])
            except (TypeError, KeyError, ValueError, OverflowError):
                raise TargetBroken(
                    "backend_states_url: 'show with season' returned no season and cast of the agreed form"
                ) from None
            yield Show(str(values["show_id"]), str(values["season_id"]), number, tuple(people))

    @contextmanager
    def person(self, full_name: str = "Ada Byron") -> Iterator[Entity]:
        """A fresh person without photos."""
        with self.backend.states.given("person", full_name=full_name) as values:
            person_id = str(values["person_id"])
            yield Entity("person", person_id, {"person_id": person_id})

    @contextmanager
    def asset(self, *, hosted: bool) -> Iterator[Asset]:
        """A fresh media asset, with a hosted copy or without one."""
        with self.backend.states.given("media asset", hosted=hosted) as values:
            # serializers may leave out what is null
            hosted_url = values["hosted_url"] if hosted else values.get("hosted_url")
            yield Asset(
                str(values["media_asset_id"]),
                str(values["source_url"]),
                None if hosted_url is None else str(hosted_url),
            )

    # --- the pinned endpoints ---

    @property
    def preview_url(self) -> str:
        """The address of the preview."""
        return f"{self._base}/scrape/preview"

    @property
    def import_url(self) -> str:
        """The address of the plain import."""
        return f"{self._base}/scrape/import"

    @property
    def stream_url(self) -> str:
        """The address of the import that tells of its progress."""
        return f"{self._base}/scrape/import/stream"

    def asset_url(self, asset_id: str, query: str = "", *, action: str = "") -> str:
        """The address of a media asset, or of an action on it; the id is percent-encoded whole."""
        path = f"{self._base}/media-assets/{quote(asset_id, safe='')}"
        return f"{path}{'/' if action else ''}{action}{'?' if query else ''}{query}"

    def request(self, method: str, url: str, *, body: bytes | None = None, caller: Caller | None = None) -> Request:
        """A request as the deployed app makes it, unless `caller` says otherwise."""
        headers = (self.backend.service if caller is None else caller).headers
        return Request(method, url, typed(headers, body), body)

    def require_writes(self) -> None:
        """Raises NotVerified where nothing may be imported or deleted: on production, never."""
        environment = self.backend.environment
        if environment.production:
            raise NotVerified(f"{environment.name} is production: nothing is imported or deleted there")
        if not self.backend.may_write:
            raise NotVerified(f"{environment.name}: nothing may be written")

    def preview(
        self,
        url: str,
        *,
        entity: Entity | None = None,
        caller: Caller | None = None,
        body: bytes | None = None,
        **members: Any,
    ) -> Exchange:
        """Previews a page, for an entity or for none; or sends `body` as it is."""
        value = {"url": url, **({} if entity is None else entity.members), **members}
        content = json.dumps(value).encode() if body is None else body
        return self.backend.client.send(self.request("POST", self.preview_url, body=content, caller=caller))

    def import_body(
        self, entity: Entity, source_url: str, images: Sequence[Mapping[str, Any]], **members: Any
    ) -> bytes:
        """The body of an import of either kind."""
        return json.dumps({**entity.in_import, "source_url": source_url, "images": list(images), **members}).encode()

    def import_images(
        self,
        entity: Entity,
        source_url: str,
        images: Sequence[Mapping[str, Any]],
        *,
        caller: Caller | None = None,
        body: bytes | None = None,
        **members: Any,
    ) -> Exchange:
        """Imports images and waits until all are done; or sends `body` as it is."""
        self.require_writes()
        content = self.import_body(entity, source_url, images, **members) if body is None else body
        return self.backend.client.send(self.request("POST", self.import_url, body=content, caller=caller))

    @contextmanager
    def import_stream(
        self,
        entity: Entity,
        source_url: str,
        images: Sequence[Mapping[str, Any]],
        *,
        caller: Caller | None = None,
        body: bytes | None = None,
        **members: Any,
    ) -> Iterator[Stream]:
        """Imports images and hands over what is told meanwhile; at the end of the block the client goes away."""
        self.require_writes()
        content = self.import_body(entity, source_url, images, **members) if body is None else body
        request = self.request("POST", self.stream_url, body=content, caller=caller)
        limit_s = self._timeout_s * max(1, len(images) / IMAGES_A_LIMIT)
        with self.backend.client.stream(request, timeout_s=limit_s) as incoming:
            yield Stream(tuple(str(image["url"]) for image in images), limit_s, _incoming=incoming)

    def delete(self, asset_id: str, *, exclude: bool | str | None = None, caller: Caller | None = None) -> Exchange:
        """Deletes an asset; `exclude` is left out of the query where None, and sent as it is where it is text."""
        self.require_writes()
        url = self.asset_url(asset_id, _flag("exclude", exclude))
        return self.backend.client.send(self.request("DELETE", url, caller=caller))

    def people_count(self, asset_id: str, *, force: bool | None = None, caller: Caller | None = None) -> Exchange:
        """Has the people on an asset counted, again where `force`."""
        self.require_writes()
        url = self.asset_url(asset_id, _flag("force", force), action="auto-count")
        return self.backend.client.send(self.request("POST", url, caller=caller))

    def text_overlay(self, asset_id: str, *, force: bool | None = None, caller: Caller | None = None) -> Exchange:
        """Has an asset looked at for text, again where `force`."""
        self.require_writes()
        url = self.asset_url(asset_id, _flag("force", force), action="detect-text-overlay")
        return self.backend.client.send(self.request("POST", url, caller=caller))

    # --- steps: premises of a check that is about something else ---

    def previewed(self, url: str, entity: Entity | None = None, **members: Any) -> Preview:
        """A page's preview; anything but a 200 of the pinned shape and without `error` breaks the premise PRE-01."""
        exchange = self.preview(url, entity=entity, **members)
        preview = premise(read_preview, exchange)
        if preview.error:
            raise PremiseBroken(
                "PRE-01",
                "a preview of a sound page says that something is wrong",
                expected="the page's images",
                actual=preview.error,
                exchange=exchange,
            )
        return preview

    def imported(self, entity: Entity, source_url: str, images: Sequence[Mapping[str, Any]]) -> Imported:
        """A plain import's answer; anything but a 200 of the pinned shape breaks the premise IMP-01."""
        return premise(read_import, self.import_images(entity, source_url, images))

    def told(self, entity: Entity, source_url: str, images: Sequence[Mapping[str, Any]]) -> Told:
        """An import's whole stream, not judged yet."""
        with self.import_stream(entity, source_url, images) as stream:
            return stream.told()

    def streamed(self, entity: Entity, source_url: str, images: Sequence[Mapping[str, Any]]) -> Told:
        """An import's whole stream; whatever is wrong with it breaks that clause as a premise."""
        return self.told(entity, source_url, images).judge()

    def final(self, entity: Entity, source_url: str, url: str, kind: str = "promo", **more: Any) -> Final:
        """Imports one image, and how that ended."""
        return self.streamed(entity, source_url, [image_order(url, kind, **more)]).final(url)

    def status(self, entity: Entity, source_url: str, url: str, kind: str = "promo", **more: Any) -> str:
        """Imports one image, and what became of it: success, duplicate, excluded or error."""
        return self.final(entity, source_url, url, kind, **more).status

    def stored(self, entity: Entity, source_url: str, url: str, kind: str = "promo", **more: Any) -> str:
        """Imports one sound image that is new, and the id of its asset; anything but a success is a broken premise."""
        told = self.streamed(entity, source_url, [image_order(url, kind, **more)])
        final = told.final(url)
        if final.status != "success":
            raise not_imported(told, final)
        assert final.media_asset_id is not None  # SSE-04, as judged
        return final.media_asset_id

    def deleted(self, asset_id: str, *, exclude: bool) -> Exchange:
        """Deletes an asset that is there; anything but a success breaks the premise DEL-01."""
        exchange = self.delete(asset_id, exclude=exclude)
        if not 200 <= exchange.status < 300:
            raise PremiseBroken(
                "DEL-01",
                "an asset that is there was not deleted",
                expected="a 2xx",
                actual=exchange.outcome(),
                exchange=exchange,
            )
        return exchange


def is_integer(value: Any) -> bool:
    """Whether a JSON value is an integer, as JSON Schema has it: 2.0 is one, true is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1


def not_imported(told: Told, final: Final) -> PremiseBroken:
    """What is broken where a sound new image did not end as a success."""
    return PremiseBroken(
        NOT_IMPORTED[final.status],
        f"a sound new image was not imported: {final.status}",
        expected="success",
        actual=dict(final.event.members),
        exchange=told.exchange,
    )


def _unfetched(exchange: Exchange, why: str) -> PremiseBroken:
    return PremiseBroken(
        "PRE-01",
        f"a preview with nothing but `url` was answered {exchange.outcome()}, and {why}",
        expected="the page's images, or what is wrong with the page",
        actual=exchange.outcome(),
        exchange=exchange,
    )


def premise(read: Callable[[Exchange], T], exchange: Exchange) -> T:
    """What is read of an answer; what is wrong with it breaks its clause as a premise."""
    try:
        return read(exchange)
    except Violation as broken:
        # every reader here names the clause
        clause = broken.clause or ""
        raise PremiseBroken(
            clause, broken.message, expected=broken.expected, actual=broken.actual, exchange=exchange
        ) from None


def _flag(name: str, value: bool | str | None) -> str:
    """A query with one flag, or none."""
    if value is None:
        return ""
    return f"{name}={value if isinstance(value, str) else str(value).lower()}"
