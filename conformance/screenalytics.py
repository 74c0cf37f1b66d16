"""Screenalytics as a target: the lab plays the backend to an import, whose calls, counts and rows are read."""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from filelock import FileLock

from conformance import commands
from conformance.database import Database
from conformance.environment import Environment
from conformance.errors import NotVerified, PremiseBroken, Violation
from conformance.exchange import Client, Exchange, Request, typed
from conformance.fallback import Fallback, Outcome, PhotosCall, Ruling, read_query
from conformance.lab import Call, answers
from conformance.lab.answers import Answer
from conformance.lab.client import Lab
from conformance.lab.stub import photos_script
from conformance.media import is_integer
from conformance.polling import polls
from conformance.states import ProviderStates

DEFAULT_IMPORT_LIMIT = 5
DEFAULT_TIMEOUT_S = 60.0
COUNTS = ("imported_facebank_images", "imported_facebank_people", "import_errors")

MAX_PEOPLE = 12
"""In an episode that the suite makes."""
LOCKED_S = 1.0
"""How long an importer may hold an episode that it has answered for."""
LARGE_CAST = 30
"""People of an episode whose cast is more than a page."""


@dataclass(frozen=True)
class Offer:
    """What the backend has of one person, and what a conforming import makes of it."""

    album: str
    """The lab's key of the person's pictures."""
    seeds: tuple[Answer, ...]
    """The answers to `seed_only=true`, one after the other; the last repeats."""
    every: tuple[Answer, ...]
    """The answers to `seed_only=false`."""
    photos: tuple[str, ...] = ()
    """The addresses that are to be imported, in the backend's order, up to the import limit."""
    fails: bool = False
    """Whether an error is to be counted."""
    promise: str = ""
    """The clause that says so."""


@dataclass(frozen=True)
class Person:
    """A person of an episode."""

    person_id: str
    offer: Offer


@dataclass(frozen=True)
class Episode:
    """An episode whose import imports these people."""

    ep_id: str
    people: tuple[Person, ...]


@dataclass(frozen=True)
class Import:
    """One import, as its caller and the backend saw it."""

    report: Mapping[str, Any] | None
    """The JSON object that it answered; None where it answered none."""
    outcome: str
    """How it ended, in a few words."""
    exchange: Exchange | None
    """None for an import by command."""
    calls: Mapping[str, tuple[Call, ...]] = field(default_factory=dict)
    """Person id → the calls that were made for them in it, pictures included."""
    cast: tuple[Call, ...] = ()
    """The calls for the episode's cast."""

    def count(self, name: str, *, clause: str | None = None) -> int:
        """One of `COUNTS`. Where there is none, `clause` is violated or, by default, the premise SYNC-01 is broken."""
        value: Any = None if self.report is None else self.report.get(name)
        if is_integer(value):
            return int(value)
        message, expected = "the import did not report its counts", f"an integer {name}"
        actual = self.outcome if self.report is None else dict(self.report)
        if clause is not None:
            raise Violation(message, clause=clause, expected=expected, actual=actual, exchange=self.exchange)
        raise PremiseBroken("SYNC-01", message, expected=expected, actual=actual, exchange=self.exchange)

    @property
    def counts(self) -> dict[str, int]:
        """All of `COUNTS`."""
        return {name: self.count(name) for name in COUNTS}

    def photos(self, person: Person) -> tuple[Call, ...]:
        """The calls for a person's photos, in the order of their arrival."""
        return tuple(call for call in self.calls[person.person_id] if call.operation == "photos")

    def pictures(self, person: Person) -> list[str]:
        """The paths and queries of a person's pictures that were asked for, in that order."""
        return [call.target for call in self.calls[person.person_id] if call.operation == "image"]

    def ruling(self, person: Person) -> Ruling:
        """What the strict-fallback rule says of a person's calls."""
        automaton = Fallback(marked=True)
        automaton.feed_all(map(photos_call, _as_asked(self.photos(person))))
        return automaton.ruling(person.person_id)

    def timeline(self, person: Person) -> str:
        """A person's photos calls, one on a line, with the milliseconds since the first."""
        calls = self.photos(person)
        return "\n".join(_line(call, calls[0].started) for call in calls) or "no call for the person's photos"


