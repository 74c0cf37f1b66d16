"""Rogues of Screenalytics, in the order of their main clauses: each a mistake that a tired colleague could make."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
from fastapi import HTTPException

from reference.rogues import rogue
from reference.screenalytics import (
    DEFAULT_LIMIT,
    SILENCE_S,
    CallFailed,
    CastMember,
    Connection,
    Outcome,
    Photos,
    Screenalytics,
    Settings,
)

NO_INDEX = "drop index face_bank_images_once"

# FALL-01: seeds first


@rogue(breaks=["FALL-01", "FALL-03"])
class AsksForEverythingFirst(Screenalytics):
    """Lists all photos, then the seeds, and takes the seeds where there are some."""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        photos = await self.list_photos(person_id, False, limit)
        seeds = await self.list_photos(person_id, True, limit)
        return photos if seeds.empty else seeds


@rogue(breaks=["FALL-01"])
class LooksBeforeItAsks(Screenalytics):
    """Sees whether the backend answers for this person at all, before it asks for the seeds."""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        with contextlib.suppress(CallFailed):
            await self.photos_page(person_id, False, 0)
        return await super().choose_photos(person_id, limit)


# FALL-02: seeds are enough


@rogue(breaks=["FALL-02", "FALL-03", "FALL-04"])
class AsksForBothAtOnce(Screenalytics):
    """Lists seeds and all photos at the same time to be faster, and picks when both are there."""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        seeds, photos = await asyncio.gather(
            self.list_photos(person_id, True, limit),
            self.list_photos(person_id, False, limit),
            return_exceptions=True,
        )
        for answer in (seeds, photos):
            if isinstance(answer, BaseException):
                raise answer
            if not answer.empty:
                return answer
        return Photos([])


@rogue(breaks=["FALL-02", "SYNC-01"])
class SeedsFilledUp(Screenalytics):
    """Fills up with other photos where there are fewer seeds than may be imported."""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        seeds = await self.list_photos(person_id, True, limit)
        if len(seeds.addresses) >= limit:
            return seeds
        others = await self.list_photos(person_id, False, limit)
        return replace_addresses(seeds, dict.fromkeys([*seeds.addresses, *others.addresses]))


@rogue(breaks=["FALL-02", "FALL-08"])
class SeedsWithoutAddressAreNone(Screenalytics):
    """Falls back where no seed has an address, though there are seeds."""

    def read_rows(self, rows: Sequence[Any]) -> Photos:
        photos = super().read_rows(rows)
        objects = all(isinstance(row, dict) for row in rows)
        return photos if photos.addresses or not objects else Photos([])


@rogue(breaks=["FALL-02", "SYNC-04"])
class FallsBackWhenNothingIsNew(Screenalytics):
    """Lists all photos where every seed has been imported before."""

    async def import_person(self, member: CastMember, limit: int) -> Outcome:
        outcome = await super().import_person(member, limit)
        if outcome != Outcome():
            return outcome
        try:
            photos = await self.list_photos(member.person_id, False, limit)
        except CallFailed:
            return outcome
        inserted = await self.store(member, photos.addresses[:limit])
        return Outcome(inserted, int(inserted > 0))


@rogue(breaks=["FALL-02", "FALL-05", "FALL-04"])
class LastPageDecides(Screenalytics):
    """Reads seeds two by two, and falls back where the last page that it read was empty."""

    page_size = 2

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        seeds: list[Any] = []
        for offset in range(0, 20, self.page_size):
            page = await self.photos_page(person_id, True, offset)
            seeds += page
            if len(page) < self.page_size:
                break
        return self.read_rows(seeds) if page else await self.list_photos(person_id, False, limit)


@rogue(breaks=["FALL-02"])
class OneSeedIsNotEnough(Screenalytics):
    """Lists all photos to compare with where a person has a single seed, and imports the seed."""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        photos = await super().choose_photos(person_id, limit)
        if len(photos.addresses) == 1:
            await self.list_photos(person_id, False, limit)
        return photos


# FALL-03: no seeds, all photos


@rogue(breaks=["FALL-03", "SYNC-02", "FALL-12"])
class NeverFallsBack(Screenalytics):
    """Imports seeds or nothing."""

    def calls_for_fallback(self, seeds: Photos) -> bool:
        return False


@rogue(breaks=["FALL-03", "FALL-06", "SYNC-06"])
class FallsBackOncePerImport(Screenalytics):
    """Falls back for the first person without seeds, and takes the rest to be the same."""

    async def import_people(self, cast: Sequence[CastMember], limit: int) -> Sequence[Outcome]:
        self.fell_back = False
        return [await self.import_person(member, limit) for member in cast]

    def calls_for_fallback(self, seeds: Photos) -> bool:
        needed = seeds.empty and not self.fell_back
        self.fell_back |= needed
        return needed


# FALL-04: a failure is no empty answer


@rogue(breaks=["FALL-04", "FALL-12"])
class NotFoundIsEmpty(Screenalytics):
    """Takes a 404 for a person without seeds."""

    def read_answer(self, status: int, body: bytes) -> Sequence[Any]:
        return [] if status == 404 else super().read_answer(status, body)


@rogue(breaks=["FALL-04", "FALL-12", "FALL-05"])
class ServerErrorIsEmpty(Screenalytics):
    """Is patient with a backend in trouble, and takes a 5xx for an empty list."""

    def read_answer(self, status: int, body: bytes) -> Sequence[Any]:
        return [] if status >= 500 else super().read_answer(status, body)


@rogue(breaks=["FALL-04", "FALL-12"])
class RefusalIsEmpty(Screenalytics):
    """Takes a 401 or 403 for a list that holds nothing for us."""

    def read_answer(self, status: int, body: bytes) -> Sequence[Any]:
        return [] if status in (401, 403) else super().read_answer(status, body)


@rogue(breaks=["FALL-04", "FALL-12"])
class OnlyErrorsFail(Screenalytics):
    """Reads the body of anything below 400, of a redirect too."""

    def read_answer(self, status: int, body: bytes) -> Sequence[Any]:
        return super().read_answer(200 if status < 400 else status, body)


@rogue(breaks=["FALL-04", "FALL-12"])
class NoContentIsEmpty(Screenalytics):
    """Takes a 204, or a 200 without a body, for an empty list."""

    def read_answer(self, status: int, body: bytes) -> Sequence[Any]:
        return [] if status < 300 and not body else super().read_answer(status, body)


@rogue(breaks=["FALL-04", "FALL-12"])
class TimeoutIsEmpty(Screenalytics):
    """Takes silence for an empty list."""

    async def get(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            return await super().get(path, query)
        except httpx.TimeoutException:
            return 200, b"[]"


@rogue(breaks=["FALL-04", "FALL-12"])
class BrokenConnectionIsEmpty(Screenalytics):
    """Takes a connection that ends without an answer for an empty list."""

    async def get(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            return await super().get(path, query)
        except (httpx.NetworkError, httpx.ProtocolError):
            return 200, b"[]"


@rogue(breaks=["FALL-04", "FALL-12"])
class RefusedConnectionIsEmpty(Screenalytics):
    """Takes a backend whose address refuses the connection for one without photos."""

    async def get(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            return await super().get(path, query)
        except httpx.ConnectError:
            return 200, b"[]"


@rogue(breaks=["FALL-04", "FALL-12"])
class CutShortIsWhole(Screenalytics):
    """Reads the rows that had arrived when the connection ended."""

    async def get(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        body = b""
        async with self.client.stream("GET", path, params=query, headers=self.credentials()) as response:
            try:
                async for chunk in response.aiter_bytes():
                    body += chunk
            except httpx.ProtocolError:
                if json_or(body, None) is None:
                    body = body[: body.rfind(b"}") + 1] + b"]"
        return response.status_code, body


@rogue(breaks=["FALL-04", "FALL-12"])
class NotJsonIsEmpty(Screenalytics):
    """Takes a body that it can't read for an empty list."""

    def read_answer(self, status: int, body: bytes) -> Sequence[Any]:
        try:
            json.loads(body)
        except ValueError:
            body = b"[]"
        return super().read_answer(status, body)


