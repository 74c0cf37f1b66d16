"""Rogues of the toggle and the photos whose fault shows on a condition alone: a second call, another spelling."""

from __future__ import annotations

import ast
import asyncio
import base64
import contextlib
import gzip
import hashlib
import hmac
import html
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, LiteralString
from urllib.parse import parse_qsl, unquote_to_bytes
from uuid import UUID

import jwt
import psycopg
from fastapi import HTTPException, Request, Response

from reference.access import Connection, Settings
from reference.backend import Backend, Link, PhotoQuery, PhotoRow
from reference.media import Asset, Event, Order, Outcome, Picture, Scraped, Wanted
from reference.rogues import rogue

# AUTH: who may call


@rogue(breaks=["AUTH-02", "AUTH-03", "AUTH-07"])
class GrantRememberedForALink(Backend):
    """Remembers, by path and token, who was let in, and asks for the secret no more."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.granted: set[tuple[str, bytes | None]] = set()

    def authorize_admin(self, request: Request) -> None:
        call = request.url.path.lower(), self.bearer_token(request)
        if call not in self.granted:
            super().authorize_admin(request)
            self.granted.add(call)


class _TokenElsewhere(Backend):
    """Looks for a token in another place where there is no `Authorization`."""

    def bearer_token(self, request: Request) -> bytes | None:
        return super().bearer_token(request) or self.other_token(request)

    def other_token(self, request: Request) -> bytes | None:
        """What stands in the other place."""
        raise NotImplementedError


@rogue(breaks=["AUTH-01"])
class TokenFromACookie(_TokenElsewhere):
    """Takes the token from a cookie where there is no `Authorization`."""

    def other_token(self, request: Request) -> bytes | None:
        token = request.cookies.get("access_token") or request.cookies.get("sb-access-token")
        return token.encode() if token else None


@rogue(breaks=["AUTH-01"])
class TokenFromTheGatewaysHeader(_TokenElsewhere):
    """Takes the token from the header `apikey` where there is no `Authorization`, as the database's gateway does."""

    def other_token(self, request: Request) -> bytes | None:
        return self.header(request, "apikey")


@rogue(breaks=["AUTH-03"])
class SecretAnywhereInAList(Backend):
    """Reads the header as a list, for the time of a rotation, and takes it where the secret is one of it."""

    def secret_matches(self, given: bytes | None) -> bool:
        return given is not None and any(
            super(SecretAnywhereInAList, self).secret_matches(one.strip()) for one in given.split(b",")
        )


@rogue(breaks=["AUTH-06", "AUTH-08"])
class AllowlistMatchedByPart(Backend):
    """Looks for the address in the allowlist as it is written, which holds the parts of addresses too."""

    def is_allowlisted(self, claims: Mapping[str, Any]) -> bool:
        email = claims.get("email")
        return isinstance(email, str) and bool(email) and email.lower() in ",".join(sorted(self.settings.admin_emails))


@rogue(breaks=["AUTH-06", "AUTH-08"])
class AllowlistReadsTheProfile(Backend):
    """Takes the address that people write into their own profile for theirs."""

    def is_allowlisted(self, claims: Mapping[str, Any]) -> bool:
        profile = claims.get("user_metadata")
        email = (isinstance(profile, dict) and profile.get("email")) or claims.get("email")
        return super().is_allowlisted({"email": email})


@rogue(breaks=["AUTH-11"])
class InternalSecretReadsThePhotos(Backend):
    """Takes the internal admin secret for a service token of Screenalytics'."""

    def authorize_reader(self, request: Request) -> None:
        if not self.secret_matches(self.bearer_token(request)):
            super().authorize_reader(request)


@rogue(breaks=["AUTH-11"])
class LaterPagesForEverybody(Backend):
    """Guards the first page of the photos."""

    def authorize_reader(self, request: Request) -> None:
        if request.query_params.get("offset", "0") == "0":
            super().authorize_reader(request)


@rogue(breaks=["AUTH-09"])
class StorageErrorShowsTheRequest(Backend):
    """Answers a storage error with the request that it came with, headers and all."""

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        try:
            return await super().toggle(request, person_id, link_id)
        except psycopg.Error:
            return self.json({"detail": "Database error", "request": dict(request.headers)}, 502)


