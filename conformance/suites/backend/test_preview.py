"""PRE-01 to PRE-10: which images of a page a preview offers, what it says of them, and what it leaves alone."""

from __future__ import annotations

import datetime
import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance import expect
from conformance.core_tables import Look
from conformance.errors import PremiseBroken, Violation
from conformance.exchange import Exchange
from conformance.lab import Answer, answers
from conformance.media import Entity, Media, Preview, is_integer, read_preview
from conformance.pages import Dated, PageImage, Site, html_page
from conformance.pictures import picture
from conformance.plugin import Run
from conformance.states import where_given
from conformance.suites.backend.orders import ENTITY_TYPES, entity_of, excluded, require_on_the_list
from conformance.suites.backend.upkeep import candidate, changes_of, few


def offers(preview: Preview, images: Sequence[PageImage], *, clause: str | None = None, what: str) -> None:
    """All of these images are among the candidates."""
    __tracebackhide__ = True
    missing = [image.url for image in images if not preview.shows(image.url)]
    if missing:
        raise Violation(
            f"{what} leaves out images of the page",
            clause=clause,
            expected=[image.url for image in images],
            actual=[candidate.url for candidate in preview.candidates],
            exchange=preview.exchange,
        )


PATIENCE_S = 75.0
"""How long a preview may take where somebody never answers: up to a minute is a reasonable limit of a target's own."""


def waited_for(run: Run, media: Media, url: str) -> Exchange:
    """A preview that has more time than any other request."""
    client = run.client(PATIENCE_S)
    try:
        return client.send(media.request("POST", media.preview_url, body=json.dumps({"url": url}).encode()))
    finally:
        client.close()


# --- PRE-01: the shape -----------------------------------------------------------------------------------------------

# what other clauses say of the answer is theirs
_OF_OTHER_CLAUSES = {"page_published_at", "bytes", "width", "height"}


def has_pinned_shape(media: Media, preview: Preview) -> None:
    """The answer is what the schema pins, apart from the members that have a clause of their own."""
    for error in media.backend.contracts.validator("preview-response").iter_errors(dict(preview.raw)):
        if _OF_OTHER_CLAUSES.isdisjoint(map(str, error.absolute_path)):
            raise Violation(
                f"the preview has not the pinned shape: {error.json_path}: {error.message}",
                clause="PRE-01",
                expected="preview-response.schema.json",
                actual=error.instance,
                exchange=preview.exchange,
            )


@pytest.mark.clause("PRE-01")
@pytest.mark.parametrize("dated", [None, "2025-11-03T12:00:00+00:00"], ids=["undated page", "dated page"])
def test_url_alone_is_enough(media: Media, dated: str | None) -> None:
    """A preview with nothing but a `url` is a 200 of the pinned shape, with candidates."""
    site = media.site()
    page = site.page([site.image(person="Ada Byron", caption="At the engine"), site.image()], published=dated)
    preview = read_preview(media.preview(page))
    has_pinned_shape(media, preview)
    if preview.error or not preview.candidates:
        raise Violation(
            "the preview of a page with two large images has no candidate",
            expected="candidates",
            actual=dict(preview.raw),
            exchange=preview.exchange,
        )


@pytest.mark.clause("PRE-01")
@pytest.mark.parametrize("entity_type", ENTITY_TYPES)
def test_entity_is_optional(media: Media, entity_type: str) -> None:
    """With `entity_type` and `entity_id` the answer has the pinned shape too."""
    site = media.site()
    page = site.page([site.image()])
    with entity_of(media, entity_type) as entity:
        preview = read_preview(media.preview(page, entity=entity))
    has_pinned_shape(media, preview)
    if not preview.candidates:
        raise Violation(
            "the preview for an entity without exclusions has no candidate",
            expected="candidates",
            actual=dict(preview.raw),
            exchange=preview.exchange,
        )


@pytest.mark.clause("PRE-01")
def test_entity_may_be_null(media: Media) -> None:
    """An entity of null is none."""
    site = media.site()
    image = site.image()
    preview = read_preview(media.preview(site.page([image]), entity_type=None, entity_id=None))
    has_pinned_shape(media, preview)
    offers(preview, [image], what="the preview for an entity that is null")


@pytest.mark.clause("PRE-01")
def test_page_without_images_has_the_pinned_shape(media: Media) -> None:
    """A page without any image: no candidate, or an error, in the pinned shape."""
    site = media.site()
    exchange = media.preview(site.page([]))
    if not 400 <= exchange.status < 500:
        has_pinned_shape(media, read_preview(exchange))


