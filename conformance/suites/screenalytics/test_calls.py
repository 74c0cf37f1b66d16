"""FALL-08 to FALL-10: which addresses images come from, in which order, and how the calls are signed."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest

from conformance.errors import NotVerified, PremiseBroken, Violation
from conformance.lab import answers
from conformance.screenalytics import Offer, Screenalytics
from conformance.suites.screenalytics import checks
from conformance.suites.screenalytics.test_fallback import FAILURES, first_page, page_size

DECOYS = ("source_url", "hosted_url", "url", "thumbnail_url")
"""Members that a row may have besides `served_url`, and that no image is to be taken from."""


def with_decoys(screenalytics: Screenalytics, album: str, name: str) -> dict[str, Any]:
    """A row whose other addresses would work too."""
    row = screenalytics.rows(album, [name])[0]
    return row | {member: screenalytics.lab.image_url(album, f"decoy-{uuid.uuid4().hex}") for member in DECOYS}


@pytest.mark.clause("FALL-08")
@pytest.mark.parametrize("seeded", [True, False], ids=["seeds", "fallback"])
def test_images_are_taken_from_served_url(screenalytics: Screenalytics, seeded: bool) -> None:
    """`served_url` is what is fetched, or what stands in some column of the inserted row."""
    album = uuid.uuid4().hex
    rows = [with_decoys(screenalytics, album, uuid.uuid4().hex) for _ in range(2)]
    # an address is taken whole and as it is, however long
    rows[1]["served_url"] += f"?Signature={uuid.uuid4().hex.upper()}%2B{uuid.uuid4().hex * 8}"
    photos = tuple(row["served_url"] for row in rows)
    lists = (answers.rows(rows),)
    offer = Offer(album, lists if seeded else (answers.empty(),), lists, photos, promise="SYNC-01")
    with screenalytics.episode(offer) as episode:
        seen, person = screenalytics.run(episode), episode.people[0]
        imported = seen.count("imported_facebank_images")
        if not imported:
            raise PremiseBroken(
                "SYNC-01" if seeded else "SYNC-02",
                "no photo was imported",
                expected=f"{len(photos)} images",
                actual=f"{seen.counts}\n{seen.timeline(person)}",
                exchange=seen.exchange,
            )
        found = checks.evidence(screenalytics, seen, person)
        if all(checks.is_whole_in(screenalytics, url, found) for url in photos):
            return
        wrong = [row[member] for row in rows for member in DECOYS if checks.is_in(row[member], found)]
        wrong += [row["hosted_key"] for row in rows if any(row["hosted_key"] in text for text in found)]
        shown = [url for url in photos if checks.is_in(url, found)]
        wrong += [f"{url} with another host" for url in shown if not checks.is_whole_in(screenalytics, url, found)]
        if not wrong and (not shown or imported < len(photos)):
            raise NotVerified("neither calls nor columns show where an image was taken from")
        raise Violation(
            "an image was not taken from served_url",
            expected=list(photos),
            actual=wrong or f"{imported} images, of which only {', '.join(shown)} shows",
            exchange=seen.exchange,
        )


@pytest.mark.clause("FALL-08")
@pytest.mark.parametrize("seeded", [True, False], ids=["seeds", "fallback"])
def test_a_row_without_served_url_gives_no_image(screenalytics: Screenalytics, seeded: bool) -> None:
    """A row without one is not imported, and no address is guessed from `hosted_key`."""
    album = uuid.uuid4().hex
    good = screenalytics.rows(album, [uuid.uuid4().hex])
    bad = [with_decoys(screenalytics, album, uuid.uuid4().hex) for _ in range(3)]
    del bad[0]["served_url"]
    bad[1]["served_url"], bad[2]["served_url"] = None, ""
    lists = (answers.rows([bad[0], *good, bad[1], bad[2]]),)
    offer = Offer(album, lists if seeded else (answers.empty(),), lists, promise="FALL-08")
    with screenalytics.episode(offer) as episode:
        seen, person = screenalytics.run(episode), episode.people[0]
        checks.was_called(seen, person)
        seen.count("imported_facebank_images")
        checks.nothing_imported(screenalytics, seen, person, clause="FALL-08", images=len(good))
        found = checks.evidence(screenalytics, seen, person)
        found += [call.target for row in bad for call in screenalytics.lab.calls_containing(row["hosted_key"])]
        guessed = [
            row[member]
            for row in bad
            for member in (*DECOYS, "hosted_key")
            if any(row[member] in text for text in found)
        ]
        if guessed:
            raise Violation(
                "a row without served_url was taken from another address",
                expected="no image of it",
                actual=guessed,
                exchange=seen.exchange,
            )


@pytest.mark.clause("FALL-08")
@pytest.mark.parametrize(
    "malformed",
    [lambda row: row["served_url"], lambda row: row | {"served_url": {"url": row["served_url"]}}],
    ids=["a bare address", "an address in an object"],
)
def test_a_malformed_row_of_the_fallback_gives_no_image(
    screenalytics: Screenalytics, malformed: Callable[[dict[str, Any]], Any]
) -> None:
    """Where `served_url` is not a row's own text, the row has none, whether or not the others are imported."""
    album = uuid.uuid4().hex
    good, bad = screenalytics.rows(album, [uuid.uuid4().hex, uuid.uuid4().hex])
    lists = (answers.rows([good, malformed(bad)]),)
    with screenalytics.episode(Offer(album, (answers.empty(),), lists, promise="FALL-08")) as episode:
        seen, person = screenalytics.run(episode), episode.people[0]
        checks.was_called(seen, person)
        seen.count("imported_facebank_images")
        checks.nothing_imported(screenalytics, seen, person, clause="FALL-08", images=1)
        if checks.is_in(bad["served_url"], checks.evidence(screenalytics, seen, person)):
            raise Violation(
                "an address that is no row's served_url was taken",
                expected="no image of it",
                actual=bad["served_url"],
                exchange=seen.exchange,
            )


