"""CAST-01 to CAST-05: what an import of cast photos takes from the page that they were found on."""

from __future__ import annotations

import datetime
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.core_tables import CoreTables
from conformance.errors import NotVerified, PremiseBroken, Violation
from conformance.exchange import Exchange
from conformance.lab import answers
from conformance.media import (
    KINDS,
    Candidate,
    Entity,
    Media,
    Show,
    Told,
    image_order,
    not_imported,
    premise,
    read_import,
    read_preview,
)
from conformance.pages import Dated, PageImage, Site, html_page
from conformance.sse import normal_id
from conformance.suites.backend.orders import UNDER_WAY, excluded
from conformance.suites.backend.together import connections, where_not_limited
from conformance.suites.backend.upkeep import (
    candidate,
    days,
    few,
    full_name,
    link_to,
    members,
    only_asset,
    word,
    words,
    words_of,
)

NOTHING: Mapping[str, Mapping[str, Any]] = {
    "absent": {},
    "null": {"caption": None, "person_ids": None},
    "empty": {"caption": "", "person_ids": []},
}
"""The ways in which an import says neither caption nor people."""


@dataclass(frozen=True)
class Shot:
    """A photo of the page, and the season's cast whom its context names."""

    image: PageImage
    named: frozenset[str]


@dataclass(frozen=True)
class Stored:
    """A photo as it was imported."""

    asset_id: str
    answered: Mapping[str, Any]
    """The asset as the import answered it."""
    exchange: Exchange


# --- steps -----------------------------------------------------------------------------------------------------------


def imported(
    media: Media, entity: Entity, page: str, images: Sequence[PageImage], kind: str = "cast", **given: Any
) -> dict[str, Stored]:
    """Previews the page, then imports some of its images by the stream: image → what became of it."""
    preview = media.previewed(page, entity)
    found = [candidate(preview, image.url) for image in images]
    orders = [order(each, kind, **given) for each in found]
    told = media.streamed(entity, page, orders)
    return {image.url: stored_as(told, each.url) for image, each in zip(images, found, strict=True)}


def stored_as(told: Told, url: str) -> Stored:
    """What became of an image, by the stream of its import."""
    asset_id = asset_of(told, url)
    assets = [members(asset) for asset in told.summary.get("assets", ())]
    answered = next((asset for asset in assets if normal_id(str(asset.get("id"))) == normal_id(asset_id)), {})
    return Stored(asset_id, answered, told.exchange)


def asset_of(told: Told, url: str) -> str:
    """The id of the asset that an image was imported as; where there is none, its import is what is broken."""
    final = told.final(url)
    if final.media_asset_id is None:
        raise not_imported(told, final)
    return final.media_asset_id


def order(found: Candidate, kind: str, **given: Any) -> dict[str, Any]:
    """A candidate as the app sends it."""
    name = found.raw.get("id")
    return image_order(found.url, kind, candidate_id=name if isinstance(name, str) else None, **given)


def imported_plainly(media: Media, entity: Entity, page: str, image: PageImage, **given: Any) -> Stored:
    """Previews the page, then imports one of its images by `/import`."""
    found = candidate(media.previewed(page, entity), image.url)
    exchange = media.import_images(entity, page, [order(found, "cast", **given)])
    imported = premise(read_import, exchange)
    asset = only_asset(imported)
    if asset is None:
        raise PremiseBroken(
            "IMP-01",
            "an import of one image answers no asset",
            expected="one asset with its id",
            actual=imported.assets,
            exchange=exchange,
        )
    return Stored(str(asset["id"]), asset, exchange)


def caption(tables: CoreTables, stored: Stored) -> str:
    """The caption that a photo got, from wherever it shows."""
    places: list[Any] = []
    if tables.present:
        row = members(tables.asset(stored.asset_id))
        links = tables.links_of([stored.asset_id])
        places = [row.get("caption"), members(row.get("metadata")).get("caption")]
        places += [members(link.get("context")).get("caption") for link in links]
    elif "caption" not in stored.answered:
        raise NotVerified("database_url is not set, and the import's assets have no caption")
    found = [text for text in (*places, stored.answered.get("caption")) if isinstance(text, str) and text.strip()]
    return found[0] if found else ""


