"""The backend of a live environment, in rollout order: the auth guard, the toggle, the counts of the fixtures."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conformance import expect
from conformance.backend import Backend, Caller, Gallery, Link
from conformance.environment import Environment
from conformance.errors import NotVerified, Violation
from conformance.plugin import Run

SECRETS: dict[str, Callable[[str], str | None]] = {
    "no secret": lambda secret: None,
    "a wrong secret": lambda secret: "wrong-" + "x" * 20,
    "the secret but its last character": lambda secret: secret[:-1],
}


@pytest.fixture
def may_probe(run: Run) -> None:
    """Refusal probes may be sent: everywhere but where `--no-probes` says otherwise."""
    if run.config.option.no_probes:
        raise NotVerified("--no-probes")


def present(backend: Backend, environment: Environment) -> Gallery:
    """The fixture's link as it is now; raises NotVerified where there is none."""
    fixture = environment.fixture("seeded_person")
    seeds = backend.listing(fixture["person_id"], seed_only=True)
    link = Link(fixture["link_id"], fixture["served_url"], fixture["served_url"] in seeds.urls)
    return Gallery(fixture["person_id"], (link,))


@pytest.mark.usefixtures("may_probe")
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, id=name, marks=pytest.mark.clause("AUTH-02" if name == "no secret" else "AUTH-03"))
        for name, make in SECRETS.items()
    ],
)
def test_guard_refuses(backend: Backend, environment: Environment, make: Callable[[str], str | None]) -> None:
    """Service role without, or with a wrong, secret → 403. The probe carries the flag's present value."""
    person = present(backend, environment)
    (link,) = person.links
    caller = Caller(backend.service.authorization, make(environment.credential("internal_admin_secret")))
    if isinstance(caller.secret, str):
        backend.redactor.add_derived("internal_admin_secret, wrong", caller.secret)
    exchange = backend.toggle(person.person_id, link.link_id, link.flagged, caller=caller, changes_nothing=True)
    expect.status(exchange, {403}, what="a toggle without the right secret")


@pytest.mark.usefixtures("may_probe")
@pytest.mark.clause("AUTH-01")
def test_guard_refuses_strangers(backend: Backend, environment: Environment) -> None:
    """A toggle without `Authorization` is refused."""
    person = present(backend, environment)
    (link,) = person.links
    exchange = backend.toggle(person.person_id, link.link_id, link.flagged, caller=Caller(), changes_nothing=True)
    expect.status(exchange, {401, 403}, what="a toggle without Authorization")


@pytest.mark.clause("AUTH-11")
@pytest.mark.parametrize("authorization", [None, "Bearer wrong-" + "x" * 20], ids=["no token", "a wrong token"])
def test_photos_refuse_strangers(backend: Backend, environment: Environment, authorization: str | None) -> None:
    """The photos endpoint refuses calls without, and with a wrong, service token."""
    person_id = environment.fixture("unseeded_person")["person_id"]
    backend.listing(person_id, seed_only=False)
    expect.status(backend.photos(person_id, caller=Caller(authorization)), {401, 403}, what="a call of the photos")


@pytest.mark.clause("AUTH-04", "TOG-05")
def test_toggle_off_and_on(backend: Backend) -> None:
    """Service role with the right secret → 200, OFF then ON, and the photos follow; the first value is put back."""
    with backend.some_link() as person:
        (link,) = person.links
        for value in (not link.flagged, link.flagged):
            exchange = backend.toggle(person.person_id, link.link_id, value)
            expect.status(exchange, {200}, clause="AUTH-04", what="a toggle with the right secret")
            if backend.is_seed(person.person_id, link) is not value:
                raise Violation(
                    "the photos do not follow the toggle",
                    clause="TOG-05",
                    expected=value,
                    actual=not value,
                    exchange=exchange,
                )


@pytest.mark.clause("PHO-02", "PHO-03")
def test_seeded_person_has_seeds(backend: Backend, environment: Environment) -> None:
    """Seeded: `seed_only=true` has at least the fixture's photo, `seed_only=false` is a superset."""
    fixture = environment.fixture("seeded_person")
    snapshot = backend.snapshot(fixture["person_id"])
    if snapshot.seeds - snapshot.every:
        raise Violation(
            "seed_only=true has photos that seed_only=false has not",
            clause="PHO-02",
            expected=sorted(snapshot.every.elements()),
            actual=sorted(snapshot.seeds.elements()),
            exchange=snapshot.exchange,
        )
    if fixture["served_url"] not in snapshot.seeds:
        raise Violation(
            "the seeded person's photo is no seed",
            clause="PHO-03",
            expected=fixture["served_url"],
            actual=sorted(snapshot.seeds.elements()),
            exchange=snapshot.exchange,
        )


@pytest.mark.clause("PHO-03", "PHO-04")
def test_unseeded_person_has_no_seeds(backend: Backend, environment: Environment) -> None:
    """Unseeded: `seed_only=true` has no row, `seed_only=false` has some."""
    person_id = environment.fixture("unseeded_person")["person_id"]
    snapshot = backend.snapshot(person_id)
    if snapshot.seeds:
        raise Violation(
            "the unseeded person has seeds",
            clause="PHO-03",
            expected=[],
            actual=sorted(snapshot.seeds.elements()),
            exchange=snapshot.exchange,
        )
    if not snapshot.every:
        raise Violation(
            "the unseeded person has no photos",
            clause="PHO-04",
            expected="photos",
            actual=[],
            exchange=snapshot.exchange,
        )
