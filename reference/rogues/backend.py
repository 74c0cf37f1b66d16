"""Rogues of the backend, in the order of their main clauses: each a mistake that a tired colleague could make."""

from __future__ import annotations

import asyncio
import base64
import datetime
import hmac
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, LiteralString
from uuid import UUID, uuid4

import jwt
import psycopg
from fastapi import HTTPException, Request, Response

from reference.access import SECRET_HEADER, Connection, Settings
from reference.backend import DEFAULT_LIMIT, Backend, Link, PhotoQuery, PhotoRow
from reference.rogues import rogue

# GEN-01: malformed input


@rogue(breaks=["GEN-01", "TOG-02"])
class DeepBodyCrashes(Backend):
    """Lets JSON that is nested too deeply exhaust the stack."""

    async def read_body(self, request: Request) -> Any:
        try:
            return json.loads((await request.body()).decode())
        except ValueError as error:
            raise HTTPException(422, "The body is not JSON") from error


@rogue(breaks=["GEN-01", "TOG-02"])
class InvalidUtf8Crashes(Backend):
    """Decodes the body outside the block that catches what is not JSON."""

    async def read_body(self, request: Request) -> Any:
        text = (await request.body()).decode()
        try:
            return json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise HTTPException(422, "The body is not JSON") from error


@rogue(breaks=["GEN-01"])
class UnknownMediaTypeGetsNoAnswer(Backend):
    """Refuses a body that is not declared as JSON with a header of two lines, which cannot be sent."""

    async def read_body(self, request: Request) -> Any:
        try:
            return await super().read_body(request)
        except HTTPException as refusal:
            if refusal.status_code == 415:
                refusal.headers = {"Warning": "199 - unknown media type\nsend application/json"}
            raise


@rogue(breaks=["GEN-01", "PHO-09"])
class HugeOffsetCrashes(Backend):
    """Hands any offset to a database that counts in 64 bits."""

    def parse_count(self, name: str, text: str | None, default: int, low: int, high: int) -> int:
        if name == "offset" and text is not None and re.fullmatch("[0-9]{1,1000}", text):
            return int(text)
        return super().parse_count(name, text, default, low, high)


@rogue(breaks=["GEN-01", "PHO-09"])
class LimitThatIsNoNumberCrashes(Backend):
    """Converts the limit and catches nothing."""

    def parse_count(self, name: str, text: str | None, default: int, low: int, high: int) -> int:
        if name == "limit" and text is not None and not low <= int(text) <= high:
            raise HTTPException(422, "limit is out of range")
        return super().parse_count(name, text, default, low, high)


@rogue(breaks=["GEN-01", "PHO-11"])
class MalformedPhotosIdCrashes(Backend):
    """Leaves it to the database to read the person's id of a photos call."""

    async def photos(self, request: Request, person_id: str) -> Response:
        self.authorize_reader(request)
        async with self.pool.connection() as connection:
            await connection.execute("select %s::text::uuid", (person_id,))
        return await super().photos(request, person_id)


@rogue(breaks=["GEN-01", "AUTH-11"])
class NonAsciiServiceTokenCrashes(Backend):
    """Compares the service token as text, which only works for ASCII."""

    def authorize_reader(self, request: Request) -> None:
        token = (self.bearer_token(request) or b"").decode("latin-1")
        if not hmac.compare_digest(token, self.settings.screenalytics_token or ""):
            raise self.unauthenticated()


# AUTH-01: no Authorization


@rogue(breaks=["AUTH-01", "AUTH-06", "AUTH-05"])
class AnonymousMayToggle(Backend):
    """Judges the token only where there is one."""

    def authorize_admin(self, request: Request) -> None:
        if self.header(request, "authorization") is not None:
            super().authorize_admin(request)


@rogue(breaks=["AUTH-01", "AUTH-06", "AUTH-05"])
class AnonymousMaySwitchOff(Backend):
    """Asks for authorization only where a seed is added."""

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        if self.header(request, "authorization") is None and await self.read_body(request) == {"facebank_seed": False}:
            async with self.pool.connection() as connection:
                link = await self.find_link(connection, self.parse_id("link_id", link_id))
                if link is not None:
                    return self.json(self.toggle_answer(link, await self.store_flag(connection, link, False)))
        return await super().toggle(request, person_id, link_id)


# AUTH-02, AUTH-03: the secret


@rogue(breaks=["AUTH-02", "AUTH-10", "AUTH-05"])
class MissingSecretAccepted(Backend):
    """Compares the secret only where one is given."""

    def secret_matches(self, given: bytes | None) -> bool:
        return given is None or super().secret_matches(given)


@rogue(breaks=["AUTH-02", "AUTH-10", "AUTH-09"])
class MissingSecretIsUnauthenticated(Backend):
    """Answers service role without the secret as if it had no token."""

    def secret_matches(self, given: bytes | None) -> bool:
        if given is None:
            raise self.unauthenticated()
        return super().secret_matches(given)


@rogue(breaks=["AUTH-03"])
class EmptySecretAccepted(Backend):
    """Takes an empty header for one that need not be compared."""

    def secret_matches(self, given: bytes | None) -> bool:
        return given == b"" or super().secret_matches(given)


@rogue(breaks=["AUTH-03"])
class SecretComparedByPrefix(Backend):
    """Takes any header that begins with the secret."""

    def secret_matches(self, given: bytes | None) -> bool:
        return given is not None and given.startswith((self.settings.internal_secret or "").encode())


@rogue(breaks=["AUTH-03"])
class SecretComparedBySuffix(Backend):
    """Takes any header that ends with the secret."""

    def secret_matches(self, given: bytes | None) -> bool:
        return given is not None and given.endswith((self.settings.internal_secret or "").encode())


@rogue(breaks=["AUTH-03"])
class SecretMayBeCutShort(Backend):
    """Compares as many characters as were sent, the empty string excepted."""

    def secret_matches(self, given: bytes | None) -> bool:
        return bool(given) and (self.settings.internal_secret or "").encode().startswith(given or b"")


@rogue(breaks=["AUTH-03"])
class SecretComparedByEightCharacters(Backend):
    """Compares the first eight characters, as old password hashes did."""

    def secret_matches(self, given: bytes | None) -> bool:
        return given is not None and super().secret_matches(
            given[:8] + (self.settings.internal_secret or "").encode()[8:]
        )


@rogue(breaks=["AUTH-03"])
class SecretComparedWithoutCase(Backend):
    """Compares the secret as header names are compared."""

    def secret_matches(self, given: bytes | None) -> bool:
        return given is not None and given.lower() == (self.settings.internal_secret or "").lower().encode()


@rogue(breaks=["AUTH-03"])
class SecretComparedByLength(Backend):
    """Compares the lengths, and forgets the comparison that was to follow."""

    def secret_matches(self, given: bytes | None) -> bool:
        return given is not None and len(given) == len(self.settings.internal_secret or "")