def _as_asked(calls: Sequence[Call]) -> Sequence[Call]:
    """The calls of a person; of two that were made at once, either may have arrived first."""
    if len(calls) > 1 and seed_only(calls[0]) is False and seed_only(calls[1]) is True:
        first, second, *others = calls
        if first.ended is None or second.started < first.ended:
            return [second, first, *others]
    return calls


def photos_call(call: Call) -> PhotosCall:
    """A journaled photos call as the automaton reads it."""
    seeds, offset = read_query(_query(call))
    return PhotosCall(call.key, seeds, _outcome(call), call.started, call.number, offset)


def seed_only(call: Call) -> bool | None:
    """What a call says of `seed_only`; None unless it is said once, as `true` or `false`."""
    return read_query(_query(call))[0]


def offset(call: Call) -> int:
    """How many photos a call skips."""
    return read_query(_query(call))[1]


def _query(call: Call) -> str:
    return call.target.partition("?")[2]


def _outcome(call: Call) -> Outcome:
    if call.completed and call.answer == "empty":
        return Outcome.EMPTY
    if call.completed and call.answer.startswith("rows("):
        return Outcome.ROWS
    return Outcome.FAILED


def _line(call: Call, start: float) -> str:
    query = _query(call) or "without a query"
    return f"+{(call.started - start) * 1000:5.0f} ms  {call.method} {query} → {call.answer}"


class FaceBank:
    """What imports have left in the database of a Screenalytics; it is only read."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    @property
    def is_there(self) -> bool:
        """Whether the environment lets us look."""
        return self._environment.get("screenalytics_database_url") is not None

    @cached_property
    def _database(self) -> Database:
        return Database(self._environment.need("screenalytics_database_url"), "screenalytics_database_url")

    def images(self, person_id: str) -> list[dict[str, Any]]:
        """The whole rows of a person in `face_bank_images`; raises NotVerified where there is no database."""
        query = "select to_jsonb(f) as stored from face_bank_images f where f.person_id = %(id)s::uuid"
        return [row["stored"] for row in self._database.rows(query, id=person_id)]

    def persons(self, person_id: str) -> list[dict[str, Any]]:
        """The whole rows of a person in `person`; raises NotVerified where there is no database."""
        query = "select to_jsonb(p) as stored from person p where p.person_id = %(id)s::uuid"
        return [row["stored"] for row in self._database.rows(query, id=person_id)]

    def close(self) -> None:
        """Closes the connection."""
        if self.is_there:
            self._database.close()


class Importer:
    """A Screenalytics at some address or behind some command, and how to make it import."""

    def __init__(self, environment: Environment, client: Callable[[float | None], Client]) -> None:
        """`client` makes a client of its own with a time limit in seconds, or the run's own."""
        if environment.production:
            raise NotVerified(f"{environment.name} is production: the import is never run there")
        self.environment = environment
        self.face_bank = FaceBank(environment)
        self._sync: Mapping[str, Any] = environment.need("sync")
        self._make_client = client
        self._client = client(self.timeout_s)

    @property
    def import_limit(self) -> int:
        """How many images of a person one import takes."""
        return int(self._sync.get("import_limit", DEFAULT_IMPORT_LIMIT))

    @property
    def timeout_s(self) -> float:
        """How long an import may take."""
        return float(self._sync.get("timeout_s", DEFAULT_TIMEOUT_S))

    def trigger(self, ep_id: str, person_ids: Sequence[str], client: Client | None = None) -> Import:
        """Imports an episode, whose people these are, and waits for the end."""
        if "command" in self._sync:
            return self._run_commands(ep_id, person_ids)
        if "path" not in self._sync:
            raise NotVerified("sync has neither path nor command")
        path = self._sync["path"].replace("{ep_id}", quote(ep_id, safe=""))
        body = json.dumps(dict(self._sync.get("json", {}))).encode() if "json" in self._sync else None
        who = (("Authorization", f"Bearer {self._sync['token']}"),) if "token" in self._sync else ()
        request = Request(
            self._sync.get("method", "POST"), self.environment.need("screenalytics_url") + path, typed(who, body), body
        )
        exchange = (client or self._client).send(request)
        answer = exchange.answer
        report = _json_object(answer.text) if 200 <= exchange.status < 300 else None
        return Import(report, exchange.outcome(), exchange)

    def _run_commands(self, ep_id: str, person_ids: Sequence[str]) -> Import:
        """One run of the command, or one for each person where it names `{person_id}`, their counts added up."""
        words: Sequence[str] = self._sync["command"]
        each_person = any("{person_id}" in word for word in words)
        total: dict[str, Any] = {}
        outcome = "no person to import"
        for person_id in person_ids if each_person else person_ids[:1]:
            values = {"{ep_id}": ep_id, "{person_id}": person_id}
            report, outcome = self._run_command([_filled(word, values) for word in words])
            if report is None:
                return Import(None, outcome, None)
            for name, value in report.items():
                adds = name in COUNTS and name in total and isinstance(value, int)
                total[name] = total[name] + value if adds else value
        return Import(total, outcome, None)

    def _run_command(self, words: Sequence[str]) -> tuple[dict[str, Any] | None, str]:
        ended = commands.run("sync.command", words, time_limit_s=self.timeout_s, apart=True)
        lines, said = ended.output.strip().splitlines(), ended.errors.strip().splitlines()
        report = _json_object(lines[-1]) if lines else None
        return report, f"exit {ended.exit_code}" + (f": {said[-1][:500]}" if said else "")

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()
        self.face_bank.close()