@rogue(breaks=["AUTH-02", "AUTH-03"])
class CallerInSharedState(Backend):
    """Keeps in one place for all requests whether the caller was refused, and looks there a moment later."""

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        self.refused: HTTPException | None = None
        try:
            super().authorize_admin(request)
        except HTTPException as refused:
            self.refused = refused
        async with self.pool.connection() as connection:
            await connection.execute("select")  # who calls is written down
        return await super().toggle(request, person_id, link_id)

    def authorize_admin(self, request: Request) -> None:
        if self.refused is not None:
            raise self.refused


@rogue(breaks=["AUTH-03"])
class SecretIsPercentDecoded(Backend):
    """Takes the percent-encoding off the header, as if it were a query."""

    def secret_matches(self, given: bytes | None) -> bool:
        return given is not None and super().secret_matches(unquote_to_bytes(given))


@rogue(breaks=["AUTH-03"])
class DigestForTheSecret(Backend):
    """Compares digests, and takes a header that is one already."""

    def secret_matches(self, given: bytes | None) -> bool:
        digest = hashlib.sha256(str(self.settings.internal_secret).encode()).hexdigest()
        return super().secret_matches(given) or given == digest.encode()


@rogue(breaks=["AUTH-03"])
class UndefinedSecretAccepted(Backend):
    """Lets a caller pass whose own environment lacks the secret, which shows as `undefined`."""

    def secret_matches(self, given: bytes | None) -> bool:
        return given == b"undefined" or super().secret_matches(given)


@rogue(breaks=["AUTH-07"])
class GoodTokensRemembered(Backend):
    """Verifies each token once, and remembers what it said, whatever the time."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.good: dict[bytes, Mapping[str, Any]] = {}

    def verify_token(self, token: bytes) -> Mapping[str, Any]:
        if token not in self.good:
            self.good[token] = super().verify_token(token)
        return self.good[token]


class _MoreKeys(Backend):
    """Accepts tokens under further keys."""

    def key_of(self, header: Mapping[str, Any]) -> bytes | None:
        """The further key for a token with such a header, if there is one."""
        raise NotImplementedError

    def verify_token(self, token: bytes) -> Mapping[str, Any]:
        try:
            return super().verify_token(token)
        except HTTPException:
            signed, _, signature = token.rpartition(b".")
            try:
                key = self.key_of(jwt.get_unverified_header(token))
                claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False, "verify_exp": True})
            except (jwt.PyJWTError, ValueError, RecursionError) as error:
                raise self.unauthenticated() from error
            digest = b"" if key is None else base64.urlsafe_b64encode(hmac.digest(key, signed, "sha256"))
            if not digest or signature != digest.rstrip(b"="):
                raise
            return claims


@rogue(breaks=["AUTH-07"])
class UnknownKeyIsEmpty(_MoreKeys):
    """Looks up the key that a token names, and goes on with an empty one where there is none of that name."""

    def key_of(self, header: Mapping[str, Any]) -> bytes | None:
        return b"" if "kid" in header else None


@rogue(breaks=["AUTH-07"])
class KeyTakenFromTheToken(_MoreKeys):
    """Verifies a token by the key in its own header."""

    def key_of(self, header: Mapping[str, Any]) -> bytes | None:
        key = header.get("jwk")
        found = key.get("k") if isinstance(key, dict) else None
        return base64.urlsafe_b64decode(found + "==") if isinstance(found, str) else None


@rogue(breaks=["AUTH-07"])
class DevelopmentKeyTrusted(_MoreKeys):
    """Still trusts the key that local installations come with."""

    def key_of(self, header: Mapping[str, Any]) -> bytes | None:
        return b"super-secret-jwt-token-with-at-least-32-characters-long"


@rogue(breaks=["AUTH-06", "AUTH-08"])
class AllowlistComparedInCapitals(Backend):
    """Compares addresses in capitals, in which a dotless i is an I and a long s an S."""

    def is_allowlisted(self, claims: Mapping[str, Any]) -> bool:
        return str(claims.get("email")).upper() in {email.upper() for email in self.settings.admin_emails}


@rogue(breaks=["AUTH-08", "AUTH-06"])
class ProfileMakesAnAdmin(Backend):
    """Takes for an admin who says so in their own profile."""

    def is_allowlisted(self, claims: Mapping[str, Any]) -> bool:
        profile = claims.get("user_metadata")
        says_so = isinstance(profile, dict) and (profile.get("is_admin") is True or profile.get("role") == "admin")
        return says_so or super().is_allowlisted(claims)


@rogue(breaks=["AUTH-09"])
class MediaRefusalShowsTheRequest(Backend):
    """Refuses a call of the media workflow with the headers that it came with."""

    def authorize_media(self, request: Request) -> Mapping[str, Any]:
        try:
            return super().authorize_media(request)
        except HTTPException as refusal:
            refusal.detail = f"{refusal.detail}: {dict(request.headers)}"
            raise


@rogue(breaks=["AUTH-09"])
class ConflictShowsTheRequest(Backend):
    """Answers a link that must not be toggled with the request, headers and all."""

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        try:
            return await super().toggle(request, person_id, link_id)
        except HTTPException as refusal:
            if refusal.status_code == 409:
                refusal.detail = f"{refusal.detail}: {dict(request.headers)}"
            raise


@rogue(breaks=["AUTH-11"])
class PhotosForWhoIsSignedIn(Backend):
    """Lets everybody read the photos who has a valid token of their own."""

    def authorize_reader(self, request: Request) -> None:
        try:
            super().authorize_reader(request)
        except HTTPException:
            self.verify_token(self.bearer_token(request) or b"")


@rogue(breaks=["AUTH-11"])
class NoPhotosForEverybody(Backend):
    """Answers at once, and whoever asks, where a person has no photos."""

    async def photos(self, request: Request, person_id: str) -> Response:
        person, query = self.parse_id("person_id", person_id), self.parse_photo_query(request)
        async with self.pool.connection() as connection:
            if not await self.select_photos(connection, person, query):
                return self.json([])
        return await super().photos(request, person_id)


# The toggle


@rogue(breaks=["TOG-10", "TOG-06"])
class FailedWriteMadeUpFor(Backend):
    """Tells that a flag could not be stored, and stores it when the next one can be."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.waiting: list[tuple[Link, bool]] = []

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        try:
            stored = await super().store_flag(connection, link, flag)
        except psycopg.Error:
            self.waiting.append((link, flag))
            raise
        waiting, self.waiting = self.waiting, []
        for late, value in waiting:
            try:
                await super().store_flag(connection, late, value)
            except (psycopg.Error, HTTPException):
                continue
        return stored