@rogue(breaks=["AUTH-03"])
class SecretStrippedOfPunctuation(Backend):
    """Removes quotes, and whatever else is no letter or digit, before it compares."""

    def secret_matches(self, given: bytes | None) -> bool:
        return given is not None and super().secret_matches(re.sub(rb"[^A-Za-z0-9]", b"", given))


@rogue(breaks=["AUTH-03", "AUTH-09"])
class WrongSecretIsUnauthenticated(Backend):
    """Answers a wrong secret as if there were no token."""

    def secret_matches(self, given: bytes | None) -> bool:
        if given is not None and not super().secret_matches(given):
            raise self.unauthenticated()
        return super().secret_matches(given)


@rogue(breaks=["AUTH-03", "GEN-01", "AUTH-09"])
class NonAsciiSecretCrashes(Backend):
    """Compares the secret as text, which only works for ASCII."""

    def secret_matches(self, given: bytes | None) -> bool:
        expected = self.settings.internal_secret or ""
        return given is not None and hmac.compare_digest(given.decode("latin-1"), expected)


# AUTH-04: the right secret


@rogue(breaks=["AUTH-04", "TOG-03", "TOG-09"])
class ServiceRoleNeedsTheAllowlist(Backend):
    """Asks the service role for an allowlisted address as well, which it does not have."""

    def authorize_admin(self, request: Request) -> None:
        super().authorize_admin(request)
        if not self.is_allowlisted(self.verify_token(self.bearer_token(request) or b"")):
            raise self.forbidden()


# AUTH-05: refusals that change something


class _RefusedLate(Backend):
    """Does something to the link of a call that the secret refuses, after the token was found good."""

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        try:
            return await super().toggle(request, person_id, link_id)
        except HTTPException as refusal:
            if refusal.status_code == 403 and await self.concerns(request):
                await self.after_refusal(request, self.parse_id("link_id", link_id))
            raise

    async def concerns(self, request: Request) -> bool:
        """Whether it is the secret that this call lacks."""
        return self.is_service_role(self.verify_token(self.bearer_token(request) or b""))

    async def after_refusal(self, request: Request, link_id: UUID) -> None:
        """What is done."""
        flag = self.parse_flag(await self.read_body(request))
        async with self.pool.connection() as connection:
            link = await self.find_link(connection, link_id)
            if link is not None:
                await self.store_flag(connection, link, flag)


@rogue(breaks=["AUTH-05", "AUTH-02", "AUTH-03"])
class SecretCheckedAfterTheWrite(_RefusedLate):
    """Refuses a missing or wrong secret when the flag is already stored."""


@rogue(breaks=["AUTH-05", "AUTH-08", "AUTH-06"])
class AllowlistCheckedAfterTheWrite(_RefusedLate):
    """Refuses a person who is not allowlisted when the flag is already stored."""

    async def concerns(self, request: Request) -> bool:
        return not await super().concerns(request)


@rogue(breaks=["AUTH-05", "AUTH-02", "AUTH-03"])
class RefusalSwitchesOff(_RefusedLate):
    """Means to be safe and clears the flag of a link that was asked for with a wrong secret."""

    async def after_refusal(self, request: Request, link_id: UUID) -> None:
        async with self.pool.connection() as connection:
            link = await self.find_link(connection, link_id)
            if link is not None:
                await self.store_flag(connection, link, False)


@rogue(breaks=["AUTH-05", "TOG-06", "TOG-09"])
class RefusedToggleStoredLater(_RefusedLate):
    """Leaves what was refused in the batch that the next accepted toggle writes."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.batch: dict[UUID, bool] = {}

    async def after_refusal(self, request: Request, link_id: UUID) -> None:
        self.batch[link_id] = self.parse_flag(await self.read_body(request))

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        batch, self.batch = self.batch, {}
        for link_id, waiting in batch.items():
            await connection.execute("update core.media_links set facebank_seed = %s where id = %s", (waiting, link_id))
        return await super().store_flag(connection, link, flag)


# AUTH-06: the secret without a service-role token


@rogue(breaks=["AUTH-06", "AUTH-01", "AUTH-05"])
class MissingTokenIsServiceRole(Backend):
    """Takes a caller without a token for the service itself, who only lacks the secret."""

    def authorize_admin(self, request: Request) -> None:
        if self.header(request, "authorization") is not None or not self.secret_matches(
            self.header(request, SECRET_HEADER)
        ):
            super().authorize_admin(request)


@rogue(breaks=["AUTH-06", "AUTH-08"])
class SecretReplacesTheAllowlist(Backend):
    """Lets any signed token pass that comes with the secret."""

    def authorize_admin(self, request: Request) -> None:
        self.verify_token(self.bearer_token(request) or b"")
        if not self.secret_matches(self.header(request, SECRET_HEADER)):
            super().authorize_admin(request)


@rogue(breaks=["AUTH-06", "AUTH-07"])
class OpaqueTokenWithSecretPasses(Backend):
    """Takes a token that is no JWT for a service key of the old kind."""

    def verify_token(self, token: bytes) -> Mapping[str, Any]:
        if token.count(b".") != 2:
            return {"role": "service_role"}
        return super().verify_token(token)


@rogue(breaks=["AUTH-06", "AUTH-07", "AUTH-08"])
class TokenWithoutRoleIsServiceRole(Backend):
    """Reads a missing role as the service's."""

    def is_service_role(self, claims: Mapping[str, Any]) -> bool:
        return bool(claims.get("role", "service_role") == "service_role")


@rogue(breaks=["AUTH-06", "AUTH-07", "AUTH-08"])
class RoleComparedWithoutCase(Backend):
    """Takes `SERVICE_ROLE` for the service's role."""

    def is_service_role(self, claims: Mapping[str, Any]) -> bool:
        return str(claims.get("role")).lower() == "service_role"


@rogue(breaks=["AUTH-06", "AUTH-07", "AUTH-08"])
class RoleComparedByPrefix(Backend):
    """Takes every role that begins with the service's for it."""

    def is_service_role(self, claims: Mapping[str, Any]) -> bool:
        return str(claims.get("role")).startswith("service_role")


@rogue(breaks=["AUTH-06", "AUTH-07", "AUTH-08"])
class RoleComparedByPart(Backend):
    """Takes every role whose name is a part of the service's for it, the empty one included."""

    def is_service_role(self, claims: Mapping[str, Any]) -> bool:
        return str(claims.get("role")) in "service_role"


@rogue(breaks=["AUTH-06", "AUTH-07", "AUTH-08"])
class RoleTakenFromUserMetadata(Backend):
    """Honours the role that people write into their own profile."""

    def is_service_role(self, claims: Mapping[str, Any]) -> bool:
        metadata = claims.get("user_metadata")
        own = metadata.get("role") if isinstance(metadata, dict) else None
        return bool(own == "service_role") or super().is_service_role(claims)


