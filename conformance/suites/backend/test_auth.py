"""AUTH-01 to AUTH-12: who may toggle, read and import, and what a refusal leaves behind."""

from __future__ import annotations

import base64
import hashlib
import re
import string
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance import expect, tokens
from conformance.backend import Backend, Caller, Gallery, Link
from conformance.errors import NotVerified, PremiseBroken, Violation
from conformance.exchange import Exchange, Header
from conformance.media import Entity, Media, image_order
from conformance.polling import polls
from conformance.states import where_given

MakeCaller = Callable[[Backend], Caller]


# --- callers ---------------------------------------------------------------------------------------------------------


def _credential(backend: Backend, key: str) -> str:
    return backend.environment.credential(key)


def _service_token(backend: Backend) -> str:
    return _credential(backend, "service_role_token")


def _secret(backend: Backend) -> str:
    return _credential(backend, "internal_admin_secret")


def _wrong(backend: Backend, name: str, value: str, right: str) -> str:
    """A value made from a secret; where the making changed nothing (no letters, say), one more character does."""
    return backend.redactor.add_derived(name, value if value.strip() != right else f"{value}x")


def with_secret(name: str, make: Callable[[str], str]) -> MakeCaller:
    """The service role with a secret made from the right one."""

    def caller(backend: Backend) -> Caller:
        secret = _secret(backend)
        wrong = _wrong(backend, f"internal_admin_secret, {name}", make(secret), secret)
        return Caller(f"Bearer {_service_token(backend)}", wrong)

    return caller


def with_token(name: str, make: Callable[[Backend], str], *, secret: bool = True, scheme: str = "Bearer") -> MakeCaller:
    """A token made from the service's, sent with the right secret or without one."""

    def caller(backend: Backend) -> Caller:
        token = backend.redactor.add_derived(f"token, {name}", make(backend))
        return Caller(f"{scheme} {token}", _secret(backend) if secret else None)

    return caller


def _jwt(backend: Backend, person: str) -> str:
    """The service's token, or where that is no JWT, that of a person, of which the same is asked."""
    token = _service_token(backend)
    try:
        tokens.claims(token)
    except NotVerified:
        return backend.environment.credentials.get(person, token)
    return token


def tampered(make: Callable[[str], str]) -> Callable[[Backend], str]:
    """A token made from the service's alone, or from an allowlisted person's."""
    return lambda backend: make(_jwt(backend, "backend_admin_token"))


def in_role(role: str | None) -> Callable[[Backend], str]:
    """The service's token, or that of a person who is not allowlisted, in another role, rightly signed."""
    return minted(lambda token, key: tokens.with_role(token, key, role))


def minted(make: Callable[[str, str], str]) -> Callable[[Backend], str]:
    """A token that only the signing key can make."""
    return lambda backend: make(_jwt(backend, "backend_user_token"), _credential(backend, "jwt_secret"))


def _admins_token(backend: Backend) -> str:
    """An allowlisted person's token, or the service's where none is known, of which the same is asked."""
    try:
        return _credential(backend, "backend_admin_token")
    except NotVerified:
        return _service_token(backend)


def of_an_admin(make: Callable[[str], str]) -> Callable[[Backend], str]:
    """A token made from an allowlisted person's."""
    return lambda backend: make(_admins_token(backend))


def similar(make: Callable[[str], dict[str, Any]]) -> Callable[[Backend], str]:
    """The rightly signed token of a person who is not allowlisted, with claims made from an allowlisted address."""

    def token(backend: Backend) -> str:
        email = str(tokens.claims(_admins_token(backend)).get("email", "admin@trr-conformance.invalid"))
        return minted(lambda service, key: tokens.of_a_person(service, key, **make(email)))(backend)

    return token


def _a_users_token(backend: Backend) -> str:
    try:
        return _credential(backend, "backend_user_token")
    except NotVerified as missing:
        try:
            return minted(tokens.of_a_person)(backend)
        except NotVerified:
            raise missing from None


def _persons_token(backend: Backend, **claims: Any) -> str:
    """A person's with these claims, or any person's where none can be made."""
    try:
        return minted(lambda service, key: tokens.of_a_person(service, key, **claims))(backend)
    except NotVerified:
        return _a_users_token(backend)


def _boasters_token(backend: Backend) -> str:
    """A person's who says to be an admin."""
    return _persons_token(backend, user_metadata={"role": "admin", "is_admin": True})


def _nearly_an_admins_token(backend: Backend) -> str:
    """A person's whose email is the beginning of an allowlisted one's."""
    try:
        email = str(tokens.claims(_credential(backend, "backend_admin_token"))["email"])
    except (NotVerified, KeyError):
        return _a_users_token(backend)
    return _persons_token(backend, email=email[:-1])


def _basic(backend: Backend) -> str:
    return base64.b64encode(f"service_role:{_service_token(backend)}".encode()).decode()


def _whole(token: str) -> str:
    tokens.claims(token)  # not verified where it is no JWT
    return token


