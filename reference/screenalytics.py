"""The reference Screenalytics: an episode's cast gets its face bank images from the photos of TRR-Backend.

Every method of `Screenalytics` is one decision, so that a rogue is a subclass that takes one of them differently.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, LiteralString, NamedTuple
from urllib.parse import quote

import httpx
import psycopg
from fastapi import FastAPI, HTTPException, Response
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict, Field

from reference import states
from reference.serving import HEALTH
from reference.transport import Transport

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

SYNC_PATH = "/episodes/{ep_id}/sync_cast_from_trr"

DEFAULT_LIMIT, MAX_LIMIT = 5, 20
"""How many images of a person one import takes."""

MAX_ANSWER = 8 * 1024 * 1024
SILENCE_S, CALL_S = 2.0, 8.0
"""How long the backend may say nothing, and how long a call may take in all."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Settings:
    """What the deployed service reads from its environment."""

    trr_api_url: str
    """Where TRR-Backend listens, with or without `/api/v1`."""
    service_token: str
    database_url: str


class CastMember(NamedTuple):
    """A person of an episode, by the backend's id; the name only where it is known."""

    person_id: str
    name: str | None = None


class Photos(NamedTuple):
    """One answer of the backend, read: the addresses in its order, and how many rows gave none."""

    addresses: Sequence[str]
    malformed: int = 0

    @property
    def empty(self) -> bool:
        """Whether the answer had no rows at all."""
        return not self.addresses and not self.malformed


class Outcome(NamedTuple):
    """What became of one person, or of several taken together."""

    images: int = 0
    people: int = 0
    errors: int = 0


class CallFailed(Exception):
    """A call to the backend that did not end in a 200 with a JSON array: one line that says why."""


class SyncRequest(BaseModel):
    """The optional body of an import."""

    model_config = ConfigDict(strict=True)

    import_limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT


class Screenalytics:
    """The import of an episode's cast, decision by decision."""

    page_size = 50
    """How many photos are asked for at a time."""
    concurrency = 4
    """How many people of one import are under way at once."""
    schema_changes: ClassVar[LiteralString] = ""
    """What a rogue does to the tables before it serves."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            settings.database_url, min_size=2, max_size=8, open=False, timeout=10, kwargs={"prepare_threshold": 0}
        )
        self.client = self.http_client()

    # The import

    async def sync(self, ep_id: str, limit: int) -> Mapping[str, Any]:
        """Import the photos of everyone in the episode, at most `limit` of each."""
        cast = self.distinct(await self.cast(ep_id))
        total = self.total(await self.import_people(cast, limit))
        return {
            "ep_id": ep_id,
            "cast_members": len(cast),
            "imported_facebank_images": total.images,
            "imported_facebank_people": total.people,
            "import_errors": total.errors,
        }

    async def cast(self, ep_id: str) -> Sequence[CastMember]:
        """The people of an episode as they are stored here, or else as the backend knows them."""
        return await self.stored_cast(ep_id) or await self.backend_cast(ep_id)

    def distinct(self, cast: Sequence[CastMember]) -> Sequence[CastMember]:
        """The cast with each person once, in the order of their first appearance."""
        people: dict[str, CastMember] = {}
        for member in cast:
            people.setdefault(member.person_id.lower(), member)
        return list(people.values())

    async def import_people(self, cast: Sequence[CastMember], limit: int) -> Sequence[Outcome]:
        """Import each person, some of them at the same time."""
        turn = asyncio.Semaphore(self.concurrency)

        async def import_in_turn(member: CastMember) -> Outcome:
            async with turn:
                return await self.import_person(member, limit)

        return await asyncio.gather(*map(import_in_turn, cast))

    async def import_person(self, member: CastMember, limit: int) -> Outcome:
        """Choose the person's photos and store them; whatever fails is this person's error and nobody else's."""
        try:
            photos = await self.choose_photos(member.person_id, limit)
            inserted = await self.store(member, photos.addresses[:limit])
        except (CallFailed, psycopg.Error):
            return Outcome(errors=1)
        return Outcome(images=inserted, people=int(inserted > 0), errors=int(photos.malformed > 0))

    def total(self, outcomes: Sequence[Outcome]) -> Outcome:
        """The outcomes of all people together."""
        return Outcome(*map(sum, zip(*outcomes, strict=True))) if outcomes else Outcome()

    # Which photos

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        """The seeds; only where the backend says that there are none, any photos. A failed call is no such word."""
        seeds = await self.list_photos(person_id, True, limit)
        return await self.list_photos(person_id, False, limit) if self.calls_for_fallback(seeds) else seeds

    def calls_for_fallback(self, seeds: Photos) -> bool:
        """Whether the answer says that the person has no seeds: a list without a single row, whatever the rows hold."""
        return seeds.empty

    async def list_photos(self, person_id: str, seed_only: bool, limit: int) -> Photos:
        """The first `limit` photos, or all if they are fewer, page by page; raises CallFailed if any page fails."""
        photos = Photos([])
        for offset in range(0, self.page_size * MAX_LIMIT, self.page_size):
            rows = await self.photos_page(person_id, seed_only, offset)
            page = self.read_rows(rows)
            photos = Photos(
                list(dict.fromkeys([*photos.addresses, *page.addresses])), photos.malformed + page.malformed
            )
            if len(rows) < self.page_size or len(photos.addresses) >= limit:
                break
        return photos

    async def photos_page(self, person_id: str, seed_only: bool, offset: int) -> Sequence[Any]:
        """The rows of one page; raises CallFailed."""
        return await self.call(self.photos_path(person_id), self.photos_query(seed_only, offset))

    def photos_path(self, person_id: str) -> str:
        """Where the backend lists a person's photos."""
        return f"/screenalytics/people/{quote(person_id, safe='')}/photos"

    def photos_query(self, seed_only: bool, offset: int) -> Mapping[str, str]:
        """The query of one page: whether only seeds are asked for is always said."""
        return {"seed_only": "true" if seed_only else "false", "limit": str(self.page_size), "offset": str(offset)}

    def read_rows(self, rows: Sequence[Any]) -> Photos:
        """The addresses in the rows, in their order, each once."""
        found = [self.address(row) for row in rows]
        return Photos(list(dict.fromkeys(filter(None, found))), found.count(None))

    def address(self, row: Any) -> str | None:
        """Where the photo of a row is served; None where the row does not say."""
        address = row.get("served_url") if isinstance(row, dict) else None
        # Postgres keeps no NUL, and no address has one.
        return address if isinstance(address, str) and address and "\0" not in address else None

    # Calls to the backend

    def http_client(self) -> httpx.AsyncClient:
        """The client for every call: redirects are not followed, the credential goes nowhere else."""
        root = self.settings.trr_api_url.rstrip("/")
        return httpx.AsyncClient(
            base_url=root if root.endswith("/api/v1") else f"{root}/api/v1",
            headers={"Accept": "application/json", "User-Agent": "screenalytics-reference"},
            timeout=SILENCE_S,
            follow_redirects=False,
            trust_env=False,
            # Shorter than servers keep an idle connection, so that none is closed under a call.
            transport=Transport(httpx.Limits(keepalive_expiry=1)),
        )

    async def call(self, path: str, query: Mapping[str, str]) -> Sequence[Any]:
        """The JSON array that the backend answers; raises CallFailed for anything else."""
        try:
            async with asyncio.timeout(CALL_S):
                return self.read_answer(*await self.get(path, query))
        except TimeoutError:
            raise CallFailed(f"no answer within {CALL_S:g} s") from None
        except httpx.HTTPError as error:
            raise CallFailed(f"{type(error).__name__}: {error}") from error

    async def get(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        """The status and the whole body of one request; raises httpx.HTTPError, and CallFailed for a flood."""
        body = bytearray()
        async with self.client.stream("GET", path, params=query, headers=self.credentials()) as response:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_ANSWER:
                    raise CallFailed(f"the answer is longer than {MAX_ANSWER} bytes")
        return response.status_code, bytes(body)

    def credentials(self) -> Mapping[str, str]:
        """How a call says who makes it."""
        return {"Authorization": f"Bearer {self.settings.service_token}"}

    def read_answer(self, status: int, body: bytes) -> Sequence[Any]:
        """The JSON array of a 200; raises CallFailed for any other answer."""
        if status != 200:
            raise CallFailed(f"status {status}")
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            raise CallFailed("the body is not JSON") from None
        if not isinstance(value, list):
            raise CallFailed("the body is no array")
        return value

    async def backend_cast(self, ep_id: str) -> Sequence[CastMember]:
        """The people of an episode as the backend knows them; 502 where it can't be asked."""
        try:
            rows = await self.call(f"/screenalytics/episodes/{quote(ep_id, safe='')}/cast", {})
        except CallFailed as error:
            raise HTTPException(502, f"The cast is not available: {error}") from error
        return [member for row in rows if (member := self.cast_member(row))]

    def cast_member(self, row: Any) -> CastMember | None:
        """The person of a cast row; None where the row names none."""
        person_id = row.get("person_id") if isinstance(row, dict) else None
        if not isinstance(person_id, str) or not _UUID.fullmatch(person_id):
            return None
        name = row.get("full_name")
        return CastMember(person_id, name.replace("\0", "") if isinstance(name, str) else None)

    # The tables

    async def stored_cast(self, ep_id: str) -> Sequence[CastMember]:
        """The people of an episode as they are stored here."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "select person_id::text from episode_cast where ep_id = %s order by billing_order", (ep_id,)
            )
            return [CastMember(person_id) for (person_id,) in await cursor.fetchall()]

    async def store(self, member: CastMember, addresses: Sequence[str]) -> int:
        """Store the person and the images that are new, in one transaction, and return how many were new."""
        if not addresses:
            return 0
        async with self.pool.connection() as connection:
            await self.store_person(connection, member)
            return await self.store_images(connection, member.person_id, addresses)

    async def store_person(self, connection: Connection, member: CastMember) -> None:
        """Store the person where it is not known yet."""
        await connection.execute(
            "insert into person (person_id, canonical_name, display_name) values (%s, %s, %s) on conflict do nothing",
            (member.person_id, member.name, member.name),
        )

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        """Store the images that are new, for somebody to approve, and leave those that are known as they are."""
        # Two imports at once insert in one order, whatever the backend's, and never wait for each other in a circle;
        # the backend's order is that of created_at.
        cursor = await connection.execute(
            "insert into face_bank_images (person_id, source_url, is_seed, approved, created_at)"
            " select %s, address, true, false, now() + place * interval '1 microsecond'"
            " from unnest(%s::text[]) with ordinality as given (address, place) order by address"
            " on conflict (person_id, source_url) do nothing",
            (person_id, list(addresses)),
        )
        return cursor.rowcount


def create_app(screenalytics: Screenalytics) -> FastAPI:
    """The HTTP application, with the provider states."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with screenalytics.pool as pool, screenalytics.client:
            if screenalytics.schema_changes:
                async with pool.connection() as connection:
                    await connection.execute(screenalytics.schema_changes)
            yield

    app = FastAPI(title="SCREENALYTICS (reference)", lifespan=lifespan, redirect_slashes=False)
    app.include_router(states.endpoint(States(screenalytics.pool).handle))

    @app.get(HEALTH, include_in_schema=False)
    async def health() -> Response:
        async with screenalytics.pool.connection() as connection:
            await connection.execute("select 1")
        return states.answer({"status": "ok"})

    @app.post(SYNC_PATH, operation_id="syncCastFromTrr")
    async def sync_cast_from_trr(ep_id: str, request: SyncRequest | None = None) -> Response:
        """Import face bank images for the cast of an episode."""
        if "\0" in ep_id:
            raise HTTPException(404, "Episode not found")
        return states.answer(await screenalytics.sync(ep_id, (request or SyncRequest()).import_limit))

    return app


class States:
    """The provider states of Screenalytics."""

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self._pool = pool

    async def handle(self, body: Any) -> Mapping[str, Any]:
        """Carry out one request of the provider-state protocol and return its values."""
        change = states.Change.parse(body)
        match change.state:
            case "episode with cast":
                return await (self._episode(change) if change.setup else self._no_episode(change))
            case "approved face bank image":
                # What is approved stays so: the image is as good as any for whoever comes next.
                return await self._approve(change) if change.setup else {}
        raise states.StateError(404, f"unknown state: {change.state!r}")

    async def _episode(self, change: states.Change) -> Mapping[str, Any]:
        change.allow("person_ids")
        people = change.params.get("person_ids", [])
        if not isinstance(people, list):
            raise states.StateError(422, "person_ids must be a list of UUIDs")
        ids = dict.fromkeys(_uuid("person_ids", text) for text in people)
        ep_id = f"episode-{uuid.uuid4().hex}"
        async with self._pool.connection() as connection:
            await connection.execute(
                "insert into episode_cast (ep_id, person_id, billing_order)"
                " select %s, person_id, place from unnest(%s::uuid[]) with ordinality as given (person_id, place)",
                (ep_id, list(ids)),
            )
        return {"ep_id": ep_id}

    async def _no_episode(self, change: states.Change) -> Mapping[str, Any]:
        async with self._pool.connection() as connection:
            await connection.execute("delete from episode_cast where ep_id = %s", (str(change.params.get("ep_id")),))
        return {}

    async def _approve(self, change: states.Change) -> Mapping[str, Any]:
        change.allow("person_id")
        person_id = _uuid("person_id", change.params.get("person_id"))
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "update face_bank_images set approved = true, approved_at = now(), approved_by = 'provider state'"
                " where image_id = (select image_id from face_bank_images where person_id = %s"
                " order by created_at limit 1) returning image_id::text",
                (person_id,),
            )
            row = await cursor.fetchone()
        if row is None:
            raise states.StateError(409, "the person has no face bank image")
        return {"image_id": row[0]}


def _uuid(name: str, value: Any) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise states.StateError(422, f"{name}: {value!r} is no UUID")
    return value.lower()
