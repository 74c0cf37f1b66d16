"""TOG-01 to TOG-12: what a toggle takes, answers, changes, and leaves alone."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance import expect
from conformance.backend import Backend, Gallery, Link
from conformance.errors import PremiseBroken, Violation
from conformance.exchange import Exchange
from conformance.media import KINDS, Media, image_order
from conformance.plugin import Run
from conformance.states import where_given
from conformance.strategies import NO_BOOLEAN, Sizes, sizes
from conformance.suites.backend.orders import can_import, deleted_with_its_link, seed_of
from conformance.suites.backend.together import ROUNDS, THREADS, threads, where_not_limited

# --- TOG-01: the endpoint --------------------------------------------------------------------------------------------


@pytest.mark.clause("TOG-01")
def test_toggle_exists(backend: Backend) -> None:
    """PATCH …/gallery/{link_id}/facebank-seed exists."""
    with backend.some_link() as person:
        (link,) = person.links
        exchange = backend.toggle(person.person_id, link.link_id, link.flagged, changes_nothing=True)
    if exchange.status in (404, 405, 501):
        raise Violation(
            "the toggle does not exist", expected="an answer to PATCH", actual=exchange.outcome(), exchange=exchange
        )


@pytest.mark.clause("TOG-01", level="SHOULD")
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_other_methods_are_405(backend: Backend, method: str) -> None:
    """Other methods on the toggle's path → 405."""
    with backend.some_link() as person:
        (link,) = person.links
        exchange = backend.toggle(person.person_id, link.link_id, link.flagged, method=method)
    expect.status(exchange, {405}, what=f"{method} on the toggle")


# --- TOG-02, TOG-12: what it takes -----------------------------------------------------------------------------------

NO_BOOLEAN_BODIES: dict[str, bytes] = {
    "member missing": b"{}",
    "another member": b'{"seed": true}',
    "member in camel case": b'{"facebankSeed": true}',
    "member in another case": b'{"Facebank_Seed": true}',
    "null": b'{"facebank_seed": null}',
    "empty list": b'{"facebank_seed": []}',
    "list of true": b'{"facebank_seed": [true]}',
    "empty object": b'{"facebank_seed": {}}',
    "object": b'{"facebank_seed": {"value": true}}',
    "maybe": b'{"facebank_seed": "maybe"}',
    "empty string": b'{"facebank_seed": ""}',
    "two": b'{"facebank_seed": 2}',
    "two as text": b'{"facebank_seed": "2"}',
    "null as text": b'{"facebank_seed": "null"}',
    "minus one": b'{"facebank_seed": -1}',
    "a half": b'{"facebank_seed": 0.5}',
    "true alone": b"true",
    "false alone": b"false",
    "null alone": b"null",
    "a list": b"[true]",
    "a list of an object": b'[{"facebank_seed": true}]',
    "not JSON": b"facebank_seed=true",
    "a literal of Python": b"{'facebank_seed': True}",
    "JSON and more of it": b'{"facebank_seed": true}\n{"facebank_seed": false}',
    "cut short": b'{"facebank_seed": true',
    "empty body": b"",
}


@contextmanager
def seed_and_other(backend: Backend) -> Iterator[Gallery]:
    """A person with one seed and one other photo: whatever a wrong reading makes of a value, one of them shows it."""
    if backend.environment.get("backend_states_url") is None:
        with backend.some_link() as person:
            yield person
        return
    with backend.gallery(seeded=1, unseeded=1) as person:
        yield person


def refuses_body(backend: Backend, body: bytes) -> None:
    """The body is a 4xx for a seed and for another photo, and changes neither."""
    backend.require_toggles()
    with seed_and_other(backend) as person:
        before = backend.snapshot(person.person_id)
        for link in person.links:
            exchange = backend.toggle(person.person_id, link.link_id, body=body)
            expect.client_error(exchange, what="a body without a boolean")
            expect.unchanged(before, backend.snapshot(person.person_id), what="a refused body", exchange=exchange)


@pytest.mark.clause("TOG-02")
@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in NO_BOOLEAN_BODIES.items()])
def test_body_without_a_boolean_is_refused(backend: Backend, body: bytes) -> None:
    """What has no boolean reading is a 4xx and changes nothing."""
    refuses_body(backend, body)