def people(tables: CoreTables, stored: Stored, season: Entity, *, clause: str) -> frozenset[str]:
    """The people who are tagged on the season's links to a photo."""
    links = link_to(tables.links_of([stored.asset_id]), season)
    if not links:
        raise Violation(
            "an imported photo has no link to the season",
            clause=clause,
            expected="a row in core.media_links",
            actual=[],
            exchange=stored.exchange,
        )
    tagged = [members(link.get("context")).get("people_ids") for link in links]
    try:
        return frozenset(str(UUID(person)) for ids in tagged for person in ids or ())
    except (ValueError, TypeError, AttributeError):
        raise Violation(
            "context.people_ids is no list of ids",
            clause=clause,
            expected="UUIDs",
            actual=tagged,
            exchange=stored.exchange,
        ) from None


# --- checks ----------------------------------------------------------------------------------------------------------


def caption_is_of_the_context(tables: CoreTables, stored: Stored, image: PageImage) -> None:
    """The caption says the whole of the image's own context, with or without the name, and nothing else."""
    said = caption(tables, stored)
    allowed, needed = set(words_of(image.context)), set(words_of(image.caption))
    if not needed <= set(words_of(said)) <= allowed:
        raise Violation(
            "the caption of a cast photo is not its context text",
            clause="CAST-01",
            expected=image.context,
            actual=said or "no caption",
            exchange=stored.exchange,
        )


def tagged_are(tables: CoreTables, stored: Stored, season: Entity, expected: frozenset[str], *, clause: str) -> None:
    """Exactly these people are tagged."""
    tagged = people(tables, stored, season, clause=clause)
    if tagged != expected:
        raise Violation(
            "the people tagged on a photo are others",
            clause=clause,
            expected=sorted(expected),
            actual=sorted(tagged),
            exchange=stored.exchange,
        )


def says_what(shot: Shot, show: Show) -> str:
    """For messages: the context, and whom of whom it names."""
    cast = {str(UUID(member.person_id)): member.full_name for member in show.cast}
    return f"context {shot.image.context!r}, cast {sorted(cast.values())}"


# --- CAST-01, CAST-02: caption and people ----------------------------------------------------------------------------

CONTEXTS: Mapping[str, tuple[str, str, str]] = {
    "in the name line": ("{a}", "{w} {w} {w}", "a"),
    "in the caption": ("{x}", "{w} {a} {w}", "a"),
    "at the end of the caption": ("{x}", "{w} {w} {b}", "b"),
    "before punctuation": ("{x}", "{w} {a}, {w} ({c}) {w} {b}.", "abc"),
    "in the possessive": ("{x}", "{w} {a}'s {w}", "a"),
    "in the name line and the caption": ("{c}", "{w} {b} {w} {w}", "bc"),
    "several times": ("{b}", "{w} {b} {w} {b}", "b"),
    "with accents, hyphen, apostrophe and full stop": ("{d}", "{w} {w} & {w}", "d"),
    "nobody of the cast": ("{x}", "{w} {w} {w} {w}", ""),
    "of another show's cast": ("{y}", "{w} {x} {w}", ""),
}
"""Where a context names whom: the name line, the caption, and who of the cast a to d is named.

x is a person who is in no cast, y one of another show's, and each w a word of its own.
"""


@contextmanager
def cast_and_strangers(media: Media, chance: random.Random) -> Iterator[tuple[Show, dict[str, str]]]:
    """A show with a cast of four, and the names of its cast and of two strangers by their letters."""
    accented = f"Zoë O'{word(chance, 2).title()}-{word(chance).title()}é Jr."
    cast = [*(full_name(chance) for _ in range(3)), accented]
    names = {"x": full_name(chance), "y": full_name(chance)}
    with media.show(cast=cast) as show, media.show(cast=[names["y"]]), media.person(names["x"]):
        yield show, names | {letter: member.full_name for letter, member in zip("abcd", show.cast, strict=True)}


