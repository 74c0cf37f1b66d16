"""The backend of a live environment: the auth guard, the toggle, the counts of the fixtures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from conformance import expect, live
from conformance.backend import Backend, Caller
from conformance.environment import Environment
from conformance.errors import Violation
from conformance.exchange import Exchange

Observe = Callable[[str, str], None]

GUARD = "Backend auth guard (service role + internal secret)"
COUNTS = "`seed_only` filtering contract"

WRONG: dict[str, tuple[str, Callable[[str], str | None]]] = {
    "without internal secret header": ("AUTH-02", lambda secret: None),
    "with wrong internal secret": ("AUTH-03", lambda secret: "wrong-" + "x" * 20),
    "with internal secret but its last character": ("AUTH-03", lambda secret: secret[:-1]),
}
"""How a toggle goes wrong → the clause that refuses it, and what is sent instead of the secret."""


# --- the guard -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("may_probe")
@pytest.mark.parametrize(
    "how, make",
    [pytest.param(how, make, id=how, marks=pytest.mark.clause(clause)) for how, (clause, make) in WRONG.items()],
)
def test_guard_refuses(
    backend: Backend, environment: Environment, observe: Observe, how: str, make: Callable[[str], str | None]
) -> None:
    """Service role without, or with a wrong, secret → 403. The probe carries the flag's present value."""
    secret = make(environment.credential("internal_admin_secret"))
    if secret is not None:
        backend.redactor.add_derived("internal_admin_secret, wrong", secret)
    exchange = probe(backend, environment, Caller(backend.service.authorization, secret))
    observe(GUARD, f"`{exchange.status}` {how}")
    expect.status(exchange, {403}, what=f"a toggle {how}")


@pytest.mark.usefixtures("may_probe")
@pytest.mark.clause("AUTH-01")
def test_guard_refuses_strangers(backend: Backend, environment: Environment, observe: Observe) -> None:
    """A toggle without `Authorization` is refused."""
    exchange = probe(backend, environment, Caller())
    observe(GUARD, f"`{exchange.status}` without `Authorization`")
    expect.status(exchange, {401, 403}, what="a toggle without Authorization")


def probe(backend: Backend, environment: Environment, caller: Caller) -> Exchange:
    """A toggle that is to be refused, and would change nothing."""
    fixture = environment.fixture("seeded_person")
    link = backend.own_link(fixture)
    exchange = backend.toggle(fixture["person_id"], link.link_id, link.flagged, caller=caller, changes_nothing=True)
    live.changed_nothing(backend, fixture["person_id"], link, exchange, clause="AUTH-05")
    return exchange


@pytest.mark.clause("AUTH-11")
@pytest.mark.parametrize("authorization", [None, "Bearer wrong-" + "x" * 20], ids=["no token", "a wrong token"])
def test_photos_refuse_strangers(
    backend: Backend, environment: Environment, observe: Observe, authorization: str | None
) -> None:
    """The photos endpoint refuses calls without, and with a wrong, service token."""
    person_id = environment.fixture("unseeded_person")["person_id"]
    backend.listing(person_id, seed_only=False)
    exchange = backend.photos(person_id, caller=Caller(authorization))
    observe("Photos endpoint", f"`{exchange.status}` {'without' if authorization is None else 'with wrong'} token")
    expect.status(exchange, {401, 403}, what="a call of the photos")


# --- the toggle ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nobody_else")
@pytest.mark.clause("AUTH-04", "TOG-05")
def test_toggle_off_and_on(backend: Backend, environment: Environment, observe: Observe) -> None:
    """Service role with the right secret → 200, OFF then ON, and the photos follow; the first value is put back."""
    with backend.borrowed_link(environment.fixture("seeded_person")) as person:
        (link,) = person.links

        def toggle(value: bool) -> Exchange:
            exchange = backend.toggle(person.person_id, link.link_id, value)
            expect.status(exchange, {200}, clause="AUTH-04", what="a toggle with the right secret")
            return exchange

        exchange = live.off_then_on(backend, person, toggle, clause="TOG-05")
    observe(GUARD, f"`{exchange.status}` with correct internal secret (toggle succeeded, OFF then ON)")


# --- the counts ------------------------------------------------------------------------------------------------------


@pytest.mark.clause("PHO-02", "PHO-03", "PHO-04")
def test_seeded_person_has_seeds(backend: Backend, environment: Environment, observe: Observe) -> None:
    """Seeded: `seed_only=true` has a row, and `seed_only=false` is a superset with the fixture's photo."""
    fixture = environment.fixture("seeded_person")
    every = backend.whole_listing(fixture["person_id"], seed_only=False)
    seeds = backend.whole_listing(fixture["person_id"], seed_only=True)
    extra = Counter(seeds.urls) - Counter(every.urls)
    observe(COUNTS, f"Seeded person: {returned(seeds.urls, every.urls)}{'' if extra else ' (superset)'}")
    if extra:
        raise Violation(
            "seed_only=true has photos that seed_only=false has not",
            clause="PHO-02",
            expected=sorted(every.urls),
            actual=sorted(seeds.urls),
            exchange=seeds.exchange,
        )
    if not seeds.urls:
        raise Violation(
            "the person of fixtures.seeded_person has no seeds",
            clause="PHO-03",
            expected=fixture["served_url"],
            actual=[],
            exchange=seeds.exchange,
        )
    if fixture["served_url"] not in every.urls:
        raise Violation(
            "the photo of fixtures.seeded_person is none of the person's",
            clause="PHO-04",
            expected=fixture["served_url"],
            actual=sorted(every.urls),
            exchange=every.exchange,
        )


@pytest.mark.clause("PHO-03", "PHO-04")
def test_unseeded_person_has_no_seeds(backend: Backend, environment: Environment, observe: Observe) -> None:
    """Unseeded: `seed_only=true` has no row, `seed_only=false` has some."""
    person_id = environment.fixture("unseeded_person")["person_id"]
    every = backend.whole_listing(person_id, seed_only=False)
    seeds = backend.whole_listing(person_id, seed_only=True)
    observe(COUNTS, f"Unseeded person: {returned(seeds.urls, every.urls)}")
    if seeds.urls:
        raise Violation(
            "the person of fixtures.unseeded_person has seeds",
            clause="PHO-03",
            expected=[],
            actual=sorted(seeds.urls),
            exchange=seeds.exchange,
        )
    if not every.urls:
        raise Violation(
            "the person of fixtures.unseeded_person has no photos",
            clause="PHO-04",
            expected="photos",
            actual=[],
            exchange=every.exchange,
        )


def returned(seeds: tuple[str, ...], every: tuple[str, ...]) -> str:
    """What both lists returned, in the words of the rollout plan."""
    told = (
        f"`seed_only={name}` returned `{len(urls)}` row{'' if len(urls) == 1 else 's'}"
        for name, urls in (("true", seeds), ("false", every))
    )
    return "; ".join(told)