@pytest.mark.clause("TOG-02")
@pytest.mark.parametrize("text", ["true", "false"])
def test_form_is_refused(backend: Backend, text: str) -> None:
    """A form is no JSON, and is refused where it is declared as what it is."""
    backend.require_toggles()
    with seed_and_other(backend) as person:
        before = backend.snapshot(person.person_id)
        body, form = f"facebank_seed={text}".encode(), "application/x-www-form-urlencoded"
        for link in person.links:
            exchange = backend.toggle(person.person_id, link.link_id, body=body, content_type=form)
            expect.client_error(exchange, what="a form")
            expect.unchanged(before, backend.snapshot(person.person_id), what="a refused form", exchange=exchange)


@pytest.mark.clause("TOG-02")
@given(value=NO_BOOLEAN)
def test_any_value_without_a_boolean_reading_is_refused(backend: Backend, value: Any) -> None:
    """Whatever JSON value stands for the boolean: a 4xx, and nothing changes."""
    refuses_body(backend, json.dumps({"facebank_seed": value}).encode())


@pytest.mark.clause("TOG-12")
@pytest.mark.parametrize("value", ["true", "false", "yes", "on", 0, 1, 1.0], ids=repr)
def test_value_that_can_be_read_as_a_boolean_is_refused(backend: Backend, value: Any) -> None:
    """What merely can be read as a boolean is a 4xx too."""
    with backend.some_link() as person:
        exchange = backend.toggle(person.person_id, person.links[0].link_id, value)
    expect.client_error(exchange, what=f"facebank_seed = {value!r}")


# --- TOG-03: what it answers -----------------------------------------------------------------------------------------


def answers_its_request(exchange: Exchange, person_id: str, link: Link, value: bool, schema: Any) -> None:
    """The 200 has the pinned shape, the path's ids and the value sent."""
    try:
        answer = exchange.answer.json()
    except ValueError:
        raise Violation(
            "the toggle's answer is not JSON",
            expected="a JSON object",
            actual=exchange.answer.text[:200],
            exchange=exchange,
        ) from None
    for error in schema.iter_errors(answer):
        raise Violation(
            f"the toggle's answer has not the pinned shape: {error.json_path}: {error.message}",
            expected="toggle-response.schema.json",
            actual=answer,
            exchange=exchange,
        )
    for member, expected in (("link_id", link.link_id), ("person_id", person_id)):
        if not expect.same_uuid(answer[member], expected):
            raise Violation(
                f"the toggle's answer names another {member}",
                expected=expected,
                actual=answer[member],
                exchange=exchange,
            )
    if answer["facebank_seed"] is not value:
        raise Violation(
            "the toggle's answer has not the value that was sent",
            expected=value,
            actual=answer["facebank_seed"],
            exchange=exchange,
        )


@pytest.mark.clause("TOG-03")
@pytest.mark.parametrize("index", [0, 1, -1], ids=["first link", "second link", "last link"])
def test_answer_names_link_person_and_value(backend: Backend, index: int) -> None:
    """200 answers `{link_id, person_id, facebank_seed}`: the ids equal the path's, the value is the one sent."""
    schema = backend.contracts.validator("toggle-response")
    with seed_and_other(backend) as person:
        link = person.links[min(index, len(person.links) - 1)]
        for value in (not link.flagged, link.flagged):
            exchange = backend.set_flag(person.person_id, link, value)
            answers_its_request(exchange, person.person_id, link, value, schema)


@pytest.mark.clause("TOG-03")
def test_answer_to_the_same_value_again(backend: Backend) -> None:
    """A value that the flag already has is answered like any other."""
    schema = backend.contracts.validator("toggle-response")
    with seed_and_other(backend) as person:
        for link in person.links:
            exchange = backend.toggle(person.person_id, link.link_id, link.flagged)
            if exchange.status == 200:
                answers_its_request(exchange, person.person_id, link, link.flagged, schema)


@pytest.mark.clause("TOG-03")
def test_answer_about_a_shared_photo(backend: Backend) -> None:
    """Where two people have the same photo, the answer names the one of the path and their link."""
    schema = backend.contracts.validator("toggle-response")
    with where_given(shared_photo(backend, first_flagged=False, other_flagged=False)) as people:
        # TOG-06 says so where there are none
        for person in people or ():
            exchange = backend.set_flag(person.person_id, person.links[0], True)
            answers_its_request(exchange, person.person_id, person.links[0], True, schema)


