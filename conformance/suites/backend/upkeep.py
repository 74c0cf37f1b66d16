"""What the suites of cast metadata, delete, exclusion, counts and purge share: random words, messages, and looks."""

from __future__ import annotations

import datetime
import random
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import hypothesis

from conformance import expect
from conformance.core_tables import Column, CoreTables, Look, Row, texts
from conformance.errors import PremiseBroken, Violation
from conformance.exchange import Exchange
from conformance.media import Candidate, Entity, Imported, Media, Preview, image_order
from conformance.polling import polls


def few() -> hypothesis.settings:
    """The profile in force, for properties of which an example is a whole workflow of many requests."""
    full = hypothesis.settings()
    return hypothesis.settings(
        max_examples=max(4, full.max_examples // 5), stateful_step_count=min(20, full.stateful_step_count)
    )


# --- words that mean nothing ----------------------------------------------------------------------------------------

_ONSETS, _VOWELS = ["b", "br", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "tr", "v", "z"], "aeiou"


def word(chance: random.Random, syllables: int = 4) -> str:
    """A word that no other text has: lower-case ASCII letters."""
    return "".join(chance.choice(_ONSETS) + chance.choice(_VOWELS) for _ in range(syllables))


def words(chance: random.Random, count: int = 5) -> str:
    """So many of them."""
    return " ".join(word(chance) for _ in range(count))


def full_name(chance: random.Random) -> str:
    """A first and a last name that nobody else has."""
    return f"{word(chance, 3).title()} {word(chance).title()}"


def words_of(text: str) -> list[str]:
    """The words of a text, whatever stands between them, and however their accents are composed."""
    return re.findall(r"\w+", unicodedata.normalize("NFC", text))


def days(text: str) -> set[datetime.date]:
    """The day that a date or time names where it was written, and in UTC; none where it is no ISO 8601."""
    try:
        time = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        found = re.match(r"\s*(\d{4}-\d{2}-\d{2})", text)
        try:
            return {datetime.date.fromisoformat(found[1])} if found else set()
        except ValueError:
            return set()
    return {time.date()} if time.tzinfo is None else {time.date(), time.astimezone(datetime.UTC).date()}


# --- what other teams need to see -----------------------------------------------------------------------------------


def fails_aloud(exchange: Exchange, *, clause: str, what: str) -> None:
    """The answer is a non-2xx (and no redirect) with a message."""
    __tracebackhide__ = True
    if exchange.status < 400:
        raise Violation(
            f"{what} was answered {exchange.outcome()}",
            clause=clause,
            expected="a 4xx or 5xx with a message",
            actual=f"{exchange.outcome()} {exchange.answer.text[:200]}".strip(),
            exchange=exchange,
        )
    if not expect.has_message(exchange):
        raise Violation(
            f"{what} was refused without a message",
            clause=clause,
            expected="a message in the body",
            actual=exchange.answer.text[:200] or "an empty body",
            exchange=exchange,
        )


def no_server_error(exchange: Exchange, *, clause: str, what: str) -> None:
    """The answer is below 500."""
    __tracebackhide__ = True
    if exchange.status >= 500:
        raise Violation(
            f"{what} was answered {exchange.outcome()}",
            clause=clause,
            expected="an answer below 500",
            actual=exchange.outcome(),
            exchange=exchange,
        )


def same_rows(
    media: Media, before: Look, after: Look, *, clause: str, what: str, exchange: Exchange | None = None
) -> None:
    """Two looks at the same rows show the same, but for what changes by itself."""
    __tracebackhide__ = True
    changes = changes_of(media, before, after)
    if changes:
        raise Violation(
            f"{what} changed the database", clause=clause, expected="no change", actual=changes, exchange=exchange
        )


def changes_of(media: Media, before: Look, after: Look) -> list[str]:
    """What a later look at the same rows has lost, gained, or has otherwise, but for what changes by itself."""
    columns = before.changed(after)
    return before.difference(after, changing_by_itself(media, columns) if columns else ())


BACKGROUND_S = 6.0
"""How long after an import a target may still be at work on it where nobody waits for that."""


def changing_by_itself(media: Media, columns: frozenset[Column]) -> frozenset[Column]:
    """Those of the columns that rows get or change after an import though nobody asks for anything more.

    A target may look at images in the background: make copies, count, describe.
    """
    site = media.site()
    images = [site.image() for _ in range(3)]
    seen: set[Column] = set()
    with media.person() as person:
        told = media.streamed(person, site.page(images), [image_order(image.url) for image in images])
        assets = [final.media_asset_id for final in told.finals if final.media_asset_id is not None]
        first = media.tables.look(assets=assets)
        for _ in polls(BACKGROUND_S):
            seen |= first.changed(media.tables.look(assets=assets))
            if columns <= seen:
                break
    return columns & seen


# --- steps -----------------------------------------------------------------------------------------------------------


def candidate(preview: Preview, url: str) -> Candidate:
    """The candidate of a page's image; where a preview leaves it out for no reason, PRE-05 is broken."""
    found = preview.find(url)
    if found is None:
        raise PremiseBroken(
            "PRE-05",
            "the preview leaves out an image of the page",
            expected=url,
            actual=[shown.url for shown in preview.candidates],
            exchange=preview.exchange,
        )
    return found


def is_known(media: Media, source_url: str, url: str) -> bool:
    """Whether there is an asset of an image, as an import for somebody else shows it; there is one afterwards."""
    with media.person() as person:
        return media.status(person, source_url, url) == "duplicate"


def only_asset(imported: Imported) -> Mapping[str, Any] | None:
    """The one asset that a plain import of one image answers; None where there is none with an id, or another one."""
    found = [asset for asset in imported.assets if isinstance(asset, Mapping) and isinstance(asset.get("id"), str)]
    return found[0] if len(found) == 1 else None


def entities_of(links: Iterable[Row]) -> set[tuple[str, UUID]]:
    """Whom some rows of links or exclusions are for."""
    return {(str(row["entity_type"]), UUID(str(row["entity_id"]))) for row in links}


def as_entity(entity: Entity) -> tuple[str, UUID]:
    """An entity as `entities_of` has it."""
    return entity.entity_type, UUID(entity.entity_id)


def path_of(url: str) -> str:
    """What names an image in whatever form its host is kept: page and name, both of them fresh."""
    return "/".join(url.split("#")[0].rsplit("/", 2)[1:])


def excluding(tables: CoreTables, entities: Sequence[Entity], url: str) -> list[Row]:
    """The exclusions of some entities that name an image."""
    found = tables.exclusions([entity.entity_id for entity in entities])
    return [row for row in found if any(path_of(url) in text for text in texts(row))]


def link_to(links: Iterable[Row], entity: Entity) -> list[Row]:
    """Those of the links that are one entity's."""
    return [row for row in links if entities_of([row]) == {as_entity(entity)}]


def members(value: Any) -> Mapping[str, Any]:
    """A JSON object; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}