# AUTH-07: tokens that are not what they seem


class _UnverifiedTokens(Backend):
    """Reads the claims of tokens without their signature."""

    def claims_of(self, token: bytes) -> dict[str, Any]:
        """The claims of a token that has not expired, whoever signed it; 401 where there are none."""
        try:
            claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False, "verify_exp": True})
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise self.unauthenticated() from error
        return claims

    def algorithm_of(self, token: bytes) -> str:
        """The algorithm that the token's header claims, in lower case."""
        try:
            return str(jwt.get_unverified_header(token).get("alg")).lower()
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise self.unauthenticated() from error


@rogue(breaks=["AUTH-07"])
class SignatureNotVerified(_UnverifiedTokens):
    """Decodes the token and leaves the signature to the gateway."""

    def verify_token(self, token: bytes) -> Mapping[str, Any]:
        return self.claims_of(token)


@rogue(breaks=["AUTH-07"])
class AlgorithmNoneAccepted(_UnverifiedTokens):
    """Lets the token choose its algorithm, and choose none."""

    def verify_token(self, token: bytes) -> Mapping[str, Any]:
        return self.claims_of(token) if self.algorithm_of(token) == "none" else super().verify_token(token)


@rogue(breaks=["AUTH-07"])
class SignatureComparedByItsBeginning(_UnverifiedTokens):
    """Compares the first eight characters of the signature."""

    def verify_token(self, token: bytes) -> Mapping[str, Any]:
        payload, _, signature = token.rpartition(b".")
        digest = hmac.digest(self.settings.jwt_secret.encode(), payload, "sha256")
        if not signature.startswith(base64.urlsafe_b64encode(digest)[:8]):
            return super().verify_token(token)
        return self.claims_of(token)


@rogue(breaks=["AUTH-07"])
class VerifiedTokensCachedBySignature(_UnverifiedTokens):
    """Remembers the signatures that were good, and verifies no payload under one of them again."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.verified: set[bytes] = set()

    def verify_token(self, token: bytes) -> Mapping[str, Any]:
        signature = token.rpartition(b".")[2]
        if signature in self.verified:
            return self.claims_of(token)
        claims = super().verify_token(token)
        self.verified.add(signature)
        return claims


@rogue(breaks=["AUTH-07"])
class ExpiredTokenAccepted(Backend):
    """Verifies the signature and ignores the expiry."""

    def verify_token(self, token: bytes) -> Mapping[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self.settings.jwt_secret, ["HS256"], {"verify_aud": False, "verify_exp": False}
            )
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise self.unauthenticated() from error
        return claims


@rogue(breaks=["AUTH-07"])
class PersonsTokensAreTrusted(_UnverifiedTokens):
    """Verifies the service's tokens, and leaves those of people to the gateway."""

    def verify_token(self, token: bytes) -> Mapping[str, Any]:
        claims = self.claims_of(token)
        return claims if claims.get("role") == "authenticated" else super().verify_token(token)


@rogue(breaks=["AUTH-12"])
class PersonsTokensAreTrustedWithMedia(_UnverifiedTokens):
    """Verifies the service's tokens, and leaves those of people to the gateway, in the media workflow."""

    def verify_media_token(self, token: bytes) -> Mapping[str, Any]:
        claims = self.claims_of(token)
        return claims if claims.get("role") == "authenticated" else super().verify_media_token(token)


@rogue(breaks=["AUTH-07"])
class PersonsTokensNeverExpire(ExpiredTokenAccepted):
    """Lets a person's session last until they sign out."""

    def verify_token(self, token: bytes) -> Mapping[str, Any]:
        claims = super().verify_token(token)
        return claims if claims.get("role") == "authenticated" else Backend.verify_token(self, token)


@rogue(breaks=["AUTH-07"])
class ExpiryComparedByDay(ExpiredTokenAccepted):
    """Compares the day of the expiry with today."""

    def verify_token(self, token: bytes) -> Mapping[str, Any]:
        claims = super().verify_token(token)
        expired = datetime.datetime.fromtimestamp(claims.get("exp", 0), datetime.UTC)
        if expired.date() < datetime.datetime.now(datetime.UTC).date():
            raise self.unauthenticated()
        return claims


@rogue(breaks=["AUTH-07", "AUTH-11"])
class AnySchemeAccepted(Backend):
    """Takes what follows the first space, be it Bearer, Basic or Token."""

    def bearer_token(self, request: Request) -> bytes | None:
        return (self.header(request, "authorization") or b"").partition(b" ")[2].strip() or None


# AUTH-08: people


@rogue(breaks=["AUTH-08", "AUTH-06", "AUTH-05"])
class EveryPersonIsAllowlisted(Backend):
    """Lets every person with a valid token pass."""

    def is_allowlisted(self, claims: Mapping[str, Any]) -> bool:
        return "sub" in claims


@rogue(breaks=["AUTH-08", "AUTH-06", "AUTH-05"])
class AllowlistComparedByDomain(Backend):
    """Lets everybody pass whose address is at the domain of an allowlisted one."""

    def is_allowlisted(self, claims: Mapping[str, Any]) -> bool:
        domain = str(claims.get("email")).rpartition("@")[2].lower()
        return any(email.rpartition("@")[2] == domain for email in self.settings.admin_emails)


# AUTH-09: what a refusal says


class _TalkativeRefusals(Backend):
    """Says more in a refused toggle than it should."""

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        try:
            return await super().toggle(request, person_id, link_id)
        except HTTPException as refusal:
            self.tell(request, refusal)
            raise

    def tell(self, request: Request, refusal: HTTPException) -> None:
        """Add what should not be said."""
        raise NotImplementedError

    def sent(self, request: Request, name: str) -> str:
        """A header of the request as it may stand in one of the response."""
        return re.sub("[^ -~]", "?", (self.header(request, name) or b"").decode("latin-1"))


@rogue(breaks=["AUTH-09"])
class RefusalEchoesTheToken(_TalkativeRefusals):
    """Shows the token that it does not like."""

    def tell(self, request: Request, refusal: HTTPException) -> None:
        if refusal.status_code in (401, 403):
            refusal.detail = f"{refusal.detail}: {self.sent(request, 'authorization')}"


@rogue(breaks=["AUTH-09"])
class RefusalNamesTheSecret(_TalkativeRefusals):
    """Says which secret it expected."""

    def tell(self, request: Request, refusal: HTTPException) -> None:
        if refusal.status_code == 403:
            refusal.detail = f"{refusal.detail}: expected {self.settings.internal_secret}"


@rogue(breaks=["AUTH-09"])
class RefusalSaysWhatTheSecretLacks(_TalkativeRefusals):
    """Tells a missing secret from a wrong one, beside the number of the request."""

    def tell(self, request: Request, refusal: HTTPException) -> None:
        if refusal.status_code == 403:
            lacks = "missing" if self.header(request, SECRET_HEADER) is None else "wrong"
            refusal.detail = f"request {uuid4()}: the internal secret is {lacks}"


