"""The app as a target: its admin routes, who may call them, and what the backend received, which the lab plays."""

from __future__ import annotations

import json
import uuid
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

from conformance import rawhttp
from conformance.environment import Environment
from conformance.errors import NotVerified, PremiseBroken
from conformance.exchange import JSON_TYPE, Client, Exchange, Header, Incoming, Request, typed
from conformance.lab import Answer, Call, answers
from conformance.lab.client import Lab
from conformance.redaction import Redactor
from conformance.states import ProviderStates

T = TypeVar("T")

SESSION_COOKIE = "__session"
BACKEND_PATH = "/api/v1/admin/person/{person_id}/gallery/{link_id}/facebank-seed"


@dataclass(frozen=True)
class Photo:
    """Fresh ids of a person and of a link in their gallery, known to nobody but the running test."""

    person_id: str
    link_id: str

    @property
    def path(self) -> str:
        """The contract's path of the link's flag."""
        return BACKEND_PATH.format(person_id=self.person_id, link_id=self.link_id)


def fresh_photo() -> Photo:
    """A person and a link that nobody has asked for before."""
    return Photo(str(uuid.uuid4()), str(uuid.uuid4()))


@dataclass(frozen=True)
class Session:
    """What a browser proves who it is with: header lines, none where it is nobody."""

    headers: tuple[Header, ...] = ()


@dataclass(frozen=True)
class MediaRoute:
    """One of the app's media proxies."""

    name: str
    method: str
    path: str
    """May name `{asset_id}`."""
    body: Mapping[str, Any] | None = None


def media_routes(marker: str) -> tuple[MediaRoute, ...]:
    """The media proxies, with `marker` in whatever they would hand on."""
    page = f"https://pages.trr-conformance.invalid/{marker}"
    picture = {"candidate_id": marker, "url": f"{page}/1.jpg", "kind": "other"}
    season = {"entity_type": "season", "season_id": marker, "source_url": page, "images": [picture]}
    asset = "/api/admin/trr-api/media-assets/{asset_id}"
    return (
        MediaRoute("preview", "POST", "/api/admin/scrape/preview", {"url": page}),
        MediaRoute("import/stream", "POST", "/api/admin/scrape/import/stream", season),
        MediaRoute("delete", "DELETE", f"{asset}?exclude=true"),
        MediaRoute("auto-count", "POST", f"{asset}/auto-count?force=true"),
        MediaRoute("detect-text-overlay", "POST", f"{asset}/detect-text-overlay?force=true"),
    )


@dataclass(frozen=True)
class Import:
    """An import of some images of a fresh page into a fresh season."""

    count: int
    key: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def page(self) -> str:
        """The page's address, by which the lab's script for it goes."""
        return f"https://pages.trr-conformance.invalid/{self.key}"

    @property
    def urls(self) -> tuple[str, ...]:
        """The images' addresses."""
        return tuple(f"{self.page}/{number}.jpg" for number in range(1, self.count + 1))

    @property
    def body(self) -> bytes:
        """The request, as the browser sends it."""
        images = [
            {"candidate_id": f"image-{number}", "url": url, "caption": None, "kind": "promo"}
            for number, url in enumerate(self.urls, 1)
        ]
        order = {"entity_type": "season", "season_id": self.key, "source_url": self.page, "images": images}
        return json.dumps(order).encode()


class Browser:
    """A TRR-APP at some address, as a browser uses it."""

    def __init__(self, environment: Environment, client: Client, redactor: Redactor) -> None:
        self.environment = environment
        self.client = client
        self.redactor = redactor
        self.base_url: str = environment.need("app_url")

    # --- browsers ---

    def session(self, token: str, *, as_cookie: bool | None = None) -> Session:
        """The session of a token, carried as Bearer or as the `__session` cookie, where not as the environment says."""
        if self.environment.get("app_session_cookie") if as_cookie is None else as_cookie:
            return Session((("Cookie", f"{SESSION_COOKIE}={token}"),))
        return Session((("Authorization", f"Bearer {token}"),))

    @property
    def admin(self) -> Session:
        """An allowlisted person."""
        return self.session(self.environment.credential("app_admin_token"))

    @property
    def user(self) -> Session:
        """A person whom no allowlist has."""
        return self.session(self.environment.credential("app_user_token"))

    # --- the routes ---

    def toggle(
        self,
        photo: Photo,
        value: Any = True,
        *,
        body: bytes | None = None,
        session: Session | None = None,
        headers: Sequence[Header] = (),
        query: str = "",
        content_type: Header = JSON_TYPE,
    ) -> Exchange:
        """Sends a toggle of `value`, or with `body` as it is, by the admin unless `session` says otherwise."""
        content = json.dumps({"facebank_seed": value}).encode() if body is None else body
        person, link = quote(photo.person_id, safe=""), quote(photo.link_id, safe="")
        url = f"{self.base_url}/api/admin/trr-api/people/{person}/gallery/{link}/facebank-seed{query}"
        who = self.admin if session is None else session
        return self.client.send(Request("PATCH", url, (*who.headers, content_type, *headers), content))

    def media(self, route: MediaRoute, asset_id: str, session: Session) -> Exchange:
        """Calls a media proxy."""
        body = None if route.body is None else json.dumps(route.body).encode()
        url = self.base_url + route.path.format(asset_id=asset_id)
        return self.client.send(Request(route.method, url, typed(session.headers, body), body))

    def delete(self, asset_id: str, query: str = "") -> Exchange:
        """Deletes an asset by the admin, with the query as it is."""
        url = f"{self.base_url}/api/admin/trr-api/media-assets/{asset_id}{query}"
        return self.client.send(Request("DELETE", url, self.admin.headers))

    def act(self, asset_id: str, action: str, query: str = "?force=true") -> Exchange:
        """Has the people in an image counted (`auto-count`) or text over it detected, by the admin."""
        url = f"{self.base_url}/api/admin/trr-api/media-assets/{asset_id}/{action}{query}"
        return self.client.send(Request("POST", url, self.admin.headers))

    def stream(self, order: Import, headers: Sequence[Header] = ()) -> AbstractContextManager[Incoming]:
        """Imports by the admin, and hands the answer over as it comes."""
        url = f"{self.base_url}/api/admin/scrape/import/stream"
        lines = (*self.admin.headers, JSON_TYPE, *headers)
        return self.client.stream(Request("POST", url, lines, order.body))

    def backdrops(self, season_id: str, session: Session | None = None) -> Exchange:
        """Asks for the backdrops that can be added to a season, by the admin unless `session` says otherwise."""
        url = f"{self.base_url}/api/admin/trr-api/seasons/{season_id}/unassigned-backdrops"
        return self.client.send(Request("GET", url, (self.admin if session is None else session).headers))

    @property
    def states(self) -> ProviderStates:
        """The app's provider states."""
        return ProviderStates(self.environment, self.client, "app_states_url")

    def raw(self, method: str, target: str, body: bytes | None, *, timeout_s: float) -> Exchange:
        """Sends a target as it is, by the admin."""
        headers = typed((("User-Agent", self.client.user_agent), *self.admin.headers), body)
        return rawhttp.send(self.base_url, method, target, headers, body, timeout_s=timeout_s)

    def secrets(self) -> dict[str, str]:
        """The secrets that no browser may see, also in base64; raises NotVerified where they are not known."""
        known = {key: self.environment.credential(key) for key in ("service_role_token", "internal_admin_secret")}
        if short := next((key for key, secret in known.items() if len(secret) < 8), None):
            raise NotVerified(f"credentials.{short} is too short to be told from ordinary words")
        encoded = {f"{key} in base64": b64encode(secret.encode()).decode() for key, secret in known.items()}
        return known | encoded