# --- TOG-04, TOG-05, TOG-06, TOG-11: what it changes -----------------------------------------------------------------


@pytest.mark.clause("TOG-04")
@pytest.mark.parametrize("times", [2, 3, 4])
@pytest.mark.parametrize("value", [True, False], ids=["ON", "OFF"])
def test_setting_twice_is_setting_once(backend: Backend, value: bool, times: int) -> None:
    """Setting the same value several times leaves the state of setting it once."""
    with seed_and_other(backend) as person:
        for link in person.links:
            backend.set_flag(person.person_id, link, value)
            once = backend.snapshot(person.person_id)
            for _ in range(times - 1):
                again = backend.toggle(person.person_id, link.link_id, value)
                expect.status(again, {200}, what="the same value again")
            after = backend.snapshot(person.person_id)
            for first, listed in ((once.every, after.every), (once.seeds, after.seeds)):
                expect.same_photos(
                    list(listed.elements()), list(first.elements()), what="the same value again", exchange=again
                )


@pytest.mark.clause("TOG-05")
@given(
    size=sizes(min_seeded=1, min_unseeded=1, unhosted=True),
    choice=st.integers(0, 10_000),
    flips=st.integers(1, 3),
)
def test_toggle_moves_the_photo_in_and_out_of_the_seeds(backend: Backend, size: Sizes, choice: int, flips: int) -> None:
    """After ON the photo is in `seed_only=true`; after OFF it is not; in both it is in `seed_only=false`."""
    with backend.gallery(seeded=size.seeded, unseeded=size.unseeded, unhosted=size.unhosted) as person:
        moves(backend, person, person.links[choice % len(person.links)], flips)


@pytest.mark.clause("TOG-05")
def test_toggle_moves_some_photo_in_and_out_of_the_seeds(backend: Backend) -> None:
    """The same for the one link that every environment has."""
    with seed_and_other(backend) as person:
        moves(backend, person, person.links[0], flips=2)


@pytest.mark.clause("TOG-05")
def test_toggle_moves_a_shared_photo_in_and_out_of_the_seeds(backend: Backend) -> None:
    """The same for either of two people who have the same photo."""
    with where_given(shared_photo(backend, first_flagged=False, other_flagged=False)) as people:
        # TOG-06 says so where there are none
        for person in people or ():
            moves(backend, person, person.links[0], flips=2)


def moves(backend: Backend, person: Gallery, link: Link, flips: int) -> None:
    """Flips the link's flag some times and looks for the photo after each."""
    every = backend.listing(person.person_id, seed_only=False)
    if link.served_url not in every.urls:
        raise PremiseBroken(
            "PHO-04",
            "a photo is not among the person's photos",
            expected=link.served_url,
            actual=list(every.urls),
            exchange=every.exchange,
        )
    value = link.flagged
    for _ in range(flips):
        value = not value
        exchange = backend.set_flag(person.person_id, link, value)
        name = "ON" if value else "OFF"
        if backend.is_seed(person.person_id, link) is not value:
            where = "is not" if value else "is still"
            raise Violation(
                f"after {name} the photo {where} in seed_only=true", expected=value, actual=not value, exchange=exchange
            )
        if link.served_url not in backend.listing(person.person_id, seed_only=False).urls:
            raise Violation(
                f"after {name} the photo is not in seed_only=false", expected="in it", actual="gone", exchange=exchange
            )


@pytest.mark.clause("TOG-05")
def test_toggle_under_ids_in_capitals_is_the_same_toggle(backend: Backend) -> None:
    """The same where a toggle names person and link in capitals, as UUIDs may be written, and is accepted."""
    with seed_and_other(backend) as person:
        for link in person.links:
            value = not link.flagged
            for person_id in (person.person_id, person.person_id.upper()):
                backend.photos(person_id, [("seed_only", "true")])
            exchange = backend.toggle(person.person_id.upper(), link.link_id.upper(), value)
            if exchange.status == 200 and backend.is_seed(person.person_id, link) is not value:
                raise Violation(
                    f"a toggle under ids in capitals was accepted, and seed_only=true does not show it: {value}",
                    expected=value,
                    actual=not value,
                    exchange=exchange,
                )