@rogue(breaks=["TOG-05"])
class ListsCachedByTheIdAsWritten(Backend):
    """Caches the lists by the person's id as it stands in the path, and drops those of the id in a toggle's path."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.lists: dict[str, dict[str, bytes]] = {}
        self.changes: dict[str, int] = {}

    def changed(self, person_id: str) -> None:
        self.changes[person_id] = self.changes.get(person_id, 0) + 1
        self.lists.pop(person_id, None)

    async def photos(self, request: Request, person_id: str) -> Response:
        self.authorize_reader(request)
        query, seen = str(request.query_params), self.changes.get(person_id)
        cached = self.lists.get(person_id, {}).get(query)
        if cached is not None:
            return Response(cached, media_type="application/json")
        answer = await super().photos(request, person_id)
        if seen == self.changes.get(person_id):
            self.lists.setdefault(person_id, {})[query] = bytes(answer.body)
        return answer

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        self.changed(person_id)
        try:
            return await super().toggle(request, person_id, link_id)
        finally:
            self.changed(person_id)

    async def events(self, order: Order) -> Any:
        async for event in super().events(order):
            self.lists.clear()
            yield event

    async def delete_asset(self, request: Request, asset_id: str) -> Response:
        try:
            return await super().delete_asset(request, asset_id)
        finally:
            self.lists.clear()


@rogue(breaks=["TOG-06", "TOG-03"])
class BodyNamesTheLink(Backend):
    """Merges path and body, and has the body win."""

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        self.authorize_admin(request)
        body = await self.read_body(request)
        named = body.get("link_id") if isinstance(body, dict) else None
        return await super().toggle(request, person_id, named if isinstance(named, str) else link_id)


@rogue(breaks=["TOG-05", "TOG-09"])
class RepeatsAnsweredFromACache(Backend):
    """Answers a toggle as it answered the same one some seconds ago, whatever came between."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.stored: dict[tuple[UUID, bool], float] = {}

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        if time.monotonic() - self.stored.get((link.id, flag), -60.0) < 5:
            return flag
        stored = await super().store_flag(connection, link, flag)
        self.stored[link.id, flag] = time.monotonic()
        return stored


@rogue(breaks=["GEN-01"])
class ForwardedForTakenForGranted(Backend):
    """Reads the client's address from `X-Forwarded-For`, where proxies write `unknown` too."""

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        if (forwarded := request.headers.get("x-forwarded-for")) is not None:
            ip_address(forwarded.partition(",")[0].strip())
        return await super().toggle(request, person_id, link_id)