UNTIDY: Mapping[str, tuple[str, str]] = {
    "no title": ("<title>Pictures</title>", ""),
    "an empty title": ("<title>Pictures</title>", "<title></title>"),
    "images without an address": (
        "<article>",
        '<article><img alt=""><img src="" alt=""><img src="http://[" srcset=" , 2x," alt="">'
        '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=" alt="">',
    ),
    "JSON-LD that is no JSON": ("</head>", '<script type="application/ld+json">{"@graph": [],}</script></head>'),
    "JSON-LD in a list": ("</head>", '<script type="application/ld+json">[{"@type": "WebSite"}, null]</script></head>'),
    "dates that are none": (
        "</head>",
        '<meta property="article:published_time" content="last Tuesday"><meta name="date"></head><time>now</time>',
    ),
}
"""What stands on pages out in the world, and instead of what."""


@pytest.mark.clause("PRE-01")
@pytest.mark.parametrize("name", UNTIDY)
def test_untidy_page_is_a_page(media: Media, name: str) -> None:
    """A page that says too little, or nonsense, beside its image: a 200 of the pinned shape, with the image."""
    site = media.site()
    image = site.image()
    html = html_page("Pictures", [image]).replace(*UNTIDY[name], 1)
    preview = read_preview(media.preview(site.page(answer=answers.page(html))))
    has_pinned_shape(media, preview)
    offers(preview, [image], what=f"the preview of a page with {name}")


# --- PRE-02: the date ------------------------------------------------------------------------------------------------

PUBLISHED = "2019-03-14T12:26:53+00:00"
LATE = "2019-03-14T23:30:00-05:00"
DATES: Mapping[str, tuple[str, tuple[Dated, ...]]] = {
    "meta": (PUBLISHED, ("meta",)),
    "time": (PUBLISHED, ("time",)),
    "JSON-LD": (PUBLISHED, ("json-ld",)),
    "all three": (PUBLISHED, ("meta", "time", "json-ld")),
    "late in its time zone": (LATE, ("meta",)),
    "date alone": ("2019-03-14", ("meta",)),
    "UTC as Z": ("2019-03-14T12:26:53Z", ("json-ld",)),
}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


def names_date(text: str, published: str) -> bool:
    """Whether a text names the date of a moment, there or in UTC; in ISO 8601, or with the month in words or digits."""
    moment = datetime.datetime.fromisoformat(published)
    dates = {moment.date()}
    if moment.tzinfo is not None:
        dates.add(moment.astimezone(datetime.UTC).date())
    try:
        said = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        words = re.findall(r"[0-9]+|[a-z]+", text.lower())
        named = {f"{date:%Y} {date.day} {date.month}" for date in dates}
        numbers = [int(word) for word in words if word.isdigit()]
        months = {_MONTHS.index(word[:3]) + 1 for word in words if word[:3] in _MONTHS} or set(numbers)
        return any(f"{y} {d} {m}" in named for y in numbers for d in numbers for m in months)
    if said.tzinfo is None or moment.tzinfo is None:
        return said.date() in dates
    return said.astimezone(datetime.UTC).date() in dates or said.date() in dates


@pytest.mark.clause("PRE-02")
@pytest.mark.parametrize("name", DATES)
def test_publish_date_is_the_pages_own(media: Media, name: str) -> None:
    """`page_published_at` is absent, null, or a string that names the page's own publish date."""
    published, dated = DATES[name]
    site = media.site()
    preview = media.previewed(site.page([site.image()], published=published, dated=dated))
    dates_at_most(preview, published)


OTHER_DATES: Mapping[str, tuple[str, str]] = {
    "its last change": ("<title>", '<meta property="article:modified_time" content="2021-07-08T12:00:00+00:00">'),
    "another article's": ("<article>", '<aside><a href="/2">More</a> <time datetime="2021-07-08">July</time></aside>'),
    "that of a comment on it": (
        "<title>",
        '<script type="application/ld+json">{"@context": "https://schema.org", "@type": "NewsArticle",'
        ' "comment": [{"@type": "Comment", "text": "Lovely!", "datePublished": "2021-07-08T12:00:00Z"}],'
        f' "datePublished": "{PUBLISHED}"}}</script>',
    ),
}
"""What else a page states, and before what of its markup."""