@pytest.mark.clause("TOG-06")
@given(
    size=sizes(min_seeded=1, min_unseeded=1, unhosted=True),
    other=sizes(),
    toggles=st.lists(st.tuples(st.integers(0, 10_000), st.booleans()), min_size=1, max_size=6),
)
def test_toggle_changes_the_named_link_alone(
    backend: Backend, size: Sizes, other: Sizes, toggles: list[tuple[int, bool]]
) -> None:
    """Every other photo of this person, and of others, keeps its flag."""
    with (
        backend.gallery(seeded=size.seeded, unseeded=size.unseeded, unhosted=size.unhosted) as person,
        backend.gallery(seeded=other.seeded, unseeded=other.unseeded) as someone_else,
    ):
        elsewhere = backend.snapshot(someone_else.person_id)
        for each, seen in ((someone_else, elsewhere), (person, backend.snapshot(person.person_id))):
            expect.known_addresses(seen.every, [link.served_url for link in each.links], exchange=seen.exchange)
        for choice, value in toggles:
            link = person.links[choice % len(person.links)]
            leaves_others_alone(backend, person.person_id, link, value)
        expect.unchanged(elsewhere, backend.snapshot(someone_else.person_id), what="toggles of another person's links")


@pytest.mark.clause("TOG-06")
def test_toggle_of_some_link_changes_it_alone(backend: Backend) -> None:
    """The same for the one link that every environment has, among whatever photos stand beside it."""
    with seed_and_other(backend) as person:
        for value in (not person.links[0].flagged, person.links[0].flagged):
            leaves_others_alone(backend, person.person_id, person.links[0], value)


@pytest.mark.clause("TOG-06")
def test_toggle_in_a_large_gallery_changes_its_link_alone(backend: Backend) -> None:
    """The same where there are more seeds than an import takes."""
    with backend.gallery(seeded=24, unseeded=1) as person:
        seen = backend.listing(person.person_id, seed_only=False)
        expect.known_addresses(seen.urls, [link.served_url for link in person.links], exchange=seen.exchange)
        for value in (True, False):
            leaves_others_alone(backend, person.person_id, person.unflagged[0], value)


@pytest.mark.clause("TOG-06")
def test_toggle_leaves_the_other_links_whole(backend: Backend) -> None:
    """No other photo becomes, or is no longer, the primary one, or of another kind."""
    with backend.gallery(seeded=2, unseeded=2) as person:
        for link in person.links:
            before = described(backend, person, link)
            exchange = backend.set_flag(person.person_id, link, not link.flagged)
            after = described(backend, person, link)
            if after != before:
                raise Violation(
                    "a toggle of another link changed photos", expected=before, actual=after, exchange=exchange
                )


def described(backend: Backend, person: Gallery, link: Link) -> dict[str, dict[str, Any]]:
    """What is known of the other photos than the link's, by their addresses."""
    listing = backend.listing(person.person_id, seed_only=False)
    expect.known_addresses(listing.urls, [each.served_url for each in person.links], exchange=listing.exchange)
    return {
        row["served_url"]: {name: row.get(name) for name in ("is_primary", "kind")}
        for row in listing.rows
        if row["served_url"] != link.served_url
    }


@pytest.mark.clause("TOG-06")
@pytest.mark.parametrize("value", [True, False], ids=["ON", "OFF"])
def test_members_beside_the_flag_name_no_other_link(backend: Backend, value: bool) -> None:
    """Whatever ids a body has beside the flag, where it is accepted the path's link alone is changed."""
    with backend.gallery(seeded=2, unseeded=2) as person:
        link, other = person.unflagged if value else person.flagged
        before = backend.snapshot(person.person_id).without(link.served_url)
        names = ("id", "link_id", "linkId", "media_link_id")
        body = json.dumps({"facebank_seed": value, **dict.fromkeys(names, other.link_id)}).encode()
        backend.about_to_change(other.link_id)
        exchange = backend.toggle(person.person_id, link.link_id, body=body)
        after = backend.snapshot(person.person_id).without(link.served_url)
        expect.unchanged(before, after, what="a toggle whose body names another link", exchange=exchange)