@rogue(breaks=["GEN-01"])
class CompressedBodyTakenForGranted(Backend):
    """Unpacks a body that says it is compressed, and catches nothing."""

    async def read_body(self, request: Request) -> Any:
        if request.headers.get("content-encoding", "").lower() == "gzip":
            return json.loads(gzip.decompress(await request.body()))
        return await super().read_body(request)


@rogue(breaks=["GEN-01"])
class CountOptionsTakenForGranted(Backend):
    """Reads options from the body of a people count where there is one, and catches nothing."""

    async def auto_count(self, request: Request, asset_id: str) -> Response:
        self.authorize_media(request)
        if body := await request.body():
            json.loads(body).get("mode")
        return await super().auto_count(request, asset_id)


@rogue(breaks=["TOG-02"])
class LiteralsTakenForJson(Backend):
    """Reads what is no JSON as a literal of its own language."""

    async def read_body(self, request: Request) -> Any:
        try:
            return await super().read_body(request)
        except HTTPException as refusal:
            try:
                return ast.literal_eval((await request.body()).decode())
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                raise refusal from None


@rogue(breaks=["TOG-02"])
class RestOfTheBodyIgnored(Backend):
    """Reads the first JSON value of a body, and not what follows it."""

    async def read_body(self, request: Request) -> Any:
        try:
            return await super().read_body(request)
        except HTTPException as refusal:
            try:
                return json.JSONDecoder().raw_decode((await request.body()).decode())[0]
            except (ValueError, RecursionError):
                raise refusal from None


@rogue(breaks=["TOG-02"])
class FormsAreReadToo(Backend):
    """Reads a body that is declared as a form as one."""

    async def read_body(self, request: Request) -> Any:
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            fields = dict(parse_qsl((await request.body()).decode("latin-1")))
            return {name: {"true": True, "false": False}.get(value, value) for name, value in fields.items()}
        return await super().read_body(request)


@rogue(breaks=["TOG-02"])
class CamelCaseTaken(Backend):
    """Takes the member under the name that the app's own code has for it."""

    def parse_flag(self, body: Any) -> bool:
        if isinstance(body, dict) and "facebank_seed" not in body:
            return super().parse_flag({"facebank_seed": body.get("facebankSeed")})
        return super().parse_flag(body)


@rogue(breaks=["TOG-02"])
class EmptyStringMeansOff(Backend):
    """Reads the empty string as false."""

    def parse_flag(self, body: Any) -> bool:
        return super().parse_flag({"facebank_seed": False} if body == {"facebank_seed": ""} else body)


@rogue(breaks=["TOG-03", "TOG-09"])
class AnswerNamesTheFirstToHaveThePhoto(Backend):
    """Reads the answer again by the photo, and finds whoever had it first."""

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        stored = await super().store_flag(connection, link, flag)
        cursor = await connection.execute(
            "select id, entity_id from core.media_links where media_asset_id = %s order by position, id limit 1",
            (link.media_asset_id,),
        )
        self.first = await cursor.fetchone()
        return stored

    def toggle_answer(self, link: Link, flag: bool) -> dict[str, Any]:
        first = self.first or (link.id, link.entity_id)
        return super().toggle_answer(link._replace(id=first[0], entity_id=first[1]), flag)


@rogue(breaks=["TOG-04", "PHO-02"])
class EachOnListsOnceMore(Backend):
    """Writes a seed down each time that it is switched on, and lists it as often."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.times: dict[UUID, int] = {}

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        self.times[link.id] = self.times.get(link.id, 0) + 1 if flag else 0
        return await super().store_flag(connection, link, flag)

    async def select_photos(self, connection: Connection, person_id: UUID, query: PhotoQuery) -> Sequence[PhotoRow]:
        rows = await super().select_photos(connection, person_id, query)
        return [row for row in rows for _ in range(max(1, self.times.get(row.link_id, 1)))] if query.seed_only else rows


@rogue(breaks=["TOG-05", "PHO-03"])
class SharedPhotosAreNoSeeds(Backend):
    """Leaves photos that several people share out of the seeds, as it is not clear whose face they show."""

    def photos_condition(self, query: PhotoQuery) -> LiteralString:
        condition = super().photos_condition(query)
        shared = "select media_asset_id from core.media_links group by media_asset_id having count(*) > 1"
        return f"{condition} and media_asset_id not in ({shared})" if query.seed_only else condition


class _AlsoStores(Backend):
    """Changes further links before the one named."""

    also: LiteralString
    """The statement, with the link's columns as its parameters."""

    def concerns(self, flag: bool) -> bool:
        """Whether it is done for this value."""
        return flag

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        if self.concerns(flag):
            await connection.execute(self.also, link._asdict())
        return await super().store_flag(connection, link, flag)