def filled(template: str, names: Mapping[str, str], chance: random.Random) -> str:
    return re.sub(r"\{(.)\}", lambda found: names.get(found[1]) or word(chance), template)


@dataclass(frozen=True)
class Cast:
    """A page of cast photos with every one of `CONTEXTS`."""

    show: Show
    shots: Mapping[str, Shot]
    stored: Mapping[str, Stored]


@contextmanager
def every_context(media: Media, chance: random.Random, said: Mapping[str, Any]) -> Iterator[Cast]:
    """Imports a photo of each context, in the opposite order: a context is its image's, and not that of a place."""
    site = media.site()
    with cast_and_strangers(media, chance) as (show, names):
        ids = {letter: str(UUID(member.person_id)) for letter, member in zip("abcd", show.cast, strict=True)}
        shots = {}
        for number, (where, (name, text, named)) in enumerate(CONTEXTS.items()):
            image = site.image(
                person=filled(name, names, chance), caption=filled(text, names, chance), two_lines=number % 2 == 1
            )
            shots[where] = Shot(image, frozenset(ids[letter] for letter in named))
        page = site.page([shot.image for shot in shots.values()], title=words(chance))
        backwards = [shot.image for shot in reversed(shots.values())]
        yield Cast(show, shots, imported(media, show.season, page, backwards, **said))


each_way_to_say_nothing = pytest.mark.parametrize(
    "said", [pytest.param(said, id=name) for name, said in NOTHING.items()]
)


@pytest.mark.clause("CAST-01")
@each_way_to_say_nothing
def test_caption_comes_from_the_context(
    media: Media, tables: CoreTables, chance: random.Random, said: Mapping[str, Any]
) -> None:
    """Without a caption each photo has its own context's, in one line or two."""
    with every_context(media, chance, said) as cast:
        for shot in cast.shots.values():
            caption_is_of_the_context(tables, cast.stored[shot.image.url], shot.image)


@pytest.mark.clause("CAST-02")
@each_way_to_say_nothing
def test_people_come_from_the_context(
    media: Media, tables: CoreTables, chance: random.Random, said: Mapping[str, Any]
) -> None:
    """Without people each photo has those of the cast whom its context names, wherever it does."""
    tables.look()
    with every_context(media, chance, said) as cast:
        for where, shot in cast.shots.items():
            try:
                tagged_are(tables, cast.stored[shot.image.url], cast.show.season, shot.named, clause="CAST-02")
            except Violation as broken:
                broken.message += f": names {where}, {says_what(shot, cast.show)}"
                raise


@pytest.mark.clause("CAST-01")
@pytest.mark.parametrize("said", [None, ""], ids=["null", "empty"])
def test_caption_comes_from_the_context_beside_given_people(
    media: Media, tables: CoreTables, chance: random.Random, said: str | None
) -> None:
    """A caption that is missing is filled in, though the people are given."""
    site = media.site()
    with media.show(cast=[full_name(chance)]) as show:
        image = site.image(person=show.cast[0].full_name, caption=words(chance))
        page = site.page([image])
        person_ids = [show.cast[0].person_id]
        stored = imported(media, show.season, page, [image], caption=said, person_ids=person_ids)[image.url]
        caption_is_of_the_context(tables, stored, image)


@pytest.mark.clause("CAST-02")
@pytest.mark.parametrize("said", [None, []], ids=["null", "empty"])
def test_people_come_from_the_context_beside_a_given_caption(
    media: Media, tables: CoreTables, chance: random.Random, said: list[str] | None
) -> None:
    """People that are missing are tagged, though the caption is given; the season may be named by its number."""
    site = media.site()
    with media.show(cast=[full_name(chance), full_name(chance)]) as show:
        image = site.image(person=show.cast[1].full_name, caption=words(chance))
        page = site.page([image])
        preview = media.previewed(page, show.season)
        found = candidate(preview, image.url)
        given = order(found, "cast", caption=words(chance), person_ids=said)
        told = media.streamed(show.season_by_number, page, [given])
        stored = Stored(asset_of(told, found.url), {}, told.exchange)
        expected = frozenset({str(UUID(show.cast[1].person_id))})
        tagged_are(tables, stored, show.season, expected, clause="CAST-02")


