"""The stub vision service: `POST /vision/people-count`, scripted by what the image's address contains."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.lab import answers
from conformance.lab.answers import Answer
from conformance.lab.journal import asked_about, first_segment, path_segments
from conformance.lab.scripts import Holds, Routed, Scripts
from conformance.lab.server import Received

PEOPLE_COUNT = ["vision", "people-count"]


class StubVision:
    """What is seen where. An image that no script is about shows one person."""

    def __init__(self) -> None:
        self._scripts: Scripts[str] = Scripts()
        self._holds: Holds[str] = Holds()

    def script(self, marker: str, given: Sequence[Answer]) -> None:
        """Replaces the answers about images whose address contains `marker`, in any case."""
        self._scripts[marker.lower()] = given
        self._holds.renew(marker.lower())

    def release(self, marker: str, gate: str | None) -> None:
        """Lets go of what is held about a marker."""
        self._holds[marker.lower()].release(gate)

    def route(self, received: Received) -> Routed:
        """The answer by the longest marker that the image's address contains."""
        image_url = asked_about(received.body.decode("latin-1")).lower()
        key = first_segment(image_url)
        if path_segments(received.target) != PEOPLE_COUNT or received.method != "POST":
            code = 405 if path_segments(received.target) == PEOPLE_COUNT else 404
            return Routed("other", key, answers.status(code), self._holds[""], scripted=False)
        if not image_url:
            return Routed("people count", key, answers.status(422), self._holds[""], scripted=False)
        marker = max((each for each in self._scripts if each in image_url), key=len, default="")
        scripted = self._scripts.take(marker)
        answer = scripted or answers.people_count(1)
        return Routed("people count", key, answer, self._holds[marker], scripted=scripted is not None)
