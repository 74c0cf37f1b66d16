"""Screenalytics on a live environment: the order of its calls, what an import counts, and what it leaves behind.

The import runs where importing is allowed, and twice. Elsewhere only the access log and the database are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from conformance.backend import Backend
from conformance.environment import Environment
from conformance.errors import NotVerified, Violation
from conformance.polling import polls
from conformance.screenalytics import COUNTS, FaceBank, Import, Importer
from conformance.trace import Options, Trace, TracedPerson, UnreadableLog, trace_calls
from conformance.trace.judge import person_key
from conformance.trace.scan import named

Observe = Callable[[str, str], None]
Rows = Mapping[str, list[dict[str, Any]]]
"""Person id → their whole rows in `face_bank_images`."""

SYNC = "SCREENALYTICS `sync_cast_from_trr`"
DATABASE = "SCREENALYTICS database side effects"
LOGS = "Strict fallback observed in backend logs"
LOG_S = 5.0
"""How long a log may take to show what has been called."""


# --- what there is to import -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Offered:
    """What the backend has of a person: addresses, each once."""

    person_id: str
    seeds: frozenset[str]
    every: frozenset[str]

    @property
    def photos(self) -> frozenset[str]:
        """What an import is to take, but for its limit."""
        return self.seeds or self.every

    @property
    def kind(self) -> str:
        """In the words of the rollout plan."""
        return "Seeded" if self.seeds else "Unseeded"


def offered(backend: Backend, person_ids: Iterable[str]) -> list[Offered]:
    """What the backend has of these people now."""
    return [
        Offered(
            person_id,
            *(frozenset(backend.whole_listing(person_id, seed_only=seeds).urls) for seeds in (True, False)),
        )
        for person_id in dict.fromkeys(person_ids)
    ]


def people(environment: Environment) -> list[str]:
    """The people of the environment's fixtures; raises NotVerified where there are none."""
    fixtures = environment.get("fixtures") or {}
    ids = [fixtures[name]["person_id"] for name in ("seeded_person", "unseeded_person") if name in fixtures]
    ids += fixtures.get("episode", {}).get("person_ids", ())
    if not ids:
        raise NotVerified("fixtures is not set")
    return list(dict.fromkeys(ids))


# --- the import and its rerun ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Imports:
    """An import of the fixtures' episode and its rerun."""

    offers: Sequence[Offered]
    limit: int
    """How many images of a person an import takes."""
    log_size: int | None
    """Of the access log before the import."""
    first: Import
    again: Import
    rows: tuple[Rows, Rows, Rows] | None
    """Before, between and after them, where the database may be read."""

    def wanted(self, offer: Offered) -> int:
        """How many images of a person an import takes that finds none of them there."""
        return min(self.limit, len(offer.photos))

    def more(self, offer: Offered) -> int:
        """How many a rerun may add, as there are more photos than an import takes."""
        return min(self.limit, len(offer.photos) - self.wanted(offer))

    def added(self, offer: Offered) -> int:
        """How many rows of a person the import has added; where the database may be read."""
        assert self.rows is not None
        return len(self.rows[1][offer.person_id]) - len(self.rows[0][offer.person_id])

    @property
    def label(self) -> str:
        """Whose import it was, in the words of the rollout plan."""
        kinds = {offer.kind for offer in self.offers}
        return "Seeded and unseeded" if len(kinds) > 1 else kinds.pop()


@pytest.fixture(scope="session")
def imports(backend: Backend, importer: Importer, environment: Environment) -> Imports:
    """Imports the fixtures' episode twice."""
    episode = environment.fixture("episode")
    ids = list(dict.fromkeys(episode["person_ids"]))
    offers = offered(backend, ids)

    def rows() -> Rows | None:
        return rows_of(importer.face_bank, ids) if importer.face_bank.is_there else None

    size = log_size(environment)
    before, first = rows(), importer.trigger(episode["ep_id"], ids)
    between, again = rows(), importer.trigger(episode["ep_id"], ids)
    after = rows()
    seen = None if before is None or between is None or after is None else (before, between, after)
    if offers != (now := offered(backend, ids)):
        changed = [offer.person_id for offer, other in zip(offers, now, strict=True) if offer != other]
        raise NotVerified(f"the photos of {', '.join(changed)} have changed during the import")
    return Imports(offers, importer.import_limit, size, first, again, seen)