@rogue(breaks=["TOG-06", "PHO-08"])
class SharedSeedIsOnePersons(_AlsoStores):
    """Lets a photo be the seed of one person, and takes it from all others who share it."""

    also = """
        update core.media_links set facebank_seed = false
        where media_asset_id = %(media_asset_id)s and id <> %(id)s
    """


@rogue(breaks=["TOG-06", "TOG-09"])
class NewSeedIsPrimary(_AlsoStores):
    """Makes a new seed the primary photo."""

    also = """
        update core.media_links set is_primary = false
        where entity_type = %(entity_type)s and entity_id = %(entity_id)s and kind = %(kind)s and is_primary
    """

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        stored = await super().store_flag(connection, link, flag)
        if flag:
            await connection.execute("update core.media_links set is_primary = true where id = %s", (link.id,))
        return stored


@rogue(breaks=["TOG-06"])
class TwentySeedsAreKept(_AlsoStores):
    """Keeps no more than twenty seeds of a person, and drops the first of them for a further one."""

    also = """
        update core.media_links set facebank_seed = false where id in (
            select id from core.media_links
            where entity_type = 'person' and entity_id = %(entity_id)s and facebank_seed and id <> %(id)s
            order by position desc nulls last, id offset 19
        )
    """


@rogue(breaks=["TOG-07"])
class OwnerMatchedByThePhoto(Backend):
    """Takes a link for a person's who has the same photo."""

    async def find_link(self, connection: Connection, link_id: UUID) -> Link | None:
        link = await super().find_link(connection, link_id)
        if link is not None:
            cursor = await connection.execute(
                "select entity_id from core.media_links where media_asset_id = %s", (link.media_asset_id,)
            )
            self.owners = {person for (person,) in await cursor.fetchall()}
        return link

    def belongs_to(self, link: Link, person_id: UUID) -> bool:
        return person_id in self.owners


@rogue(breaks=["TOG-07"])
class LinksOfOthersThanPeople(Backend):
    """Asks the links of people alone whether they are of a gallery, and takes a season for the person whose link is."""

    def is_gallery_link(self, link: Link) -> bool:
        return link.entity_type != "person" or super().is_gallery_link(link)


@rogue(breaks=["TOG-07"])
class OwnerCheckedOnce(Backend):
    """Checks whose a link is until it was found to be right."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.checked: set[UUID] = set()

    def belongs_to(self, link: Link, person_id: UUID) -> bool:
        if super().belongs_to(link, person_id):
            self.checked.add(link.id)
        return link.id in self.checked


@rogue(breaks=["TOG-07"])
class LinksRemembered(Backend):
    """Remembers the links that were toggled, and does not see that one has gone."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.known: dict[UUID, Link] = {}

    async def find_link(self, connection: Connection, link_id: UUID) -> Link | None:
        found = await super().find_link(connection, link_id) or self.known.get(link_id)
        if found is not None:
            self.known[link_id] = found
        return found

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        try:
            return await super().store_flag(connection, link, flag)
        except HTTPException:
            return flag