@rogue(breaks=["AUTH-09"])
class ChallengeRepeatsTheToken(_TalkativeRefusals):
    """Quotes the token in `WWW-Authenticate`."""

    def tell(self, request: Request, refusal: HTTPException) -> None:
        if refusal.status_code in (401, 403):
            token = self.sent(request, "authorization").replace('"', "'")
            refusal.headers = {"WWW-Authenticate": f'Bearer error="invalid_token", error_description="{token}"'}


@rogue(breaks=["AUTH-09"])
class RefusalDebugsInHeaders(_TalkativeRefusals):
    """Leaves the expected secret in a debug header of every 403."""

    def tell(self, request: Request, refusal: HTTPException) -> None:
        if refusal.status_code == 403:
            refusal.headers = {"X-Debug-Expected": str(self.settings.internal_secret)}


# AUTH-10: order


@rogue(breaks=["AUTH-10"])
class ExistenceBeforeTheSecret(Backend):
    """Says that a link is unknown before it asks for the secret."""

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        self.verify_token(self.bearer_token(request) or b"")
        async with self.pool.connection() as connection:
            if await self.find_link(connection, self.parse_id("link_id", link_id)) is None:
                raise HTTPException(404, "Media link not found")
        return await super().toggle(request, person_id, link_id)


# AUTH-11: the photos' guard


@rogue(breaks=["AUTH-11"])
class PhotosForEverybody(Backend):
    """Serves the photos without a guard."""

    def authorize_reader(self, request: Request) -> None:
        pass


@rogue(breaks=["AUTH-11"])
class PhotosForAnyToken(Backend):
    """Asks for a bearer token and does not look at it."""

    def authorize_reader(self, request: Request) -> None:
        if not self.bearer_token(request):
            raise self.unauthenticated()


@rogue(breaks=["AUTH-11"])
class PhotosTokenMayBeCutShort(Backend):
    """Compares as many characters of the service token as were sent."""

    def authorize_reader(self, request: Request) -> None:
        token = self.bearer_token(request)
        if not token or not (self.settings.screenalytics_token or "").encode().startswith(token):
            raise self.unauthenticated()


@rogue(breaks=["AUTH-11"])
class PhotosGuardOnlyForSeeds(Backend):
    """Guards the new parameter and leaves the old list open."""

    def authorize_reader(self, request: Request) -> None:
        if request.query_params.get("seed_only") == "true":
            super().authorize_reader(request)


# TOG-01: the path


@rogue(breaks=["TOG-01", "AUTH-04", "OAS-01"])
class ToggleTakesPutAlone(Backend):
    """Is reached by PUT, and by PATCH no longer."""

    toggle_methods = ("PUT",)


@rogue(breaks=["TOG-01"])
class ToggleTakesEveryMethod(Backend):
    """Toggles whatever the method."""

    toggle_methods = ("PATCH", "POST", "PUT", "DELETE", "GET")


# TOG-02, TOG-12: the body


@rogue(breaks=["TOG-02"])
class NullMeansOff(Backend):
    """Reads null as false."""

    def parse_flag(self, body: Any) -> bool:
        if isinstance(body, dict) and body.get("facebank_seed", ...) is None:
            return False
        return super().parse_flag(body)


@rogue(breaks=["TOG-02"])
class MissingMeansOn(Backend):
    """Gives the member a default, and reads `{}` as a wish to seed."""

    def parse_flag(self, body: Any) -> bool:
        if isinstance(body, dict) and "facebank_seed" not in body:
            return True
        return super().parse_flag(body)


@rogue(breaks=["TOG-02"])
class EmptyBodyMeansOn(Backend):
    """Lets the address alone seed, without a body."""

    async def read_body(self, request: Request) -> Any:
        return await super().read_body(request) if await request.body() else {"facebank_seed": True}


@rogue(breaks=["TOG-02"])
class BareBooleanTaken(Backend):
    """Takes `true` and `false` for a whole body."""

    def parse_flag(self, body: Any) -> bool:
        return body if isinstance(body, bool) else super().parse_flag(body)


@rogue(breaks=["TOG-02", "TOG-12"])
class AnythingIsTruthy(Backend):
    """Takes whatever is there by its truth value, `"maybe"` as true."""

    def parse_flag(self, body: Any) -> bool:
        if isinstance(body, dict) and body.get("facebank_seed") is not None:
            return bool(body["facebank_seed"])
        return super().parse_flag(body)


@rogue(breaks=["TOG-02", "TOG-12"])
class ValidationAfterTheWrite(Backend):
    """Finds that the value is no boolean when it is already stored as one."""

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        try:
            return await super().toggle(request, person_id, link_id)
        except HTTPException as refusal:
            if refusal.status_code == 422:
                await self.write(request, link_id)
            raise

    async def write(self, request: Request, link_id: str) -> None:
        """Store the truth value of what was refused."""
        body = await self.read_body(request)
        if isinstance(body, dict) and "facebank_seed" in body:
            async with self.pool.connection() as connection:
                link = await self.find_link(connection, self.parse_id("link_id", link_id))
                if link is not None:
                    await self.store_flag(connection, link, bool(body["facebank_seed"]))


@rogue(breaks=["TOG-02", "GEN-01", "TOG-12"])
class BodyMembersTakenForGranted(Backend):
    """Looks into the body before it knows that it is an object with that member."""

    def parse_flag(self, body: Any) -> bool:
        return super().parse_flag({"facebank_seed": body["facebank_seed"]})


@rogue(breaks=["TOG-12"])
class BooleansReadLoosely(Backend):
    """Reads booleans as forms do: `"true"`, `"yes"`, `"on"`, 0 and 1."""

    READINGS: Mapping[Any, bool] = {
        **dict.fromkeys(("true", "yes", "on", "y", "t", "1", 1), True),
        **dict.fromkeys(("false", "no", "off", "n", "f", "0", 0), False),
    }

    def parse_flag(self, body: Any) -> bool:
        given = body.get("facebank_seed") if isinstance(body, dict) else None
        if isinstance(given, str | int | float):
            given = self.READINGS.get(given.lower() if isinstance(given, str) else given, given)
        return super().parse_flag({"facebank_seed": given})


@rogue(breaks=["TOG-12"])
class NumbersTakenForBooleans(Backend):
    """Takes 0 and 1."""

    def parse_flag(self, body: Any) -> bool:
        given = body.get("facebank_seed") if isinstance(body, dict) else None
        return bool(given) if isinstance(given, int) and given in (0, 1) else super().parse_flag(body)


# TOG-03: the answer