class Screenalytics(Importer):
    """A Screenalytics that takes the lab for its backend, and what the environment lets us do with it."""

    def __init__(self, environment: Environment, client: Callable[[float | None], Client], lab: Lab) -> None:
        """`client` makes a client of its own with a time limit in seconds, or the run's own."""
        super().__init__(environment, client)
        self.lab = lab
        self.states = ProviderStates(environment, client(None), "screenalytics_states_url")
        self._was_called = False
        self._earlier: set[str] = set()
        """The images that the environment's own people had before the test."""

    @property
    def max_people(self) -> int:
        """How many people an episode can have."""
        if self.environment.get("screenalytics_states_url") is not None:
            return MAX_PEOPLE
        return len(self._fixture["person_ids"])

    # --- what the backend has ---

    def rows(self, album: str, names: Sequence[str]) -> list[dict[str, Any]]:
        """Photos of the pinned shape, the primary one first, where the lab serves a picture for each name.

        Every other one has no hosted copy, and nobody knows more of it; of every second of these not even that.
        """
        return [self._row(album, name, position) for position, name in enumerate(names)]

    def _row(self, album: str, name: str, position: int) -> dict[str, Any]:
        address = {"served_url": self.lab.image_url(album, name)}
        if position % 4 == 3:
            return address
        if position % 2:
            unknown = dict.fromkeys(("hosted_key", "width", "height", "kind"))
            return {**address, **unknown, "is_primary": False}
        return {
            **address,
            "hosted_key": f"people/{album}/{uuid.uuid4()}.png",
            "is_primary": position == 0,
            "width": 64,
            "height": 64,
            "kind": "gallery" if position % 4 else "profile",
            "media_asset_id": str(uuid.uuid4()),
        }

    def seeded(self, seeds: int, others: int = 2) -> Offer:
        """A person with so many seeds, and other photos; where there are some, the primary one is no seed."""
        album, rows = self._album(seeds + others)
        first = min(others, 1)
        chosen = rows[first : first + seeds]
        return Offer(album, (answers.rows(chosen),), (answers.rows(rows),), _addresses(chosen), promise="SYNC-01")

    def unseeded(self, photos: int) -> Offer:
        """A person with photos and no seed; where their number is odd, none is the primary one."""
        first = photos % 2
        album, rows = self._album(first + photos)
        rows = rows[first:]
        promise = "SYNC-02" if photos else "FALL-07"
        return Offer(album, (answers.empty(),), (answers.rows(rows),), _addresses(rows), promise=promise)

    def seeds_fail(self, *failure: Answer, photos: int = 2) -> Offer:
        """A person whose seeds cannot be had, though there are photos."""
        album, rows = self._album(photos)
        return Offer(album, failure, (answers.rows(rows),), fails=True, promise="FALL-04")

    def fallback_fails(self, *failure: Answer) -> Offer:
        """A person without a seed, whose photos cannot be had."""
        return Offer(uuid.uuid4().hex, (answers.empty(),), failure, fails=True, promise="FALL-12")

    def _album(self, photos: int) -> tuple[str, list[dict[str, Any]]]:
        album = uuid.uuid4().hex
        return album, self.rows(album, [uuid.uuid4().hex for _ in range(photos)])

    @contextmanager
    def episode(self, *offers: Offer) -> Iterator[Episode]:
        """An episode with one fresh person for each offer.

        Without provider states it is the environment's own: its first people get the offers, the others have no photos,
        and one run at a time uses it.
        """
        if self.environment.get("screenalytics_states_url") is not None:
            ids = [str(uuid.uuid4()) for _ in offers]
            with self.states.given("episode with cast", person_ids=ids) as values:
                yield self._scripted(str(values["ep_id"]), ids, offers)
            return
        fixture = self._fixture
        ids = list(fixture["person_ids"])
        if len(ids) < len(offers):
            raise NotVerified(f"fixtures.episode has {len(ids)} person_ids, and {len(offers)} are needed")
        spare = [self.unseeded(0)] * (len(ids) - len(offers))
        digest = sha256(f"{self._sync} {fixture['ep_id']}".encode()).hexdigest()[:16]
        with FileLock(Path(tempfile.gettempdir()) / f"trr-conformance-{digest}.lock", timeout=600):
            episode = self._scripted(fixture["ep_id"], ids, [*offers, *spare])
            if self.has_database:
                self._earlier = {str(row.get("image_id")) for person in episode.people for row in self._rows_of(person)}
            yield episode

    @contextmanager
    def another_episode(self, episode: Episode) -> Iterator[Episode]:
        """Another episode with the same people; raises NotVerified where there are no provider states."""
        if self.environment.get("screenalytics_states_url") is None:
            raise NotVerified("screenalytics_states_url is not set, and it takes two episodes with the same people")
        ids, offers = [person.person_id for person in episode.people], [person.offer for person in episode.people]
        with self.states.given("episode with cast", person_ids=ids) as values:
            yield self._scripted(str(values["ep_id"]), ids, offers)

    @property
    def _fixture(self) -> Mapping[str, Any]:
        try:
            return self.environment.fixture("episode")
        except NotVerified:
            raise NotVerified("neither screenalytics_states_url nor fixtures.episode is set") from None

    def _scripted(self, ep_id: str, ids: Sequence[str], offers: Sequence[Offer]) -> Episode:
        people = tuple(Person(person_id, offer) for person_id, offer in zip(ids, offers, strict=True))
        # whoever tells people apart by their names, tells these apart too
        names = {person.person_id: f"Person {person.person_id}" for person in people}
        cast = [{"person_id": key, "full_name": name, "name": name} for key, name in names.items()]
        scripts: dict[str, Sequence[Answer]] = {ep_id: [answers.rows(cast)]}
        for person in people:
            scripts |= _scripts(person)
        self.lab.script_all(scripts)
        return Episode(ep_id, people)

    def offer_anew(self, person: Person, offer: Offer) -> Person:
        """The same person, of whom the backend has something else from now on."""
        self.lab.script_all(_scripts(Person(person.person_id, offer)))
        return Person(person.person_id, offer)

    # --- the import ---

    def run(self, episode: Episode) -> Import:
        """Imports the episode and waits for the end; asks again for a while where another is said to be under way."""
        for _ in polls(LOCKED_S, pause_s=0.05):
            (seen,) = self._watched([episode], lambda: [self._trigger(episode)])
            answer = None if seen.exchange is None else seen.exchange.response
            if answer is None or answer.status not in (409, 423):
                break
        return seen

    def run_at_once(
        self, episode: Episode, meanwhile: Callable[[], None], times: int = 2, *, also: Episode | None = None
    ) -> list[Import]:
        """Imports the episode several times at once, the last time `also`, which may have the same people.

        The calls cannot be told apart: each import gets those of all.
        """
        episodes = [episode] * (times - 1) + [also or episode]

        def trigger() -> list[Import]:
            clients = [self._make_client(self.timeout_s) for _ in episodes]
            try:
                with ThreadPoolExecutor(times) as threads:
                    running = [
                        threads.submit(self._trigger, one, client)
                        for one, client in zip(episodes, clients, strict=True)
                    ]
                    try:
                        meanwhile()
                    finally:
                        for one in episodes:
                            for person in one.people:
                                self.lab.release(person.person_id)
                return [future.result() for future in running]
            finally:
                for client in clients:
                    client.close()

        return self._watched(episodes, trigger)

    def _watched(self, episodes: Sequence[Episode], trigger: Callable[[], list[Import]]) -> list[Import]:
        """The imports with the calls that were made during them."""
        since = self.lab.count
        ended = trigger()
        albums = {person.person_id: person.offer.album for episode in episodes for person in episode.people}
        ep_ids = dict.fromkeys(episode.ep_id for episode in episodes)
        calls = self.lab.calls_by_key([*ep_ids, *albums, *albums.values()], since=since)
        of_people = {person_id: (*calls[person_id], *calls[album]) for person_id, album in albums.items()}
        if not any(calls.values()) and not self._was_called:
            raise NotVerified(
                f"the import did not call the stub backend at {self.lab.stub_url}: is it told to (TRR_API_URL)?"
            )
        self._was_called = True
        cast = tuple(call for ep_id in ep_ids for call in calls[ep_id])
        return [replace(each, calls=of_people, cast=cast) for each in ended]

    def _trigger(self, episode: Episode, client: Client | None = None) -> Import:
        return self.trigger(episode.ep_id, [person.person_id for person in episode.people], client)

    # --- what it left in the database ---

    def images(self, person: Person) -> list[dict[str, Any]]:
        """The whole rows that a person got in `face_bank_images`; raises NotVerified where there is no database."""
        return [row for row in self._rows_of(person) if str(row.get("image_id")) not in self._earlier]

    def _rows_of(self, person: Person) -> list[dict[str, Any]]:
        return self.face_bank.images(person.person_id)

    def persons(self, person: Person) -> list[dict[str, Any]]:
        """The whole rows of a person in `person`; raises NotVerified where there is no database."""
        return self.face_bank.persons(person.person_id)

    @property
    def has_database(self) -> bool:
        """Whether the environment lets us look."""
        return self.face_bank.is_there

    def close(self) -> None:
        """Closes the connections."""
        super().close()
        self.states.client.close()


def _addresses(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(row["served_url"] for row in rows)


def _scripts(person: Person) -> dict[str, Sequence[Answer]]:
    offer = person.offer
    return {
        photos_script(person.person_id, seed_only=True): offer.seeds,
        photos_script(person.person_id, seed_only=False): offer.every,
    }


def _filled(word: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(name, value)
    return word


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