def rows_of(face_bank: FaceBank, person_ids: Iterable[str]) -> Rows:
    """What the database has of these people."""
    return {person_id: face_bank.images(person_id) for person_id in person_ids}


@pytest.mark.parametrize(
    "kind, clause",
    [
        pytest.param(k, c, id=k, marks=pytest.mark.clause(c))
        for k, c in (("Seeded", "SYNC-01"), ("Unseeded", "SYNC-02"))
    ],
)
def test_import_counts(imports: Imports, observe: Observe, kind: str, clause: str) -> None:
    """The import takes the seeds, or else the photos, of each person up to the limit, and counts no error."""
    counts = {name: imports.first.count(name, clause=clause) for name in COUNTS}
    images, with_photos = sum(map(imports.wanted, imports.offers)), sum(bool(offer.photos) for offer in imports.offers)
    expected = dict(zip(COUNTS, (images, with_photos, 0), strict=True))
    if kind == imports.offers[0].kind:
        observe(SYNC, f"{imports.label} run: {in_words(counts)}")
    of_kind = [offer for offer in imports.offers if offer.kind == kind and offer.photos]
    if not of_kind:
        raise NotVerified(f"fixtures.episode has no {kind.lower()} person with photos")
    if imports.rows is not None:
        rows = sum(map(imports.added, of_kind))
        observe(DATABASE, f"{kind} person: `{rows}` `face_bank_images` row{'' if rows == 1 else 's'} inserted")
    if counts == expected:
        return
    is_fresh = imports.rows is not None and not any(imports.rows[0].values())
    possible = all(counts[name] <= expected[name] for name in COUNTS)
    if possible and not is_fresh:
        raise NotVerified(
            f"{counts['imported_facebank_images']} of {images} images were imported: the others may have been before"
        )
    wrong = [offer for offer in imports.offers if is_fresh and imports.added(offer) != imports.wanted(offer)]
    seeded = any(offer.kind == "Seeded" for offer in wrong or imports.offers)
    raise Violation(
        "the import counted otherwise than the backend's photos have it",
        clause="SYNC-01" if seeded else "SYNC-02",
        expected=expected,
        actual=counts,
        exchange=imports.first.exchange,
    )


@pytest.mark.clause("SYNC-04")
def test_rerun_imports_nothing(imports: Imports, face_bank: FaceBank, observe: Observe) -> None:
    """A rerun imports 0 and adds no row; only of people with more photos than the limit may it take more."""
    images = imports.again.count("imported_facebank_images", clause="SYNC-04")
    deduped = " (dedupe confirmed)" if images == 0 else ""
    observe(SYNC, f"{imports.label} rerun: `imported_facebank_images={images}`{deduped}")
    most = sum(map(imports.more, imports.offers))
    added: dict[str, int] = {}
    if imports.rows is not None:
        _, between, after = imports.rows
        added = {person_id: len(after[person_id]) - len(between[person_id]) for person_id in after}
        twice = [offer.person_id for offer in imports.offers if len(face_bank.persons(offer.person_id)) > 1]
        too_many = any(added[offer.person_id] > imports.more(offer) for offer in imports.offers)
        observe(DATABASE, f"Rerun {'created rows' if any(added.values()) else 'did not create duplicates'}")
        if twice or too_many:
            raise Violation(
                "a rerun left a second row for the same thing",
                expected="no row more in face_bank_images, and one row for each in person",
                actual={"added": added, "more than one row in person": twice},
                exchange=imports.again.exchange,
            )
    if images > most:
        raise Violation(
            "a rerun on unchanged photos imported something",
            expected={"imported_facebank_images": 0},
            actual=dict(imports.again.report or {}),
            exchange=imports.again.exchange,
        )
    if images or any(added.values()):
        raise NotVerified(f"there are more photos than the import limit of {imports.limit}: the rerun took some")


def in_words(counts: Mapping[str, int]) -> str:
    """Counts in the words of the rollout plan."""
    return ", ".join(f"`{name}={count}`" for name, count in counts.items())