@rogue(breaks=["TOG-03", "TOG-09"])
class AnswerIsAlwaysTrue(Backend):
    """Writes the success into the answer, whatever the flag."""

    def toggle_answer(self, link: Link, flag: bool) -> dict[str, Any]:
        return super().toggle_answer(link, True)


@rogue(breaks=["TOG-03", "TOG-09"])
class AnswerShowsTheOldValue(Backend):
    """Answers with the row as it was read before the update."""

    def toggle_answer(self, link: Link, flag: bool) -> dict[str, Any]:
        return super().toggle_answer(link, link.facebank_seed)


@rogue(breaks=["TOG-03"])
class AnswerNamesTheAsset(Backend):
    """Puts the asset's id where the link's belongs."""

    def toggle_answer(self, link: Link, flag: bool) -> dict[str, Any]:
        return super().toggle_answer(link, flag) | {"link_id": str(link.media_asset_id)}


@rogue(breaks=["TOG-03"])
class AnswerLacksThePerson(Backend):
    """Leaves out `person_id`, which the caller knows anyway."""

    def toggle_answer(self, link: Link, flag: bool) -> dict[str, Any]:
        return {"link_id": str(link.id), "facebank_seed": flag}


@rogue(breaks=["TOG-03", "TOG-09"])
class AnswerFlagIsText(Backend):
    """Answers `"true"` and `"false"`."""

    def toggle_answer(self, link: Link, flag: bool) -> dict[str, Any]:
        return super().toggle_answer(link, flag) | {"facebank_seed": str(flag).lower()}


@rogue(breaks=["TOG-03", "TOG-09"])
class AnswerFlagIsANumber(Backend):
    """Answers 1 and 0."""

    def toggle_answer(self, link: Link, flag: bool) -> dict[str, Any]:
        return super().toggle_answer(link, flag) | {"facebank_seed": int(flag)}


# TOG-04: setting twice


@rogue(breaks=["TOG-04", "TOG-05", "TOG-09"])
class RepeatUndoes(Backend):
    """Flips a flag that already has the value, and answers as asked."""

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        await super().store_flag(connection, link, not flag if link.facebank_seed == flag else flag)
        return flag


@rogue(breaks=["TOG-04", "TOG-05", "TOG-09"])
class RepeatIsAConflict(Backend):
    """Refuses to set a value that is already set."""

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        if link.facebank_seed == flag:
            raise HTTPException(409, "The flag has this value already")
        return await super().store_flag(connection, link, flag)


# TOG-05: the toggle and the lists


@rogue(breaks=["TOG-05", "PHO-03", "TOG-10"])
class OffIsOnlyAnswered(Backend):
    """Answers OFF and stores nothing."""

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        return await super().store_flag(connection, link, flag) if flag else False


@rogue(breaks=["TOG-05", "PHO-03", "TOG-06"])
class SeedsCachedUntilTheNextOn(Backend):
    """Caches the list of seeds, and forgets to drop it when a flag is taken away."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.cache: dict[tuple[UUID, PhotoQuery], Sequence[PhotoRow]] = {}

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        stored = await super().store_flag(connection, link, flag)
        if flag:
            self.cache.clear()
        return stored

    async def select_photos(self, connection: Connection, person_id: UUID, query: PhotoQuery) -> Sequence[PhotoRow]:
        key = (person_id, query)
        if query.seed_only and key in self.cache:
            return self.cache[key]
        rows = self.cache[key] = await super().select_photos(connection, person_id, query)
        return rows


@rogue(breaks=["TOG-05", "PHO-03", "TOG-04"])
class SeedsCachedForATenthOfASecond(Backend):
    """Serves the list of seeds from a cache that is a tenth of a second behind."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.cache: dict[tuple[UUID, PhotoQuery], tuple[float, Sequence[PhotoRow]]] = {}

    async def select_photos(self, connection: Connection, person_id: UUID, query: PhotoQuery) -> Sequence[PhotoRow]:
        if not query.seed_only:
            return await super().select_photos(connection, person_id, query)
        now = asyncio.get_running_loop().time()
        expires, rows = self.cache.get((person_id, query), (now, ()))
        if expires <= now:
            rows = await super().select_photos(connection, person_id, query)
            self.cache[person_id, query] = (now + 0.1, rows)
        return rows


@rogue(breaks=["TOG-05", "PHO-04", "PHO-02"])
class SwitchedOffPhotoDisappears(Backend):
    """Hides a photo altogether once its flag was taken away."""

    def photos_condition(self, query: PhotoQuery) -> LiteralString:
        off = "link_id in (select id from core.media_links where not facebank_seed and updated_at > created_at)"
        return f"{super().photos_condition(query)} and not {off}"


@rogue(breaks=["TOG-05", "PHO-04", "PHO-02"])
class SwitchedOnPhotoLeavesTheList(Backend):
    """Moves a photo to the seeds when its flag is set, out of the list of all."""

    def photos_condition(self, query: PhotoQuery) -> LiteralString:
        condition = super().photos_condition(query)
        on = "link_id in (select id from core.media_links where facebank_seed and updated_at > created_at)"
        return condition if query.seed_only else f"{condition} and not {on}"


# TOG-06: one link and nothing else


class _ReachesFurther(Backend):
    """Updates more links than the one named."""

    also: LiteralString
    """The condition on further `core.media_links`, with parameters for the link's columns and the flag."""

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        stored = await super().store_flag(connection, link, flag)
        await connection.execute(
            f"update core.media_links set facebank_seed = {self.value()} where id <> %(id)s and ({self.also})",
            {**link._asdict(), "flag": flag},
        )
        return stored

    def value(self) -> LiteralString:
        """What the further links are set to."""
        return "%(flag)s"


@rogue(breaks=["TOG-06", "PHO-08"])
class SharedPhotoToggledForAll(_ReachesFurther):
    """Updates by the asset, and so for every person who shares the photo."""

    also = "media_asset_id = %(media_asset_id)s"


@rogue(breaks=["TOG-06", "TOG-09", "PHO-03"])
class NextLinkToggledInLargeGalleries(_ReachesFurther):
    """Reaches the link after the named one too, in galleries of more than two."""

    also = """
        id = (select id from core.media_links where entity_id = %(entity_id)s and position > %(position)s
              order by position limit 1)
        and (select count(*) from core.media_links where entity_id = %(entity_id)s) > 2
    """


@rogue(breaks=["TOG-06", "TOG-09", "PHO-03"])
class SwitchingOnIsExclusive(_ReachesFurther):
    """Treats the seeds as a choice of one: ON takes the flag from all others."""

    also = "%(flag)s and entity_id = %(entity_id)s and entity_type = 'person'"

    def value(self) -> LiteralString:
        return "false"


@rogue(breaks=["TOG-06", "TOG-09", "PHO-03"])
class PrimaryToggledAlong(_ReachesFurther):
    """Gives the primary photo the same flag."""

    also = "entity_id = %(entity_id)s and entity_type = 'person' and is_primary"