@pytest.mark.clause("PRE-02")
@pytest.mark.parametrize("name", OTHER_DATES)
def test_other_dates_are_not_the_publish_date(media: Media, name: str) -> None:
    """The same where another date stands before it."""
    before, markup = OTHER_DATES[name]
    site = media.site()
    html = html_page("Pictures", [site.image()], published=PUBLISHED).replace(before, markup + before, 1)
    preview = media.previewed(site.page(answer=answers.page(html)))
    dates_at_most(preview, PUBLISHED)


def dates_at_most(preview: Preview, published: str) -> None:
    """A preview's `page_published_at` is absent, null, or a string that names that date."""
    said = preview.raw.get("page_published_at")
    if said is not None and not (isinstance(said, str) and names_date(said, published)):
        raise Violation(
            "page_published_at is not the page's publish date",
            expected=published,
            actual=said,
            exchange=preview.exchange,
        )


@pytest.mark.clause("PRE-02")
def test_page_without_a_date_has_none(media: Media) -> None:
    """A page that states no date: no time of the fetch, of the server or of its last change is its publish date."""
    site = media.site()
    answer = answers.page(html_page("Pictures", [site.image()]))
    changed = ("Last-Modified", "Thu, 08 Jul 2021 12:00:00 GMT")
    preview = media.previewed(site.page(answer=replace(answer, headers=(*answer.headers, changed))))
    if preview.raw.get("page_published_at") is not None:
        raise Violation(
            "page_published_at is set for a page that states no date",
            expected="absent or null",
            actual=preview.raw["page_published_at"],
            exchange=preview.exchange,
        )


@pytest.mark.clause("PRE-02", level="SHOULD")
@pytest.mark.parametrize("name", DATES)
def test_publish_date_is_there_in_iso_8601(media: Media, name: str) -> None:
    """Where the page states a date, `page_published_at` is there, in ISO 8601."""
    published, dated = DATES[name]
    site = media.site()
    preview = media.previewed(site.page([site.image()], published=published, dated=dated))
    said = preview.raw.get("page_published_at")
    try:
        datetime.datetime.fromisoformat(str(said))
    except ValueError:
        raise Violation(
            "the page's publish date is not there in ISO 8601",
            expected=published,
            actual=said,
            exchange=preview.exchange,
        ) from None


# --- PRE-03, PRE-04: the sizes ---------------------------------------------------------------------------------------

Head = Callable[[Answer], Answer | None]
HEADS: Mapping[str, Head] = {
    "HEAD as GET": lambda get: None,
    "HEAD refused": lambda get: answers.status(405),
    "HEAD without a length": lambda get: answers.without_length(get),
    "HEAD resets": lambda get: answers.reset(),
}


def sizes_of(preview: Preview, name: str) -> dict[str, Any]:
    """Address → what the candidate says for one member, where it says anything."""
    said = {candidate.url: candidate.raw.get(name) for candidate in preview.candidates}
    return {url: value for url, value in said.items() if value is not None}


def wrong_size(url: str, said: Any, allowed: Sequence[int], exchange: Exchange) -> Violation:
    """`bytes` is none of the numbers that it may be."""
    return Violation(
        f"bytes of {url} is not the Content-Length that its origin states",
        clause="PRE-03",
        expected=" or ".join(["absent", "null", *map(str, allowed)]),
        actual=said,
        exchange=exchange,
    )


@pytest.mark.clause("PRE-03")
def test_bytes_are_the_content_length(media: Media) -> None:
    """`bytes` is absent, null, or what the origin states for HEAD or GET, as an integer, for each image of a page."""
    site = media.site()
    # a narrow one, which is left out, and one that says nothing, before those that do: theirs are not the others' sizes
    data = picture(f"{site.key} icon", 16, 16)
    images = [site.image(None, answers.image(data), width=16, height=16), site.image(None, answers.reset())]
    stated: dict[str, list[int]] = {images[0].url: [len(data)], images[1].url: []}
    for name, head in HEADS.items():
        data = picture(f"{site.key} {name}")
        whole = answers.image(data)
        images.append(site.image(None, whole, head=head(whole)))
        stated[images[-1].url] = [len(data)]
    # one that lies to HEAD, and one that says nothing at all: there its true size may be said
    data = picture(f"{site.key} another length for HEAD")
    images.append(site.image(None, answers.image(data), head=answers.stating(answers.image(data), 4242)))
    stated[images[-1].url] = [len(data), 4242]
    data = picture(f"{site.key} no length")
    silent = answers.without_length(answers.image(data))
    images.append(site.image(None, silent, head=silent))
    stated[images[-1].url] = [len(data)]
    # two whose addresses differ in their query, and one behind a redirect
    for name in ("photo.png?id=1", "photo.png?id=2", "moved.png"):
        data = picture(f"{site.key} {name}")
        images.append(site.image(name, answers.image(data)))
        stated[images[-1].url] = [len(data)]
    moved = images.pop()
    images.append(site.image(None, answers.redirect(moved.url)))
    stated[images[-1].url] = stated[moved.url]
    page = site.page(images)
    # the second time, a target may know them by what it keeps of the first
    for _ in range(2):
        sizes_are_stated(media.previewed(page), stated)