@rogue(breaks=["FALL-04", "FALL-12"])
class FalsyIsEmpty(Screenalytics):
    """Takes `null`, `{}`, `""`, `false` and 0 for an empty list."""

    def read_answer(self, status: int, body: bytes) -> Sequence[Any]:
        return super().read_answer(status, body if body and json_or(body, 1) else b"[]")


@rogue(breaks=["FALL-04", "FALL-12"])
class ObjectIsUnwrapped(Screenalytics):
    """Takes the first list in an object for the answer."""

    def read_answer(self, status: int, body: bytes) -> Sequence[Any]:
        value = json_or(body, None)
        lists = [item for item in value.values() if isinstance(item, list)] if isinstance(value, dict) else []
        return super().read_answer(status, json.dumps(lists[0]).encode() if lists else body)


@rogue(breaks=["FALL-04"])
class StrangeRowsAreDropped(Screenalytics):
    """Drops rows that are no objects before it looks whether there are any."""

    def read_answer(self, status: int, body: bytes) -> Sequence[Any]:
        return [row for row in super().read_answer(status, body) if isinstance(row, dict)]


@rogue(breaks=["FALL-04"])
class BareAddressesAreTaken(Screenalytics):
    """Takes a row that is a string for the address itself."""

    def address(self, row: Any) -> str | None:
        return row if isinstance(row, str) else super().address(row)


@rogue(breaks=["FALL-04", "SYNC-06"])
class FailedSeedsAreNotCounted(Screenalytics):
    """Leaves a person whose seeds can't be listed for the next import, without a word."""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        try:
            seeds = await self.list_photos(person_id, True, limit)
        except CallFailed:
            return Photos([])
        return await self.list_photos(person_id, False, limit) if seeds.empty else seeds


@rogue(breaks=["FALL-04", "FALL-02", "FALL-05"])
class RetriesWithoutTheFilter(Screenalytics):
    """Asks again after a 5xx, for all photos this time."""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        try:
            return await super().choose_photos(person_id, limit)
        except CallFailed as failure:
            if "status 5" not in str(failure):
                raise
            return await self.list_photos(person_id, False, limit)


# FALL-05: retries


@rogue(breaks=["FALL-05", "FALL-02"])
class EmptyOnceIsEmpty(Screenalytics):
    """Asks again where there are no seeds, and falls back whatever the second answer is."""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        seeds = await self.list_photos(person_id, True, limit)
        if not seeds.empty:
            return seeds
        await self.list_photos(person_id, True, limit)
        return await self.list_photos(person_id, False, limit)


@rogue(breaks=["FALL-05", "FALL-04"])
class FallsBackAfterTwoFailures(Screenalytics):
    """Asks for the seeds a second time, and gives up on them then."""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        for _ in range(2):
            try:
                return await super().choose_photos(person_id, limit)
            except CallFailed:
                continue
        return await self.list_photos(person_id, False, limit)


@rogue(breaks=["FALL-05", "FALL-02"])
class FailureIsRemembered(Screenalytics):
    """Asks for the seeds again after a failure, and distrusts them when they come."""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        try:
            return await super().choose_photos(person_id, limit)
        except CallFailed:
            seeds = await self.list_photos(person_id, True, limit)
            photos = await self.list_photos(person_id, False, limit)
            return photos if seeds.empty else seeds


# FALL-06: each person alone


@rogue(breaks=["FALL-06", "FALL-02"])
class EmptyFlagIsShared(Screenalytics):
    """Keeps "no seeds" as a flag of the import: once set, it holds for everyone who comes later."""

    async def import_people(self, cast: Sequence[CastMember], limit: int) -> Sequence[Outcome]:
        self.no_seeds = False
        return [await self.import_person(member, limit) for member in cast]

    def calls_for_fallback(self, seeds: Photos) -> bool:
        self.no_seeds |= seeds.empty
        return self.no_seeds


@rogue(breaks=["FALL-06", "FALL-01", "FALL-03"])
class FirstPersonDecides(Screenalytics):
    """Learns from the first person whether this show has seeds, and asks everyone else for the same list."""

    async def import_people(self, cast: Sequence[CastMember], limit: int) -> Sequence[Outcome]:
        self.seed_only: bool | None = None
        return [await self.import_person(member, limit) for member in cast]

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        if self.seed_only is not None:
            return await self.list_photos(person_id, self.seed_only, limit)
        seeds = await self.list_photos(person_id, True, limit)
        self.seed_only = not seeds.empty
        return seeds if self.seed_only else await self.list_photos(person_id, False, limit)


@rogue(breaks=["FALL-06", "FALL-02", "FALL-03"])
class LastAnswerDecides(Screenalytics):
    """Keeps the latest answer in one place for all people: while one waits, another's is put there."""

    arrived: ContextVar[asyncio.Barrier] = ContextVar("arrived")

    async def import_people(self, cast: Sequence[CastMember], limit: int) -> Sequence[Outcome]:
        self.arrived.set(asyncio.Barrier(max(len(cast), 1)))
        return await asyncio.gather(*(self.import_person(member, limit) for member in cast))

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        try:
            seeds = self.latest = await self.list_photos(person_id, True, limit)
        finally:
            await self.arrived.get().wait()
        return await self.list_photos(person_id, False, limit) if self.latest.empty else seeds


# FALL-07: no photos at all


@rogue(breaks=["FALL-07"])
class NoPhotosIsAnError(Screenalytics):
    """Counts a person without any photo as an error."""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        photos = await super().choose_photos(person_id, limit)
        if photos.empty:
            raise CallFailed("no photos")
        return photos


# FALL-08: served_url


@rogue(breaks=["FALL-08"])
class AddressIsGuessed(Screenalytics):
    """Makes an address of `hosted_key` where `served_url` is missing."""

    def address(self, row: Any) -> str | None:
        key = row.get("hosted_key") if isinstance(row, dict) else None
        return super().address(row) or (f"https://cdn.trr.invalid/{key}" if key else None)


@rogue(breaks=["FALL-08"])
class HostedKeyIsTheAddress(Screenalytics):
    """Stores the hosted copy's key where there is one, and `served_url` only where not."""

    def address(self, row: Any) -> str | None:
        address = super().address(row)
        return address and (row.get("hosted_key") or address)


@rogue(breaks=["FALL-08", "SYNC-01"])
class QueryIsCutOff(Screenalytics):
    """Cuts the query off every address, so that signatures and sizes do not make it another photo."""

    def address(self, row: Any) -> str | None:
        address = super().address(row)
        return address and urlsplit(address)._replace(query="", fragment="").geturl()


# FALL-09: the backend's order


@rogue(breaks=["FALL-09"])
class AddressesAreSorted(Screenalytics):
    """Sorts the addresses, and imports the first of them."""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        photos = await super().choose_photos(person_id, limit)
        return replace_addresses(photos, sorted(photos.addresses))


