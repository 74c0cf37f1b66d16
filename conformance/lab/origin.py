"""The page origin: web pages and images at addresses whose first segment is a key, fresh for each test."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.lab import answers
from conformance.lab.answers import Answer
from conformance.lab.journal import Place
from conformance.lab.scripts import Holds, Routed, Scripts
from conformance.lab.server import Received


class PageOrigin:
    """What is served where. HEAD is answered as GET would be, which leaves the script where it is, or by its own."""

    def __init__(self) -> None:
        self._get: Scripts[Place] = Scripts()
        self._head: Scripts[Place] = Scripts()
        self._holds: Holds[Place] = Holds()

    def serve(self, place: Place, get: Sequence[Answer], head: Sequence[Answer]) -> None:
        """Replaces what is answered at a place."""
        self._get[place], self._head[place] = get, head
        self._holds.renew(place)

    def release(self, place: Place, gate: str | None) -> None:
        """Lets go of what is held at a place."""
        self._holds[place].release(gate)

    def route(self, received: Received) -> Routed:
        """The answer of the place with the call's query, else of the one with any; 404 where there is none."""
        exact = Place.of(received.target)
        found = exact if self._get.peek(exact) else exact.with_any_query
        match received.method:
            case "GET":
                scripted = self._get.take(found)
            case "HEAD":
                scripted = self._head.take(found) or self._get.peek(found)
            case _:
                return Routed("other", exact.key, answers.status(405), self._holds[found], scripted=False)
        answer = scripted or answers.status(404)
        return Routed("fetch", exact.key, answer, self._holds[found], scripted=scripted is not None)
