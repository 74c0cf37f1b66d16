"""The backend as a state machine: toggles and reads of several people, in any order, against a model."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from conformance import expect
from conformance.backend import Backend, Gallery, Link
from conformance.errors import PremiseBroken, Violation
from conformance.exchange import Exchange
from conformance.strategies import Sizes, sizes


@dataclass
class ModelLink:
    """What the model knows of a link."""

    link: Link
    flag: bool


@dataclass
class ModelPerson:
    """What the model knows of a person."""

    person_id: str
    links: list[ModelLink] = field(default_factory=list)

    def urls(self, *, seed_only: bool) -> Counter[str]:
        """The addresses that a read should show."""
        return Counter(known.link.served_url for known in self.links if known.flag or not seed_only)


class GalleryMachine(RuleBasedStateMachine):
    """People, their links, and each link's flag."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.backend = backend
        self.given = ExitStack()
        self.people: list[ModelPerson] = []

    def teardown(self) -> None:
        self.given.close()

    def _add(self, gallery: Gallery) -> None:
        person = ModelPerson(gallery.person_id, [ModelLink(link, link.flagged) for link in gallery.links])
        every = self.backend.listing(gallery.person_id, seed_only=False)
        expect.known_addresses(every.urls, [link.served_url for link in gallery.links], exchange=every.exchange)
        listing = self.backend.listing(gallery.person_id, seed_only=True)
        expected = person.urls(seed_only=True)
        if Counter(listing.urls) != expected:
            raise PremiseBroken(
                "TOG-11" if Counter(listing.urls) > expected else "PHO-03",
                "the seeds of an untouched gallery are not its flagged photos",
                expected=sorted(expected.elements()),
                actual=sorted(listing.urls),
                exchange=listing.exchange,
            )
        self.people.append(person)

    @initialize(size=sizes(min_unseeded=1, unhosted=True))
    def first_person(self, size: Sizes) -> None:
        self.person(size)

    @precondition(lambda self: len(self.people) < 4)
    @rule(size=sizes(unhosted=True))
    def person(self, size: Sizes) -> None:
        """A person comes with a gallery."""
        self._add(
            self.given.enter_context(
                self.backend.gallery(seeded=size.seeded, unseeded=size.unseeded, unhosted=size.unhosted)
            )
        )

    @rule(who=st.integers(0, 10_000), which=st.integers(0, 10_000), value=st.booleans())
    def toggle(self, who: int, which: int, value: bool) -> None:
        """A link of some person is toggled; every person's seeds are then as the model says."""
        person = self.people[who % len(self.people)]
        if not person.links:
            return
        known = person.links[which % len(person.links)]
        exchange = self.backend.set_flag(person.person_id, known.link, value)
        repeated = known.flag is value
        known.flag = value
        for each in self.people:
            self._compare(each, exchange, toggled=known, repeated=repeated)

    @rule(who=st.integers(0, 10_000), seed_only=st.sampled_from((True, False)))
    def read(self, who: int, seed_only: bool) -> None:
        """Some person's photos are read."""
        person = self.people[who % len(self.people)]
        listing = self.backend.listing(person.person_id, seed_only=seed_only)
        if not seed_only and Counter(listing.urls) != person.urls(seed_only=False):
            self._fail("PHO-04", "all photos of a person", person.urls(seed_only=False), listing.urls, listing.exchange)

    def _compare(self, person: ModelPerson, exchange: Exchange, *, toggled: ModelLink, repeated: bool) -> None:
        """Names the clause by what differs: the toggled link itself, or another one."""
        listing = self.backend.listing(person.person_id, seed_only=True)
        seen, expected = Counter(listing.urls), person.urls(seed_only=True)
        wrong = [known for known in person.links if (seen[known.link.served_url] > 0) is not known.flag]
        if toggled in wrong:
            clause = "TOG-04" if repeated else "TOG-05"
            self._fail(clause, "the toggled photo among the seeds", expected, listing.urls, exchange)
        if wrong:
            self._fail("TOG-06", "photos that were not toggled, among the seeds", expected, listing.urls, exchange)

    def _fail(self, clause: str, what: str, expected: Counter[str], actual: Any, exchange: Exchange) -> None:
        raise Violation(
            f"{what}: not as the history says",
            clause=clause,
            expected=sorted(expected.elements()),
            actual=sorted(actual),
            exchange=exchange,
        )


@pytest.mark.clause("TOG-05", "TOG-04", "TOG-06", "PHO-04")
def test_any_history_of_toggles_and_reads(backend: Backend) -> None:
    """After any history, each person's seeds are what was last set, link by link."""
    with backend.gallery():
        pass  # not verified at once where there are no states
    # a factory is as good as a class, which takes no arguments
    machine = partial(GalleryMachine, backend)
    run_state_machine_as_test(machine, settings=hypothesis.settings())  # type: ignore[arg-type]
