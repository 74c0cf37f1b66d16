"""The backend as a target: its pinned endpoints, who may call them, and the people and links to call them on."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from filelock import FileLock

from conformance.database import Database
from conformance.environment import Environment
from conformance.errors import NotVerified, PremiseBroken, TargetBroken, Violation
from conformance.exchange import Client, Exchange, Header, Request, typed
from conformance.redaction import Redactor
from conformance.states import ProviderStates
from conformance.undo import PATIENCE_S, Change, Journal, NotRestored, put_back
from contracts import Contracts

SECRET_HEADER = "X-TRR-Internal-Admin-Secret"
DEFAULT_LIMIT = 200
"""How many photos an answer has at most that was not asked for another `limit`."""
MAX_PHOTOS = 20_000
"""Of a person; what has more is taken for a list without an end."""


@dataclass(frozen=True)
class Caller:
    """Who makes a call: the values of the two auth headers, None where the header is not sent."""

    authorization: str | bytes | None = None
    secret: str | bytes | None = None

    @property
    def headers(self) -> tuple[Header, ...]:
        """The auth headers."""
        pairs = (("Authorization", self.authorization), (SECRET_HEADER, self.secret))
        return tuple((name, value) for name, value in pairs if value is not None)


@dataclass(frozen=True)
class Link:
    """A photo in a person's gallery, with the flag that it had when the state was made."""

    link_id: str
    served_url: str
    flagged: bool


@dataclass(frozen=True)
class Gallery:
    """A person and the links of their gallery, in the backend's order."""

    person_id: str
    links: tuple[Link, ...]

    @property
    def flagged(self) -> tuple[Link, ...]:
        """The links that were seeds when the state was made."""
        return tuple(link for link in self.links if link.flagged)

    @property
    def unflagged(self) -> tuple[Link, ...]:
        """The links that were no seeds when the state was made."""
        return tuple(link for link in self.links if not link.flagged)


@dataclass(frozen=True)
class Listing:
    """A photos answer of the pinned shape."""

    rows: tuple[Mapping[str, Any], ...]
    exchange: Exchange

    @property
    def urls(self) -> tuple[str, ...]:
        """The `served_url` of each row, in order."""
        return tuple(row["served_url"] for row in self.rows)


@dataclass(frozen=True)
class Snapshot:
    """A person's photos at rest, as multisets of `served_url`: all of them, and the seeds."""

    every: Counter[str]
    seeds: Counter[str]
    exchange: Exchange = field(compare=False)

    def without(self, *urls: str) -> Snapshot:
        """The snapshot without some addresses."""
        every, seeds = (Counter({u: n for u, n in c.items() if u not in urls}) for c in (self.every, self.seeds))
        return Snapshot(every, seeds, self.exchange)

    def as_lists(self) -> dict[str, list[str]]:
        """For messages."""
        return {
            "seed_only=false": sorted(self.every.elements()),
            "seed_only=true": sorted(self.seeds.elements()),
        }