@rogue(breaks=["TOG-06", "PHO-03", "TOG-09"])
class ThirdSeedDropsTheFirst(_ReachesFurther):
    """Keeps no more than two seeds, and drops the first in the gallery for a third."""

    also = """
        %(flag)s and id in (select id from core.media_links
            where entity_id = %(entity_id)s and entity_type = 'person' and facebank_seed and id <> %(id)s
            order by position desc offset 1)
    """

    def value(self) -> LiteralString:
        return "false"


@rogue(breaks=["TOG-06", "TOG-09", "PHO-03"])
class SwitchingOffReachesUnhostedPhotos(_ReachesFurther):
    """Takes the flag from every photo without a hosted copy when one is switched off."""

    also = """
        not %(flag)s and entity_id = %(entity_id)s
        and media_asset_id in (select id from core.media_assets where hosted_url is null)
    """


# TOG-07: links that must not be toggled


@rogue(breaks=["TOG-07"])
class AnotherPersonsLinkAccepted(Backend):
    """Does not compare the link's person with the path's."""

    def belongs_to(self, link: Link, person_id: UUID) -> bool:
        return True


@rogue(breaks=["TOG-07"])
class LinkOutsideTheGalleryAccepted(Backend):
    """Looks at the person of a link and not at its kind."""

    def is_gallery_link(self, link: Link) -> bool:
        return link.entity_type == "person"


@rogue(breaks=["TOG-07"])
class UnknownLinkIsASuccess(Backend):
    """Updates no row, and finds nothing wrong with that."""

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        try:
            return await super().toggle(request, person_id, link_id)
        except HTTPException as refusal:
            if refusal.status_code != 404:
                raise
            flag = self.parse_flag(await self.read_body(request))
            return self.json({"link_id": link_id, "person_id": person_id, "facebank_seed": flag})


@rogue(breaks=["TOG-07"])
class OwnerCheckedAfterTheWrite(Backend):
    """Refuses another person's link when the flag is already stored."""

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        try:
            return await super().toggle(request, person_id, link_id)
        except HTTPException as refusal:
            if refusal.status_code == 409:
                async with self.pool.connection() as connection:
                    link = await self.find_link(connection, self.parse_id("link_id", link_id))
                    if link is not None:
                        await self.store_flag(connection, link, self.parse_flag(await self.read_body(request)))
            raise


# TOG-08: malformed ids


@rogue(breaks=["TOG-08", "GEN-01"])
class MalformedLinkIdCrashes(Backend):
    """Leaves it to the database to read the link's id."""

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        self.authorize_admin(request)
        async with self.pool.connection() as connection:
            await connection.execute("select %s::text::uuid", (link_id,))
        return await super().toggle(request, person_id, link_id)


@rogue(breaks=["TOG-08", "GEN-01"])
class MalformedPersonIdCrashes(Backend):
    """Converts the person's id of a toggle and catches nothing."""

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        self.authorize_admin(request)
        return await super().toggle(request, str(UUID(person_id)), link_id)


# TOG-09: toggles at once


@rogue(breaks=["TOG-09", "TOG-06"])
class GalleryReadModifiedWritten(Backend):
    """Reads the flags of the whole gallery, changes one, and writes them all back."""

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        cursor = await connection.execute(
            "select id, facebank_seed from core.media_links where entity_type = 'person' and entity_id = %s",
            (link.entity_id,),
        )
        flags = {str(link_id): seed for link_id, seed in await cursor.fetchall()} | {str(link.id): flag}
        await asyncio.sleep(0.002)  # a gallery takes its time to be rebuilt
        await connection.execute(
            "update core.media_links as links set facebank_seed = flags.value::boolean, updated_at = now()"
            " from jsonb_each_text(%s::jsonb) as flags where links.id = flags.key::uuid",
            (json.dumps(flags),),
        )
        return await super().store_flag(connection, link, flag)


@rogue(breaks=["TOG-09"])
class RefusedAfterItIsStored(Backend):
    """Stores a toggle, and then refuses it as another one of the gallery was under way."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.under_way: Counter[str] = Counter()

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        is_alone = not self.under_way[person_id]
        self.under_way[person_id] += 1
        try:
            response = await super().toggle(request, person_id, link_id)
        finally:
            self.under_way[person_id] -= 1
        if not is_alone:
            raise HTTPException(409, "Another toggle of this gallery is under way")
        return response


@rogue(breaks=["TOG-09", "TOG-03"])
class AnswerFromSharedState(Backend):
    """Keeps the link that is being toggled in one place for all requests, and answers with what is there."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.current: tuple[Link, bool] | None = None

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        self.current = (link, flag)
        return await super().store_flag(connection, link, flag)

    def toggle_answer(self, link: Link, flag: bool) -> dict[str, Any]:
        return super().toggle_answer(*(self.current or (link, flag)))


# TOG-10: storage that fails


@rogue(breaks=["TOG-10"])
class StorageErrorSwallowed(Backend):
    """Logs that the flag could not be stored, and answers 200."""

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        try:
            return await super().store_flag(connection, link, flag)
        except psycopg.Error:
            return flag


@rogue(breaks=["TOG-10"])
class StorageErrorIsAConflict(Backend):
    """Blames the caller for a flag that could not be stored."""

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        try:
            return await super().store_flag(connection, link, flag)
        except psycopg.Error as error:
            raise HTTPException(409, "The flag could not be stored") from error