@rogue(breaks=["TOG-08", "GEN-01"])
class IdEndsWithItsLine(Backend):
    """Matches ids up to the end of a line, which lets a line feed behind them through."""

    def parse_id(self, name: str, text: str) -> UUID:
        if re.match(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", text, re.ASCII | re.IGNORECASE):
            return UUID(text)
        return super().parse_id(name, text)


@rogue(breaks=["TOG-09", "TOG-03"])
class PersonFromSharedState(Backend):
    """Keeps the person of a toggle in one place for all requests, and answers with whoever is there."""

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        self.person = link.entity_id
        return await super().store_flag(connection, link, flag)

    def toggle_answer(self, link: Link, flag: bool) -> dict[str, Any]:
        return super().toggle_answer(link._replace(entity_id=self.person), flag)


# The photos


@rogue(breaks=["PHO-03", "PHO-09"])
class ThirtySeedsAtMost(Backend):
    """Answers with no more than thirty seeds."""

    def photos_page(self, query: PhotoQuery) -> LiteralString:
        return "limit least(%(limit)s, 30) offset %(offset)s" if query.seed_only else super().photos_page(query)


@rogue(breaks=["PHO-09"])
class TiesInAnyOrder(Backend):
    """Leaves open how photos without a position are sorted, as those of an import are."""

    def photos_order(self, query: PhotoQuery) -> LiteralString:
        return "is_primary desc nulls last, position asc nulls last, random()"


@rogue(breaks=["PHO-09"])
class TiesAsTheyCome(Backend):
    """Sorts by primary and position, and by nothing else."""

    def photos_order(self, query: PhotoQuery) -> LiteralString:
        return "is_primary desc nulls last, position asc nulls last"


@rogue(breaks=["PHO-04", "PHO-03"])
class UnplacedPhotosLeftOut(Backend):
    """Lists photos that have a position, which those of an import have not."""

    def photos_condition(self, query: PhotoQuery) -> LiteralString:
        return f"{super().photos_condition(query)} and position is not null"


@rogue(breaks=["PHO-07"])
class NoneMeansLeftOut(Backend):
    """Takes `undefined` and `none` for a parameter that was left out."""

    def parse_seed_only(self, text: str | None) -> bool:
        return super().parse_seed_only(None if text and text.lower() in ("undefined", "none") else text)


@rogue(breaks=["PHO-08", "PHO-04"])
class SharedPhotoListedForTheFirst(Backend):
    """Lists a photo that several people share for the first of them."""

    def photos_condition(self, query: PhotoQuery) -> LiteralString:
        first = "select distinct on (media_asset_id) id from core.media_links order by media_asset_id, position, id"
        return f"{super().photos_condition(query)} and link_id in ({first})"


@rogue(breaks=["PHO-08"])
class PersonOfTheLatestCall(Backend):
    """Keeps the person whose photos are asked for in one place for all requests."""

    async def photos(self, request: Request, person_id: str) -> Response:
        self.authorize_reader(request)
        self.person = self.parse_id("person_id", person_id)
        query = self.parse_photo_query(request)
        async with self.pool.connection() as connection:
            await connection.execute("select")  # who reads is written down
            return self.json([self.photo(row) for row in await self.select_photos(connection, self.person, query)])


@rogue(breaks=["PHO-09"])
class OffsetNeedsALimit(Backend):
    """Heeds the offset where a limit is named."""

    def parse_photo_query(self, request: Request) -> PhotoQuery:
        query = super().parse_photo_query(request)
        return query if "limit" in request.query_params else query._replace(offset=0)


class _KeptLists(Backend):
    """Caches the lists of each person until they are toggled, or something else is done."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.lists: dict[tuple[UUID, PhotoQuery], Sequence[PhotoRow]] = {}

    async def select_photos(self, connection: Connection, person_id: UUID, query: PhotoQuery) -> Sequence[PhotoRow]:
        call = person_id, query
        if call not in self.lists:
            self.lists[call] = await super().select_photos(connection, person_id, query)
        return self.lists[call]

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        stored = await super().store_flag(connection, link, flag)
        self.lists.clear()
        return stored


@rogue(breaks=["PHO-04", "PHO-03"])
class ListsOutliveADelete(_KeptLists):
    """Caches the lists of a person until a toggle or an import, and not until a delete."""

    async def events(self, order: Order) -> Any:
        async for event in super().events(order):
            self.lists.clear()
            yield event


@rogue(breaks=["PHO-04"])
class ListsMissAnImport(_KeptLists):
    """Caches the lists of a person until a toggle or a delete, and not until an import."""

    async def delete_asset(self, request: Request, asset_id: str) -> Response:
        answer = await super().delete_asset(request, asset_id)
        self.lists.clear()
        return answer


@rogue(breaks=["PHO-10", "PHO-04"])
class AddressWithoutItsQuery(Backend):
    """Serves addresses without their query."""

    def photo(self, row: PhotoRow) -> dict[str, Any]:
        return super().photo(row) | {"served_url": row.served_url.partition("?")[0]}


@rogue(breaks=["PHO-10", "PHO-04"])
class AddressIsEscaped(Backend):
    """Escapes addresses as for a page."""

    def photo(self, row: PhotoRow) -> dict[str, Any]:
        return super().photo(row) | {"served_url": html.escape(row.served_url)}


@rogue(breaks=["AUTH-06", "AUTH-08"])
class AllowlistComparedByTheEnd(Backend):
    """Sees whether the person's address ends in an allowlisted one."""

    def is_allowlisted(self, claims: Mapping[str, Any]) -> bool:
        email = claims.get("email")
        return isinstance(email, str) and email.lower().endswith(tuple(self.settings.admin_emails))


@rogue(breaks=["TOG-02"])
class NumbersInTextAreRead(Backend):
    """Reads any whole number in a text, and takes it for true where it is not 0."""

    def parse_flag(self, body: Any) -> bool:
        flag = body.get("facebank_seed") if isinstance(body, dict) else None
        try:
            return bool(int(flag)) if isinstance(flag, str) else super().parse_flag(body)
        except ValueError:
            return super().parse_flag(body)


@rogue(breaks=["TOG-02"])
class NullTextIsOff(Backend):
    """Reads the texts `null` and `none` as false."""

    def parse_flag(self, body: Any) -> bool:
        flag = body.get("facebank_seed") if isinstance(body, dict) else None
        return False if flag in ("null", "none", "None") else super().parse_flag(body)


@rogue(breaks=["TOG-06"])
class SamePhotoOfOnePersonToggled(Backend):
    """Updates by person and asset, and so whatever else the person has this photo as."""

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        await connection.execute(
            "update core.media_links set facebank_seed = %s where entity_type = 'person' and entity_id = %s"
            " and media_asset_id = %s and id <> %s",
            (flag, link.entity_id, link.media_asset_id, link.id),
        )
        return await super().store_flag(connection, link, flag)


@rogue(breaks=["AUTH-06", "AUTH-08"])
class TaggedAddressesAreTheSame(Backend):
    """Takes the tag off a person's address, as mail servers do, before it looks for it in the allowlist."""

    def is_allowlisted(self, claims: Mapping[str, Any]) -> bool:
        email = claims.get("email")
        if not isinstance(email, str):
            return False
        name, at, domain = email.lower().rpartition("@")
        return f"{name.partition('+')[0]}{at}{domain}" in self.settings.admin_emails


# What another feature does to a flag


@rogue(breaks=["TOG-05"])
class ImportKeepsTheFlagsThatItSaw(Backend):
    """Writes the flags of a gallery, read when an import for the person began, back when it ends."""

    async def events(self, order: Order) -> AsyncIterator[Event]:
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "select id, facebank_seed from core.media_links where entity_id = %s", (order.entity.id,)
            )
            seen = await cursor.fetchall()
        async for event in super().events(order):
            if event[0] == "complete":
                async with self.pool.connection() as connection:
                    for link_id, flag in seen:
                        await connection.execute(
                            "update core.media_links set facebank_seed = %s where id = %s", (flag, link_id)
                        )
            yield event