@pytest.mark.clause("FALL-09")
@pytest.mark.parametrize("seeded", [True, False], ids=["seeds", "fallback"])
def test_the_backends_order_is_kept(screenalytics: Screenalytics, seeded: bool) -> None:
    """Of more photos than the limit, the first are imported."""
    limit = screenalytics.import_limit
    album = uuid.uuid4().hex
    # neither rising nor falling, so that no sorting gives the same
    names = [f"{(position * 5 + 2) % (limit + 3):02}-{uuid.uuid4().hex}" for position in range(limit + 3)]
    rows = screenalytics.rows(album, names)
    lists = (answers.rows(rows),)
    photos = tuple(row["served_url"] for row in rows)
    offer = Offer(album, lists if seeded else (answers.empty(),), lists, photos, promise="SYNC-01")
    with screenalytics.episode(offer) as episode:
        seen, person = screenalytics.run(episode), episode.people[0]
        if seen.count("imported_facebank_images") != limit:
            checks.counts(seen, checks.promised(screenalytics, [offer]), clause="SYNC-01" if seeded else "SYNC-02")
        found = checks.evidence(screenalytics, seen, person)
    taken = [position for position, url in enumerate(photos) if checks.is_in(url, found)]
    if not taken:
        raise NotVerified("neither calls nor columns show which photos were imported")
    if taken[-1] >= limit:
        raise Violation(
            "other photos than the backend's first were imported",
            expected=f"the first {limit} of {len(photos)}",
            actual=f"those at {', '.join(str(position + 1) for position in taken)}",
            exchange=seen.exchange,
        )


@pytest.mark.clause("FALL-10")
def test_every_call_carries_the_service_credential(screenalytics: Screenalytics) -> None:
    """Every call carries the service credential, and no call puts a secret in the URL."""
    token = screenalytics.environment.credential("screenalytics_token")
    offers = [
        screenalytics.seeded(2),
        screenalytics.unseeded(2),
        screenalytics.seeds_fail(FAILURES["503"]),
        screenalytics.seeds_fail(FAILURES["redirect that leads nowhere"]),
        screenalytics.seeds_fail(FAILURES["401"]),
        screenalytics.seeds_fail(FAILURES["reset connection"]),
        screenalytics.fallback_fails(FAILURES["403"]),
    ]
    if (size := page_size(screenalytics)) is not None:
        offers[1] = first_page(screenalytics, size)
    offers = offers[: screenalytics.max_people]
    with screenalytics.episode(*offers) as episode:
        seen = screenalytics.run(episode)
    checks.was_called(seen, episode.people[0])
    secrets = screenalytics.environment.credentials.items()
    for call in (*seen.cast, *(call for calls in seen.calls.values() for call in calls)):
        for name, secret in secrets:
            if secret in unquote(call.target):
                raise Violation(
                    "a call has a secret in its URL",
                    expected="no secret in the URL",
                    actual=f"{call.method} {call.target}: {name}",
                    exchange=seen.exchange,
                )
        # pictures are not the backend's
        if call.operation == "image":
            continue
        scheme, _, credential = (call.header("Authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or credential.strip() != token:
            raise Violation(
                "a call does not carry the service credential",
                expected="Authorization: Bearer <screenalytics_token>",
                actual=f"{call.method} {call.target} with Authorization: {call.header('Authorization')}",
                exchange=seen.exchange,
            )