@rogue(breaks=["TOG-10"])
class UnstoredFlagIsShown(Backend):
    """Shows the new flag in the lists from a cache that is filled before the write, and not emptied when it fails."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        self.flags: dict[UUID, bool] = {}

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        self.flags[link.id] = flag
        stored = await super().store_flag(connection, link, flag)
        self.flags.pop(link.id, None)
        return stored

    async def select_photos(self, connection: Connection, person_id: UUID, query: PhotoQuery) -> Sequence[PhotoRow]:
        everything = await super().select_photos(connection, person_id, query._replace(seed_only=False))
        if not query.seed_only or not any(row.link_id in self.flags for row in everything):
            return await super().select_photos(connection, person_id, query)
        return [row for row in everything if self.flags.get(row.link_id, row.facebank_seed)]


# TOG-11: links that were never toggled


@rogue(breaks=["TOG-11", "PHO-03", "TOG-06"])
class UntouchedLinkIsASeed(Backend):
    """Takes a link for a seed until somebody says otherwise."""

    def photos_condition(self, query: PhotoQuery) -> LiteralString:
        untouched = "link_id in (select id from core.media_links where updated_at = created_at)"
        return (
            f"person_id = %(person_id)s and (facebank_seed or {untouched})"
            if query.seed_only
            else "person_id = %(person_id)s"
        )


@rogue(breaks=["TOG-11", "PHO-03", "TOG-05"])
class PrimaryCountsAsASeed(Backend):
    """Lists the primary photo among the seeds, flagged or not."""

    def photos_condition(self, query: PhotoQuery) -> LiteralString:
        condition = super().photos_condition(query._replace(seed_only=False))
        return f"{condition} and (facebank_seed or is_primary)" if query.seed_only else condition


# PHO-01: the shape of a row


@rogue(breaks=["PHO-01", "PHO-09"])
class PagesAreWrapped(Backend):
    """Answers a call that names a limit with an object around the list."""

    async def photos(self, request: Request, person_id: str) -> Response:
        response = await super().photos(request, person_id)
        if "limit" not in request.query_params:
            return response
        return self.json({"items": json.loads(bytes(response.body)), "limit": request.query_params["limit"]})


@rogue(breaks=["PHO-01"])
class SeedsHaveTheirWidthAsText(Backend):
    """Formats the width of flagged photos."""

    def photo(self, row: PhotoRow) -> dict[str, Any]:
        width = str(row.width) if row.facebank_seed and row.width is not None else row.width
        return super().photo(row) | {"width": width}


@rogue(breaks=["PHO-01"])
class PrimaryIsANumber(Backend):
    """Answers 1 and 0 for `is_primary`."""

    def photo(self, row: PhotoRow) -> dict[str, Any]:
        return super().photo(row) | {"is_primary": int(bool(row.is_primary))}


@rogue(breaks=["PHO-01", "PHO-10", "PHO-04"])
class UnhostedPhotoHasNoAddress(Backend):
    """Serves the hosted copy's address, null where there is no hosted copy."""

    def photo(self, row: PhotoRow) -> dict[str, Any]:
        return super().photo(row) | {"served_url": row.hosted_url}


# PHO-02, PHO-03, PHO-04: what the lists hold


@rogue(breaks=["PHO-02", "PHO-04", "TOG-05"])
class PrimarySeedLeavesTheList(Backend):
    """Lists a primary photo that is a seed among the seeds alone."""

    def photos_condition(self, query: PhotoQuery) -> LiteralString:
        condition = super().photos_condition(query)
        return condition if query.seed_only else f"{condition} and not (facebank_seed and is_primary)"


@rogue(breaks=["PHO-02", "PHO-03", "PHO-09"])
class LastSeedListedTwice(Backend):
    """Repeats the last row of the seeds where there are several."""

    async def select_photos(self, connection: Connection, person_id: UUID, query: PhotoQuery) -> Sequence[PhotoRow]:
        rows = await super().select_photos(connection, person_id, query)
        return [*rows, rows[-1]] if query.seed_only and 1 < len(rows) < query.limit else rows


@rogue(breaks=["PHO-03", "TOG-11", "TOG-05"])
class NoSeedsMeansAll(Backend):
    """Falls back to the whole list where there are no seeds."""

    async def select_photos(self, connection: Connection, person_id: UUID, query: PhotoQuery) -> Sequence[PhotoRow]:
        rows = await super().select_photos(connection, person_id, query)
        if rows or query.offset or not query.seed_only:
            return rows
        return await super().select_photos(connection, person_id, query._replace(seed_only=False))


@rogue(breaks=["PHO-03", "TOG-11", "PHO-11"])
class NoSeedsIsNotFound(Backend):
    """Answers 404 where no photo is flagged."""

    async def select_photos(self, connection: Connection, person_id: UUID, query: PhotoQuery) -> Sequence[PhotoRow]:
        rows = await super().select_photos(connection, person_id, query)
        if not rows and query.seed_only and not query.offset:
            raise HTTPException(404, "No seeds")
        return rows


@rogue(breaks=["PHO-03", "TOG-05"])
class UnhostedSeedsDropped(Backend):
    """Leaves photos without a hosted copy out of the seeds."""

    def photos_condition(self, query: PhotoQuery) -> LiteralString:
        condition = super().photos_condition(query)
        return f"{condition} and hosted_url is not null" if query.seed_only else condition


@rogue(breaks=["PHO-03", "PHO-09", "TOG-05"])
class ThreeSeedsAtMost(Backend):
    """Answers with no more seeds than an import takes."""

    async def select_photos(self, connection: Connection, person_id: UUID, query: PhotoQuery) -> Sequence[PhotoRow]:
        rows = await super().select_photos(connection, person_id, query)
        return rows[:3] if query.seed_only else rows


@rogue(breaks=["PHO-04", "PHO-02", "TOG-05"])
class SeedsLeaveTheList(Backend):
    """Reads `seed_only=false` as a wish for what is no seed."""

    def photos_condition(self, query: PhotoQuery) -> LiteralString:
        condition = super().photos_condition(query)
        return condition if query.seed_only else f"{condition} and not facebank_seed"


@rogue(breaks=["PHO-04", "PHO-10"])
class UnhostedPhotosDropped(Backend):
    """Lists photos without a hosted copy only where they are seeds."""

    def photos_condition(self, query: PhotoQuery) -> LiteralString:
        return f"{super().photos_condition(query)} and (hosted_url is not null or facebank_seed)"


# PHO-05, PHO-06, PHO-07: order and query


@rogue(breaks=["PHO-05"])
class SeedsInReverse(Backend):
    """Lists the seeds from the last to the first."""

    def photos_order(self, query: PhotoQuery) -> LiteralString:
        return "is_primary, position desc, link_id desc" if query.seed_only else super().photos_order(query)


@rogue(breaks=["PHO-05"])
class PrimaryComesLast(Backend):
    """Sorts the primary photo to the end of both lists."""

    def photos_order(self, query: PhotoQuery) -> LiteralString:
        return "is_primary, position asc nulls last, link_id"


@rogue(breaks=["PHO-06"])
class SeedsByDefault(Backend):
    """Answers with the seeds where `seed_only` is left out."""

    def parse_seed_only(self, text: str | None) -> bool:
        return text is None or super().parse_seed_only(text)


@rogue(breaks=["PHO-07"])
class UnreadableSeedOnlyIsFalse(Backend):
    """Takes what is not `true` for false."""

    def parse_seed_only(self, text: str | None) -> bool:
        return text is not None and text.lower() == "true"


@rogue(breaks=["PHO-07"])
class EmptySeedOnlyIsTrue(Backend):
    """Reads `?seed_only=` as a flag that is set."""

    def parse_seed_only(self, text: str | None) -> bool:
        return text == "" or super().parse_seed_only(text)


@rogue(breaks=["PHO-07"])
class NumbersReadAsSeedOnly(Backend):
    """Takes every number but 0 for true."""

    def parse_seed_only(self, text: str | None) -> bool:
        return bool(int(text)) if text and re.fullmatch("[0-9]{1,9}", text) else super().parse_seed_only(text)


# PHO-08: other people