@pytest.mark.clause("CAST-01")
def test_plain_import_takes_the_caption(media: Media, tables: CoreTables, chance: random.Random) -> None:
    """`/import` takes the caption from the context as the stream does."""
    site = media.site()
    with media.show() as show:
        images = [site.image(person=full_name(chance), caption=words(chance)) for _ in range(2)]
        stored = imported_plainly(media, show.season, site.page(images), images[1])
        caption_is_of_the_context(tables, stored, images[1])


@pytest.mark.clause("CAST-02")
def test_plain_import_takes_the_people(media: Media, tables: CoreTables, chance: random.Random) -> None:
    """`/import` takes the people from the context as the stream does."""
    tables.look()
    site = media.site()
    with media.show(cast=[full_name(chance) for _ in range(24)]) as show:
        # more than a query shows by itself, whoever comes first there
        one, *others = show.cast[::3]
        text = " ".join(f"{word(chance)} {member.full_name}" for member in others)
        images = [site.image(person=one.full_name, caption=caption) for caption in (words(chance), text)]
        stored = imported_plainly(media, show.season, site.page(images), images[1])
        expected = frozenset(str(UUID(member.person_id)) for member in (one, *others))
        tagged_are(tables, stored, show.season, expected, clause="CAST-02")


@pytest.mark.parametrize(
    "clause", [pytest.param(clause, marks=pytest.mark.clause(clause)) for clause in ("CAST-01", "CAST-02")]
)
def test_each_photo_of_a_request_stands_for_itself(
    media: Media, tables: CoreTables, chance: random.Random, clause: str
) -> None:
    """After an image of another kind and a photo whose caption and people are given; the preview was for nobody."""
    site = media.site()
    with media.show(cast=[full_name(chance), full_name(chance)]) as show:
        one, other = show.cast
        # files of one name, in folders of their own
        images = [
            site.image(f"{number}/photo.png", person=member.full_name, caption=words(chance))
            for number, member in enumerate((one, one, other))
        ]
        page = site.page(images)
        preview = media.previewed(page)
        promo, given, plain = (candidate(preview, image.url) for image in images)
        orders = [
            order(promo, "promo"),
            order(given, "cast", caption=words(chance), person_ids=[one.person_id]),
            order(plain, "cast"),
        ]
        stored = stored_as(media.streamed(show.season, page, orders), plain.url)
        if clause == "CAST-01":
            caption_is_of_the_context(tables, stored, images[-1])
        else:
            expected = frozenset({str(UUID(other.person_id))})
            tagged_are(tables, stored, show.season, expected, clause="CAST-02")


@pytest.mark.parametrize(
    "clause", [pytest.param(clause, marks=pytest.mark.clause(clause)) for clause in ("CAST-01", "CAST-02")]
)
def test_page_in_another_charset(media: Media, tables: CoreTables, chance: random.Random, clause: str) -> None:
    """The same for a page in Latin-1, which says so in its header and in itself."""
    site = media.site()
    with media.show(cast=[f"Zoë {word(chance).title()}é"]) as show:
        (member,) = show.cast
        image = site.image(person=member.full_name, caption=f"{words(chance)} à {word(chance)}")
        html = html_page(words(chance), [image], charset="iso-8859-1")
        page = site.page(answer=answers.page(html, "iso-8859-1"))
        stored = imported(media, show.season, page, [image])[image.url]
        if clause == "CAST-01":
            caption_is_of_the_context(tables, stored, image)
        else:
            tagged_are(tables, stored, show.season, frozenset({str(UUID(member.person_id))}), clause="CAST-02")