class Backend:
    """A TRR-Backend at some address, and what the environment lets us do with it."""

    def __init__(
        self, environment: Environment, client: Client, contracts: Contracts, redactor: Redactor, *, may_write: bool
    ) -> None:
        self.environment = environment
        self.client = client
        self.contracts = contracts
        self.redactor = redactor
        self.may_write = may_write
        self.states = ProviderStates(environment, client, "backend_states_url")
        self._base = environment.need("backend_url")
        database_url = environment.get("database_url")
        self._database = None if database_url is None else Database(database_url, "database_url")
        self._accepts_toggles: bool = False
        self._given = ExitStack()
        self._kept: Gallery | None = None
        self.journal = Journal(environment)
        self._borrowed: dict[str, Change] = {}
        """The environment's own links that a test is at work on, until their first change is written down."""

    def another(self) -> Backend:
        """The same backend over a connection of its own, for another thread."""
        another = Backend(
            self.environment, self.client.another(), self.contracts, self.redactor, may_write=self.may_write
        )
        another._borrowed = self._borrowed
        return another

    # --- callers ---

    @property
    def service(self) -> Caller:
        """The deployed app: service role with the right secret."""
        return Caller(
            f"Bearer {self.environment.credential('service_role_token')}",
            self.environment.credential("internal_admin_secret"),
        )

    @property
    def reader(self) -> Caller:
        """Screenalytics: the service token of the photos endpoint."""
        return Caller(f"Bearer {self.environment.credential('screenalytics_token')}")

    # --- the pinned endpoints ---

    def toggle_url(self, person_id: str, link_id: str) -> str:
        """The address of a link's flag; ids are percent-encoded whole."""
        return (
            f"{self._base}/api/v1/admin/person/{quote(person_id, safe='')}"
            f"/gallery/{quote(link_id, safe='')}/facebank-seed"
        )

    def photos_url(self, person_id: str, query: Sequence[tuple[str, str]] = ()) -> str:
        """The address of a person's photos."""
        url = f"{self._base}/api/v1/screenalytics/people/{quote(person_id, safe='')}/photos"
        return f"{url}?{urlencode(query)}" if query else url

    def toggle(
        self,
        person_id: str,
        link_id: str,
        value: Any = None,
        *,
        body: bytes | None = None,
        caller: Caller | None = None,
        headers: Sequence[Header] = (),
        content_type: str = "application/json",
        method: str = "PATCH",
        changes_nothing: bool = False,
    ) -> Exchange:
        """Sends a toggle of `value`, or with `body` as it is, by the service unless `caller` says otherwise.

        `changes_nothing` marks the refusal probes that carry the flag's present value: they may be sent where nothing
        may be written.
        """
        if not changes_nothing:
            self.about_to_change(link_id)
        content: bytes | None = json.dumps({"facebank_seed": value}).encode() if body is None else body
        if method in ("GET", "DELETE"):  # with a body, which means nothing there, many servers refuse them as malformed
            content = None
        who = self.service if caller is None else caller
        lines = (*typed(who.headers, content, ("Content-Type", content_type)), *headers)
        return self.client.send(Request(method, self.toggle_url(person_id, link_id), lines, content))

    def photos(
        self, person_id: str, query: Sequence[tuple[str, str]] = (), *, caller: Caller | None = None
    ) -> Exchange:
        """Asks for a person's photos, by Screenalytics unless `caller` says otherwise."""
        headers = (self.reader if caller is None else caller).headers
        return self.client.send(Request("GET", self.photos_url(person_id, query), headers))

    # --- steps: premises of a check that is about something else ---

    def set_flag(self, person_id: str, link: Link, value: bool) -> Exchange:
        """Toggles as the deployed app does; anything but 200 breaks the premise AUTH-04."""
        exchange = self.toggle(person_id, link.link_id, value)
        _require_accepted(exchange, "AUTH-04")
        return exchange

    def listing(
        self, person_id: str, seed_only: bool | None, *, limit: int | None = None, offset: int | None = None
    ) -> Listing:
        """A person's photos; anything but a 200 of the pinned shape breaks the premise PHO-01."""
        pairs = (
            ("seed_only", None if seed_only is None else str(seed_only).lower()),
            ("limit", limit),
            ("offset", offset),
        )
        exchange = self.photos(person_id, [(key, str(value)) for key, value in pairs if value is not None])
        try:
            return read_listing(exchange)
        except Violation as broken:
            raise PremiseBroken(
                "PHO-01", broken.message, expected=broken.expected, actual=broken.actual, exchange=exchange
            ) from None

    def whole_listing(self, person_id: str, *, seed_only: bool) -> Listing:
        """A person's photos, however many: where an answer may be a first page, the others follow it."""
        listing = self.listing(person_id, seed_only)
        rows, page = [*listing.rows], listing.rows
        while len(page) >= DEFAULT_LIMIT and len(rows) < MAX_PHOTOS:
            page = self.listing(person_id, seed_only, limit=DEFAULT_LIMIT, offset=len(rows)).rows
            rows += page
        return Listing(tuple(rows), listing.exchange)

    def snapshot(self, person_id: str) -> Snapshot:
        """A person's photos as they stand, read as a consumer reads them."""
        every = self.listing(person_id, seed_only=False)
        seeds = self.listing(person_id, seed_only=True)
        return Snapshot(Counter(every.urls), Counter(seeds.urls), seeds.exchange)

    def is_seed(self, person_id: str, link: Link) -> bool:
        """Whether the link is among the person's seeds, as a consumer sees it."""
        return link.served_url in self.listing(person_id, seed_only=True).urls

    def stored(self, person: Gallery) -> list[dict[str, Any]] | None:
        """The whole rows of a gallery's links in `core.media_links`, or None where the environment has no database."""
        return self.stored_links([link.link_id for link in person.links])

    def stored_links(self, link_ids: Sequence[str]) -> list[dict[str, Any]] | None:
        """The whole rows of some links in `core.media_links`, or None where the environment has no database."""
        if self._database is None:
            return None
        query = "select to_jsonb(l) as link from core.media_links l where l.id = any(%(ids)s::uuid[]) order by l.id"
        return self._database.rows(query, ids=list(link_ids))

    # --- people and links ---

    @contextmanager
    def gallery(self, *, seeded: int = 0, unseeded: int = 0, unhosted: int = 0) -> Iterator[Gallery]:
        """A fresh person with a gallery of so many flagged, unflagged, and unflagged links without a hosted copy."""
        with self.states.given("person with gallery", seeded=seeded, unseeded=unseeded, unhosted=unhosted) as values:
            yield _gallery(values, seeded, unseeded + unhosted)

    def close(self) -> None:
        """Takes away what was kept for several tests."""
        self._given.close()
        self._kept = None

    def _kept_gallery(self) -> Gallery:
        """A gallery that is made once, for whatever changes nothing."""
        if self._kept is None:
            self._kept = self._given.enter_context(self.gallery(seeded=1, unseeded=1))
        return self._kept

    @contextmanager
    def some_link(self, *, kept: bool = False) -> Iterator[Gallery]:
        """A person's link to try things on: a fresh one, or the environment's `seeded_person` without provider states.

        The gallery has this one link that may be toggled (flagged at first); there may be other photos. The fixture's
        flag is put back, and one run at a time uses it. `kept` is for calls that change nothing: they may share a link.
        """
        if self.environment.get("backend_states_url") is not None:
            if kept:
                gallery = self._kept_gallery()
                yield Gallery(gallery.person_id, gallery.flagged)
                return
            with self.gallery(seeded=1, unseeded=1) as gallery:
                yield Gallery(gallery.person_id, gallery.flagged)
            return
        try:
            fixture = self.environment.fixture("seeded_person")
        except NotVerified:
            raise NotVerified("neither backend_states_url nor fixtures.seeded_person is set") from None
        with self.borrowed_link(fixture) as gallery:
            yield gallery

    def own_link(self, fixture: Mapping[str, Any]) -> Link:
        """The link of the environment's `seeded_person` as it is now.

        Raises NotVerified where the photos do not show its flag, which could not be put back then.
        """
        served_url = fixture["served_url"]
        shown = self.whole_listing(fixture["person_id"], seed_only=False).urls.count(served_url)
        if shown != 1:
            raise NotVerified(f"fixtures.seeded_person: {shown} of the person's photos have its served_url")
        seeds = self.listing(fixture["person_id"], seed_only=True).urls
        return Link(fixture["link_id"], served_url, served_url in seeds)

    @contextmanager
    def borrowed_link(self, fixture: Mapping[str, Any]) -> Iterator[Gallery]:
        """The environment's own `seeded_person` with the link that may be toggled, which is put back at the end.

        One run at a time uses it. What cannot be put back stays in the journal, for the end of the run.
        """
        link_id, served_url = fixture["link_id"], fixture["served_url"]
        with FileLock(_lock_path(self._base, link_id), timeout=600):
            if link_id in self.journal.changes():
                raise NotVerified(f"link {link_id} is not put back yet")
            link = self.own_link(fixture)
            change = Change(fixture["person_id"], link_id, served_url, link.flagged)
            self._borrowed[link_id.lower()] = change
            interrupted = True
            try:
                yield Gallery(change.person_id, (link,))
                interrupted = False
            finally:
                if self._borrowed.pop(link_id.lower(), None) is None:
                    with suppress(NotRestored):
                        noted = self.journal.changes().get(link_id, change)
                        self.put_back(noted, patience_s=2, interrupted=interrupted)

    def about_to_change(self, link_id: str) -> None:
        """Says that a link is going to be changed, by whatever way; a borrowed one is written down first.

        Raises NotVerified where nothing may be written.
        """
        if not self.may_write:
            raise NotVerified(f"{self.environment.name} is production: writing needs --allow-writes")
        change = self._borrowed.pop(link_id.lower(), None)
        if change is not None:
            self.journal.note(change)

    def put_back(self, change: Change, *, patience_s: float = PATIENCE_S, interrupted: bool = True) -> None:
        """Gives a flag its first value again; raises NotRestored. `interrupted`: a write may be under way."""
        patient = Backend(
            self.environment,
            self.client.another(gives_up=False),
            self.contracts,
            self.redactor,
            may_write=True,  # what was written may be taken back
        )

        def read(change: Change) -> bool:
            return change.served_url in patient.listing(change.person_id, seed_only=True).urls

        def write(change: Change) -> None:
            patient.set_flag(change.person_id, Link(change.link_id, change.served_url, change.first), change.first)

        try:
            put_back(self.journal, change, read, write, patience_s=patience_s, interrupted=interrupted)
        finally:
            patient.client.close()

    @contextmanager
    def some_person(self) -> Iterator[str]:
        """The id of a person with photos to read: one made for that, or one of the environment's fixtures."""
        if self.environment.get("backend_states_url") is not None:
            yield self._kept_gallery().person_id
            return
        for name in ("seeded_person", "unseeded_person"):
            try:
                fixture = self.environment.fixture(name)
            except NotVerified:
                continue
            yield fixture["person_id"]
            return
        raise NotVerified("neither backend_states_url nor fixtures.seeded_person is set")

    def require_seeds_to_be_the_flagged(self) -> None:
        """Makes sure that untouched galleries show their flags, so that what differs is a toggle's doing.

        Raises PremiseBroken for PHO-03. Where there are no provider states, nothing is known of untouched galleries.
        """
        if self.environment.get("backend_states_url") is None:
            return
        for seeded in (0, 6):
            with self.gallery(seeded=seeded, unseeded=3) as person:
                seeds = self.listing(person.person_id, seed_only=True)
                expected = {link.served_url for link in person.flagged}
                if set(seeds.urls) != expected:
                    raise PremiseBroken(
                        "PHO-03",
                        "the seeds of an untouched gallery are not its flagged photos",
                        expected=sorted(expected),
                        actual=sorted(seeds.urls),
                        exchange=seeds.exchange,
                    )

    def require_toggles(self) -> None:
        """Makes sure, once, that this backend accepts toggles at all, so that a refusal means something.

        Raises PremiseBroken for TOG-01 where there is no such endpoint, for AUTH-04 where the service is refused.
        """
        if self._accepts_toggles:
            return
        with self.some_link() as person:
            link = person.links[0]
            exchange = self.toggle(person.person_id, link.link_id, link.flagged, changes_nothing=True)
            _require_accepted(exchange, "TOG-01" if exchange.status in (404, 405) else "AUTH-04")
        self._accepts_toggles = True