@pytest.mark.clause("TOG-06")
@pytest.mark.parametrize("value", [True, False], ids=["ON", "OFF"])
@pytest.mark.parametrize("others", [True, False], ids=["a seed of the other", "no seed of the other"])
def test_toggle_of_a_shared_photo_is_one_persons(backend: Backend, others: bool, value: bool) -> None:
    """Two people have the same photo; a toggle for one of them keeps the other's flag."""
    with shared_photo(backend, first_flagged=not value, other_flagged=others) as (first, other):
        before = backend.snapshot(other.person_id)
        exchange = backend.set_flag(first.person_id, first.links[0], value)
        after = backend.snapshot(other.person_id)
        expect.unchanged(before, after, what="a toggle of the same photo for another person", exchange=exchange)


@pytest.mark.clause("TOG-06")
def test_toggle_of_a_photo_that_is_linked_twice(backend: Backend) -> None:
    """A photo of the gallery that the person has as something else too: the gallery's link becomes a seed alone."""
    with where_given(backend.states.given("photo linked twice")) as values:
        if values is None:
            return  # the photos above show what can be seen here
        person_id, other = str(values["person_id"]), str(values["other_link_id"])
        link = Link(str(values["link_id"]), str(values["served_url"]), False)
        before = as_stored(backend, other)
        # a list that shows it more often than it has links is PHO-08's
        tells = backend.listing(person_id, seed_only=False).urls.count(link.served_url) <= 2
        exchange = backend.set_flag(person_id, link, True)
        after, seeds = as_stored(backend, other), backend.listing(person_id, seed_only=True)
        if after != before or (tells and seeds.urls.count(link.served_url) > 1):
            raise Violation(
                "a toggle of a photo reached another link of it",
                expected=[link.served_url, *before],
                actual=[*seeds.urls, *after],
                exchange=exchange,
            )


def as_stored(backend: Backend, link_id: str) -> list[dict[str, Any]]:
    """A link as a photo, from the database: nothing where the environment has none. The rest is the table's own."""
    rows = backend.stored_links([link_id]) or ()
    return [{name: row["link"].get(name) for name in ("facebank_seed", "is_primary", "kind")} for row in rows]


@contextmanager
def shared_photo(backend: Backend, *, first_flagged: bool, other_flagged: bool) -> Iterator[tuple[Gallery, Gallery]]:
    """Two people with one asset between them, each with a flag of their own."""
    with backend.states.given("shared photo") as values:
        url = str(values["served_url"])
        first = Gallery(str(values["person_id"]), (Link(str(values["link_id"]), url, first_flagged),))
        other = Gallery(str(values["other_person_id"]), (Link(str(values["other_link_id"]), url, other_flagged),))
        for person in (first, other):
            (link,) = person.links
            if backend.is_seed(person.person_id, link) is not link.flagged:
                backend.set_flag(person.person_id, link, link.flagged)
        yield first, other


def leaves_others_alone(backend: Backend, person_id: str, link: Link, value: bool) -> None:
    """Toggles the link and compares all other photos of the person."""
    before = backend.snapshot(person_id).without(link.served_url)
    exchange = backend.set_flag(person_id, link, value)
    after = backend.snapshot(person_id).without(link.served_url)
    if after != before:
        backend.require_seeds_to_be_the_flagged()
    expect.unchanged(before, after, what="a toggle of another link", exchange=exchange)


@pytest.mark.clause("TOG-11")
@given(size=sizes(min_unseeded=1, unhosted=True))
def test_link_that_was_never_toggled_is_no_seed(backend: Backend, size: Sizes) -> None:
    """A link that was never toggled is not a seed."""
    with backend.gallery(seeded=size.seeded, unseeded=size.unseeded, unhosted=size.unhosted) as person:
        seeds = backend.listing(person.person_id, seed_only=True)
        never = [link.served_url for link in person.unflagged if link.served_url in seeds.urls]
        if never:
            raise Violation(
                "photos that were never toggled are seeds",
                expected=[link.served_url for link in person.flagged],
                actual=list(seeds.urls),
                exchange=seeds.exchange,
            )


@pytest.mark.clause("TOG-11")
def test_imported_photo_is_no_seed(media: Media) -> None:
    """The same for photos that were imported, of whatever kind."""
    if not can_import(media):
        return  # the galleries above show what can be seen here
    site = media.site()
    images = [site.image() for _ in KINDS]
    with media.person() as person:
        orders = [image_order(image.url, kind) for image, kind in zip(images, KINDS, strict=True)]
        media.streamed(person, site.page(images), orders)
        seeds = media.backend.listing(person.entity_id, seed_only=True)
    if seeds.urls:
        raise Violation(
            "photos that were imported are seeds", expected=[], actual=list(seeds.urls), exchange=seeds.exchange
        )