@pytest.mark.clause("CAST-02")
def test_similar_names_are_other_people(media: Media, tables: CoreTables, chance: random.Random) -> None:
    """Names are whole names: who shares a part of one, or whose name is a part of it, is not named."""
    tables.look()
    first, last = full_name(chance).split()
    cast = [
        f"{first} {last}",
        f"{first} {last}son",
        f"{word(chance, 2).title()}{first.lower()} {last}",
        f"{first} {word(chance).title()}",
        f"{word(chance, 3).title()} {last}",
    ]
    site = media.site()
    with media.show(cast=cast) as show:
        shots = []
        for member in show.cast:
            image = site.image(person=member.full_name, caption=words(chance))
            shots.append(Shot(image, frozenset({str(UUID(member.person_id))})))
        page = site.page([shot.image for shot in shots])
        stored = imported(media, show.season, page, [shot.image for shot in shots])
        for shot in shots:
            try:
                tagged_are(tables, stored[shot.image.url], show.season, shot.named, clause="CAST-02")
            except Violation as broken:
                broken.message += f": {says_what(shot, show)}"
                raise


@pytest.mark.clause("CAST-02")
@given(
    seed=st.integers(0, 2**32),
    cast=st.integers(1, 5),
    named=st.lists(st.sets(st.integers(0, 4), max_size=3), min_size=1, max_size=4),
    two_lines=st.booleans(),
)
@few()
def test_any_page_of_cast_photos(
    media: Media, tables: CoreTables, seed: int, cast: int, named: list[set[int]], two_lines: bool
) -> None:
    """Whoever is named where on a page: each photo has the caption and the people of its own context."""
    tables.look()
    chance = random.Random(seed)
    site = media.site()
    with media.show(cast=[full_name(chance) for _ in range(cast)]) as show:
        shots = []
        for indices in named:
            who = [show.cast[index] for index in sorted(indices) if index < cast]
            name = who[0].full_name if who else full_name(chance)
            text = " ".join(f"{word(chance)} {member.full_name}" for member in who[1:])
            image = site.image(person=name, caption=f"{text} {words(chance)}".strip(), two_lines=two_lines)
            shots.append(Shot(image, frozenset(str(UUID(member.person_id)) for member in who)))
        page = site.page([shot.image for shot in shots])
        stored = imported(media, show.season, page, [shot.image for shot in shots])
        for shot in shots:
            caption_is_of_the_context(tables, stored[shot.image.url], shot.image)
            tagged_are(tables, stored[shot.image.url], show.season, shot.named, clause="CAST-02")


# --- CAST-01, CAST-03: which page, and which state of it --------------------------------------------------------------


@dataclass(frozen=True)
class Article:
    """A page with photos, and the day that it states."""

    page: str
    images: tuple[PageImage, ...]
    published: str


def article(site: Site, name: str, images: Sequence[PageImage], published: datetime.date) -> Article:
    """Serves an article under that name."""
    text = f"{published:%Y-%m-%d}T12:00:00Z"
    page = site.page(images, name=name, published=text, dated=EVERYWHERE)
    return Article(page, tuple(images), text)


def articles(site: Site, chance: random.Random, names: str, count: int) -> list[Article]:
    """Articles of different days with a photo each, of numbered names."""
    first = some_day(chance)
    return [
        article(site, names.format(days), photos(site, chance, 1), first + datetime.timedelta(days))
        for days in range(0, 500 * count, 500)
    ]


def imported_as_stated(
    media: Media, tables: CoreTables, season: Entity, given: Article, image: PageImage, found: Candidate, clause: str
) -> None:
    """An import of one of an article's photos has the photo's caption (CAST-01) or the article's day (CAST-03)."""
    stored = stored_as(media.streamed(season, given.page, [order(found, "cast")]), found.url)
    as_stated(tables, stored, given, image, clause)


def as_stated(tables: CoreTables, stored: Stored, given: Article, image: PageImage, clause: str) -> None:
    """A photo of an article has its own caption (CAST-01) or the article's day (CAST-03)."""
    if clause == "CAST-01":
        caption_is_of_the_context(tables, stored, image)
    else:
        created_on(tables, stored, given.published)


def photos(site: Site, chance: random.Random, count: int) -> list[PageImage]:
    """Photos with contexts of their own."""
    return [site.image(person=full_name(chance), caption=words(chance)) for _ in range(count)]


caption_and_day = pytest.mark.parametrize(
    "clause", [pytest.param(clause, marks=pytest.mark.clause(clause)) for clause in ("CAST-01", "CAST-03")]
)