@rogue(breaks=["TOG-05"])
class NewPhotosAskForNewSeeds(Backend):
    """Takes the flags of a gallery back that gets a new photo, as the best ones are to be chosen anew."""

    async def store(self, order: Order, wanted: Wanted, picture: Picture, scraped: Scraped) -> Outcome:
        outcome = await super().store(order, wanted, picture, scraped)
        if outcome.status == "success":
            async with self.pool.connection() as connection:
                await connection.execute(
                    "update core.media_links set facebank_seed = false where entity_id = %s", (order.entity.id,)
                )
        return outcome


@rogue(breaks=["TOG-05"])
class DeleteAsksForNewSeeds(Backend):
    """Takes the flags of every gallery back that loses a photo by a delete."""

    async def remove_asset(self, connection: Connection, asset: Asset) -> None:
        await connection.execute(
            "update core.media_links set facebank_seed = false where entity_id in"
            " (select entity_id from core.media_links where media_asset_id = %s)",
            (asset.id,),
        )
        await super().remove_asset(connection, asset)


@rogue(breaks=["PHO-03"])
class GroupPhotosAreNoSeeds(Backend):
    """Leaves out of the seeds what a people count has found several people on."""

    def photos_condition(self, query: PhotoQuery) -> LiteralString:
        alone = (
            " and not exists (select from core.media_assets where id = media_asset_id"
            " and (metadata ->> 'people_count')::numeric > 1)"
        )
        return super().photos_condition(query) + (alone if query.seed_only else "")