@pytest.mark.clause("TOG-11")
def test_seed_of_somebody_else_is_none_when_it_is_imported(media: Media) -> None:
    """The same for a photo that was imported for another person before, whose seed it is."""
    if not can_import(media):
        return  # the galleries above show what can be seen here
    site = media.site()
    image = site.image()
    page = site.page([image])
    with media.person() as first, media.person() as person:
        media.stored(first, page, image.url)
        if seed_of(media, first) is None:
            return
        told = media.streamed(person, page, [image_order(image.url)])
        # the link itself: whose flags the list goes by is PHO-08's
        flagged = [dict(row) for row in media.tables.links_to([person.entity_id]) if row.get("facebank_seed") is True]
    if flagged:
        raise Violation(
            "a photo that was imported is a seed as it is somebody else's",
            expected="facebank_seed false",
            actual=flagged,
            exchange=told.exchange,
        )


@pytest.mark.clause("TOG-11")
def test_seed_that_was_deleted_is_none_when_it_is_imported_again(media: Media) -> None:
    """The same for a photo that was a seed of the same person, was deleted, and is imported anew."""
    if not can_import(media):
        return  # the galleries above show what can be seen here
    site = media.site()
    image = site.image()
    page = site.page([image])
    with media.person() as person:
        asset = media.stored(person, page, image.url)
        if seed_of(media, person) is None:
            return
        toggled = {row["id"] for row in media.tables.links_to([person.entity_id])}
        deleted_with_its_link(media, person, asset)
        told = media.streamed(person, page, [image_order(image.url)])
        # the link itself: whose flags the list goes by is PHO-03's
        new = [dict(row) for row in media.tables.links_to([person.entity_id]) if row["id"] not in toggled]
        flagged = [row for row in new if row.get("facebank_seed") is True]
    if flagged:
        raise Violation(
            "a photo that was deleted and imported anew is the seed that it was",
            expected="facebank_seed false",
            actual=flagged,
            exchange=told.exchange,
        )


# --- TOG-07, TOG-08: links it must not take --------------------------------------------------------------------------


@dataclass(frozen=True)
class WrongLink:
    """A link that the path's person must not toggle, and the status that it should be refused with."""

    name: str
    should_be: int


UNKNOWN, ANOTHERS, SHARED, OUTSIDE = WRONG_LINKS = (
    WrongLink("unknown link", 404),
    WrongLink("another person's link", 409),
    WrongLink("another person's link to the same photo", 409),
    WrongLink("link outside a person gallery", 409),
)


@contextmanager
def wrong_link(backend: Backend, kind: WrongLink, flagged: bool) -> Iterator[tuple[str, str, list[str]]]:
    """Person and link of a call that must be refused, and the people whose photos could show a change."""
    backend.require_toggles()
    if kind is UNKNOWN:
        with seed_and_other(backend) as person:
            yield person.person_id, str(uuid.uuid4()), [person.person_id]
    elif kind is ANOTHERS:
        with backend.gallery(seeded=1, unseeded=1) as person, backend.gallery(seeded=1, unseeded=1) as owner:
            (link,) = owner.flagged if flagged else owner.unflagged
            # what its owner may do is nobody else's business
            backend.set_flag(owner.person_id, link, flagged)
            yield person.person_id, link.link_id, [person.person_id, owner.person_id]
    elif kind is SHARED:
        with shared_photo(backend, first_flagged=flagged, other_flagged=flagged) as (person, owner):
            yield person.person_id, owner.links[0].link_id, [person.person_id, owner.person_id]
    else:
        with backend.states.given("media link outside a person gallery") as values:
            person_id = str(values["person_id"])
            yield person_id, str(values["link_id"]), [person_id]