class App(Browser):
    """A TRR-APP, and the lab that it takes for its backend."""

    def __init__(
        self, environment: Environment, client: Client, lab: Lab, redactor: Redactor, *, timeout_s: float
    ) -> None:
        super().__init__(environment, client, redactor)
        self.lab = lab
        self.timeout_s = timeout_s
        self._known_to_work: Photo | None = None

    def at_once(self, asked: Sequence[Callable[[App], T]], meanwhile: Callable[[], None] | None = None) -> list[T]:
        """What comes of each where all are under way together, over connections of their own, and `meanwhile` runs."""

        def ask(one: Callable[[App], T]) -> T:
            other = copy(self)
            other.client = self.client.another()
            try:
                return one(other)
            finally:
                other.client.close()

        with ThreadPoolExecutor(len(asked)) as threads:
            running = [threads.submit(ask, one) for one in asked]
            if meanwhile is not None:
                meanwhile()
            return [each.result() for each in running]

    def while_held(self, marker: str, first: Callable[[App], T], second: Callable[[App], T]) -> list[T]:
        """What comes of both where the second is sent while the backend holds its answer to the first.

        The answer is let go of once the backend has both: who waits for the first, or refuses the second, never sends
        it before.
        """

        def arrived() -> None:
            self.lab.calls(marker, at_least=1, within_s=self.timeout_s / 2)

        def after_the_first(other: App) -> T:
            arrived()
            return second(other)

        def let_go() -> None:
            arrived()
            self.lab.calls(marker, at_least=2, within_s=0.5)
            self.lab.release(marker)

        return self.at_once([first, after_the_first], let_go)

    def photo(self, *given: Answer) -> Photo:
        """A fresh photo, for whose toggles the backend answers so; as the contract says where nothing is given."""
        photo = fresh_photo()
        self.lab.script(photo.link_id, *(given or (answers.toggled(),)))
        return photo

    def received(self, *markers: str) -> list[Call]:
        """What the backend received with any of these ids or markers in path, query or body, in order."""
        found = {call.number: call for marker in markers for call in self.lab.calls_containing(marker)}
        return [found[number] for number in sorted(found)]

    def require_toggles(self) -> None:
        """Makes sure that a toggle gets through to the lab now, so that a refusal and a silence mean something.

        After it, whatever the app does in answer to an earlier request has had its time. Raises PremiseBroken for
        PRX-01.
        """
        photo = self._known_to_work or self.photo()
        exchange = self.toggle(photo)
        calls = None if self._known_to_work else self.lab.calls(photo.link_id)
        if exchange.status != 200 or calls == []:
            raise self.not_through(exchange, calls or ())
        self._known_to_work = photo

    def not_through(self, exchange: Exchange, calls: Collection[Call]) -> PremiseBroken:
        """An admin's toggle that was not accepted, or of which the backend knows nothing."""
        return PremiseBroken(
            "PRX-01",
            f"an allowlisted admin's toggle did not get through; {self.where_it_should_go}",
            expected="200, and a call of the backend",
            actual=f"{exchange.outcome()}, {len(calls)} calls of the backend",
            exchange=exchange,
        )

    @property
    def where_it_should_go(self) -> str:
        """The advice to whoever has not told the app where the lab is."""
        return f"the app's TRR_API_URL has to be {self.lab.stub_url}"


def shown(calls: Collection[Call]) -> list[str]:
    """Calls as a failure shows them: what was sent, in order."""
    return [f"{call.method} {call.target} {call.body}".strip() for call in calls]