@caption_and_day
def test_several_imports_follow_one_preview(
    media: Media, tables: CoreTables, chance: random.Random, clause: str
) -> None:
    """After one preview each of several imports has what the page says, also of images in two sizes.

    The preview leaves out the first image of the page.
    """
    site = media.site()
    with media.show() as show:
        shown = [replace(image, larger=site.image(width=2400).url) for image in photos(site, chance, 3)]
        unwanted = site.image()
        given = article(site, "article.html", [unwanted, *shown], some_day(chance))
        excluded(media, show.season, given.page, [unwanted.url])
        preview = media.previewed(given.page, show.season)
        for image in shown:
            found = preview.find(image.larger) or candidate(preview, image.url)
            imported_as_stated(media, tables, show.season, given, image, found, clause)


@caption_and_day
def test_page_is_known_by_the_address_that_was_previewed(
    media: Media, tables: CoreTables, chance: random.Random, clause: str
) -> None:
    """The same behind a redirect and for a part of a page, where the preview answers the address that was asked for."""
    site = media.site()
    with media.show() as show:
        given = article(site, "article.html", photos(site, chance, 2), some_day(chance))
        moved = site.page(name="moved.html", answer=answers.redirect(given.page))
        for address, image in zip((moved, f"{given.page}#photos"), given.images, strict=True):
            exchange = media.preview(address, entity=show.season)
            if exchange.status != 200 or (preview := premise(read_preview, exchange)).error:
                continue  # it follows no redirect
            if preview.raw.get("url") != address:
                continue  # it has the import name the page by where it is
            named, found = replace(given, page=address), candidate(preview, image.url)
            imported_as_stated(media, tables, show.season, named, image, found, clause)


@caption_and_day
def test_pages_that_differ_in_their_query_are_others(
    media: Media, tables: CoreTables, chance: random.Random, clause: str
) -> None:
    """After previews of several pages each import has what its own says."""
    site = media.site()
    with media.show() as show:
        given = articles(site, chance, "article.html?id={}", 2)
        previews = [media.previewed(each.page, show.season) for each in given]
        for each, preview in zip(given, previews, strict=True):
            (image,) = each.images
            imported_as_stated(media, tables, show.season, each, image, candidate(preview, image.url), clause)


@caption_and_day
def test_imports_at_once_have_each_their_own_page(
    media: Media, tables: CoreTables, chance: random.Random, clause: str
) -> None:
    """The same of imports that are under way together."""
    site = media.site()
    with media.show() as show, connections(media, 3) as each:
        given = articles(site, chance, "article-{}.html", 3)
        previews = [media.previewed(one.page, show.season) for one in given]
        found = [candidate(preview, one.images[0].url) for preview, one in zip(previews, given, strict=True)]
        jobs = [
            partial(connection.told, show.season, one.page, [order(shown, "cast")])
            for connection, one, shown in zip(each, given, found, strict=True)
        ]
        for told, one, shown in zip(where_not_limited(jobs), given, found, strict=True):
            if told is not None and told.exchange.status not in UNDER_WAY:
                as_stated(tables, stored_as(told.judge(), shown.url), one, one.images[0], clause)


@caption_and_day
def test_page_is_taken_as_it_was_previewed_last(
    media: Media, tables: CoreTables, chance: random.Random, clause: str
) -> None:
    """Where a page was changed and a preview shows that, an import has what it says now.

    That holds too for an image that was imported before, and deleted to be imported anew.
    """
    site = media.site()
    (image,) = photos(site, chance, 1)
    changed = replace(image, caption=words(chance))
    first = some_day(chance)
    with media.show() as show:
        before = article(site, "article.html", [image], first)
        deleted = imported(media, show.season, before.page, [image])[image.url].asset_id
        media.deleted(deleted, exclude=False)
        given = article(site, "article.html", [changed], first + datetime.timedelta(days=500))
        found = candidate(media.previewed(given.page, show.season), changed.url)
        if not set(words_of(changed.caption)) <= set(words_of(str(found.raw.get("context")))):
            return  # what a preview remembers of a page is its own
        told = media.streamed(show.season, given.page, [order(found, "cast")])
        final = told.final(found.url)
        if final.status == "duplicate" and normal_id(str(final.media_asset_id)) == normal_id(deleted):
            raise PremiseBroken(
                "DEL-01",
                "an asset that was deleted is there",
                expected="a new asset",
                actual=final.media_asset_id,
                exchange=told.exchange,
            )
        as_stated(tables, stored_as(told, found.url), given, changed, clause)


