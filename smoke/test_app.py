"""The app of a live environment: who may toggle through its proxy, and that the backend's state follows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import jwt
import pytest

from conformance import expect, live
from conformance.app import Browser, Photo, Session
from conformance.backend import Backend
from conformance.environment import Environment
from conformance.errors import NotVerified, Violation
from conformance.exchange import Exchange

Observe = Callable[[str, str], None]

PROXY = "TRR-APP proxy (allowlisted admin)"
STRANGERS = "TRR-APP proxy (strangers)"


def session(browser: Browser, key: str) -> Session:
    """The session of a credential; raises NotVerified where it is missing or past its time."""
    token = browser.environment.credential(key)
    try:
        expires = jwt.decode(token, options={"verify_signature": False}).get("exp")
    except jwt.PyJWTError:  # no JWT, which tells nothing
        expires = None
    if isinstance(expires, int | float) and expires < time.time():
        raise NotVerified(f"credentials.{key} has expired: get a new one")
    return browser.session(token)


@pytest.mark.usefixtures("may_probe")
@pytest.mark.clause("PRX-02")
@pytest.mark.parametrize(
    "key, status", [(None, 401), ("app_user_token", 403)], ids=["no session", "a person not allowlisted"]
)
def test_proxy_refuses_strangers(
    browser: Browser, backend: Backend, environment: Environment, observe: Observe, key: str | None, status: int
) -> None:
    """No session → 401, a person who is not allowlisted → 403. The probe carries the flag's present value."""
    stranger = Session() if key is None else session(browser, key)
    fixture = environment.fixture("seeded_person")
    link = backend.own_link(fixture)
    exchange = browser.toggle(Photo(fixture["person_id"], link.link_id), link.flagged, session=stranger)
    live.changed_nothing(backend, fixture["person_id"], link, exchange, clause="PRX-02")
    who = "without session" if key is None else "to a person who is not allowlisted"
    observe(STRANGERS, f"`{exchange.status}` {who}")
    expect.status(exchange, {status}, what=f"a toggle {who}")


@pytest.mark.usefixtures("nobody_else")
@pytest.mark.clause("PRX-01")
def test_proxy_toggles_off_and_on(
    browser: Browser, backend: Backend, environment: Environment, observe: Observe
) -> None:
    """An allowlisted admin: OFF, then ON → 200 with the backend's answer, and the backend's state follows."""
    admin = session(browser, "app_admin_token")
    with backend.borrowed_link(environment.fixture("seeded_person")) as person:
        (link,) = person.links

        def toggle(value: bool) -> Exchange:
            backend.about_to_change(link.link_id)
            exchange = browser.toggle(Photo(person.person_id, link.link_id), value, session=admin)
            expect.status(exchange, {200}, what="an allowlisted admin's toggle")
            is_the_backends_answer(exchange, person.person_id, link.link_id, value)
            return exchange

        exchange = live.off_then_on(backend, person, toggle, clause="PRX-01")
    observe(PROXY, f"Proxy returned `{exchange.status}` for toggle OFF then ON (end-to-end through app → backend)")


def is_the_backends_answer(exchange: Exchange, person_id: str, link_id: str, value: bool) -> None:
    """The app answers what the backend answered."""
    try:
        answer = json.loads(exchange.answer.text)
    except (ValueError, RecursionError):
        answer = None
    if not (
        isinstance(answer, dict)
        and expect.same_uuid(answer.get("link_id"), link_id)
        and expect.same_uuid(answer.get("person_id"), person_id)
        and answer.get("facebank_seed") is value
    ):
        raise Violation(
            "the app did not answer with the backend's answer",
            expected={"link_id": link_id, "person_id": person_id, "facebank_seed": value},
            actual=exchange.answer.text[:500],
            exchange=exchange,
        )
