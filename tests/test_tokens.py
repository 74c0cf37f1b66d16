"""Each tampered token differs from the real one in what its name says, and a verifier refuses it."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance import tokens
from conformance.errors import NotVerified

KEY = "the-signing-key-of-the-tests-0123456789"
CLAIMS = {"iss": "supabase", "ref": "project", "role": "service_role", "iat": 1, "exp": 4_102_444_800}
TOKEN = jwt.encode(CLAIMS, KEY, algorithm="HS256")


def verified(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, KEY, algorithms=["HS256"], options={"verify_aud": False})
    return claims


def test_the_real_one_is_good() -> None:
    assert verified(TOKEN) == tokens.claims(TOKEN) == CLAIMS


BAD: dict[str, tuple[Callable[[str], str], type[jwt.PyJWTError]]] = {
    "payload": (tokens.with_changed_payload, jwt.InvalidSignatureError),
    "signature": (tokens.with_changed_signature, jwt.InvalidSignatureError),
    "alg none": (tokens.without_signature, jwt.InvalidAlgorithmError),
    "alg None": (lambda token: tokens.without_signature(token, "None"), jwt.InvalidAlgorithmError),
    "no signature": (tokens.with_stripped_signature, jwt.InvalidSignatureError),
    "another key": (tokens.signed_by_another_key, jwt.InvalidSignatureError),
    "expired": (lambda token: tokens.expired(token, KEY), jwt.ExpiredSignatureError),
}


@pytest.mark.parametrize("make, refusal", BAD.values(), ids=BAD)
def test_a_bad_token_is_refused_for_its_one_fault(make: Callable[[str], str], refusal: type[jwt.PyJWTError]) -> None:
    bad = make(TOKEN)
    assert bad != TOKEN
    with pytest.raises(refusal):
        verified(bad)
    payload = jwt.decode(bad, options={"verify_signature": False})
    assert {"iss": "supabase", "ref": "project", "role": "service_role"}.items() <= payload.items()


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5)), st.text(min_size=32, max_size=40))
def test_a_changed_signature_is_another_signature(claims: dict[str, str], key: str) -> None:
    """Not only other characters: the bytes that they stand for."""
    token = jwt.encode({"role": "service_role", "more": claims}, key, algorithm="HS256")
    before, after = (part.rpartition(".")[2] for part in (token, tokens.with_changed_signature(token)))
    assert len(before) == len(after)
    assert base64.urlsafe_b64decode(before + "==") != base64.urlsafe_b64decode(after + "==")


@pytest.mark.parametrize("role", ["anon", "SERVICE_ROLE", "service_role_readonly", None])
def test_another_role_is_the_only_change(role: str | None) -> None:
    expected = {name: value for name, value in {**CLAIMS, "role": role}.items() if value is not None}
    assert verified(tokens.with_role(TOKEN, KEY, role)) == expected


def test_a_person_is_nobody_that_an_allowlist_has() -> None:
    first, second = (verified(tokens.of_a_person(TOKEN, KEY, user_metadata={"role": "service_role"})) for _ in "12")
    assert first["role"] == "authenticated"
    assert first["user_metadata"] == {"role": "service_role"}
    assert (first["iss"], first["ref"]) == ("supabase", "project")
    assert first["email"].endswith(".invalid")
    assert first["exp"] > time.time() > first["iat"]
    assert first["sub"] != second["sub"]


def test_a_person_can_be_made_from_a_token_without_issuer() -> None:
    person = tokens.of_a_person(jwt.encode({"role": "service_role"}, KEY, algorithm="HS256"), KEY)
    assert "iss" not in verified(person)


MAKERS: tuple[Callable[[str], object], ...] = (
    tokens.claims,
    *(make for make, _ in BAD.values()),
    lambda token: tokens.with_role(token, KEY, "anon"),
    lambda token: tokens.of_a_person(token, KEY),
)
NO_JWT = ("", "opaque", "a.b.c", "..", f"{TOKEN}.x", TOKEN.rpartition(".")[0], tokens.without_signature(TOKEN), "é.é.é")


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("token", NO_JWT)
def test_what_is_no_signed_jwt_is_not_verified(make: Callable[[str], object], token: str) -> None:
    with pytest.raises(NotVerified, match=r"credentials\.service_role_token is no"):
        make(token)


@given(
    st.one_of(
        st.text(max_size=60), st.text("abcXYZ019-_+/=.", max_size=60).map(lambda t: f"eyJhbGciOiJIUzI1NiJ9.e30.{t}")
    )
)
def test_any_text_is_tampered_with_or_not_verified(token: str) -> None:
    for make in MAKERS:
        with contextlib.suppress(NotVerified):
            make(token)