# --- CAST-03: the article's date -------------------------------------------------------------------------------------

FORMS: Mapping[str, str] = {
    "a date": "{:%Y-%m-%d}",
    "a time in UTC": "{:%Y-%m-%d}T12:00:00Z",
    "a time elsewhere": "{:%Y-%m-%d}T23:30:00-08:00",
}
"""The forms in which a page states its day."""

EVERYWHERE: tuple[Dated, ...] = ("meta", "time", "json-ld")


def some_day(chance: random.Random) -> datetime.date:
    """Any day of twenty years that are over."""
    return datetime.date(2001, 1, 1) + datetime.timedelta(days=chance.randrange(20 * 365))


def created_at(tables: CoreTables, stored: Stored) -> Any:
    """The asset's `metadata.source_created_at`; raises NotVerified where nothing shows it."""
    if tables.present:
        return members(members(tables.asset(stored.asset_id)).get("metadata")).get("source_created_at")
    if not isinstance(stored.answered.get("metadata"), Mapping):
        raise NotVerified("database_url is not set, and the import's assets have no metadata")
    return stored.answered["metadata"].get("source_created_at")


def created_on(tables: CoreTables, stored: Stored, published: str) -> None:
    """The asset was created on the day of the article."""
    actual = created_at(tables, stored)
    if not isinstance(actual, str) or not days(actual) & days(published):
        raise Violation(
            "metadata.source_created_at is not the article's publish date",
            clause="CAST-03",
            expected=published,
            actual=actual,
            exchange=stored.exchange,
        )


@pytest.mark.clause("CAST-03")
@pytest.mark.parametrize("form", [pytest.param(form, id=name) for name, form in FORMS.items()])
def test_source_created_at_is_the_publish_date(
    media: Media, tables: CoreTables, chance: random.Random, form: str
) -> None:
    """Every photo of an article has the article's date, and of two articles each its own."""
    site = media.site()
    with media.show() as show:
        for number in range(2):
            published = form.format(some_day(chance))
            images = [site.image(person=full_name(chance), caption=words(chance)) for _ in range(2)]
            page = site.page(images, name=f"article-{number}.html", published=published, dated=EVERYWHERE)
            stored = imported(media, show.season, page, images)
            for image in images:
                created_on(tables, stored[image.url], published)


@pytest.mark.clause("CAST-03")
@pytest.mark.parametrize("dated", EVERYWHERE)
def test_source_created_at_is_the_date_that_the_preview_tells(
    media: Media, tables: CoreTables, chance: random.Random, dated: Dated
) -> None:
    """Wherever on a page a target reads its date for the preview, the import has it too."""
    site = media.site()
    published = f"{some_day(chance):%Y-%m-%d}T12:00:00Z"
    with media.show() as show:
        image = site.image(person=full_name(chance), caption=words(chance))
        page = site.page([image], published=published, dated=(dated,))
        if not media.previewed(page, show.season).raw.get("page_published_at"):
            return  # where on a page its date is read is PRE-02's
        created_on(tables, imported(media, show.season, page, [image])[image.url], published)


@pytest.mark.clause("CAST-03")
def test_plain_import_has_the_publish_date(media: Media, tables: CoreTables, chance: random.Random) -> None:
    """`/import` has the article's date as the stream has it, also for photos whose caption and people are given."""
    site = media.site()
    published = f"{some_day(chance):%Y-%m-%d}T12:00:00Z"
    with media.show(cast=[full_name(chance)]) as show:
        plain, given_all = (site.image(person=full_name(chance), caption=words(chance)) for _ in range(2))
        page = site.page([plain, given_all], published=published, dated=EVERYWHERE)
        created_on(tables, imported_plainly(media, show.season, page, plain), published)
        said: dict[str, Any] = {"caption": words(chance), "person_ids": [show.cast[0].person_id]}
        created_on(tables, imported(media, show.season, page, [given_all], **said)[given_all.url], published)