# --- the database ----------------------------------------------------------------------------------------------------


@pytest.mark.clause("SYNC-03")
def test_rows_are_seeds_that_wait_for_approval(
    request: pytest.FixtureRequest, face_bank: FaceBank, environment: Environment, observe: Observe
) -> None:
    """The fixtures' people have rows with `is_seed = true`, `approved = false`, and a `person` that exists.

    Rows may have been approved since, by somebody and at some time; rows that are no seeds are no import's.
    """
    imported = optional(request, "imports")
    earlier: set[str] = set()
    if imported is not None and imported.rows is not None:
        earlier = {str(row.get("image_id")) for rows in imported.rows[0].values() for row in rows}
    ids = people(environment)
    stored = rows_of(face_bank, ids)
    waiting = approved = others = 0
    for person_id, rows in stored.items():
        for row in rows:
            is_new = imported is not None and imported.rows is not None and str(row.get("image_id")) not in earlier
            flags = (row.get("is_seed"), row.get("approved"))
            if flags == (True, False):
                waiting += 1
            elif flags == (True, True) and not is_new and row.get("approved_at") and row.get("approved_by"):
                approved += 1
            elif row.get("is_seed") is not True and not is_new:
                others += 1
            else:
                raise Violation(
                    "a face_bank_images row is not a seed that waits for approval, nor was it approved by anybody",
                    expected={"is_seed": True, "approved": False},
                    actual=row,
                )
        if rows and not face_bank.persons(person_id):
            raise Violation(
                "a face_bank_images row has no person", expected=f"a person row of {person_id}", actual=rows[0]
            )
    if not waiting and not approved:
        raise NotVerified("no person of the fixtures has a face_bank_images row that an import inserted")
    if waiting:
        observe(DATABASE, f"Inserted `face_bank_images` rows have `is_seed=true`, `approved=false` (`{waiting}` rows)")
    if approved:
        observe(DATABASE, f"`{approved}` rows have `is_seed=true` and were approved since")
    if others:
        observe(DATABASE, f"`{others}` rows are no seeds, and not judged")


def optional(request: pytest.FixtureRequest, name: str) -> Any:
    """A fixture's value, or None where something that it needs is missing."""
    try:
        return request.getfixturevalue(name)
    except NotVerified:
        return None


# --- the order of the calls ------------------------------------------------------------------------------------------

ORDER = "seed_only=true first, and seed_only=false only, and always, after an empty seed_only=true"


@dataclass(frozen=True)
class Observed:
    """What the access log shows of imports."""

    path: str
    trace: Trace
    kinds: Mapping[str, str]
    """Person → seeded or unseeded by now, of the fixtures' people."""
    of_these_only: bool = False
    """Whether nobody else is judged, whose import may have begun before."""

    @property
    def judged(self) -> Sequence[TracedPerson]:
        """The people who are judged."""
        return self.known if self.of_these_only else self.trace.persons

    @property
    def known(self) -> list[TracedPerson]:
        """The fixtures' people who are in the log."""
        return [person for person in self.trace.persons if person.person_id in self.kinds]

    def keeps(self, *clauses: str) -> None:
        """Nobody's calls break these clauses, and none of the fixtures' people is undecided."""
        for person in self.judged:
            if broken := [clause for clause in clauses if clause in person.clauses]:
                raise Violation(
                    f"the photos of person {person.person_id} were asked for in the wrong order",
                    clause=broken[0],
                    expected=ORDER,
                    actual="\n".join(f"line {number} {text}" for number, text in person.timeline),
                )
        for person in self.known:
            if person.verdict == "undecided":
                raise NotVerified(f"{self.path}: person {person.person_id} is undecided: {person.reason}")

    def conforming(self, *, fell_back: bool | None = None) -> list[TracedPerson]:
        """The people whose calls keep the rule, the fixtures' if they are there; raises NotVerified for nobody."""
        found = [
            person
            for person in self.known or self.judged
            if person.verdict == "conforming" and fell_back in (None, person.fell_back)
        ]
        if not found:
            what = {None: "photos calls", True: "an empty seed_only=true", False: "a seed_only=true with photos"}
            raise NotVerified(f"{self.path}: shows no import with {what[fell_back]}")
        return found

    def told(self, person: TracedPerson) -> str:
        """A person's calls, in the words of the rollout plan."""
        who = f"{self.kinds[person.person_id]} person" if person.person_id in self.kinds else "Some person"
        order = "`seed_only=true` then `seed_only=false`" if person.fell_back else "only `seed_only=true` request"
        return f"{who}: {order}"