def sizes_are_stated(preview: Preview, stated: Mapping[str, Sequence[int]]) -> None:
    """Each candidate has one of the sizes that its origin states, or none."""
    __tracebackhide__ = True
    for each in preview.candidates:
        said = each.raw.get("bytes")
        allowed = next((sizes for url, sizes in stated.items() if each.is_at(url)), None)
        # under an address that we did not give it, there is no telling which image it is
        if said is not None and (not is_integer(said) or (allowed is not None and said not in allowed)):
            raise wrong_size(each.url, said, allowed or [], preview.exchange)


@pytest.mark.clause("PRE-03")
def test_bytes_are_each_images_own_where_others_are_left_out(media: Media) -> None:
    """The same for an entity that has excluded the first image of the page."""
    site = media.site()
    pictures = [picture(f"{site.key} {number}") for number in range(3)]
    images = [site.image(None, answers.image(data)) for data in pictures]
    page = site.page(images)
    with entity_of(media, "person") as entity:
        excluded(media, entity, page, [images[0].url])
        preview = media.previewed(page, entity)
    sizes_are_stated(preview, {image.url: [len(data)] for image, data in zip(images, pictures, strict=True)})


@pytest.mark.clause("PRE-03", level="SHOULD")
@pytest.mark.parametrize("name", ["HEAD as GET", "HEAD refused"])
def test_bytes_are_there(media: Media, name: str) -> None:
    """`bytes` is there where the origin states a length."""
    site = media.site()
    data = picture(f"{site.key} {name}")
    image = site.image(None, answers.image(data), head=HEADS[name](answers.image(data)))
    preview = media.previewed(site.page([image]))
    candidate = preview.find(image.url)
    said = None if candidate is None else candidate.raw.get("bytes")
    if said != len(data):
        raise Violation(
            f"bytes is not there though the origin states it ({name})",
            expected=len(data),
            actual=said,
            exchange=preview.exchange,
        )


# refused at once, without asking anybody for an address
REFUSED = "http://127.0.0.1:1/nowhere"

BROKEN_PROBES: Mapping[str, Callable[[bytes], Answer]] = {
    "404": lambda data: answers.status(404),
    "500": lambda data: answers.status(500),
    "403": lambda data: answers.status(403),
    "reset": lambda data: answers.reset(),
    "closed without an answer": lambda data: answers.close(),
    "a redirect in a circle": lambda data: answers.redirect("?"),
    "a redirect to nowhere": lambda data: answers.redirect(REFUSED),
    "cut short": lambda data: answers.truncated(answers.image(data)),
    "an empty image": lambda data: answers.image(b""),
    "no image": lambda data: answers.page("<p>Please log in</p>"),
}


@pytest.mark.clause("PRE-03")
def test_failing_size_probe_does_not_fail_the_preview(media: Media) -> None:
    """Whatever comes of asking for the images, the preview is a 200, and sound images are offered with their size."""
    site = media.site()
    data = picture(f"{site.key} sound")
    sound = site.image(None, answers.image(data))
    broken = [site.image(None, make(data), head=make(data), width=None, height=None) for make in BROKEN_PROBES.values()]
    exchange = media.preview(site.page([*broken[:4], sound, *broken[4:]]))
    offers_the_sound(exchange, sound, len(data), what="images that cannot be fetched")


def offers_the_sound(exchange: Exchange, sound: PageImage, length: int, *, what: str) -> None:
    """Beside images that are at fault, a sound one is offered with its size, or without any."""
    __tracebackhide__ = True
    if exchange.response is None or exchange.status != 200:
        raise Violation(f"{what} make the preview fail", expected="200", actual=exchange.outcome(), exchange=exchange)
    preview = read_preview(exchange)
    candidate = preview.find(sound.url)
    if preview.error or candidate is None:
        raise Violation(
            f"{what} cost the preview a sound one", expected=sound.url, actual=dict(preview.raw), exchange=exchange
        )
    if candidate.raw.get("bytes") not in (None, length):
        raise wrong_size(sound.url, candidate.raw.get("bytes"), [length], exchange)