@pytest.mark.clause("CAST-03")
def test_no_date_is_made_up(media: Media, tables: CoreTables, chance: random.Random) -> None:
    """A page that states no date gives none."""
    site = media.site()
    with media.show() as show:
        image = site.image(person=full_name(chance), caption=words(chance))
        stored = imported(media, show.season, site.page([image]), [image])[image.url]
        actual = created_at(tables, stored)
        if isinstance(actual, str) and days(actual):
            raise Violation(
                "metadata.source_created_at of a page without a date",
                expected="none",
                actual=actual,
                exchange=stored.exchange,
            )


# --- CAST-04: what was sent stands -----------------------------------------------------------------------------------


@pytest.mark.clause("CAST-04")
@pytest.mark.parametrize("alone", [False, True], ids=["beside given people", "alone, by the plain import"])
def test_given_caption_stands(media: Media, tables: CoreTables, chance: random.Random, alone: bool) -> None:
    """A caption that was sent is the photo's caption, word by word."""
    site = media.site()
    with media.show(cast=[full_name(chance)]) as show:
        (member,) = show.cast
        image = site.image(person=member.full_name, caption=words(chance))
        page, sent = site.page([image]), f"{words(chance, 40)}, “{word(chance)}” & é's 5% <{word(chance)}>"
        if alone:
            stored = imported_plainly(media, show.season, page, image, caption=sent)
        else:
            people_too: dict[str, Any] = {"caption": sent, "person_ids": [member.person_id]}
            stored = imported(media, show.season, page, [image], **people_too)[image.url]
        said = caption(tables, stored)
        if said.split() != sent.split():
            raise Violation(
                "a caption that was sent does not stand",
                expected=sent,
                actual=said,
                exchange=stored.exchange,
            )


@pytest.mark.clause("CAST-04")
@pytest.mark.parametrize("alone", [False, True], ids=["beside a given caption", "alone, by the plain import"])
def test_given_people_stand(media: Media, tables: CoreTables, chance: random.Random, alone: bool) -> None:
    """People who were sent are the ones who are tagged, whoever is named in the context."""
    tables.look()
    site = media.site()
    with media.show(cast=[full_name(chance) for _ in range(2)]) as show, media.person(full_name(chance)) as guest:
        named, other = show.cast
        image = site.image(person=named.full_name, caption=words(chance))
        page, sent = site.page([image]), [other.person_id, guest.entity_id]
        if alone:
            stored = imported_plainly(media, show.season, page, image, person_ids=sent)
        else:
            caption_too: dict[str, Any] = {"person_ids": sent, "caption": words(chance)}
            stored = imported(media, show.season, page, [image], **caption_too)[image.url]
        expected = frozenset(str(UUID(person_id)) for person_id in sent)
        tagged_are(tables, stored, show.season, expected, clause="CAST-04")


# --- CAST-05: other kinds --------------------------------------------------------------------------------------------


@pytest.mark.clause("CAST-05")
def test_other_kinds_are_not_tagged(media: Media, tables: CoreTables, chance: random.Random) -> None:
    """Photos of every other kind have no people, though their contexts name the cast, beside a cast photo too."""
    site = media.site()
    kinds = sorted(KINDS, key=lambda kind: kind == "cast")
    with media.show(cast=[full_name(chance)]) as show:
        images = [site.image(person=show.cast[0].full_name, caption=words(chance)) for _ in kinds]
        page = site.page(images)
        preview = media.previewed(page, show.season)
        found = [candidate(preview, image.url) for image in images]
        told = media.streamed(show.season, page, [order(one, kind) for one, kind in zip(found, kinds, strict=True)])
        for one in found[:-1]:
            stored = Stored(asset_of(told, one.url), {}, told.exchange)
            tagged_are(tables, stored, show.season, frozenset(), clause="CAST-05")
