"""What a check does to a live system: the one toggle that it may send, and the look for others who work on it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from conformance.backend import Backend, Gallery, Link
from conformance.errors import Incomplete, NotVerified, Violation
from conformance.exchange import Exchange
from conformance.undo import Change

Write = Callable[[bool], Exchange]
"""Toggles the borrowed link by some way, and raises where that was not accepted."""

SETTLE_S = 1.0
"""How long a flag that ought to be on is watched before it is taken for off."""


class SomebodyElse(NotVerified):
    """A flag has a value that this run did not give it: nothing more is written."""


def settled(backend: Backend, fixture: Mapping[str, Any]) -> None:
    """Waits where the seeded person's flag is off: another run, of another machine, may be between its OFF and its ON.

    Raises SomebodyElse where the flag comes on meanwhile.
    """
    if backend.own_link(fixture).flagged:
        return
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        time.sleep(SETTLE_S / 10)
        if backend.own_link(fixture).flagged:
            raise SomebodyElse(f"link {fixture['link_id']} has just been turned on: somebody else is at work on it")


def changed_nothing(backend: Backend, person_id: str, link: Link, exchange: Exchange, *, clause: str) -> None:
    """A toggle that was to be refused has left the flag as it was, else `clause` is violated."""
    if backend.is_seed(person_id, link) is link.flagged:
        return
    backend.journal.note(Change(person_id, link.link_id, link.served_url, first=link.flagged))
    raise Violation(
        "a toggle of the value that the flag had, without the right to it, changed the flag",
        clause=clause,
        expected={"facebank_seed": link.flagged},
        actual={"facebank_seed": not link.flagged},
        exchange=exchange,
    )


def off_then_on(backend: Backend, person: Gallery, write: Write, *, clause: str) -> Exchange:
    """Toggles a borrowed link OFF and then ON; the photos follow each, else `clause` is violated.

    Returns the last exchange. Raises SomebodyElse where a value is not the one that was written.
    """
    (link,) = person.links
    for value in (False, True):
        before = Counter(backend.listing(person.person_id, seed_only=True).urls)
        exchange = write(value)
        if backend.is_seed(person.person_id, link) is value:
            continue
        write(value)
        after = Counter(backend.listing(person.person_id, seed_only=True).urls)
        if (link.served_url in after) is value:
            raise SomebodyElse(
                f"link {link.link_id} was {_word(not value)} after {_word(value)} had been written, and {_word(value)}"
                " after that was written again: somebody else is at work on it, or the lists lag behind"
            )
        others = set((before - after) + (after - before)) - {link.served_url}
        hint = ""
        if len(others) == 1:
            # the flag that was changed is that photo's
            (other,) = others
            backend.journal.note(Change(person.person_id, link.link_id, other, first=not value))
            hint = f"; another photo did, {other}: is fixtures.seeded_person.served_url that of the link?"
        else:
            with suppress(Incomplete, Violation):
                # by the same way: what it leads to may be another backend
                write(link.flagged)
        raise Violation(
            f"the photos do not follow a toggle {_word(value)}{hint}",
            clause=clause,
            expected=f"the photo is {'' if value else 'not '}in seed_only=true",
            actual=f"it is {'not ' if value else ''}",
            exchange=exchange,
        )
    return exchange


def _word(value: bool) -> str:
    return "ON" if value else "OFF"