HANGING_IMAGES: Mapping[str, Callable[[bytes], Answer]] = {
    "silence": lambda data: answers.hold(),
    "half an image": lambda data: answers.stream([data[:99], answers.gate(), data[99:]], answers.PNG),
}


@pytest.mark.thorough
@pytest.mark.clause("PRE-03")
@pytest.mark.parametrize("name", HANGING_IMAGES)
def test_size_probe_without_an_answer_does_not_fail_the_preview(run: Run, media: Media, name: str) -> None:
    """The same where an image's server goes silent: the look at it is given up."""
    site = media.site()
    data = picture(f"{site.key} sound")
    hanging = site.image(None, HANGING_IMAGES[name](picture(f"{site.key} hanging")))
    sound = site.image(None, answers.image(data))
    page = site.page([hanging, sound])
    try:
        exchange = waited_for(run, media, page)
    finally:
        site.origin.release(hanging.url)
    offers_the_sound(exchange, sound, len(data), what=f"images that never come ({name})")


PIXELS = ("1200", "100%", "auto", "1200px", "", "0", "-1", "640.5", "1e3", "١٢٠٠", "9" * 30)
"""What stands in the width and height of an `<img>`, out in the world."""


@pytest.mark.clause("PRE-04")
def test_width_and_height_are_integers(media: Media) -> None:
    """`width` and `height` are absent, null or integers, whatever the markup says."""
    site = media.site()
    images = [site.image(), site.image(width=None, height=None), site.image(height=None)]
    images.append(site.image(None, answers.status(404), width=None, height=None))
    # shown smaller than they are, by one side alone, to which the other is no whole number
    images += [replace(site.image(), width=500, height=None), replace(site.image(), width=None, height=501)]
    strange = [replace(site.image(), width=31337, height=31338) for _ in PIXELS]
    html = html_page("Pictures", [*images, *strange])
    for pixels in PIXELS:
        html = html.replace('width="31337" height="31338"', f'width="{pixels}" height="{pixels}"', 1)
    preview = media.previewed(site.page(answer=answers.page(html)))
    for name in ("width", "height"):
        for url, said in sizes_of(preview, name).items():
            if not is_integer(said):
                raise Violation(
                    f"{name} of {url} is no integer",
                    expected="absent, null or an integer",
                    actual=said,
                    exchange=preview.exchange,
                )


# --- PRE-05, PRE-06, PRE-10: exclusions ------------------------------------------------------------------------------


def filters_exactly(
    media: Media, entity: Entity, page: str, images: Sequence[PageImage], hidden: Sequence[PageImage]
) -> None:
    """A preview for the entity leaves out what is on its list, and nothing else."""
    preview = media.previewed(page, entity)
    shown = [image.url for image in hidden if preview.shows(image.url)]
    if shown:
        require_on_the_list(media, entity, page, shown[0])
        raise Violation(
            "a preview for an entity offers what is on its exclusion list",
            expected=f"without {shown}",
            actual=[candidate.url for candidate in preview.candidates],
            exchange=preview.exchange,
        )
    kept = [image for image in images if image not in hidden]
    offers(preview, kept, what="a preview for an entity")


@pytest.mark.clause("PRE-05")
@pytest.mark.parametrize("entity_type", ENTITY_TYPES)
def test_exactly_the_excluded_are_left_out(media: Media, entity_type: str) -> None:
    """With an entity, what is on its list is left out, not what it has or what was merely deleted; without, nothing."""
    site = media.site()
    images = [site.image() for _ in range(5)]
    page = site.page([*images, images[1]])
    with entity_of(media, entity_type) as entity:
        media.stored(entity, page, images[0].url)
        media.stored(entity, page, images[4].url, "cast")
        filters_exactly(media, entity, page, images, [])
        excluded(media, entity, page, [images[1].url, images[3].url])
        media.deleted(media.stored(entity, page, images[2].url), exclude=False)
        filters_exactly(media, entity, page, images, [images[1], images[3]])
        offers(media.previewed(page), images, what="a preview without an entity")
        spelled = replace(entity, entity_id=entity.entity_id.upper())
        if media.preview(page, entity=spelled).status == 200:
            filters_exactly(media, spelled, page, images, [images[1], images[3]])