@rogue(breaks=["PHO-08", "TOG-06", "PHO-03"])
class FlagsOfOthersWhoShareThePhoto(Backend):
    """Takes a photo for a seed that is one in anybody's gallery."""

    def photos_condition(self, query: PhotoQuery) -> LiteralString:
        if not query.seed_only:
            return super().photos_condition(query)
        anybody = "media_asset_id in (select media_asset_id from core.media_links where facebank_seed)"
        return f"person_id = %(person_id)s and {anybody}"


@rogue(breaks=["PHO-08", "PHO-09"])
class SharedPhotoListedForEach(Backend):
    """Joins by the asset, and lists a shared photo once for each person who has it."""

    def photos_source(self) -> LiteralString:
        return """
            (select images.* from core.v_person_images as images
             join core.media_links as links using (media_asset_id)) as images
        """


@rogue(breaks=["PHO-08", "PHO-11", "PHO-03"])
class NobodysPhotosAreTheNewest(Backend):
    """Shows the newest photos of all where a person has none."""

    async def select_photos(self, connection: Connection, person_id: UUID, query: PhotoQuery) -> Sequence[PhotoRow]:
        everything = await super().select_photos(connection, person_id, PhotoQuery(limit=1))
        if everything or query.offset:
            return await super().select_photos(connection, person_id, query)
        cursor = await connection.execute(
            "select entity_id from core.media_links where entity_type = 'person' order by created_at desc limit 1"
        )
        newest = await cursor.fetchone()
        return await super().select_photos(connection, newest[0], query) if newest else []


# PHO-09: pages


@rogue(breaks=["PHO-09", "PHO-03"])
class FilterAfterTheLimit(Backend):
    """Cuts the page out of all photos, and then takes the seeds of it."""

    async def select_photos(self, connection: Connection, person_id: UUID, query: PhotoQuery) -> Sequence[PhotoRow]:
        rows = await super().select_photos(connection, person_id, query._replace(seed_only=False))
        return [row for row in rows if row.facebank_seed or not query.seed_only]


@rogue(breaks=["PHO-09"])
class OffsetIgnoredForSeeds(Backend):
    """Begins every page of seeds at the first."""

    def photos_page(self, query: PhotoQuery) -> LiteralString:
        return "limit %(limit)s" if query.seed_only else super().photos_page(query)


@rogue(breaks=["PHO-09"])
class OffsetCountsPages(Backend):
    """Multiplies the offset with the limit."""

    def photos_page(self, query: PhotoQuery) -> LiteralString:
        return "limit %(limit)s offset least(%(offset)s::numeric * %(limit)s, 9223372036854775807)::bigint"


@rogue(breaks=["PHO-09"])
class OneRowTooManyPerPage(Backend):
    """Fetches one row more to see whether there is a next page, and leaves it in."""

    def photos_page(self, query: PhotoQuery) -> LiteralString:
        return "limit %(limit)s + 1 offset %(offset)s"


@rogue(breaks=["PHO-09"])
class OneRowTooFewPerPage(Backend):
    """Drops the last row of a full page as the mark of a next one."""

    async def select_photos(self, connection: Connection, person_id: UUID, query: PhotoQuery) -> Sequence[PhotoRow]:
        rows = await super().select_photos(connection, person_id, query)
        return rows[:-1] if len(rows) == query.limit > 1 else rows


@rogue(breaks=["PHO-09"])
class PrimaryOnEveryPage(Backend):
    """Puts the primary photo in front of every page."""

    async def select_photos(self, connection: Connection, person_id: UUID, query: PhotoQuery) -> Sequence[PhotoRow]:
        rows = await super().select_photos(connection, person_id, query)
        if not query.offset or not rows:
            return rows
        first = await super().select_photos(connection, person_id, query._replace(offset=0, limit=1))
        return [*(row for row in first if row.is_primary), *rows][: query.limit]


@rogue(breaks=["PHO-09"])
class PagesWithoutAnOrder(Backend):
    """Sorts each page by chance where there is an offset."""

    def photos_order(self, query: PhotoQuery) -> LiteralString:
        return "random()" if query.offset else super().photos_order(query)


# PHO-10: addresses


@rogue(breaks=["PHO-10", "PHO-03", "TOG-05"])
class SourceServedForHostedPhotos(Backend):
    """Serves the address that a photo was found at, hosted or not."""

    def photo(self, row: PhotoRow) -> dict[str, Any]:
        return super().photo(row) | {"served_url": row.source_url or row.served_url}


@rogue(breaks=["PHO-10", "PHO-04"])
class UnhostedAddressGuessed(Backend):
    """Makes up the address of a hosted copy where there is none."""

    def photo(self, row: PhotoRow) -> dict[str, Any]:
        guess = f"https://cdn.trr.invalid/images/{row.media_asset_id}.jpg"
        return super().photo(row) | {"served_url": row.hosted_url or guess}


# PHO-11: people without photos


@rogue(breaks=["PHO-11"])
class UnknownPersonIsNotFound(Backend):
    """Answers 404 for a person whom the database does not know."""

    async def select_photos(self, connection: Connection, person_id: UUID, query: PhotoQuery) -> Sequence[PhotoRow]:
        cursor = await connection.execute("select from core.people where id = %s", (person_id,))
        if await cursor.fetchone() is None:
            raise HTTPException(404, "Person not found")
        return await super().select_photos(connection, person_id, query)


@rogue(breaks=["PHO-11"])
class MalformedPersonHasNoPhotos(Backend):
    """Answers an empty list for a person id that is no UUID."""

    async def photos(self, request: Request, person_id: str) -> Response:
        try:
            self.parse_id("person_id", person_id)
        except HTTPException:
            self.authorize_reader(request)
            return self.json([])
        return await super().photos(request, person_id)


# PHO-12: reading


@rogue(breaks=["PHO-12", "PHO-09"])
class SeedsAreConsumed(Backend):
    """Hands out seeds as a queue does: what was read with a limit is a seed no longer."""

    async def select_photos(self, connection: Connection, person_id: UUID, query: PhotoQuery) -> Sequence[PhotoRow]:
        rows = await super().select_photos(connection, person_id, query)
        if query.seed_only and query.limit != DEFAULT_LIMIT:
            await connection.execute(
                "update core.media_links set facebank_seed = false where id = any(%s)", ([row.link_id for row in rows],)
            )
        return rows


@rogue(breaks=["PHO-12", "TOG-11", "TOG-06"])
class ReadingSeedsTheFirst(Backend):
    """Flags the first photo of a person without seeds when the whole list is read."""

    async def select_photos(self, connection: Connection, person_id: UUID, query: PhotoQuery) -> Sequence[PhotoRow]:
        rows = await super().select_photos(connection, person_id, query)
        if rows and not query.seed_only and not any(row.facebank_seed for row in rows):
            await connection.execute(
                "update core.media_links set facebank_seed = true where id = %s", (rows[0].link_id,)
            )
        return rows