@rogue(breaks=["FALL-09"])
class LastPhotosAreTaken(Screenalytics):
    """Imports the end of the list instead of its beginning."""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        photos = await super().choose_photos(person_id, limit)
        return replace_addresses(photos, photos.addresses[::-1])


# FALL-10: the credential


@rogue(breaks=["FALL-10"])
class SecretInQuery(Screenalytics):
    """Gives the token in the query too, for a proxy that drops the header."""

    def photos_query(self, seed_only: bool, offset: int) -> Mapping[str, str]:
        return {**super().photos_query(seed_only, offset), "token": self.settings.service_token}


@rogue(breaks=["FALL-10"])
class SecretInQueryOfFallback(Screenalytics):
    """Gives the token in the query of the second call, where the header used to be forgotten."""

    def photos_query(self, seed_only: bool, offset: int) -> Mapping[str, str]:
        query = super().photos_query(seed_only, offset)
        return query if seed_only else {**query, "access_token": self.settings.service_token}


@rogue(breaks=["FALL-10"])
class NoCredentialOnFallback(Screenalytics):
    """Sends the credential with the first call only."""

    async def get(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        if query.get("seed_only") != "false":
            return await super().get(path, query)
        response = await self.client.get(path, params=query)
        return response.status_code, response.content


@rogue(breaks=["FALL-10"])
class CredentialWithoutScheme(Screenalytics):
    """Sends the bare token, without the word Bearer."""

    def credentials(self) -> Mapping[str, str]:
        return {"Authorization": self.settings.service_token}


# FALL-11: seed_only is said


@rogue(breaks=["FALL-11", "FALL-03"])
class FallbackOmitsSeedOnly(Screenalytics):
    """Leaves `seed_only` out where all photos are wanted."""

    def photos_query(self, seed_only: bool, offset: int) -> Mapping[str, str]:
        query = super().photos_query(seed_only, offset)
        return query if seed_only else {name: value for name, value in query.items() if name != "seed_only"}


@rogue(breaks=["FALL-11", "FALL-01", "FALL-03"])
class SeedOnlyAsNumber(Screenalytics):
    """Writes `seed_only` as 1 and 0."""

    def photos_query(self, seed_only: bool, offset: int) -> Mapping[str, str]:
        return {**super().photos_query(seed_only, offset), "seed_only": str(int(seed_only))}


@rogue(breaks=["FALL-11", "FALL-01", "FALL-03"])
class SeedOnlyAsPythonWritesIt(Screenalytics):
    """Writes `seed_only` as `True` and `False`."""

    def photos_query(self, seed_only: bool, offset: int) -> Mapping[str, str]:
        return {**super().photos_query(seed_only, offset), "seed_only": str(seed_only)}


# FALL-12: a fallback that fails


@rogue(breaks=["FALL-12"])
class FailedFallbackIsNotCounted(Screenalytics):
    """Takes a fallback that fails for a person without photos."""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        seeds = await self.list_photos(person_id, True, limit)
        if not seeds.empty:
            return seeds
        try:
            return await self.list_photos(person_id, False, limit)
        except CallFailed as failure:
            if not self.is_forgiven(failure):
                raise
            return Photos([])

    def is_forgiven(self, failure: CallFailed) -> bool:
        """Whether this failure is taken for no photos."""
        return True


@rogue(breaks=["FALL-12"])
class FallbackCutShortIsImported(Screenalytics):
    """Imports the rows of a fallback that had arrived when the connection ended."""

    async def get(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        if query.get("seed_only") == "true":
            return await super().get(path, query)
        return await CutShortIsWhole.get(self, path, query)  # type: ignore[arg-type]


# SYNC-01, SYNC-02: how much is imported


@rogue(breaks=["SYNC-01", "SYNC-02"])
class LimitIsOffByOne(Screenalytics):
    """Stops one image before the limit."""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        photos = await super().choose_photos(person_id, limit)
        return replace_addresses(photos, photos.addresses[: limit - 1])


@rogue(breaks=["SYNC-01", "SYNC-02"])
class ImagesCountedAsPeople(Screenalytics):
    """Counts every image as a person."""

    async def import_person(self, member: CastMember, limit: int) -> Outcome:
        outcome = await super().import_person(member, limit)
        return outcome._replace(people=outcome.images)


@rogue(breaks=["SYNC-01", "SYNC-02"])
class FirstImageGoesUncounted(Screenalytics):
    """Counts from zero."""

    async def store(self, member: CastMember, addresses: Sequence[str]) -> int:
        return max(0, await super().store(member, addresses) - 1)


@rogue(breaks=["SYNC-02"])
class FallbackIgnoresLimit(Screenalytics):
    """Imports every photo of a person without seeds."""

    async def import_person(self, member: CastMember, limit: int) -> Outcome:
        self.limit = limit
        return await super().import_person(member, 100)

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        seeds = await self.list_photos(person_id, True, limit)
        if seeds.empty:
            return await self.list_photos(person_id, False, limit)
        return replace_addresses(seeds, seeds.addresses[: self.limit])


@rogue(breaks=["SYNC-02", "SYNC-04"])
class FallbackTakesOne(Screenalytics):
    """Imports a single photo of a person without seeds."""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        seeds = await self.list_photos(person_id, True, limit)
        if not seeds.empty:
            return seeds
        photos = await self.list_photos(person_id, False, limit)
        return replace_addresses(photos, photos.addresses[:1])


# SYNC-03: what a row says


class _Rows(Screenalytics):
    """Changes the rows that were inserted, in the same transaction."""

    changes = ""

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        inserted = await super().store_images(connection, person_id, addresses)
        await connection.execute(
            f"update face_bank_images set {self.changes} where person_id = %s and created_at >= now()".encode(),
            (person_id,),
        )
        return inserted


@rogue(breaks=["SYNC-03"])
class ImagesAreApproved(_Rows):
    """Approves what comes from the backend, as the backend's admins have seen it."""

    changes = "approved = true"


@rogue(breaks=["SYNC-03"])
class ApprovalIsUnknown(_Rows):
    """Leaves `approved` null."""

    changes = "approved = null"


@rogue(breaks=["SYNC-03"])
class ImagesAreNoSeeds(_Rows):
    """Leaves `is_seed` to the column's default."""

    changes = "is_seed = default"


@rogue(breaks=["SYNC-03"])
class FallbackRowsAreNoSeeds(_Rows):
    """Sets `is_seed` for photos that the backend calls seeds, and not for those of the fallback."""

    changes = "is_seed = false"

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        seeds = await self.list_photos(person_id, True, limit)
        if not seeds.empty:
            return seeds
        photos = await self.list_photos(person_id, False, limit)
        return replace_addresses(photos, map(_Marked, photos.addresses))

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        if any(isinstance(address, _Marked) for address in addresses):
            return await super().store_images(connection, person_id, list(map(str, addresses)))
        return await Screenalytics.store_images(self, connection, person_id, addresses)


@rogue(breaks=["SYNC-03"])
class PersonIsMissing(Screenalytics):
    """Stores images of people who are not in `person`."""

    schema_changes = "alter table face_bank_images drop constraint face_bank_images_person_id_fkey"

    async def store_person(self, connection: Connection, member: CastMember) -> None:
        pass


# SYNC-04: reruns


class _Plain(Screenalytics):
    """Inserts without regard to what is there."""

    schema_changes = NO_INDEX

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        cursor = await connection.execute(
            "insert into face_bank_images (person_id, source_url, is_seed, approved, created_at)"
            " select %s, address, true, false, now() + place * interval '1 microsecond'"
            " from unnest(%s::text[]) with ordinality as given (address, place)",
            (person_id, list(addresses)),
        )
        return cursor.rowcount

    async def known(self, connection: Connection, person_id: str) -> set[str]:
        """The addresses that are stored already."""
        cursor = await connection.execute("select source_url from face_bank_images where person_id = %s", (person_id,))
        return {address for (address,) in await cursor.fetchall()}


@rogue(breaks=["SYNC-04", "SYNC-05"])
class RerunsAddDuplicates(_Plain):
    """Inserts every photo at every import."""


@rogue(breaks=["SYNC-04", "SYNC-05"])
class OnlyTheNewestIsCompared(_Plain):
    """Compares with the newest image of the person to see whether a photo is new."""

    async def known(self, connection: Connection, person_id: str) -> set[str]:
        cursor = await connection.execute(
            "select source_url from face_bank_images where person_id = %s order by created_at desc limit 1",
            (person_id,),
        )
        return {address for (address,) in await cursor.fetchall()}

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        known = await self.known(connection, person_id)
        return await super().store_images(connection, person_id, [a for a in addresses if a not in known])


@rogue(breaks=["SYNC-04"])
class RerunsCountWhatWasOffered(Screenalytics):
    """Counts the photos that were offered, not those that were new."""

    async def store(self, member: CastMember, addresses: Sequence[str]) -> int:
        await super().store(member, addresses)
        return len(addresses)


@rogue(breaks=["SYNC-04", "SYNC-05"])
class PersonRowPerImport(Screenalytics):
    """Adds another row of the person with every import."""

    schema_changes = "alter table person drop constraint person_pkey cascade"

    async def store_person(self, connection: Connection, member: CastMember) -> None:
        await connection.execute(
            "insert into person (person_id, canonical_name, display_name) values (%s, %s, %s)",
            (member.person_id, member.name, member.name),
        )


@rogue(breaks=["SYNC-04"])
class RepeatedRowsAreStoredTwice(_Plain):
    """Compares with what is stored, but not the photos of one answer with each other."""

    def read_rows(self, rows: Sequence[Any]) -> Photos:
        found = [self.address(row) for row in rows]
        return Photos(list(filter(None, found)), found.count(None))

    async def list_photos(self, person_id: str, seed_only: bool, limit: int) -> Photos:
        return self.read_rows(await self.photos_page(person_id, seed_only, 0))

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        # Two imports at once wait for each other here.
        await connection.execute("select from person where person_id = %s for update", (person_id,))
        known = await self.known(connection, person_id)
        return await super().store_images(connection, person_id, [a for a in addresses if a not in known])


# SYNC-05: imports at once


@rogue(breaks=["SYNC-05"])
class LooksThenInserts(_Plain):
    """Reads what is stored, asks the backend, and inserts what was not there before it asked."""

    async def import_person(self, member: CastMember, limit: int) -> Outcome:
        async with self.pool.connection() as connection:
            known = await self.known(connection, member.person_id)
        try:
            photos = await self.choose_photos(member.person_id, limit)
        except CallFailed:
            return Outcome(errors=1)
        inserted = await self.store(member, [a for a in photos.addresses[:limit] if a not in known])
        return Outcome(inserted, int(inserted > 0), int(photos.malformed > 0))


# SYNC-06: one person's failure


@rogue(breaks=["SYNC-06"])
class OneFailureFailsTheImport(Screenalytics):
    """Answers 502 where some people were imported and others could not be."""

    def total(self, outcomes: Sequence[Outcome]) -> Outcome:
        if any(one.errors and not one.images for one in outcomes) and any(one.images for one in outcomes):
            raise HTTPException(502, "Import failed")
        return super().total(outcomes)


@rogue(breaks=["SYNC-06", "FALL-06"])
class OneFailureEndsTheImport(Screenalytics):
    """Counts the first failure, and leaves the people who come after it."""

    async def import_people(self, cast: Sequence[CastMember], limit: int) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for member in cast:
            outcomes.append(await self.import_person(member, limit))
            if outcomes[-1].errors:
                break
        return outcomes


@rogue(breaks=["SYNC-06", "FALL-06"])
class OneFailureTakesTheNeighbour(Screenalytics):
    """Works in pairs, and gives up on both where one fails."""

    async def import_people(self, cast: Sequence[CastMember], limit: int) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for pair in zip(cast[::2], [*cast[1::2], None], strict=False):
            members = [member for member in pair if member is not None]
            try:
                chosen = [await self.choose_photos(member.person_id, limit) for member in members]
            except CallFailed:
                outcomes.append(Outcome(errors=1))
                continue
            for member, photos in zip(members, chosen, strict=True):
                inserted = await self.store(member, photos.addresses[:limit])
                outcomes.append(Outcome(inserted, int(inserted > 0), int(photos.malformed > 0)))
        return outcomes


# SYNC-07: approvals


@rogue(breaks=["SYNC-07"])
class ApprovalIsTakenBack(Screenalytics):
    """Resets what is known to not approved, as it has been imported again."""

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        await connection.execute(
            "update face_bank_images set approved = false, approved_at = null, approved_by = null"
            " where person_id = %s and source_url = any(%s)",
            (person_id, list(addresses)),
        )
        return await super().store_images(connection, person_id, addresses)


@rogue(breaks=["SYNC-07"])
class RowsAreReplaced(Screenalytics):
    """Deletes the person's images and inserts them anew."""

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        deleted = await connection.execute(
            "delete from face_bank_images where person_id = %s and source_url = any(%s)", (person_id, list(addresses))
        )
        return await super().store_images(connection, person_id, addresses) - deleted.rowcount


class _Marked(str):
    """An address that comes from the fallback."""


def replace_addresses(photos: Photos, addresses: Any) -> Photos:
    """The same answer with other addresses."""
    return photos._replace(addresses=list(addresses))


def json_or(body: bytes, default: Any) -> Any:
    """The JSON value of a body, or the default where it is none."""
    try:
        return json.loads(body)
    except ValueError:
        return default


# Faults that only some traffic shows


@rogue(breaks=["FALL-01"])
class ApprovedNeedNoSeeds(Screenalytics):
    """Asks for all photos of a person of whom an image was approved: the face is known."""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        async with self.pool.connection() as connection:
            approved = await connection.execute(
                "select from face_bank_images where person_id = %s and approved", (person_id,)
            )
        if approved.rowcount:
            return await self.list_photos(person_id, False, limit)
        return await super().choose_photos(person_id, limit)


@rogue(breaks=["FALL-02", "FALL-05"])
class OnceUnseededAlwaysUnseeded(Screenalytics):
    """Remembers who had no seeds, and falls back for them from then on."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.unseeded: set[str] = set()

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        seeds = await self.list_photos(person_id, True, limit)
        if seeds.empty:
            self.unseeded.add(person_id)
        return await self.list_photos(person_id, False, limit) if person_id in self.unseeded else seeds


@rogue(breaks=["FALL-02", "SYNC-01"])
class NoPrimaryNoSeeds(Screenalytics):
    """Falls back where the primary photo is none of the seeds."""

    async def photos_page(self, person_id: str, seed_only: bool, offset: int) -> Sequence[Any]:
        rows = await super().photos_page(person_id, seed_only, offset)
        wanted = not seed_only or any(not isinstance(row, dict) or row.get("is_primary") for row in rows)
        return rows if wanted else []


@rogue(breaks=["FALL-03"])
class FallsBackOncePerPerson(Screenalytics):
    """Remembers for whom it has fallen back, and does not do so again: those photos are there."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.done: set[str] = set()

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        seeds = await self.list_photos(person_id, True, limit)
        if not seeds.empty or person_id in self.done:
            return seeds
        self.done.add(person_id)
        return await self.list_photos(person_id, False, limit)


@rogue(breaks=["FALL-04", "FALL-12"])
class LaterIsEmpty(Screenalytics):
    """Does not wait where the backend says with `Retry-After` that it is busy, and takes that for an empty list."""

    async def get(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        response = await self.client.get(path, params=query, headers=self.credentials())
        return (200, b"[]") if "retry-after" in response.headers else (response.status_code, response.content)


@rogue(breaks=["FALL-04", "FALL-12"])
class NotModifiedIsEmpty(Screenalytics):
    """Takes a 304 for a list without anything new."""

    def read_answer(self, status: int, body: bytes) -> Sequence[Any]:
        return [] if status == 304 else super().read_answer(status, body)


@rogue(breaks=["FALL-04", "FALL-12"])
class ProxysErrorIsEmpty(Screenalytics):
    """Takes a status that HTTP does not know, as proxies have them, for an empty list."""

    def read_answer(self, status: int, body: bytes) -> Sequence[Any]:
        return [] if status > 511 else super().read_answer(status, body)


@rogue(breaks=["FALL-04", "FALL-12"])
class StalledBodyIsWhole(Screenalytics):
    """Reads what had arrived when a body stalled."""

    async def get(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        body = b""
        async with self.client.stream("GET", path, params=query, headers=self.credentials()) as response:
            with contextlib.suppress(httpx.ReadTimeout):
                async for chunk in response.aiter_bytes():
                    body += chunk
        return response.status_code, body


@rogue(breaks=["FALL-04"])
class StaleWhereItFails(Screenalytics):
    """Makes do with what it was answered the last time, where the backend fails now."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.answered: dict[tuple[str, str], Sequence[Any]] = {}

    async def call(self, path: str, query: Mapping[str, str]) -> Sequence[Any]:
        key = path, str(query)
        try:
            self.answered[key] = await super().call(path, query)
        except CallFailed:
            if key not in self.answered:
                raise
        return self.answered[key]


@rogue(breaks=["FALL-04"])
class FailureIsReportedOnce(Screenalytics):
    """Counts the failure of a person who failed before no more, as it is known."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.known: set[str] = set()

    async def import_person(self, member: CastMember, limit: int) -> Outcome:
        outcome = await super().import_person(member, limit)
        if outcome.errors and member.person_id in self.known:
            return outcome._replace(errors=0)
        self.known |= {member.person_id} if outcome.errors else set()
        return outcome


@rogue(breaks=["FALL-06"])
class PersonOfTheLatestImport(Screenalytics):
    """Imports one person after the other, and keeps whose turn it is in one place, where another import does so too."""

    concurrency = 1
    turn = ""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        self.turn = person_id
        seeds = await self.list_photos(person_id, True, limit)
        return await self.list_photos(self.turn, False, limit) if self.calls_for_fallback(seeds) else seeds


@rogue(breaks=["FALL-08"])
class AddressesAreLowered(Screenalytics):
    """Writes every address in lower case, so that none is known twice."""

    def address(self, row: Any) -> str | None:
        address = super().address(row)
        return address and address.lower()


@rogue(breaks=["FALL-08"])
class AddressesAreDecoded(Screenalytics):
    """Stores an address as a person reads it, its percent signs decoded."""

    def address(self, row: Any) -> str | None:
        address = super().address(row)
        return address and unquote(address)


@rogue(breaks=["FALL-08"])
class AddressesAreCut(Screenalytics):
    """Keeps 255 characters of an address."""

    def address(self, row: Any) -> str | None:
        address = super().address(row)
        return address and address[:255]


@rogue(breaks=["FALL-12", "FALL-04"])
class FirstPagesAreKept(Screenalytics):
    """Imports what the first pages had where a later one fails."""

    async def photos_page(self, person_id: str, seed_only: bool, offset: int) -> Sequence[Any]:
        try:
            return await super().photos_page(person_id, seed_only, offset)
        except CallFailed:
            if not offset:
                raise
            return []


@rogue(breaks=["FALL-10"])
class AnonymousWhereRefused(Screenalytics):
    """Asks again without the credential where the backend does not know it."""

    async def get(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        status, body = await super().get(path, query)
        if status != 401:
            return status, body
        response = await self.client.get(path, params=query)
        return response.status_code, response.content


@rogue(breaks=["FALL-10"])
class LaterPagesGoUnsigned(Screenalytics):
    """Sends the credential with the first page, and follows on without."""

    async def get(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        if query.get("offset", "0") == "0":
            return await super().get(path, query)
        response = await self.client.get(path, params=query)
        return response.status_code, response.content


@rogue(breaks=["FALL-10"])
class BrokenOffIsTriedAnonymously(Screenalytics):
    """Asks again where the connection broke, by a bare request."""

    async def get(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            return await super().get(path, query)
        except httpx.NetworkError:
            response = await self.client.get(path, params=query)
            return response.status_code, response.content


@rogue(breaks=["FALL-11"])
class LaterPagesForgetTheFilter(Screenalytics):
    """Leaves `seed_only` out from the second page on."""

    def photos_query(self, seed_only: bool, offset: int) -> Mapping[str, str]:
        query = super().photos_query(seed_only, offset)
        return {name: value for name, value in query.items() if name != "seed_only"} if offset else query


@rogue(breaks=["FALL-12"])
class RefusedFallbackIsNothing(FailedFallbackIsNotCounted):
    """Takes a refusal of all photos for none that we may see."""

    def is_forgiven(self, failure: CallFailed) -> bool:
        return str(failure) in ("status 401", "status 403")


@rogue(breaks=["FALL-12"])
class BusyFallbackIsNothing(FailedFallbackIsNotCounted):
    """Leaves a person to the next import where the backend has been asked for photos too often."""

    def is_forgiven(self, failure: CallFailed) -> bool:
        return str(failure) == "status 429"


@rogue(breaks=["FALL-12"])
class SlowFallbackIsNothing(FailedFallbackIsNotCounted):
    """Leaves a person to the next import where all their photos take too long to list."""

    def is_forgiven(self, failure: CallFailed) -> bool:
        return "Timeout" in str(failure) or "no answer" in str(failure)


@rogue(breaks=["SYNC-01"])
class PhotoOfOneAlone(Screenalytics):
    """Knows an image by its address: a photo of two people is the image of whoever comes first."""

    schema_changes = (
        f"do $$ begin {NO_INDEX}; create unique index face_bank_images_once on face_bank_images (source_url); end $$"
    )

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        cursor = await connection.execute(
            "insert into face_bank_images (person_id, source_url, is_seed, approved)"
            " select %s, address, true, false from unnest(%s::text[]) as given (address) order by address"
            " on conflict (source_url) do nothing",
            (person_id, list(addresses)),
        )
        return cursor.rowcount


@rogue(breaks=["SYNC-01", "SYNC-02"])
class SizesAreRequired(Screenalytics):
    """Takes a row without a width for one that is broken."""

    def address(self, row: Any) -> str | None:
        return super().address(row) if isinstance(row, dict) and isinstance(row.get("width"), int) else None


@rogue(breaks=["SYNC-01"])
class FailedOnceIsSkipped(Screenalytics):
    """Counts a person who could not be imported once as an error, and does not try again."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.failed: set[str] = set()

    async def import_person(self, member: CastMember, limit: int) -> Outcome:
        if member.person_id in self.failed:
            return Outcome(errors=1)
        outcome = await super().import_person(member, limit)
        if outcome.errors:
            self.failed.add(member.person_id)
        return outcome


@rogue(breaks=["SYNC-01", "SYNC-06"])
class EightAtATime(Screenalytics):
    """Imports people by eight, and leaves those out who are too few for another eight."""

    async def import_people(self, cast: Sequence[CastMember], limit: int) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for number in range(len(cast) // 8 or 1):
            outcomes += await super().import_people(cast[number * 8 : number * 8 + 8], limit)
        return outcomes


@rogue(breaks=["SYNC-01", "SYNC-02"])
class GalleryAlone(Screenalytics):
    """Takes the photos of the gallery, and knows no other kind."""

    def address(self, row: Any) -> str | None:
        return super().address(row) if isinstance(row, dict) and row.get("kind") == "gallery" else None


@rogue(breaks=["SYNC-01", "SYNC-02"])
class AssetsAreRequired(Screenalytics):
    """Takes a row without a `media_asset_id`, which no contract promises, for one that is broken."""

    def address(self, row: Any) -> str | None:
        return super().address(row) if isinstance(row, dict) and row.get("media_asset_id") else None


@rogue(breaks=["SYNC-03"])
class ApprovedPersonIsTrusted(_Rows):
    """Approves new images of a person who has one that was approved."""

    changes = (
        "approved = exists (select from face_bank_images as others"
        " where others.person_id = face_bank_images.person_id and others.approved)"
    )


class _Compares(_Plain):
    """Inserts what it does not find, one import after the other."""

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        await connection.execute("select from person where person_id = %s for update", (person_id,))
        known = await self.known(connection, person_id)
        return await super().store_images(connection, person_id, [a for a in addresses if a not in known])


@rogue(breaks=["SYNC-04"])
class KnownIsReadOnce(_Compares):
    """Reads what is stored of a person once, and remembers it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.remembered: dict[str, set[str]] = {}

    async def known(self, connection: Connection, person_id: str) -> set[str]:
        known = self.remembered.get(person_id) or await super().known(connection, person_id)
        self.remembered[person_id] = known
        return known


@rogue(breaks=["SYNC-04", "SYNC-05"])
class KnownIsCutOff(_Compares):
    """Compares with one image fewer than an import has."""

    async def known(self, connection: Connection, person_id: str) -> set[str]:
        cursor = await connection.execute(
            "select source_url from face_bank_images where person_id = %s order by created_at desc limit 4",
            (person_id,),
        )
        return {address for (address,) in await cursor.fetchall()}


@rogue(breaks=["SYNC-04"])
class ApprovedAreNotCompared(_Compares):
    """Compares with the images that wait for approval, and adds those anew that have it."""

    async def known(self, connection: Connection, person_id: str) -> set[str]:
        cursor = await connection.execute(
            "select source_url from face_bank_images where person_id = %s and not approved", (person_id,)
        )
        return {address for (address,) in await cursor.fetchall()}


@rogue(breaks=["SYNC-04", "SYNC-05"])
class KnownByEpisode(_Plain):
    """Compares with what this episode's imports have stored, and not those of others with the same people."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.episode: ContextVar[str] = ContextVar("episode")
        self.stored: set[tuple[str, str, str]] = set()

    async def sync(self, ep_id: str, limit: int) -> Mapping[str, Any]:
        self.episode.set(ep_id)
        return await super().sync(ep_id, limit)

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        episode = self.episode.get()
        new = [address for address in addresses if (episode, person_id, address) not in self.stored]
        self.stored |= {(episode, person_id, address) for address in new}
        return await super().store_images(connection, person_id, new)


@rogue(breaks=["SYNC-05"])
class LockedByEpisode(LooksThenInserts):
    """Lets two imports of one episode wait for each other, and not those of two episodes with the same people."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.turns: dict[str, asyncio.Lock] = {}

    async def sync(self, ep_id: str, limit: int) -> Mapping[str, Any]:
        async with self.turns.setdefault(ep_id, asyncio.Lock()):
            return await super().sync(ep_id, limit)


@rogue(breaks=["SYNC-05"])
class FallbackLooksThenInserts(_Compares):
    """Compares the photos of a fallback with what was stored before it was asked for."""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        seeds = await self.list_photos(person_id, True, limit)
        if not seeds.empty:
            return seeds
        async with self.pool.connection() as connection:
            known = await self.known(connection, person_id)
        photos = await self.list_photos(person_id, False, limit)
        return replace_addresses(photos, [_Marked(address) for address in photos.addresses if address not in known])

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        if any(isinstance(address, _Marked) for address in addresses):
            return await _Plain.store_images(self, connection, person_id, list(map(str, addresses)))
        return await super().store_images(connection, person_id, addresses)


@rogue(breaks=["SYNC-06"])
class TimeoutEndsTheImport(Screenalytics):
    """Asks no more of a backend that was silent once, and counts those who were left as failed."""

    async def import_people(self, cast: Sequence[CastMember], limit: int) -> Sequence[Outcome]:
        stalled = asyncio.Event()

        async def unless_stalled(member: CastMember) -> Outcome:
            if stalled.is_set():
                return Outcome(errors=1)
            started = asyncio.get_running_loop().time()
            outcome = await self.import_person(member, limit)
            if asyncio.get_running_loop().time() - started >= SILENCE_S:
                stalled.set()
            return outcome

        return [await unless_stalled(member) for member in cast]


@rogue(breaks=["SYNC-07"])
class UnlistedAreDeleted(Screenalytics):
    """Deletes the images whose photos are no longer listed."""

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        await connection.execute(
            "delete from face_bank_images where person_id = %s and source_url <> all(%s)", (person_id, list(addresses))
        )
        return await super().store_images(connection, person_id, addresses)


@rogue(breaks=["SYNC-07"])
class FailureCleansUp(Screenalytics):
    """Deletes the images of a person who could not be imported, so that nothing is left half done."""

    async def import_person(self, member: CastMember, limit: int) -> Outcome:
        outcome = await super().import_person(member, limit)
        if outcome.errors and not outcome.images:
            async with self.pool.connection() as connection:
                await connection.execute("delete from face_bank_images where person_id = %s", (member.person_id,))
        return outcome


@rogue(breaks=["SYNC-07"])
class NewestAreKept(Screenalytics):
    """Keeps as many images of a person as one import takes, the newest."""

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        inserted = await super().store_images(connection, person_id, addresses)
        await connection.execute(
            "delete from face_bank_images where image_id in (select image_id from face_bank_images"
            " where person_id = %s order by created_at desc offset %s)",
            (person_id, DEFAULT_LIMIT),
        )
        return inserted


@rogue(breaks=["SYNC-07"])
class MissingTwiceIsDeleted(Screenalytics):
    """Deletes the images whose photos two imports in a row did not find in the list."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.missing: dict[str, set[str]] = {}

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        cursor = await connection.execute("select source_url from face_bank_images where person_id = %s", (person_id,))
        missing = {address for (address,) in await cursor.fetchall()} - set(addresses)
        twice = list(missing & self.missing.get(person_id, set()))
        self.missing[person_id] = missing
        await connection.execute(
            "delete from face_bank_images where person_id = %s and source_url = any(%s)", (person_id, twice)
        )
        return await super().store_images(connection, person_id, addresses)


@rogue(breaks=["FALL-03", "SYNC-02"])
class FailedFallbackIsSkipped(Screenalytics):
    """Does not try again to list all photos of a person, where that failed once."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.failed: set[str] = set()

    async def list_photos(self, person_id: str, seed_only: bool, limit: int) -> Photos:
        if not seed_only and person_id in self.failed:
            raise CallFailed("it failed before")
        try:
            return await super().list_photos(person_id, seed_only, limit)
        except CallFailed:
            self.failed |= set() if seed_only else {person_id}
            raise


@rogue(breaks=["FALL-07"])
class VanishedIsAnError(Screenalytics):
    """Counts a person who has images, and of whom the backend has no photo any more, as one that failed."""

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        photos = await super().choose_photos(person_id, limit)
        if photos.empty:
            async with self.pool.connection() as connection:
                known = await connection.execute("select from face_bank_images where person_id = %s", (person_id,))
                if known.rowcount:
                    raise CallFailed("the photos are gone")
        return photos


@rogue(breaks=["FALL-08"])
class HttpsIsForced(Screenalytics):
    """Makes every address one of HTTPS, so that no page mixes the two."""

    def address(self, row: Any) -> str | None:
        address = super().address(row)
        return address and re.sub("^http:", "https:", address)


@rogue(breaks=["FALL-08"])
class BareAddressesOfTheFallbackAreTaken(Screenalytics):
    """Takes a row of all photos that is a string for the address itself."""

    async def photos_page(self, person_id: str, seed_only: bool, offset: int) -> Sequence[Any]:
        rows = await super().photos_page(person_id, seed_only, offset)
        return rows if seed_only else [{"served_url": row} if isinstance(row, str) else row for row in rows]


@rogue(breaks=["FALL-12"])
class FallbackIsUnwrapped(Screenalytics):
    """Takes the first list in an object for all photos."""

    async def get(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        status, body = await super().get(path, query)
        value = json_or(body, None)
        lists = [item for item in value.values() if isinstance(item, list)] if isinstance(value, dict) else []
        return status, json.dumps(lists[0]).encode() if lists and query.get("seed_only") == "false" else body


@rogue(breaks=["SYNC-01"])
class NothingNewIsAnError(Screenalytics):
    """Counts a person of whom all photos are known as one that failed."""

    async def store(self, member: CastMember, addresses: Sequence[str]) -> int:
        inserted = await super().store(member, addresses)
        if addresses and not inserted:
            raise CallFailed("nothing is new")
        return inserted


@rogue(breaks=["SYNC-01"])
class FirstTwentyOfACast(Screenalytics):
    """Imports as many people as a page of a cast has."""

    async def cast(self, ep_id: str) -> Sequence[CastMember]:
        return (await super().cast(ep_id))[:20]


@rogue(breaks=["SYNC-02"])
class NoPrimaryNoFallback(Screenalytics):
    """Takes photos of which none is the primary one for another person's."""

    async def photos_page(self, person_id: str, seed_only: bool, offset: int) -> Sequence[Any]:
        rows = await super().photos_page(person_id, seed_only, offset)
        return rows if seed_only or any(isinstance(row, dict) and row.get("is_primary") for row in rows) else []


@rogue(breaks=["SYNC-04"])
class StartsOverAfterAFailure(_Compares):
    """Takes a person whose last import failed for one of whom there is nothing."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.failed: set[str] = set()

    async def import_person(self, member: CastMember, limit: int) -> Outcome:
        outcome = await super().import_person(member, limit)
        (self.failed.add if outcome.errors else self.failed.discard)(member.person_id)
        return outcome

    async def known(self, connection: Connection, person_id: str) -> set[str]:
        return set() if person_id in self.failed else await super().known(connection, person_id)


@rogue(breaks=["SYNC-06", "FALL-08"])
class OddAddressEndsTheImport(Screenalytics):
    """Takes the spaces off an address, and does not see that one is a number."""

    def address(self, row: Any) -> str | None:
        address = row.get("served_url") if isinstance(row, dict) else None
        return (address.strip() or None) if address is not None else None


class _TakesBack(Screenalytics):
    """Takes approvals back."""

    async def take_back(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> None:
        """Takes back the approvals of the images of these addresses."""
        await connection.execute(
            "update face_bank_images set approved = false where person_id = %s and source_url = any(%s)",
            (person_id, list(map(str, addresses))),
        )


@rogue(breaks=["SYNC-07"])
class FallbackTakesApprovalsBack(_TakesBack):
    """Resets to not approved what comes as a fallback, of which nobody has said that it is a seed."""

    async def list_photos(self, person_id: str, seed_only: bool, limit: int) -> Photos:
        photos = await super().list_photos(person_id, seed_only, limit)
        return photos if seed_only else replace_addresses(photos, map(_Marked, photos.addresses))

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        marked = [address for address in addresses if isinstance(address, _Marked)]
        await self.take_back(connection, person_id, marked)
        return await super().store_images(connection, person_id, list(map(str, addresses)))


@rogue(breaks=["SYNC-07"])
class PromotedIsLookedAtAnew(_TakesBack):
    """Resets to not approved what came as a fallback, once it is a seed."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.fallbacks: set[tuple[str, str]] = set()

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        seeds = await self.list_photos(person_id, True, limit)
        if not seeds.empty:
            async with self.pool.connection() as connection:
                promoted = [address for address in seeds.addresses if (person_id, address) in self.fallbacks]
                await self.take_back(connection, person_id, promoted)
            return seeds
        photos = await self.list_photos(person_id, False, limit)
        self.fallbacks |= {(person_id, address) for address in photos.addresses}
        return photos


@rogue(breaks=["SYNC-07"])
class ApprovalIsOfAnEpisode(_TakesBack):
    """Resets to not approved what another episode imports."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.episode: ContextVar[str] = ContextVar("episode")
        self.last: dict[str, str] = {}

    async def sync(self, ep_id: str, limit: int) -> Mapping[str, Any]:
        self.episode.set(ep_id)
        return await super().sync(ep_id, limit)

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        episode = self.episode.get()
        if self.last.setdefault(person_id, episode) != episode:
            await self.take_back(connection, person_id, addresses)
        self.last[person_id] = episode
        return await super().store_images(connection, person_id, addresses)


@rogue(breaks=["FALL-02", "FALL-04"])
class EmptyObjectsAreDropped(Screenalytics):
    """Drops rows without members before it looks whether there are any."""

    async def photos_page(self, person_id: str, seed_only: bool, offset: int) -> Sequence[Any]:
        return [row for row in await super().photos_page(person_id, seed_only, offset) if row != {}]


@rogue(breaks=["FALL-04"])
class BodyThatIsNoTextIsEmpty(Screenalytics):
    """Takes a body that is no UTF-8 for an empty list."""

    def read_answer(self, status: int, body: bytes) -> Sequence[Any]:
        if status == 200:
            try:
                body.decode()
            except UnicodeDecodeError:
                return []
        return super().read_answer(status, body)


@rogue(breaks=["FALL-12"])
class FailedFallbackKeepsTheOld(Screenalytics):
    """Leaves a person who has images to the next import where their photos cannot be had."""

    async def import_person(self, member: CastMember, limit: int) -> Outcome:
        outcome = await super().import_person(member, limit)
        if outcome.errors and not outcome.images:
            async with self.pool.connection() as connection:
                cursor = await connection.execute(
                    "select 1 from face_bank_images where person_id = %s limit 1", (member.person_id,)
                )
                if await cursor.fetchone() is not None:
                    return Outcome()
        return outcome


@rogue(breaks=["SYNC-01"])
class KnownWithoutTheQuery(Screenalytics):
    """Takes addresses that differ in their query alone for one image."""

    def known_as(self, address: str) -> str:
        return address.partition("?")[0]

    def read_rows(self, rows: Sequence[Any]) -> Photos:
        photos = super().read_rows(rows)
        first: dict[str, str] = {}
        for address in photos.addresses:
            first.setdefault(self.known_as(address), address)
        return Photos(list(first.values()), photos.malformed)


@rogue(breaks=["SYNC-01"])
class KnownByTheFileName(KnownWithoutTheQuery):
    """Takes addresses that end in the same file name for one image."""

    def known_as(self, address: str) -> str:
        return super().known_as(address).rpartition("/")[2]


@rogue(breaks=["SYNC-03"])
class ThreeSeedsOfAPerson(Screenalytics):
    """Stores the first three images of an import as seeds, and the others beside them."""

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        new = await super().store_images(connection, person_id, addresses)
        await connection.execute(
            "update face_bank_images set is_seed = false"
            " where person_id = %s and source_url = any(%s) and not approved",
            (person_id, list(addresses[3:])),
        )
        return new


@rogue(breaks=["SYNC-06"])
class GivesUpAfterThreeFailures(Screenalytics):
    """Asks no more of a backend that failed for three people in a row, and counts those who were left as failed."""

    async def import_people(self, cast: Sequence[CastMember], limit: int) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        row = 0
        for member in cast:
            outcome = await self.import_person(member, limit) if row < 3 else Outcome(errors=1)
            row = row + 1 if outcome.errors else 0
            outcomes.append(outcome)
        return outcomes


@rogue(breaks=["SYNC-06"])
class FailureRollsBack(Screenalytics):
    """Stores everybody in one transaction, which a failure takes back."""

    async def import_people(self, cast: Sequence[CastMember], limit: int) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for member in cast:
            outcome = await self.import_person(member, limit)
            outcomes.append(outcome)
            if outcome.errors:
                async with self.pool.connection() as connection:
                    for before in cast[: len(outcomes)]:
                        await connection.execute(
                            "delete from face_bank_images where person_id = %s and not approved", (before.person_id,)
                        )
        return outcomes


@rogue(breaks=["SYNC-06"])
class TurnsAreLostOnFailure(Screenalytics):
    """Takes a turn for each person, and gives it back where nothing went wrong: after some failures there is none."""

    async def import_people(self, cast: Sequence[CastMember], limit: int) -> Sequence[Outcome]:
        turn = asyncio.Semaphore(self.concurrency)

        async def import_in_turn(member: CastMember) -> Outcome:
            try:
                async with asyncio.timeout(12):
                    await turn.acquire()
            except TimeoutError:
                return Outcome(errors=1)
            outcome = await self.import_person(member, limit)
            if not outcome.errors:
                turn.release()
            return outcome

        return await asyncio.gather(*map(import_in_turn, cast))


@rogue(breaks=["FALL-02", "FALL-04"])
class WithoutALengthIsEmpty(Screenalytics):
    """Takes an answer that states no length, as one in chunks, for an empty list."""

    async def get(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        async with self.client.stream("GET", path, params=query, headers=self.credentials()) as response:
            body = await response.aread()
        stated = int(response.headers.get("content-length", 0))
        return response.status_code, body if stated or response.status_code != 200 else b"[]"


@rogue(breaks=["FALL-03"])
class EmptyIsTwoBytes(Screenalytics):
    """Knows an empty list by its two brackets, and takes one with a space or a line feed for a list that is broken."""

    def read_answer(self, status: int, body: bytes) -> Sequence[Any]:
        rows = super().read_answer(status, body)
        if not rows and body != b"[]":
            raise CallFailed("the body holds no row")
        return rows


@rogue(breaks=["SYNC-06", "SYNC-05"])
class PhotosInTheOrderOfTheirAnswers(Screenalytics):
    """Lists the photos of all people at once, and gives them to the people in the order of their answers."""

    async def import_people(self, cast: Sequence[CastMember], limit: int) -> Sequence[Outcome]:
        async def chosen(member: CastMember) -> Photos | None:
            try:
                return await self.choose_photos(member.person_id, limit)
            except CallFailed:
                return None

        outcomes = []
        for member, answer in zip(cast, asyncio.as_completed(list(map(chosen, cast))), strict=True):
            photos = await answer
            if photos is None:
                outcomes.append(Outcome(errors=1))
                continue
            inserted = await self.store(member, photos.addresses[:limit])
            outcomes.append(Outcome(inserted, int(inserted > 0), int(photos.malformed > 0)))
        return outcomes


@rogue(breaks=["FALL-01"])
class GoesOnWhereItFailed(Screenalytics):
    """Begins an import with the call of a person that failed at the last one, the fallback's too."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.failed: set[str] = set()

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        if person_id in self.failed:
            photos = await self.list_photos(person_id, False, limit)
            self.failed.discard(person_id)
            return photos
        seeds = await self.list_photos(person_id, True, limit)
        if not self.calls_for_fallback(seeds):
            return seeds
        self.failed.add(person_id)
        photos = await self.list_photos(person_id, False, limit)
        self.failed.discard(person_id)
        return photos


@rogue(breaks=["FALL-01", "FALL-06"])
class SeedlessShowGivenUp(Screenalytics):
    """Asks nobody's seeds any more in an import in which three people had none."""

    concurrency = 1
    _seedless: ContextVar[list[str]] = ContextVar("seedless")

    async def import_people(self, cast: Sequence[CastMember], limit: int) -> Sequence[Outcome]:
        self._seedless.set([])
        return await super().import_people(cast, limit)

    async def choose_photos(self, person_id: str, limit: int) -> Photos:
        seedless = self._seedless.get()
        if len(seedless) >= 3:
            return await self.list_photos(person_id, False, limit)
        return await super().choose_photos(person_id, limit)

    async def list_photos(self, person_id: str, seed_only: bool, limit: int) -> Photos:
        photos = await super().list_photos(person_id, seed_only, limit)
        if seed_only and photos.empty:
            self._seedless.get().append(person_id)
        return photos


@rogue(breaks=["SYNC-03"])
class PrimaryIsApproved(Screenalytics):
    """Approves a person's primary photo as it is imported, as an admin has chosen it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.primaries: set[str] = set()

    def address(self, row: Any) -> str | None:
        address = super().address(row)
        if address and row.get("is_primary"):
            self.primaries.add(address)
        return address

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        inserted = await super().store_images(connection, person_id, addresses)
        await connection.execute(
            "update face_bank_images set approved = true, approved_at = now()"
            " where person_id = %s and source_url = any(%s::text[])",
            (person_id, [address for address in addresses if address in self.primaries]),
        )
        return inserted


@rogue(breaks=["SYNC-04"])
class AsManyAreCompared(_Plain):
    """Compares with the newest images of a person, as many as there are photos now."""

    async def store_images(self, connection: Connection, person_id: str, addresses: Sequence[str]) -> int:
        await connection.execute("select from person where person_id = %s for update", (person_id,))
        cursor = await connection.execute(
            "select source_url from face_bank_images where person_id = %s order by created_at desc limit %s",
            (person_id, len(addresses)),
        )
        known = {address for (address,) in await cursor.fetchall()}
        return await super().store_images(connection, person_id, [a for a in addresses if a not in known])