@pytest.mark.clause("PRE-05")
def test_excluded_version_is_left_out(media: Media) -> None:
    """The same for an image that its page has in two sizes, by the address that the app would import."""
    site = media.site()
    image, other = replace(site.image(), larger=site.image(width=2400, height=1600).url), site.image()
    page = site.page([image, other])
    with entity_of(media, "season") as entity:
        preview = media.previewed(page, entity)
        found = preview.find(image.larger) or candidate(preview, image.url)
        chosen = replace(image, url=found.url)
        excluded(media, entity, page, [chosen.url])
        filters_exactly(media, entity, page, [chosen, other], [chosen])


@pytest.mark.clause("PRE-05")
@given(hidden=st.lists(st.booleans(), min_size=1, max_size=5))
@few()
def test_any_part_of_a_page_can_be_excluded(media: Media, hidden: list[bool]) -> None:
    """The same for any part of the images, none and all of them included."""
    site = media.site()
    images = [site.image() for _ in hidden]
    page = site.page(images)
    out = [image for image, is_hidden in zip(images, hidden, strict=True) if is_hidden]
    with media.person() as person:
        excluded(media, person, page, [image.url for image in out])
        filters_exactly(media, person, page, images, out)
        offers(media.previewed(page), images, what="a preview without an entity")


SIMILAR = (
    ("photo.png?id=1", "photo.png?id=2", "Photo.png?id=1"),
    ("one/photo.png", "two/photo.png"),
    ("photo one.png",),
)
"""Images whose addresses have much in common, or have to be percent-encoded; the first of each row is excluded."""


@pytest.mark.clause("PRE-05")
@pytest.mark.parametrize("entity_type", ENTITY_TYPES)
def test_images_with_similar_addresses_are_others(media: Media, entity_type: str) -> None:
    """The same where images differ in the query, the case or the folder of their address; the page may have a part."""
    site = media.site()
    rows = [[site.image(name) for name in names] for names in SIMILAR]
    images, hidden = [image for row in rows for image in row], [row[0] for row in rows]
    html = html_page("Pictures", images).replace(site.url("one/"), "one/")
    page = site.page(answer=answers.page(html))
    with entity_of(media, entity_type) as entity:
        excluded(media, entity, page, [image.url for image in hidden])
        plain = media.previewed(page)
        # a target may take some of them for sizes of one image
        shown = [image for image in images if plain.shows(image.url)]
        filters_exactly(media, entity, page, shown, hidden)


@pytest.mark.clause("PRE-06")
@pytest.mark.parametrize(
    ("entity_type", "other_type"),
    [("season", "season"), ("show", "show"), ("person", "person"), ("person", "season"), ("season", "person")],
)
def test_another_entitys_exclusions_change_nothing(media: Media, entity_type: str, other_type: str) -> None:
    """What another entity, of the same type or another one, has excluded is offered."""
    site = media.site()
    images = [site.image(), site.image()]
    page = site.page(images)
    with entity_of(media, other_type) as other, entity_of(media, entity_type) as entity:
        excluded(media, other, page, [images[0].url])
        offers(media.previewed(page, entity), images, what="a preview for an entity that excluded nothing")


@pytest.mark.clause("PRE-06")
def test_exclusions_are_the_seasons_however_it_is_named(media: Media) -> None:
    """A season that is named by its show and number is offered what it is by its id, whatever its show has excluded."""
    site = media.site()
    images = [site.image(), site.image()]
    page = site.page(images)
    with media.show() as show:
        excluded(media, show.show, page, [images[0].url])
        if not media.previewed(page, show.season).shows(images[0].url):
            return  # a show's exclusions may be its seasons' too
        exchange = media.preview(page, entity_type="season", **show.season_by_number.by_import)
        if exchange.status == 200 and not (preview := read_preview(exchange)).error:
            offers(preview, images, what="a preview for a season by its number, whose show excluded something,")


def of_nobody(entity: Entity) -> dict[str, dict[str, Any]]:
    """Members that name no entity, though they say its type."""
    entity_type = {"entity_type": entity.entity_type}
    return {
        "no id": entity_type,
        "id null": {**entity_type, "entity_id": None},
        "id empty": {**entity_type, "entity_id": ""},
        "unknown id": {**entity_type, "entity_id": str(uuid.uuid4())},
        "malformed id": {**entity_type, "entity_id": "not-a-uuid"},
    }