def _percent_encoded(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _in_other_letters(email: str) -> str:
    """Another address, which is an admin's where letters are compared in capitals; of another domain in any case."""
    other, (_, _, domain) = email.lower().replace("i", "\u0131"), email.lower().rpartition("@")
    return f"{other}.invalid" if other.endswith(domain) else other


@dataclass(frozen=True)
class Refusal:
    """A toggle call that must be refused: by whom, and with which statuses (None: any but success)."""

    name: str
    clause: str
    caller: MakeCaller
    statuses: frozenset[int] | None = None


UNAUTHORIZED = frozenset({401, 403})
FORBIDDEN = frozenset({403})

REFUSALS = (
    Refusal("nothing at all", "AUTH-01", lambda b: Caller(), UNAUTHORIZED),
    Refusal("service role, no secret", "AUTH-02", lambda b: Caller(f"Bearer {_service_token(b)}"), FORBIDDEN),
    # a wrong secret
    Refusal("empty secret", "AUTH-03", with_secret("emptied", lambda s: ""), FORBIDDEN),
    Refusal("another secret", "AUTH-03", with_secret("replaced", lambda s: "wrong-" + "x" * 20), FORBIDDEN),
    Refusal("secret of the same length", "AUTH-03", with_secret("replaced", lambda s: "x" * len(s)), FORBIDDEN),
    Refusal("first character", "AUTH-03", with_secret("first character", lambda s: s[:1] + "!"), FORBIDDEN),
    Refusal("prefix of half", "AUTH-03", with_secret("first half", lambda s: s[: len(s) // 2]), FORBIDDEN),
    Refusal("all but the last", "AUTH-03", with_secret("all but the last", lambda s: s[:-1]), FORBIDDEN),
    Refusal("all but the first", "AUTH-03", with_secret("all but the first", lambda s: s[1:]), FORBIDDEN),
    Refusal("suffix of half", "AUTH-03", with_secret("second half", lambda s: s[len(s) // 2 :]), FORBIDDEN),
    Refusal("one more character", "AUTH-03", with_secret("with one more", lambda s: s + "x"), FORBIDDEN),
    Refusal("one more in front", "AUTH-03", with_secret("with one in front", lambda s: "x" + s), FORBIDDEN),
    Refusal("last character changed", "AUTH-03", with_secret("last one changed", lambda s: _changed(s, -1)), FORBIDDEN),
    Refusal("first character changed", "AUTH-03", with_secret("first changed", lambda s: _changed(s, 0)), FORBIDDEN),
    Refusal("middle changed", "AUTH-03", with_secret("middle changed", lambda s: _changed(s, len(s) // 2)), FORBIDDEN),
    Refusal("reversed", "AUTH-03", with_secret("reversed", lambda s: s[::-1]), FORBIDDEN),
    Refusal("upper case", "AUTH-03", with_secret("in upper case", str.upper), FORBIDDEN),
    Refusal("lower case", "AUTH-03", with_secret("in lower case", str.lower), FORBIDDEN),
    Refusal("other letter case", "AUTH-03", with_secret("in the other case", str.swapcase), FORBIDDEN),
    Refusal("secret doubled", "AUTH-03", with_secret("doubled", lambda s: s + s), FORBIDDEN),
    Refusal("secret in quotes", "AUTH-03", with_secret("in quotes", lambda s: f'"{s}"'), FORBIDDEN),
    Refusal("secret percent-encoded", "AUTH-03", with_secret("percent-encoded", _percent_encoded), FORBIDDEN),
    Refusal("digest of the secret", "AUTH-03", with_secret("as its digest", _digest), FORBIDDEN),
    # a word that is no secret, and is not to be redacted
    Refusal("undefined", "AUTH-03", lambda b: Caller(b.service.authorization, "undefined"), FORBIDDEN),
    Refusal("secret first in a list", "AUTH-03", with_secret("first in a list", lambda s: f"{s}, x"), FORBIDDEN),
    Refusal("secret last in a list", "AUTH-03", with_secret("last in a list", lambda s: f"x, {s}"), FORBIDDEN),
    Refusal(
        "service token as the secret",
        "AUTH-03",
        lambda b: Caller(b.service.authorization, _service_token(b)),
        FORBIDDEN,
    ),
    # the right secret, without a service-role token
    Refusal("secret alone", "AUTH-06", lambda b: Caller(None, _secret(b))),
    Refusal("secret with an empty token", "AUTH-06", lambda b: Caller("Bearer", _secret(b))),
    Refusal("secret with garbage", "AUTH-06", lambda b: Caller("Bearer garbage", _secret(b))),
    Refusal("secret with three dots", "AUTH-06", lambda b: Caller("Bearer a.b.c", _secret(b))),
    Refusal("secret as the token too", "AUTH-06", lambda b: Caller(f"Bearer {_secret(b)}", _secret(b))),
    Refusal("secret with a user's token", "AUTH-06", with_token("of a user", _a_users_token)),
    Refusal("secret, role anon", "AUTH-06", with_token("role anon", in_role("anon"))),
    Refusal("secret, no role", "AUTH-06", with_token("no role", in_role(None))),
    Refusal("secret, role in upper case", "AUTH-06", with_token("role in upper case", in_role("SERVICE_ROLE"))),
    Refusal("secret, longer role", "AUTH-06", with_token("longer role", in_role("service_role_readonly"))),
    Refusal("secret, shorter role", "AUTH-06", with_token("shorter role", in_role("service"))),
    Refusal(
        "secret, role in user_metadata",
        "AUTH-06",
        with_token(
            "role in user_metadata",
            minted(lambda t, k: tokens.of_a_person(t, k, user_metadata={"role": "service_role"})),
        ),
    ),
    *(
        Refusal(f"secret, {name}", "AUTH-06", with_token(name, similar(make)))
        for name, make in (
            ("an empty address", lambda email: {"email": ""}),
            ("a part of an admin's address", lambda email: {"email": email.partition("@")[0]}),
            ("an admin's address and more", lambda email: {"email": f"{email}.trr-conformance.invalid"}),
            ("more and an admin's address", lambda email: {"email": f"trr-conformance-{email}"}),
            ("an admin's address with a tag", lambda email: {"email": "{}+tag{}{}".format(*email.rpartition("@"))}),
            ("an admin's address in letters that are not the same", lambda email: {"email": _in_other_letters(email)}),
            ("an admin's address in user_metadata", lambda email: {"user_metadata": {"email": email}}),
        )
    ),
    # a token that proves nothing
    Refusal("payload changed", "AUTH-07", with_token("payload changed", tampered(tokens.with_changed_payload))),
    Refusal("signature changed", "AUTH-07", with_token("signature changed", tampered(tokens.with_changed_signature))),
    Refusal(
        "signature left out", "AUTH-07", with_token("signature left out", tampered(tokens.with_stripped_signature))
    ),
    Refusal("alg none", "AUTH-07", with_token("alg none", tampered(tokens.without_signature))),
    Refusal("alg None", "AUTH-07", with_token("alg None", tampered(lambda t: tokens.without_signature(t, "None")))),
    Refusal("signed by another key", "AUTH-07", with_token("of another key", tampered(tokens.signed_by_another_key))),
    *(
        Refusal(name, "AUTH-07", with_token(name, tampered(make)))
        for name, make in (
            ("signed by an empty key", lambda t: tokens.signed_by(t, b"", kid="nobody's")),
            ("signed by a key in its header", tokens.by_a_key_in_its_header),
            ("signed by the key of local installations", tokens.by_the_local_key),
        )
    ),
    Refusal("expired", "AUTH-07", with_token("expired", minted(tokens.expired))),
    # no clock is an hour slow, and no leeway that long
    Refusal(
        "expired since an hour",
        "AUTH-07",
        with_token("expired since an hour", minted(lambda t, k: tokens.expired(t, k, since_s=3600))),
    ),
    *(
        Refusal(f"admin, {name}", "AUTH-07", with_token(f"of an admin, {name}", of_an_admin(make), secret=False))
        for name, make in (
            ("payload changed", tokens.with_changed_payload),
            ("signature changed", tokens.with_changed_signature),
            ("alg none", tokens.without_signature),
            ("signed by another key", tokens.signed_by_another_key),
        )
    ),
    Refusal(
        "admin, expired",
        "AUTH-07",
        with_token(
            "of an admin, expired",
            lambda b: tokens.expired(_admins_token(b), _credential(b, "jwt_secret")),
            secret=False,
        ),
    ),
    Refusal("sent as Basic", "AUTH-07", with_token("as Basic", tampered(_whole), scheme="Basic")),
    Refusal("sent as Basic, encoded", "AUTH-07", with_token("as Basic, encoded", _basic, scheme="Basic")),
    Refusal("sent as Token", "AUTH-07", with_token("as Token", tampered(_whole), scheme="Token")),
    # a person whom no allowlist has
    Refusal("user, no secret", "AUTH-08", with_token("of a user", _a_users_token, secret=False), UNAUTHORIZED),
    Refusal("user and secret", "AUTH-08", with_token("of a user", _a_users_token), UNAUTHORIZED),
    Refusal(
        "user who says to be an admin",
        "AUTH-08",
        with_token("of a user who says to be an admin", _boasters_token, secret=False),
        UNAUTHORIZED,
    ),
)


def _changed(text: str, index: int) -> str:
    """The text with one character changed to another of its kind, not just to its other case."""
    characters = list(text)
    if characters[index].isdigit():
        characters[index] = str((int(characters[index]) + 1) % 10)
    else:
        characters[index] = "q" if characters[index].lower() != "q" else "z"
    return "".join(characters)


def each_refusal(*, own_clause: bool) -> pytest.MarkDecorator:
    """One test per row; `own_clause` marks it with the row's clause."""
    rows = [
        pytest.param(row, id=row.name, marks=[pytest.mark.clause(row.clause)] if own_clause else []) for row in REFUSALS
    ]
    return pytest.mark.parametrize("refusal", rows)


def refused(backend: Backend, person: Gallery, link: Link, value: bool, refusal: Refusal) -> Exchange:
    """Sends a call that must be refused; where it is granted, that is the row's own clause, not the running test's."""
    exchange = backend.toggle(person.person_id, link.link_id, value, caller=refusal.caller(backend))
    if exchange.status < 300:
        raise PremiseBroken(
            refusal.clause,
            f"a toggle ({refusal.name}) was granted",
            expected="a refusal",
            actual=exchange.outcome(),
            exchange=exchange,
        )
    return exchange


# --- the toggle ------------------------------------------------------------------------------------------------------


@each_refusal(own_clause=True)
def test_toggle_is_refused(backend: Backend, refusal: Refusal) -> None:
    """The call is refused, with the status that the clause names. It carries the flag's present value."""
    caller = refusal.caller(backend)
    backend.require_toggles()
    with backend.some_link(kept=True) as person:
        (link,) = person.links
        exchange = backend.toggle(person.person_id, link.link_id, link.flagged, caller=caller, changes_nothing=True)
    if refusal.statuses is None:
        expect.not_granted(exchange, what=f"a toggle ({refusal.name})")
    else:
        expect.status(exchange, refusal.statuses, what=f"a toggle ({refusal.name})")


@pytest.mark.clause("AUTH-01", level="SHOULD")
def test_missing_authorization_is_401(backend: Backend) -> None:
    """Without `Authorization` the answer is exactly 401."""
    backend.require_toggles()
    with backend.some_link(kept=True) as person:
        (link,) = person.links
        exchange = backend.toggle(person.person_id, link.link_id, link.flagged, caller=Caller(), changes_nothing=True)
    expect.status(exchange, {401}, what="a toggle without Authorization")


ELSEWHERE: dict[str, Callable[[str], Header]] = {
    "a cookie": lambda token: ("Cookie", f"access_token={token}; sb-access-token={token}"),
    "the gateway's header": lambda token: ("apikey", token),
    "a proxy's header": lambda token: ("X-Forwarded-Authorization", f"Bearer {token}"),
}


@pytest.mark.clause("AUTH-01")
@pytest.mark.parametrize("where", ELSEWHERE)
def test_token_in_another_place_is_none(backend: Backend, where: str) -> None:
    """Without `Authorization` a toggle is refused, though the right secret and a good token come with it elsewhere."""
    backend.require_toggles()
    with backend.some_link(kept=True) as person:
        (link,) = person.links
        exchange = backend.toggle(
            person.person_id,
            link.link_id,
            link.flagged,
            caller=Caller(None, _secret(backend)),
            headers=[ELSEWHERE[where](_service_token(backend))],
            changes_nothing=True,
        )
    expect.status(exchange, UNAUTHORIZED, what=f"a toggle with its token in {where}")


@pytest.mark.clause("AUTH-03")
@given(text=st.text(string.ascii_letters + string.digits + string.punctuation, min_size=1, max_size=80))
def test_any_other_string_is_refused(backend: Backend, text: str) -> None:
    """Service role with any other string as the secret → 403."""
    # the rare draw that is the secret is made another string
    text = text if text != _secret(backend) else f"{text}x"
    backend.require_toggles()
    with backend.some_link(kept=True) as person:
        (link,) = person.links
        caller = Caller(backend.service.authorization, text)
        exchange = backend.toggle(person.person_id, link.link_id, link.flagged, caller=caller, changes_nothing=True)
    expect.status(exchange, FORBIDDEN, what="a toggle with another string as the secret")


UNUSUAL_SECRETS: dict[str, Callable[[bytes], bytes]] = {
    "UTF-8": lambda secret: "sécret-é".encode(),
    "Latin-1": lambda secret: b"s\xe9cret",
    "invalid UTF-8": lambda secret: b"\xff\xfe\x80",
    "the secret and a non-ASCII byte": lambda secret: secret + b"\xe9",
    "thousands of characters": lambda secret: b"x" * 6_000,
    "the secret a thousand times": lambda secret: (secret * 1_000)[:60_000],
}


@pytest.mark.clause("AUTH-03")
@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in UNUSUAL_SECRETS.items()])
def test_unusual_secret_is_refused(backend: Backend, make: Callable[[bytes], bytes]) -> None:
    """Non-ASCII bytes or thousands of characters: any 4xx, or a closed connection."""
    backend.require_toggles()
    caller = Caller(backend.service.authorization, make(_secret(backend).encode()))
    with backend.some_link(kept=True) as person:
        (link,) = person.links
        exchange = backend.toggle(person.person_id, link.link_id, link.flagged, caller=caller, changes_nothing=True)
    expect.client_error(exchange, what="a toggle with an unusual secret", may_close=True)


@pytest.mark.clause("AUTH-04")
def test_service_with_the_right_secret_is_accepted(backend: Backend) -> None:
    """Service role with the right secret → 200, for a toggle in either direction."""
    with backend.some_link() as person:
        (link,) = person.links
        for value in (not link.flagged, link.flagged):
            exchange = backend.toggle(person.person_id, link.link_id, value)
            if exchange.status in (404, 405):
                raise PremiseBroken(
                    "TOG-01", "the toggle does not exist", expected="200", actual=exchange.outcome(), exchange=exchange
                )
            expect.status(exchange, {200}, what="a toggle by the service role with the right secret")


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(row, id=row.name, marks=pytest.mark.clause(row.clause))
        for row in REFUSALS
        if row.name in ("service role, no secret", "another secret")
    ],
)
def test_accepted_toggle_opens_nothing(backend: Backend, refusal: Refusal) -> None:
    """The call is refused where the same token has toggled the same link with the right secret just before."""
    backend.require_toggles()
    with backend.some_link(kept=True) as person:
        (link,) = person.links
        granted, exchange = (
            backend.toggle(person.person_id, link.link_id, link.flagged, caller=caller, changes_nothing=True)
            for caller in (backend.service, refusal.caller(backend))
        )
    if granted.status != 200:
        raise PremiseBroken(
            "AUTH-04",
            "a toggle by the service role with the right secret was not accepted",
            expected="200",
            actual=granted.outcome(),
            exchange=granted,
        )
    expect.status(exchange, FORBIDDEN, what=f"a toggle ({refusal.name}) after one with the right secret")


@pytest.mark.waits
@pytest.mark.clause("AUTH-07")
def test_good_token_expires(backend: Backend) -> None:
    """A token that was accepted is refused once others of its age are."""
    service, key, expires = _service_token(backend), _credential(backend, "jwt_secret"), int(time.time()) + 2
    backend.require_toggles()
    with backend.some_link(kept=True) as person:
        (link,) = person.links

        def sent(name: str) -> Exchange:
            token = tokens.with_claims(service, key, exp=expires, jti=name)
            caller = Caller(f"Bearer {backend.redactor.add_derived('token, soon to expire', token)}", _secret(backend))
            return backend.toggle(person.person_id, link.link_id, link.flagged, caller=caller, changes_nothing=True)

        known = uuid.uuid4().hex
        if sent(known).status != 200:
            return  # its clock is ahead of ours
        for _ in polls(4, pause_s=0.1):
            if sent(uuid.uuid4().hex).status != 200:
                break
        else:
            return  # it has patience with clocks; the rows above are past any
        for _ in polls(1, pause_s=0.1):
            # another worker's clock may be a little behind
            if (exchange := sent(known)).status != 200:
                break
    expect.not_granted(exchange, what="a toggle by a token that was good and has expired")


@pytest.mark.clause("AUTH-08", level="SHOULD")
def test_allowlisted_person_is_accepted_without_the_secret(backend: Backend) -> None:
    """An allowlisted person's own token → 200 without the secret."""
    caller = Caller(f"Bearer {backend.environment.credential('backend_admin_token')}")
    backend.require_toggles()
    with backend.some_link() as person:
        exchange = backend.toggle(person.person_id, person.links[0].link_id, False, caller=caller)
        expect.status(exchange, {200}, what="an allowlisted person's toggle")


@pytest.mark.clause("AUTH-05")
@each_refusal(own_clause=False)
def test_refused_toggle_changes_nothing(backend: Backend, refusal: Refusal) -> None:
    """The photo lists before and after a refused toggle are equal."""
    refusal.caller(backend)
    backend.require_toggles()
    with backend.some_link() as person:
        (link,) = person.links
        before = backend.snapshot(person.person_id)
        exchange = refused(backend, person, link, not link.flagged, refusal)
        after = backend.snapshot(person.person_id)
        expect.unchanged(before, after, what=f"a refused toggle ({refusal.name})", exchange=exchange)


def require_toggles_to_be_alone(backend: Backend, value: bool) -> None:
    """Premise: an accepted toggle changes no other link where nothing was refused before it."""
    backend.require_seeds_to_be_the_flagged()
    with backend.gallery(seeded=2, unseeded=2) as person:
        other = (person.unflagged if value else person.flagged)[1]
        before = backend.snapshot(person.person_id).without(other.served_url)
        exchange = backend.set_flag(person.person_id, other, value)
        after = backend.snapshot(person.person_id).without(other.served_url)
        if after != before:
            raise PremiseBroken(
                "TOG-06",
                f"a toggle changed other links: {expect.difference(before, after)}",
                expected=before.as_lists(),
                actual=after.as_lists(),
                exchange=exchange,
            )


LATER = (
    "nothing at all",
    "service role, no secret",
    "another secret",
    "secret with garbage",
    "signature changed",
    "user and secret",
)


@pytest.mark.clause("AUTH-05")
@pytest.mark.parametrize("refusal", [pytest.param(row, id=row.name) for row in REFUSALS if row.name in LATER])
@pytest.mark.parametrize("value", [True, False], ids=["ON", "OFF"])
def test_refused_toggle_is_not_made_up_for_later(backend: Backend, refusal: Refusal, value: bool) -> None:
    """After a refused toggle, an accepted toggle of another link changes that link alone."""
    refusal.caller(backend)
    backend.require_toggles()
    with backend.gallery(seeded=2, unseeded=2) as person:
        target = (person.unflagged if value else person.flagged)[0]
        other = (person.unflagged if value else person.flagged)[1]
        before = backend.snapshot(person.person_id).without(other.served_url)
        exchange = refused(backend, person, target, value, refusal)
        backend.set_flag(person.person_id, other, value)
        after = backend.snapshot(person.person_id).without(other.served_url)
        if after != before:
            require_toggles_to_be_alone(backend, value)
        expect.unchanged(
            before, after, what=f"a refused toggle ({refusal.name}), after the next accepted one,", exchange=exchange
        )


# --- what a refusal says ---------------------------------------------------------------------------------------------


def _secrets(backend: Backend) -> dict[str, str]:
    known = {name: secret for name, secret in backend.environment.credentials.items() if not name.startswith("app_")}
    short = [name for name, secret in known.items() if len(secret) < 8]
    if short:
        raise NotVerified(f"credentials.{short[0]} is too short to be told from ordinary words")
    return known


@pytest.mark.clause("AUTH-09")
@each_refusal(own_clause=False)
def test_refusal_repeats_no_secret(backend: Backend, refusal: Refusal) -> None:
    """No refusal, header or error body repeats the secret or the token."""
    caller = refusal.caller(backend)
    with backend.some_link(kept=True) as person:
        (link,) = person.links
        exchange = backend.toggle(person.person_id, link.link_id, link.flagged, caller=caller, changes_nothing=True)
    expect.no_secret(exchange, _secrets(backend))


@pytest.mark.clause("AUTH-09")
@pytest.mark.parametrize(
    "body", [b"{}", b"not JSON", b'{"facebank_seed": "maybe"}'], ids=["empty", "not JSON", "maybe"]
)
@pytest.mark.parametrize("known", [True, False], ids=["known link", "unknown link"])
def test_error_repeats_no_secret(backend: Backend, body: bytes, known: bool) -> None:
    """No error of an authorized call repeats the secret or the token."""
    with backend.some_link() as person:
        link_id = person.links[0].link_id if known else str(uuid.uuid4())
        exchange = backend.toggle(person.person_id, link_id, body=body, caller=backend.service)
    expect.no_secret(exchange, _secrets(backend))


@pytest.mark.clause("AUTH-09")
@pytest.mark.parametrize("malformed", ["person", "link"])
def test_error_about_an_id_repeats_no_secret(backend: Backend, malformed: str) -> None:
    """The same of ids that are not UUIDs."""
    with backend.some_link() as person:
        ids = {"person": person.person_id, "link": person.links[0].link_id} | {malformed: "not-a-uuid"}
        exchange = backend.toggle(ids["person"], ids["link"], True)
    expect.no_secret(exchange, _secrets(backend))


@pytest.mark.clause("AUTH-09")
def test_conflict_repeats_no_secret(backend: Backend) -> None:
    """The same of another person's link."""
    with backend.gallery(unseeded=1) as person, backend.gallery(unseeded=1) as owner:
        exchange = backend.toggle(person.person_id, owner.links[0].link_id, True)
    expect.no_secret(exchange, _secrets(backend))


@pytest.mark.clause("AUTH-09")
def test_storage_failure_repeats_no_secret(backend: Backend) -> None:
    """The same where storage fails, if it can be made to."""
    with backend.gallery(unseeded=1) as person:
        failure = backend.states.given("storage failure", operation="toggle", person_id=person.person_id)
        with where_given(failure) as given:
            if given is None:
                return  # TOG-10 says so
            exchange = backend.toggle(person.person_id, person.links[0].link_id, True)
    expect.no_secret(exchange, _secrets(backend))


@pytest.mark.clause("AUTH-09", level="SHOULD")
def test_missing_and_wrong_secret_answer_alike(backend: Backend) -> None:
    """A missing and a wrong secret are answered alike, but for what differs between any two answers, such as an id."""
    backend.require_toggles()
    with backend.some_link(kept=True) as person:
        (link,) = person.links
        missing, wrong, again = (
            backend.toggle(
                person.person_id,
                link.link_id,
                link.flagged,
                caller=Caller(backend.service.authorization, secret),
                changes_nothing=True,
            )
            for secret in (None, "wrong-" + "x" * 20, None)
        )
    if missing.status >= 300 and wrong.status >= 300 and not alike(missing, wrong, again):
        expect.same_text(wrong, missing.answer.text, what="a wrong secret is told apart from a missing one")


def alike(one: Exchange, other: Exchange, control: Exchange) -> bool:
    """Whether two bodies differ in no more places than those in which `control`, an answer like the first, does too."""
    said = [re.split(r'([\s"<>]+)', exchange.answer.text) for exchange in (one, other, control)]
    if len({len(words) for words in said}) != 1:
        return False
    return all(first == second or first != third for first, second, third in zip(*said, strict=True))


@pytest.mark.clause("AUTH-10")
def test_auth_is_decided_before_existence(backend: Backend) -> None:
    """An unknown link without the secret → 403, not 404."""
    backend.require_toggles()
    caller = Caller(backend.service.authorization)
    exchange = backend.toggle(str(uuid.uuid4()), str(uuid.uuid4()), True, caller=caller, changes_nothing=True)
    expect.status(exchange, {403}, what="a toggle of an unknown link without the secret")


# --- the photos ------------------------------------------------------------------------------------------------------

WRONG_READERS: dict[str, Callable[[str], str | None]] = {
    "nothing at all": lambda token: None,
    "an empty token": lambda token: "Bearer",
    "another token": lambda token: "Bearer wrong-" + "x" * 20,
    "a token of the same length": lambda token: "Bearer " + "x" * len(token),
    "a prefix": lambda token: f"Bearer {token[:-1]}",
    "a suffix": lambda token: f"Bearer {token[1:]}",
    "one more character": lambda token: f"Bearer {token}x",
    "another letter case": lambda token: f"Bearer {token.swapcase()}",
    "the token doubled": lambda token: f"Bearer {token}{token}",
}

OTHER_SCHEMES: dict[str, Callable[[str], str]] = {
    "no scheme": lambda token: token,
    "Token": lambda token: f"Token {token}",
    "Basic": lambda token: f"Basic {token}",
}

SPELLINGS: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "without hyphens": lambda person_id: person_id.replace("-", ""),
    "in braces": lambda person_id: f"{{{person_id}}}",
    "as a URN": lambda person_id: f"urn:uuid:{person_id}",
}
"""Other forms of a UUID, of which a target may take any or none."""


@pytest.mark.clause("AUTH-11")
@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in WRONG_READERS.items()])
@pytest.mark.parametrize(
    "query",
    [(), (("seed_only", "true"),), (("seed_only", "false"),), (("limit", "1"), ("offset", "1"))],
    ids=["plain", "true", "false", "second page"],
)
def test_photos_are_refused(
    backend: Backend, make: Callable[[str], str | None], query: tuple[tuple[str, str], ...]
) -> None:
    """The photos endpoint refuses calls without, and with a wrong, service token (401 or 403)."""
    token = _credential(backend, "screenalytics_token")
    authorization = make(token)
    if authorization is not None:
        wrong = authorization.removeprefix("Bearer").strip()
        authorization = f"Bearer {_wrong(backend, 'screenalytics_token, changed', wrong, token)}".strip()
    with backend.some_person() as person_id:
        backend.listing(person_id, seed_only=False)
        exchange = backend.photos(person_id, query, caller=Caller(authorization))
    expect.status(exchange, UNAUTHORIZED, what="a call of the photos")


@pytest.mark.clause("AUTH-11")
def test_photos_are_refused_to_a_person(backend: Backend) -> None:
    """A person's own token, good as it is, is no service token."""
    try:
        token = _a_users_token(backend)
    except NotVerified:
        return  # AUTH-08 says so
    caller = Caller(f"Bearer {backend.redactor.add_derived('token, of a user', token)}")
    with backend.some_person() as person_id:
        backend.listing(person_id, seed_only=False)
        exchange = backend.photos(person_id, caller=caller)
    expect.status(exchange, UNAUTHORIZED, what="a call of the photos by a person")


@pytest.mark.clause("AUTH-11")
def test_photos_are_refused_to_the_internal_secret(backend: Backend) -> None:
    """The secret of the toggle is no service token either."""
    token = _credential(backend, "screenalytics_token")
    wrong = _wrong(backend, "internal_admin_secret, as a token", _secret(backend), token)
    with backend.some_person() as person_id:
        backend.listing(person_id, seed_only=False)
        exchange = backend.photos(person_id, caller=Caller(f"Bearer {wrong}"))
    expect.status(exchange, UNAUTHORIZED, what="a call of the photos with the internal secret")


@pytest.mark.clause("AUTH-11")
@pytest.mark.parametrize(
    "make", [pytest.param(WRONG_READERS[name], id=name) for name in ("nothing at all", "another token")]
)
def test_photos_of_nobody_are_refused(backend: Backend, make: Callable[[str], str | None]) -> None:
    """Who may not read is not told either that there is nothing to read."""
    exchange = backend.photos(str(uuid.uuid4()), caller=Caller(make(_credential(backend, "screenalytics_token"))))
    expect.not_granted(exchange, what="a call of an unknown person's photos")


@pytest.mark.clause("AUTH-11")
@pytest.mark.parametrize("spelled", [pytest.param(form, id=name) for name, form in SPELLINGS.items()])
def test_photos_are_refused_however_the_id_is_written(backend: Backend, spelled: Callable[[str], str]) -> None:
    """No form of a person's id is a way around the guard."""
    with backend.some_person() as person_id:
        exchange = backend.photos(spelled(person_id), caller=Caller())
    expect.not_granted(exchange, what="a call of the photos without a token")


@pytest.mark.clause("AUTH-09")
@pytest.mark.parametrize(
    "make", [pytest.param(make, id=name) for name, make in {**WRONG_READERS, **OTHER_SCHEMES}.items()]
)
def test_refused_reading_repeats_no_secret(backend: Backend, make: Callable[[str], str | None]) -> None:
    """No refusal of the photos repeats the service token, with what scheme or without one it was sent."""
    token = _credential(backend, "screenalytics_token")
    with backend.some_person() as person_id:
        exchange = backend.photos(person_id, caller=Caller(make(token)))
    expect.no_secret(exchange, _secrets(backend))


# --- preview, import and delete --------------------------------------------------------------------------------------

MEDIA_REFUSALS = (
    Refusal("nothing at all", "AUTH-12", lambda b: Caller(), UNAUTHORIZED),
    Refusal("secret alone", "AUTH-12", lambda b: Caller(None, _secret(b)), UNAUTHORIZED),
    Refusal("empty token", "AUTH-12", lambda b: Caller("Bearer")),
    Refusal("garbage", "AUTH-12", lambda b: Caller("Bearer garbage")),
    Refusal("three dots", "AUTH-12", lambda b: Caller("Bearer a.b.c")),
    *(
        Refusal(name, "AUTH-12", with_token(name, tampered(make), secret=secret), UNAUTHORIZED)
        for name, make, secret in (
            ("payload changed", tokens.with_changed_payload, False),
            ("signature changed", tokens.with_changed_signature, False),
            ("signature changed, with the secret", tokens.with_changed_signature, True),
            ("signature left out", tokens.with_stripped_signature, False),
            ("alg none", tokens.without_signature, False),
            ("signed by another key", tokens.signed_by_another_key, False),
        )
    ),
    *(
        Refusal(
            f"admin, {name}",
            "AUTH-12",
            with_token(f"of an admin, {name}", of_an_admin(make), secret=False),
            UNAUTHORIZED,
        )
        for name, make in (
            ("signature changed", tokens.with_changed_signature),
            ("signed by another key", tokens.signed_by_another_key),
        )
    ),
    Refusal("user", "AUTH-12", with_token("of a user", _a_users_token, secret=False), UNAUTHORIZED),
    Refusal("user and secret", "AUTH-12", with_token("of a user", _a_users_token), UNAUTHORIZED),
    *(
        Refusal(f"user, {name}", "AUTH-12", with_token(f"of a user, {name}", make, secret=False), UNAUTHORIZED)
        for name, make in (
            # as of a person who signed in by phone, or anonymously
            ("email empty", lambda backend: _persons_token(backend, email="")),
            ("beginning of an admin's email", _nearly_an_admins_token),
        )
    ),
)


@dataclass(frozen=True)
class Guarded:
    """What a refused call of the media workflow would have worked on."""

    media: Media
    entity: Entity
    page: str
    image: str
    asset_id: str

    def streamed(self, caller: Caller) -> Exchange:
        """The streamed import, read to its end."""
        images = [image_order(self.image)]
        with self.media.import_stream(self.entity, self.page, images, caller=caller) as stream:
            if stream.exchange.response is not None:
                stream.told()
            return stream.exchange


MEDIA_CALLS: Mapping[str, Callable[[Guarded, Caller], Exchange]] = {
    "preview": lambda g, caller: g.media.preview(g.page, entity=g.entity, caller=caller),
    "import": lambda g, caller: g.media.import_images(g.entity, g.page, [image_order(g.image)], caller=caller),
    "import/stream": lambda g, caller: g.streamed(caller),
    "delete": lambda g, caller: g.media.delete(g.asset_id, exclude=True, caller=caller),
}


@pytest.fixture(scope="module")
def guarded(media: Media) -> Iterator[Guarded]:
    """A person, a page and an asset, for calls that change nothing; the service role is not refused there.

    Without a page origin there is no such page, which nobody learns who is refused.
    """
    media.require_writes()
    try:
        site = media.site()
        page, image = site.page(), site.image().url
    except NotVerified:
        page, image = "http://127.0.0.1:1/page.html", "http://127.0.0.1:1/a.png"
    with media.person() as person, media.asset(hosted=False) as asset:
        for name, call in MEDIA_CALLS.items():
            exchange = call(Guarded(media, person, page, image, str(uuid.uuid4())), media.backend.service)
            if exchange.status in UNAUTHORIZED:
                raise NotVerified(f"the service role is refused too: {name} was answered {exchange.outcome()}")
        yield Guarded(media, person, page, image, asset.media_asset_id)


@pytest.mark.clause("AUTH-12")
@pytest.mark.parametrize("name", MEDIA_CALLS)
@pytest.mark.parametrize("refusal", [pytest.param(row, id=row.name) for row in MEDIA_REFUSALS])
def test_media_call_is_refused(backend: Backend, guarded: Guarded, refusal: Refusal, name: str) -> None:
    """No token, a forged one, or that of a person who is not allowlisted → 401 or 403; where it is no JWT any 4xx."""
    exchange = MEDIA_CALLS[name](guarded, refusal.caller(backend))
    if refusal.statuses is None:
        expect.client_error(exchange, what=f"{name} ({refusal.name})")
    else:
        expect.status(exchange, refusal.statuses, what=f"{name} ({refusal.name})")


@pytest.mark.clause("AUTH-09")
@pytest.mark.parametrize("name", MEDIA_CALLS)
@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(row, id=row.name)
        for row in MEDIA_REFUSALS
        if row.name in ("secret alone", "signature changed, with the secret", "user and secret")
    ],
)
def test_refused_media_call_repeats_no_secret(backend: Backend, media: Media, refusal: Refusal, name: str) -> None:
    """No refusal of the media workflow repeats the secret or the token."""
    nobody = str(uuid.uuid4())
    person = Entity("person", nobody, {"person_id": nobody})
    guarded = Guarded(media, person, "http://127.0.0.1:1/page.html", "http://127.0.0.1:1/a.png", str(uuid.uuid4()))
    expect.no_secret(MEDIA_CALLS[name](guarded, refusal.caller(backend)), _secrets(backend))


@pytest.mark.clause("AUTH-12")
@pytest.mark.parametrize(
    "refusal", [pytest.param(row, id=row.name) for row in MEDIA_REFUSALS if row.name in ("nothing at all", "user")]
)
def test_refused_media_call_does_nothing(backend: Backend, media: Media, refusal: Refusal) -> None:
    """After refused calls nothing was deleted, and where there is a page origin, nothing fetched or imported."""
    caller = refusal.caller(backend)
    with media.person() as person, media.asset(hosted=False) as asset:
        if media.has_origin:
            does_not_import(media, person, caller)
        refused = media.delete(asset.media_asset_id, exclude=False, caller=caller)
        # who deletes in silence what is gone says so only by the database
        is_gone = media.tables.present and media.tables.asset(asset.media_asset_id) is None
        if is_gone or media.delete(asset.media_asset_id, exclude=False).status == 404:
            raise Violation(
                f"a refused delete ({refusal.name}) deleted the asset",
                expected="it is still there",
                actual="it is gone",
                exchange=refused,
            )


def does_not_import(media: Media, person: Entity, caller: Caller) -> None:
    """Refused previews and imports of a page fetch nothing, and its image is as new as before."""
    site = media.site()
    image, page = site.image().url, site.page()
    what = Guarded(media, person, page, image, str(uuid.uuid4()))
    refused = [call(what, caller) for call in MEDIA_CALLS.values()]
    fetched = [f"{call.method} {call.path}" for call in site.calls()]
    status = media.status(person, page, image)
    if fetched or status != "success":
        raise Violation(
            "a refused call fetched or imported something",
            expected="nothing fetched, and the image new",
            actual={"fetched": fetched, "the image": status},
            exchange=refused[-1],
        )
