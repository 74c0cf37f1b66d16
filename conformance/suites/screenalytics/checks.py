"""What the consumer's tests assert of an import; each raises what another team needs to see."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from conformance.errors import PremiseBroken, Violation
from conformance.screenalytics import DEFAULT_IMPORT_LIMIT, Import, Offer, Person, Screenalytics


def was_called(seen: Import, person: Person) -> None:
    """Premise: the person's photos were asked for at all."""
    __tracebackhide__ = True
    if not seen.photos(person):
        raise PremiseBroken(
            "SYNC-01",
            "the import did not ask for a person's photos",
            expected="a call of seed_only=true",
            actual=f"the import ended with {seen.outcome} and no such call",
            exchange=seen.exchange,
        )


def follows(seen: Import, person: Person, clause: str) -> None:
    """The person's calls keep `clause`; the other clauses of the strict fallback are a premise."""
    __tracebackhide__ = True
    was_called(seen, person)
    ruling = seen.ruling(person)
    if not ruling.breaches:
        return
    broken = clause if clause in ruling.clauses else ruling.clauses[0]
    raise (Violation if broken == clause else PremiseBroken)(
        clause=broken,
        message=f"a person's photos were asked for in the wrong order: {_BREACHES[broken]}",
        expected=_ORDER,
        actual=f"these calls\n{seen.timeline(person)}",
        exchange=seen.exchange,
    )


_LIMIT = f" (a person's images are limited to `sync.import_limit` of the environment, else {DEFAULT_IMPORT_LIMIT})"
_ORDER = "seed_only=true first, and seed_only=false only, and always, after an empty seed_only=true"
_BREACHES = {
    "FALL-01": "the first call is not seed_only=true",
    "FALL-02": "seed_only=false after seeds were there",
    "FALL-03": "no seed_only=false after seed_only=true was empty",
    "FALL-04": "seed_only=false after seed_only=true had failed",
    "FALL-05": "seed_only=false after retries of which the last was not empty",
    "FALL-11": "seed_only is neither true nor false",
}


def falls_back_wrongly(seen: Import, person: Person) -> bool:
    """Whether a person's `seed_only=false` was called without an empty `seed_only=true`."""
    return any(clause in seen.ruling(person).clauses for clause in ("FALL-01", "FALL-02", "FALL-04", "FALL-05"))


def counts(seen: Import, expected: dict[str, int], *, clause: str, person: Person | None = None) -> None:
    """The import reports these counts."""
    __tracebackhide__ = True
    actual = {name: seen.count(name, clause=clause) for name in expected}
    if actual != expected:
        name = "imported_facebank_images"
        is_of_images = name in expected and actual[name] != expected[name]
        raise Violation(
            f"the import counted otherwise{_LIMIT if clause in ('SYNC-01', 'SYNC-02') and is_of_images else ''}",
            clause=clause,
            expected=expected,
            actual=actual if person is None else f"{actual}\n{seen.timeline(person)}",
            exchange=seen.exchange,
        )


def failure_is_counted(seen: Import, person: Person, *, clause: str) -> None:
    """`import_errors` ≥ 1."""
    __tracebackhide__ = True
    if seen.count("import_errors", clause=clause) < 1:
        raise Violation(
            "a person's photos could not be had, and no error was counted",
            clause=clause,
            expected="import_errors ≥ 1",
            actual=f"{seen.counts}\n{seen.timeline(person)}",
            exchange=seen.exchange,
        )


def nothing_imported(target: Screenalytics, seen: Import, person: Person, *, clause: str, images: int = 0) -> None:
    """The one person of an import got no image, or at most so many, by the counts and where possible the database."""
    __tracebackhide__ = True
    imported = seen.count("imported_facebank_images", clause=clause)
    stored = len(target.images(person)) if target.has_database else 0
    if max(imported, stored) > images:
        raise Violation(
            "images were imported that should not have been",
            clause=clause,
            expected=f"at most {images}" if images else "no image",
            actual=f"imported_facebank_images {imported}, rows in face_bank_images {stored}\n{seen.timeline(person)}",
            exchange=seen.exchange,
        )


def promised(target: Screenalytics, offers: Sequence[Offer]) -> dict[str, int]:
    """The counts of an import of these people; `import_errors` is the least that there may be."""
    images = [min(len(offer.photos), target.import_limit) for offer in offers]
    return {
        "imported_facebank_images": sum(images),
        "imported_facebank_people": sum(image > 0 for image in images),
        "import_errors": sum(offer.fails for offer in offers),
    }


def keeps_its_promise(target: Screenalytics, seen: Import, person: Person) -> None:
    """The only person of an import got what their offer's clause promises."""
    __tracebackhide__ = True
    offer = person.offer
    follows(seen, person, offer.promise)
    if offer.fails:
        nothing_imported(target, seen, person, clause=offer.promise)
        failure_is_counted(seen, person, clause=offer.promise)
    else:
        counts(seen, promised(target, [offer]), clause=offer.promise, person=person)


def works_alone(target: Screenalytics, offer: Offer) -> None:
    """Premise: a person with this offer gets what is promised where they are the only one."""
    __tracebackhide__ = True
    with target.episode(offer) as episode:
        seen = target.run(episode)
        try:
            keeps_its_promise(target, seen, episode.people[0])
        except Violation as broken:
            raise PremiseBroken(
                broken.clause or offer.promise,
                broken.message,
                expected=broken.expected,
                actual=broken.actual,
                exchange=broken.exchange,
            ) from None


def evidence(target: Screenalytics, seen: Import, person: Person) -> list[str]:
    """The pictures that were fetched for a person, and every text in their rows, by which an image's source shows."""
    found = [target.lab.stub_url + path for path in seen.pictures(person)]
    if target.has_database:
        found += [str(stored) for stored in target.images(person)]
    return found


def is_in(address: str, found: Sequence[str]) -> bool:
    """Whether an address stands in the evidence, in whatever form its host was reached."""
    parts = urlsplit(address)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return any(path in text for text in found)


def is_whole_in(target: Screenalytics, address: str, found: Sequence[str]) -> bool:
    """Whether it was fetched, in whatever form its host was reached, or stands in a row with its host."""
    fetched = [text for text in found if text.startswith(target.lab.stub_url)]
    return is_in(address, fetched) or any(address in text for text in found)