@pytest.fixture(scope="session")
def observed(request: pytest.FixtureRequest, backend: Backend, environment: Environment) -> Observed:
    """The calls of the import that was run here; elsewhere all that the log has."""
    path = environment.need("access_log")["path"]
    imported: Imports | None = optional(request, "imports")
    offers = imported.offers if imported is not None else offered(backend, people(environment))
    kinds = {person_key(offer.person_id): offer.kind for offer in offers}
    clues = partial(
        Options,
        seeded=frozenset(person for person, kind in kinds.items() if kind == "Seeded"),
        unseeded=frozenset(person for person, kind in kinds.items() if kind == "Unseeded"),
        ignore_clients=frozenset(environment.need("access_log").get("ignore_clients", ())),
    )
    size = None if imported is None else imported.log_size
    try:
        if size is not None and (trace := trace_since(path, size, clues(from_start=True), set(kinds))):
            return Observed(path, trace, kinds, of_these_only=True)
        return Observed(path, trace_calls(named([path]), clues(suite_called=True)), kinds)
    except UnreadableLog as error:
        raise NotVerified(f"access_log.path: {error}") from None


def log_size(environment: Environment) -> int | None:
    """How long the access log is, where it is one plain file that grows."""
    path = Path((environment.get("access_log") or {"path": ""})["path"])
    return path.stat().st_size if path.is_file() and path.suffix != ".gz" else None


def trace_since(path: str, size: int, clues: Options, expected: set[str]) -> Trace | None:
    """What has come to the log since it was so long, as soon as it shows that all these people were imported.

    None where the log is another one by now.
    """
    for _ in polls(LOG_S, pause_s=0.05):
        with open(path, "rb") as file:
            if file.seek(0, 2) < size:
                return None
            file.seek(size)
            trace = trace_calls(file.read().splitlines(), clues)
        done = {person.person_id for person in trace.persons if person.verdict == "conforming"}
        if expected <= done:
            break
    return trace


@pytest.mark.parametrize("clause", [pytest.param(c, marks=pytest.mark.clause(c)) for c in ("FALL-01", "FALL-11")])
def test_call_order(observed: Observed, observe: Observe, clause: str) -> None:
    """Each import begins with `seed_only=true`, and `seed_only` is always said; retries and failures open nothing."""
    if clause == "FALL-01":
        verdicts = Counter(person.verdict for person in observed.judged)
        told = ", ".join(f"`{count}` {verdict}" for verdict, count in verdicts.items()) or "nobody"
        observe(LOGS, f"People in `{observed.path}`: {told}")
    # no log is sure to show failures and retries: these are told where they are broken
    observed.keeps(clause, "FALL-04", "FALL-05")
    observed.conforming()


@pytest.mark.parametrize(
    "clause, fell_back",
    [
        pytest.param("FALL-02", False, id="seeded", marks=pytest.mark.clause("FALL-02")),
        pytest.param("FALL-03", True, id="unseeded", marks=pytest.mark.clause("FALL-03")),
    ],
)
def test_fallback(observed: Observed, observe: Observe, clause: str, fell_back: bool) -> None:
    """Seeded: only `seed_only=true`. Unseeded: `seed_only=true`, then `seed_only=false`."""
    observed.keeps(clause)
    for line in dict.fromkeys(map(observed.told, observed.conforming(fell_back=fell_back))):
        observe(LOGS, line)


@pytest.mark.clause("FALL-06")
def test_each_person_stands_alone(observed: Observed) -> None:
    """One person's empty answer opens no fallback for another."""
    observed.keeps("FALL-06", "FALL-02")
    observed.conforming(fell_back=True)
    observed.conforming(fell_back=False)
