"""What all endpoints of the reference TRR-Backend share: who may call, how requests are read, and the JSON answer.

Every method of `Access` is one decision, so that a rogue is a subclass that takes one of them differently.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jwt
import psycopg
from fastapi import HTTPException, Request, Response
from psycopg_pool import AsyncConnectionPool

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

SECRET_HEADER = "x-trr-internal-admin-secret"
MAX_BODY = 1024 * 1024

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_JSON_MEDIA_TYPE = re.compile(r"\s*application/([\w.-]+\+)?json\s*(;.*)?", re.ASCII | re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Settings:
    """What the deployed backend reads from its environment; an unset secret lets nobody in."""

    jwt_secret: str
    internal_secret: str | None
    screenalytics_token: str | None
    admin_emails: frozenset[str]
    """The allowlist, in lower case."""
    public_url: str = ""
    """Where clients find this backend, and under it the copies of images that it hosts."""
    vision_url: str | None = None
    """Where Screenalytics serves `/vision/people-count`; None: people can't be counted."""


class Access:
    """TRR-Backend's callers, requests and answers, decision by decision."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        self.settings = settings
        self.pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            database_url,
            min_size=4,
            max_size=16,
            open=False,
            timeout=10,
            # Every statement stands alone and is planned once.
            kwargs={"autocommit": True, "prepare_threshold": 0},
        )

    # Who calls

    def header(self, request: Request, name: str) -> bytes | None:
        """The value of a header as its bytes; a repeated one is one list, as RFC 9110 combines it."""
        values = [value for key, value in request.scope["headers"] if key == name.encode()]
        return b", ".join(values) if values else None

    def bearer_token(self, request: Request) -> bytes | None:
        """The credentials of an `Authorization: Bearer`, None for any other scheme."""
        scheme, _, token = (self.header(request, "authorization") or b"").partition(b" ")
        return token.strip() if scheme.lower() == b"bearer" else None

    def verify_token(self, token: bytes) -> Mapping[str, Any]:
        """The claims of a JWT that we signed and that has not expired; 401 for any other."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self.settings.jwt_secret, algorithms=["HS256"], options={"verify_aud": False, "require": ["exp"]}
            )
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise self.unauthenticated() from error
        return claims

    def is_service_role(self, claims: Mapping[str, Any]) -> bool:
        """Whether the token is the service's own."""
        return claims.get("role") == "service_role"

    def is_allowlisted(self, claims: Mapping[str, Any]) -> bool:
        """Whether the token is that of a person who may administer."""
        email = claims.get("email")
        return isinstance(email, str) and email.lower() in self.settings.admin_emails

    def secret_matches(self, given: bytes | None) -> bool:
        """Whether the internal secret is set and given, compared as bytes in constant time."""
        expected = self.settings.internal_secret
        return bool(expected) and given is not None and hmac.compare_digest(given, str(expected).encode())

    def unauthenticated(self) -> HTTPException:
        """The refusal of a call without a valid token."""
        return HTTPException(401, "Missing or invalid bearer token", {"WWW-Authenticate": "Bearer"})

    def forbidden(self) -> HTTPException:
        """The refusal of a known caller, the same for every reason."""
        return HTTPException(403, "Allowlist admin access required")

    def authorize_admin(self, request: Request) -> None:
        """Let an allowlisted person pass, and the service role with the internal secret; refuse anyone else."""
        token = self.bearer_token(request)
        if token is None:
            raise self.unauthenticated()
        claims = self.verify_token(token)
        if self.is_service_role(claims):
            if not self.secret_matches(self.header(request, SECRET_HEADER)):
                raise self.forbidden()
        elif not self.is_allowlisted(claims):
            raise self.forbidden()

    def authorize_reader(self, request: Request) -> None:
        """Let Screenalytics pass, which is known by its service token; refuse anyone else."""
        token, expected = self.bearer_token(request), self.settings.screenalytics_token
        if token is None or not expected or not hmac.compare_digest(token, expected.encode()):
            raise self.unauthenticated()

    # What is asked

    def parse_id(self, name: str, text: str) -> UUID:
        """A path parameter as a UUID, in the hyphenated form and any case; 422 for anything else."""
        if not _UUID.fullmatch(text):
            raise HTTPException(422, f"{name} must be a UUID")
        return UUID(text)

    async def read_body(self, request: Request) -> Any:
        """The JSON value of the request's body; 413, 415 or 422 for what is none."""
        media_type = self.header(request, "content-type")
        if media_type is not None and not _JSON_MEDIA_TYPE.fullmatch(media_type.decode("latin-1")):
            raise HTTPException(415, "The body is not declared as JSON")
        body = await request.body()
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"The body is longer than {MAX_BODY} bytes")
        try:
            return json.loads(body.decode(), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise HTTPException(422, "The body is not JSON") from error

    # The answer

    def json(self, value: Any, status: int = 200) -> Response:
        """A JSON response."""
        return Response(json.dumps(value, separators=(",", ":")), status, media_type="application/json")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