@pytest.mark.clause("PRE-10")
@pytest.mark.parametrize("entity_type", ENTITY_TYPES)
def test_type_without_an_id_is_nobodys_filter(media: Media, entity_type: str) -> None:
    """`entity_type` without an id that resolves → 4xx or unfiltered candidates."""
    site = media.site()
    images = [site.image(), site.image()]
    page = site.page(images)
    with entity_of(media, entity_type) as entity:
        excluded(media, entity, page, [images[0].url])
        for name, members in of_nobody(entity).items():
            exchange = media.preview(page, **members)
            if 400 <= exchange.status < 500:
                continue
            expect.status(exchange, {200}, what=f"a preview with an entity_type and {name}")
            offers(read_preview(exchange), images, what=f"a preview with an entity_type and {name}")


# --- PRE-07: nothing is written --------------------------------------------------------------------------------------


def look(media: Media, site: Site, person: Entity) -> tuple[Look, list[Any]]:
    """What a preview could have written, as far as it shows: rows where there is a database, and a person's photos."""
    rows, photos = Look((), (), ()), []
    if media.tables.present:
        ids = [person.entity_id]
        rows = Look(media.tables.assets_about(site.key), media.tables.links_to(ids), media.tables.exclusions(ids))
    if "screenalytics_token" in media.backend.environment.credentials:
        listed = media.backend.listing(person.entity_id, seed_only=False).rows
        # not their addresses: a target may sign them anew each time, or make a copy in the background
        photos = [{name: row.get(name) for name in ("is_primary", "kind")} for row in listed]
    return rows, photos


def written(media: Media, before: tuple[Look, list[Any]], after: tuple[Look, list[Any]]) -> list[Any]:
    """What differs between two such looks, but for what changes by itself."""
    photos = [] if before[1] == after[1] else [{"photos before": before[1], "and after": after[1]}]
    return [*changes_of(media, before[0], after[0]), *photos]


@pytest.mark.clause("PRE-07")
def test_previewing_writes_nothing(media: Media) -> None:
    """After previews of a page its images are no assets, nobody's photos, not excluded, and offered as before."""
    site = media.site()
    known, poster, fresh, unwanted = images = [site.image() for _ in range(4)]
    page = site.page(images, published=PUBLISHED)
    with media.person() as person:
        media.stored(person, page, known.url, "cast")
        media.stored(person, page, poster.url, "poster")
        excluded(media, person, page, [unwanted.url])
        before = look(media, site, person)
        if changes := written(media, before, look(media, site, person)):
            raise PremiseBroken("PHO-12", "reading changed what is stored", expected="no change", actual=changes)
        first, again = media.previewed(page, person), media.previewed(page, person)
        media.previewed(page)
        if changes := written(media, before, look(media, site, person)):
            raise Violation(
                "previews changed what is stored", expected="no change", actual=changes, exchange=again.exchange
            )
        shown, then = ([image.url for image in images if preview.shows(image.url)] for preview in (first, again))
        if shown != then:
            raise Violation("a preview changed the next one", expected=shown, actual=then, exchange=again.exchange)
        with media.person() as somebody:
            final = media.final(somebody, page, fresh.url)
        if final.status != "success":
            raise Violation(
                f"after previews an image that nobody imported is {final.status}",
                expected="success",
                actual=dict(final.event.members),
                exchange=first.exchange,
            )


# --- PRE-08, PRE-09: pages that are none -----------------------------------------------------------------------------


def _failed_page(site: Site, status: int) -> str:
    """A page with images all the same, as sites answer it that want to be nice."""
    page = answers.page(html_page("Nothing here, but have a look at these", [site.image(), site.image()]))
    return site.page(answer=replace(page, status=status))