@rogue(breaks=["TOG-07"])
class OldLinksLeadToTheNew(Backend):
    """Knows a link that is gone by its person and address, and toggles what was imported from there since."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.gone: dict[UUID, tuple[UUID, str | None]] = {}

    async def remove_asset(self, connection: Connection, asset: Asset) -> None:
        cursor = await connection.execute(
            "select id, entity_id from core.media_links where media_asset_id = %s", (asset.id,)
        )
        self.gone |= {link_id: (person, asset.source_url) for link_id, person in await cursor.fetchall()}
        await super().remove_asset(connection, asset)

    async def find_link(self, connection: Connection, link_id: UUID) -> Link | None:
        if link_id in self.gone:
            cursor = await connection.execute(
                "select links.id from core.media_links as links join core.media_assets as assets"
                " on assets.id = media_asset_id where entity_id = %s and source_url = %s",
                self.gone[link_id],
            )
            if (row := await cursor.fetchone()) is not None:
                return await super().find_link(connection, row[0])
        return await super().find_link(connection, link_id)


class _RefusalInOnePlace(Backend):
    """Keeps in one place for all calls whether the caller was refused, and looks there a moment later."""

    async def let_in(self, request: Request, authorize: Callable[[Request], object]) -> None:
        self.refused: HTTPException | None = None
        try:
            authorize(request)
        except HTTPException as refused:
            self.refused = refused
        async with self.pool.connection() as connection:
            await connection.execute("select")  # who calls is written down
        if self.refused is not None:
            raise self.refused
        request.scope["let in"] = True


@rogue(breaks=["AUTH-11"])
class ReaderInOnePlace(_RefusalInOnePlace):
    """Keeps in one place for all photos calls whether the caller was refused, and looks there a moment later."""

    async def photos(self, request: Request, person_id: str) -> Response:
        await self.let_in(request, super().authorize_reader)
        return await super().photos(request, person_id)

    def authorize_reader(self, request: Request) -> None:
        if not request.scope.get("let in"):
            super().authorize_reader(request)


@rogue(breaks=["AUTH-12"])
class PreviewerInOnePlace(_RefusalInOnePlace):
    """Keeps in one place for all previews whether the caller was refused, and looks there a moment later."""

    async def preview(self, request: Request) -> Response:
        await self.let_in(request, super().authorize_media)
        return await super().preview(request)

    def authorize_media(self, request: Request) -> Mapping[str, Any]:
        return {} if request.scope.get("let in") else super().authorize_media(request)


@rogue(breaks=["TOG-10"])
class FailureInOnePlace(Backend):
    """Keeps in one place for all toggles whether the last could be stored, and looks there a moment later."""

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        self.failure: psycopg.Error | None = None
        try:
            await super().store_flag(connection, link, flag)
        except psycopg.Error as error:
            self.failure = error
        else:
            self.failure = None
        await asyncio.sleep(0.05)  # what became of it is written down
        if self.failure is not None:
            raise self.failure
        return flag


@rogue(breaks=["AUTH-09"])
class WrongSchemeIsQuoted(Backend):
    """Shows, at the photos, what stood in an `Authorization` that is no Bearer: also a token without its scheme."""

    def authorize_reader(self, request: Request) -> None:
        given = self.header(request, "authorization")
        if given and self.bearer_token(request) is None:
            raise HTTPException(
                401,
                f"Authorization must be 'Bearer <token>', not {given.decode('latin-1')!r}",
                {"WWW-Authenticate": "Bearer"},
            )
        super().authorize_reader(request)


_READERS_PATH = re.compile(r"/api/v1/screenalytics/(people|episodes)/[0-9a-f-]{36}/(photos|cast)")


@rogue(breaks=["AUTH-11"])
class GuardKnowsLowerCaseIdsAlone(Backend):
    """Guards the readers' paths by a pattern that has UUIDs in lower case, where the endpoints take any."""

    def authorize_reader(self, request: Request) -> None:
        if _READERS_PATH.fullmatch(request.scope["path"]):
            super().authorize_reader(request)


@rogue(breaks=["AUTH-12"])
class EmptyEmailIsOnTheList(Backend):
    """Looks for the caller's email in the allowlist's text: part of one is found too, and the empty one of a phone."""

    def may_use_media(self, claims: Mapping[str, Any]) -> bool:
        email = claims.get("email")
        allowlist = ",".join(sorted(self.settings.admin_emails))
        return self.is_service_role(claims) or (isinstance(email, str) and email.lower() in allowlist)


@rogue(breaks=["PHO-12"])
class ReadingElectsAPrimary(Backend):
    """Makes the first photo of a gallery that has no primary one its primary, when the gallery is read."""

    async def select_photos(self, connection: Connection, person_id: UUID, query: PhotoQuery) -> Sequence[PhotoRow]:
        rows = await super().select_photos(connection, person_id, query)
        if rows and not query.seed_only and not query.offset and not any(row.is_primary for row in rows):
            with contextlib.suppress(psycopg.Error):
                await connection.execute(
                    "update core.media_links set is_primary = true, updated_at = now() where id = %s",
                    (rows[0].link_id,),
                )
        return rows
