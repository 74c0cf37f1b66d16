"""Tokens that must not be accepted: tampered ones from a real token, and ones that only the signing key can make."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time
import uuid
from collections.abc import Mapping
from typing import Any

import jwt

from conformance.errors import NotVerified

_BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _parts(token: str) -> tuple[str, str, str]:
    """Header, payload and signature as they stand; raises NotVerified where the token is no JWT."""
    try:
        jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        raise NotVerified("credentials.service_role_token is no JWT") from None
    header, payload, signature = token.split(".")
    if not signature:
        raise NotVerified("credentials.service_role_token is not signed")
    return header, payload, signature


def _base64url(raw: bytes) -> str:
    """Without padding, as RFC 7515 has it."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _encode(part: Mapping[str, Any]) -> str:
    return _base64url(json.dumps(part).encode())


def claims(token: str) -> dict[str, Any]:
    """A JWT's payload, unverified; raises NotVerified where the token is no JWT."""
    _parts(token)
    payload: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return payload


def with_changed_payload(token: str) -> str:
    """Another payload under the old signature."""
    header, _, signature = _parts(token)
    return f"{header}.{_encode({**claims(token), 'changed': True})}.{signature}"


def with_changed_signature(token: str) -> str:
    """A character in the middle of the signature changed (the last one may carry unused bits)."""
    header, payload, signature = _parts(token)
    middle = len(signature) // 2
    # find: a lax issuer may have written + and /
    other = _BASE64URL[(_BASE64URL.find(signature[middle]) + 1) % len(_BASE64URL)]
    return f"{header}.{payload}.{signature[:middle]}{other}{signature[middle + 1 :]}"


def without_signature(token: str, algorithm: str = "none") -> str:
    """The same payload, said to be unsigned."""
    _parts(token)
    return f"{_encode({'alg': algorithm, 'typ': 'JWT'})}.{_encode(claims(token))}."


def with_stripped_signature(token: str) -> str:
    """The same header and payload, the signature left empty."""
    header, payload, _ = _parts(token)
    return f"{header}.{payload}."


LOCAL_KEY = b"super-secret-jwt-token-with-at-least-32-characters-long"
"""The key that every local Supabase comes with."""


def signed_by(token: str, key: bytes, **header: Any) -> str:
    """The same payload, signed by a key of our choice, with more in the header; never by the token's own key."""
    _, _, own = _parts(token)
    if _signature(token.rpartition(".")[0], key) == own:
        key += b"x"
    signed = f"{_encode({'alg': 'HS256', 'typ': 'JWT', **header})}.{_encode(claims(token))}"
    return f"{signed}.{_signature(signed, key)}"


def by_the_local_key(token: str) -> str:
    """The same payload, signed by `LOCAL_KEY`; by another key where a target may trust it beside its own."""
    _parts(token)
    own = jwt.get_unverified_header(token)["alg"] == "HS256"
    return signed_by(token, LOCAL_KEY if own else LOCAL_KEY + b"x")


def by_a_key_in_its_header(token: str) -> str:
    """The same payload, signed by a key of our own that the header brings along."""
    key = secrets.token_bytes(32)
    return signed_by(token, key, jwk={"kty": "oct", "k": _base64url(key)})


def _signature(signed: str, key: bytes) -> str:
    return _base64url(hmac.digest(key, signed.encode(), "sha256"))


def signed_by_another_key(token: str) -> str:
    """The same payload, signed by a key of our own."""
    return signed_by(token, secrets.token_bytes(32))


def expired(token: str, key: str, *, since_s: int = 86_400) -> str:
    """The same payload, rightly signed, and past its time since a day, or so many seconds."""
    return with_claims(token, key, exp=int(time.time()) - since_s)


def with_claims(token: str, key: str, **more: Any) -> str:
    """The same payload with more, or other, claims, rightly signed."""
    return jwt.encode({**claims(token), **more}, key, algorithm="HS256")


def with_role(token: str, key: str, role: str | None) -> str:
    """The same payload, rightly signed, in another role, or in none."""
    payload = {name: value for name, value in claims(token).items() if name != "role"}
    return jwt.encode(payload if role is None else {**payload, "role": role}, key, algorithm="HS256")


def of_a_person(token: str, key: str, **more: Any) -> str:
    """A rightly signed token of a person whom no allowlist has."""
    service = claims(token)
    person: dict[str, Any] = {
        **{name: service[name] for name in ("iss", "ref") if name in service},
        "aud": "authenticated",
        "role": "authenticated",
        "sub": str(uuid.uuid4()),
        "email": f"nobody-{uuid.uuid4().hex[:12]}@trr-conformance.invalid",
        "iat": int(time.time()) - 60,
        "exp": int(time.time()) + 3600,
        **more,
    }
    return jwt.encode(person, key, algorithm="HS256")