@pytest.mark.clause("TOG-07")
@pytest.mark.parametrize("value", [True, False], ids=["ON", "OFF"])
@pytest.mark.parametrize("kind", WRONG_LINKS, ids=lambda kind: kind.name)
def test_wrong_link_is_refused(backend: Backend, kind: WrongLink, value: bool) -> None:
    """An unknown link, another person's, or one that is no person gallery image → 4xx, and nothing changes."""
    with wrong_link(backend, kind, flagged=not value) as (person_id, link_id, people):
        before, stored = [backend.snapshot(person) for person in people], backend.stored_links([link_id])
        exchange = backend.toggle(person_id, link_id, value)
        expect.client_error(exchange, what=f"a toggle ({kind.name})")
        if backend.stored_links([link_id]) != stored:
            raise Violation(
                f"a refused toggle ({kind.name}) changed core.media_links",
                expected=stored,
                actual=backend.stored_links([link_id]),
                exchange=exchange,
            )
        for person, earlier in zip(people, before, strict=True):
            expect.unchanged(
                earlier, backend.snapshot(person), what=f"a refused toggle ({kind.name})", exchange=exchange
            )


@pytest.mark.clause("TOG-07", level="SHOULD")
@pytest.mark.parametrize("kind", WRONG_LINKS, ids=lambda kind: kind.name)
def test_wrong_link_is_refused_by_its_status(backend: Backend, kind: WrongLink) -> None:
    """An unknown link → 404, another person's or no gallery image → 409."""
    with wrong_link(backend, kind, flagged=False) as (person_id, link_id, _):
        exchange = backend.toggle(person_id, link_id, True)
        expect.status(exchange, {kind.should_be}, what=f"a toggle ({kind.name})")


@pytest.mark.clause("TOG-07")
def test_link_of_a_season_is_refused(media: Media) -> None:
    """A season's link is no person's, also where the season stands in the person's place."""
    if not can_import(media) or not media.tables.present:
        return  # other tests show what can be seen here
    site = media.site()
    image = site.image()
    with media.show() as show:
        media.stored(show.season, site.page([image]), image.url)
        for row in media.tables.links_to([show.season_id]):
            exchange = media.backend.toggle(show.season_id, str(row["id"]), True)
            expect.client_error(exchange, what="a toggle of a season's link")


@pytest.mark.clause("TOG-07")
def test_link_that_is_gone_is_refused(media: Media) -> None:
    """A link that was toggled, and was then deleted with its asset, is an unknown one, also once there is another."""
    if not can_import(media):
        return  # other tests show what can be seen here
    site = media.site()
    image = site.image()
    page = site.page([image])
    with media.person() as person:
        asset = media.stored(person, page, image.url)
        if (toggle := seed_of(media, person)) is None:
            return
        toggled = {row["id"] for row in media.tables.links_to([person.entity_id])}
        deleted_with_its_link(media, person, asset)
        expect.client_error(media.backend.client.send(toggle.request), what="a toggle of a link that is gone")
        media.stored(person, page, image.url)
        if toggled & {row["id"] for row in media.tables.links_to([person.entity_id])}:
            return  # the same photo has the same link whenever it is imported
        exchange = media.backend.client.send(toggle.request)
    expect.client_error(exchange, what="a toggle of a link that is gone, of a photo that was imported anew")


MALFORMED_IDS = {
    "words": "not-a-uuid",
    "a number": "1",
    "null": "null",
    "undefined": "undefined",
    "a digit short": "00000000-0000-0000-0000-00000000000",
    "a digit long": "00000000-0000-0000-0000-0000000000000",
    "no hexadecimal digit": "g0000000-0000-0000-0000-000000000000",
    "beyond ASCII": "00000000-0000-0000-0000-00000000000é",
    "very long": "0" * 400,
    "a line feed behind": "00000000-0000-0000-0000-000000000000\n",
    "NUL": "\x00",
    "SQL": "' or 1=1 --",
}


@pytest.mark.clause("TOG-08")
@pytest.mark.parametrize("where", ["person", "link"])
@pytest.mark.parametrize("malformed", MALFORMED_IDS.values(), ids=MALFORMED_IDS)
def test_malformed_id_is_a_client_error(backend: Backend, malformed: str, where: str) -> None:
    """Ids that are not UUIDs → 4xx, never 5xx."""
    with backend.some_link() as person:
        link_id = person.links[0].link_id
        ids = (malformed, link_id) if where == "person" else (person.person_id, malformed)
        exchange = backend.toggle(*ids, True)
    expect.client_error(exchange, what=f"a toggle with a malformed {where} id")


# --- TOG-10: when storage fails --------------------------------------------------------------------------------------