NO_PAGES: Mapping[str, Callable[[Site], str]] = {
    "404": lambda site: site.url("nowhere.html"),
    "404 with images": lambda site: _failed_page(site, 404),
    "403": lambda site: site.page(answer=answers.status(403)),
    "410": lambda site: site.page(answer=answers.status(410)),
    "an image": lambda site: site.page(answer=answers.image(picture(site.key))),
    "JSON": lambda site: site.page(answer=answers.json_value({"images": []})),
    "plain text": lambda site: site.page(answer=answers.image(b"There are no pictures here.", "text/plain")),
    "feed": lambda site: site.page(answer=answers.image(b"<?xml version='1.0'?><rss/>", "application/rss+xml")),
    "PDF": lambda site: site.page(answer=answers.image(b"%PDF-1.7\n", "application/pdf")),
    "nothing": lambda site: site.page(answer=answers.status(204)),
    "reset": lambda site: site.page(answer=answers.reset()),
    "closed without an answer": lambda site: site.page(answer=answers.close()),
    "redirect in a circle": lambda site: site.page(answer=answers.redirect(site.url("page.html"))),
    "redirect to a 404": lambda site: site.page(answer=answers.redirect(site.url("nowhere.html"))),
    "redirect to a file": lambda site: site.page(answer=answers.redirect("file:///etc/passwd")),
    "refused connection": lambda site: REFUSED,
    "a server without TLS": lambda site: site.url("nowhere.html").replace("http:", "https:", 1),
}


def is_told(exchange: Exchange, what: str) -> None:
    """The answer is a 4xx with a message, or a 200 whose `error` says so."""
    __tracebackhide__ = True
    expected = "a 4xx with a message, or a 200 with `error`"
    said: Any = exchange.outcome()
    if exchange.response is not None and exchange.status == 200:
        try:
            said = exchange.answer.json()
        except ValueError:
            said = exchange.answer.text[:200]
        if isinstance(said, dict) and isinstance(said.get("error"), str) and expect.is_message(said["error"]):
            return
    elif exchange.response is not None and 400 <= exchange.status < 500:
        if expect.has_message(exchange):
            return
        said = f"{exchange.outcome()} without a message"
    raise Violation(f"a preview of {what} does not say so", expected=expected, actual=said, exchange=exchange)


@pytest.mark.clause("PRE-08")
@pytest.mark.parametrize("name", NO_PAGES)
def test_page_that_is_none_is_told(media: Media, name: str) -> None:
    """An unreachable page, a 404, or a page that is no HTML → a 4xx with a message, or a 200 whose `error` says so."""
    url = NO_PAGES[name](media.site())
    is_told(media.preview(url), f"a page that is none ({name})")
    with where_given(entity_of(media, "season")) as entity:
        if entity is not None:  # other clauses say so
            is_told(media.preview(url, entity=entity), f"a page that is none ({name}) for a season")


HANGING_PAGES: Mapping[str, Answer] = {
    "silence": answers.hold(),
    "headers and then silence": answers.stream([answers.gate()], "text/html; charset=utf-8"),
}


@pytest.mark.thorough
@pytest.mark.clause("PRE-08")
@pytest.mark.parametrize("name", HANGING_PAGES)
def test_page_that_never_comes_is_told(run: Run, media: Media, name: str) -> None:
    """The same, within a bound, for a page whose server takes the request and goes silent."""
    site = media.site()
    page = site.page(answer=HANGING_PAGES[name])
    try:
        exchange = waited_for(run, media, page)
    finally:
        site.origin.release(page)
    is_told(exchange, f"a page that never comes ({name})")


OTHER_SCHEMES: Mapping[str, Callable[[Site], str]] = {
    "file": lambda site: "file:///etc/passwd",
    "file of localhost": lambda site: "file://localhost/etc/hosts",
    "File": lambda site: "File:///etc/passwd",
    "ftp": lambda site: f"ftp://{urlsplit(site.origin.origin_url).netloc}{site.path('page.html')}",
    "data": lambda site: f'data:text/html,<img src="{site.image().url}" width="1200" height="800">',
    "javascript": lambda site: "javascript:alert(1)",
    "gopher": lambda site: f"gopher://{urlsplit(site.origin.origin_url).netloc}/0{site.path('page.html')}",
    "view-source": lambda site: f"view-source:{site.page([site.image()])}",
    "ws": lambda site: site.page([site.image()]).replace("http", "ws", 1),
}


@pytest.mark.clause("PRE-09")
@pytest.mark.parametrize("name", OTHER_SCHEMES)
def test_address_that_is_not_http_is_refused(media: Media, name: str) -> None:
    """An address that is not http(s) → 4xx, and nothing is fetched."""
    site = media.site()
    exchange = media.preview(OTHER_SCHEMES[name](site))
    expect.client_error(exchange, what=f"a preview of an address with another scheme ({name})")
    fetched = [f"{call.method} {call.path}" for call in site.calls()]
    if fetched:
        raise Violation(
            f"a preview of an address with another scheme ({name}) fetched something",
            expected="nothing is fetched",
            actual=fetched,
            exchange=exchange,
        )