def _require_accepted(toggle: Exchange, clause: str) -> None:
    """The service's own toggle was a 200; anything else breaks the premise `clause`."""
    if toggle.status != 200:
        raise PremiseBroken(
            clause,
            "a toggle by the service role with the right secret was not accepted",
            expected="200",
            actual=toggle.outcome(),
            exchange=toggle,
        )


def _gallery(values: Mapping[str, Any], flagged: int, unflagged: int) -> Gallery:
    """The gallery that a state returned; raises TargetBroken where it is not the one that was asked for."""
    try:
        links = tuple(
            Link(str(row["link_id"]), str(row["served_url"]), row["facebank_seed"] is True) for row in values["links"]
        )
        gallery = Gallery(str(values["person_id"]), links)
    except (KeyError, TypeError):
        raise TargetBroken("backend_states_url: 'person with gallery' returned no links of the agreed form") from None
    if (len(gallery.flagged), len(gallery.unflagged)) != (flagged, unflagged):
        raise TargetBroken("backend_states_url: 'person with gallery' did not make the links that were asked for")
    return gallery


def _lock_path(base: str, link_id: str) -> Path:
    digest = sha256(f"{base} {link_id.lower()}".encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"trr-conformance-{digest}.lock"


def read_listing(exchange: Exchange) -> Listing:
    """The rows of a photos answer; raises Violation where it is no 200 with an array of objects with a `served_url`."""
    if exchange.status != 200:
        raise Violation("the photos were not answered", expected="200", actual=exchange.outcome(), exchange=exchange)
    try:
        rows = exchange.answer.json()
    except ValueError:
        rows = None
    if not isinstance(rows, list):
        raise Violation(
            "the answer is no JSON array", expected="a JSON array", actual=exchange.answer.text[:200], exchange=exchange
        )
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("served_url"), str):
            raise Violation(
                "a row has no string served_url", expected="a string served_url", actual=row, exchange=exchange
            )
    return Listing(tuple(rows), exchange)