@contextmanager
def failing_storage(backend: Backend, person: Gallery) -> Iterator[None]:
    """That person's toggles cannot be stored."""
    with backend.states.given("storage failure", operation="toggle", person_id=person.person_id):
        yield


@pytest.mark.clause("TOG-10")
@pytest.mark.parametrize("value", [True, False], ids=["ON", "OFF"])
def test_storage_failure_is_told_and_keeps_the_flag(backend: Backend, value: bool) -> None:
    """When storage fails the toggle is a 5xx and the flag keeps its value."""
    backend.require_toggles()
    with backend.gallery(seeded=1, unseeded=1) as person:
        (link,) = person.unflagged if value else person.flagged
        before = backend.snapshot(person.person_id)
        with failing_storage(backend, person):
            exchange = backend.toggle(person.person_id, link.link_id, value)
            if exchange.status < 500:
                raise Violation(
                    f"a toggle that could not be stored was answered {exchange.outcome()}",
                    expected="a 5xx",
                    actual=exchange.outcome(),
                    exchange=exchange,
                )
            during = backend.snapshot(person.person_id)
        after = backend.snapshot(person.person_id)
        for seen in (during, after):
            expect.unchanged(before, seen, what="a toggle that could not be stored", exchange=exchange)


def _with_owner(person: Gallery) -> list[tuple[str, str]]:
    return [(person.person_id, link.link_id) for link in person.links]


@pytest.mark.clause("TOG-10")
def test_storage_failure_is_told_while_others_are_stored(backend: Backend, run: Run) -> None:
    """When storage fails for one person, no toggle of theirs is a success, whoever else's is stored meanwhile."""
    backend.require_toggles()
    with (
        backend.gallery(unseeded=THREADS // 2) as failing,
        backend.gallery(unseeded=THREADS // 2) as sound,
        threads(backend) as backends,
        failing_storage(backend, failing),
    ):
        links = [each for pair in zip(_with_owner(failing), _with_owner(sound), strict=True) for each in pair]
        for _ in range(ROUNDS[run.profile] // 2):
            jobs = [partial(each.toggle, *link, True) for each, link in zip(backends, links, strict=True)]
            for exchange in where_not_limited(jobs)[::2]:
                # a 4xx may be of a lock
                if exchange is not None and exchange.status < 400:
                    raise Violation(
                        f"a toggle that could not be stored, among others, was answered {exchange.outcome()}",
                        expected="a 5xx",
                        actual=exchange.outcome(),
                        exchange=exchange,
                    )


@pytest.mark.clause("TOG-10")
@pytest.mark.parametrize("value", [True, False], ids=["ON", "OFF"])
def test_storage_failure_is_not_made_up_for_later(backend: Backend, value: bool) -> None:
    """A flag that could not be stored keeps its value when the toggle of another link is stored after it."""
    backend.require_toggles()
    with backend.gallery(seeded=2, unseeded=2) as person:
        target, other = person.unflagged if value else person.flagged
        seen = backend.listing(person.person_id, seed_only=False)
        expect.known_addresses(seen.urls, [link.served_url for link in person.links], exchange=seen.exchange)
        before = backend.snapshot(person.person_id).without(other.served_url)
        for each in (value, not value):
            backend.set_flag(person.person_id, other, each)
        if (alone := backend.snapshot(person.person_id).without(other.served_url)) != before:
            raise PremiseBroken(
                "TOG-06",
                "a toggle changed other links",
                expected=before.as_lists(),
                actual=alone.as_lists(),
                exchange=alone.exchange,
            )
        with failing_storage(backend, person):
            exchange = backend.toggle(person.person_id, target.link_id, value)
        backend.set_flag(person.person_id, other, value)
        after = backend.snapshot(person.person_id).without(other.served_url)
        expect.unchanged(
            before, after, what="a toggle that could not be stored, after the next one,", exchange=exchange
        )


@pytest.mark.clause("TOG-10", level="SHOULD")
def test_storage_failure_is_502(backend: Backend) -> None:
    """When storage fails the toggle is a 502."""
    backend.require_toggles()
    with backend.gallery(unseeded=1) as person, failing_storage(backend, person):
        exchange = backend.toggle(person.person_id, person.links[0].link_id, True)
        expect.status(exchange, {502}, what="a toggle that could not be stored")
