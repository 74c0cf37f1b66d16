"""What a scraped page says: its title, its publish date and its images, each with the text that stands about it."""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from selectolax.lexbor import LexborHTMLParser, LexborNode

SOURCE = "web_scrape"
"""The `source` of an asset that was imported from a page."""

MAX_ADDRESS = 2048
"""The longest address that is kept, in bytes: longer ones fit no index."""
MAX_CONTEXT = 500
"""The longest text, in characters, that still counts as being about one image."""
MAX_CLIMB = 4
"""How many elements above an image may hold its context."""

BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
DEFAULT_PORTS = {"http": 80, "https": 443}

PUBLISHED_META = (
    "article:published_time",
    "og:article:published_time",
    "og:published_time",
    "datepublished",
    "publish-date",
    "publish_date",
    "publishdate",
    "publication_date",
    "pubdate",
    "parsely-pub-date",
    "sailthru.date",
    "dcterms.issued",
    "dc.date.issued",
    "dcterms.date",
    "dc.date",
    "date",
)
"""The names of `<meta>` elements that carry a publish date, the most telling first."""

ARTICLE_TYPE = re.compile(r"(?:.*[/:])?(?:\w*Article|\w*Posting|Report|\w*WebPage|CreativeWork)")
"""The JSON-LD types whose `datePublished` is the page's."""

DATE_FORMATS = ("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y")

# Where a page keeps what is not its own: teasers, comments, navigation.
_ELSEWHERE = frozenset({"aside", "footer", "nav"})
_UNSEEN = frozenset({"script", "style", "template", "noscript", "head", "iframe", "svg", "select", "textarea"})
# fmt: off
_INLINE = frozenset({
    "a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "del", "dfn", "em", "font", "i", "img",
    "ins", "kbd", "label", "mark", "picture", "q", "s", "samp", "small", "source", "span", "strong", "sub", "sup",
    "time", "tt", "u", "var", "wbr",
})
# fmt: on
_LAZY = ("data-src", "data-original", "data-lazy-src", "src")
_LENGTH = re.compile(r"\s*([0-9]{1,5})(?:\.[0-9]+)?(?:px)?\s*", re.ASCII | re.IGNORECASE)
_SRCSET_ENTRY = re.compile(r"[\s,]*([^\s,]\S*[^\s,]|[^\s,])(?:\s+([0-9.]{1,9})([wx]))?[^,]*(?:,|$)", re.ASCII)
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w:-]{1,40})", re.IGNORECASE)
_UNPRINTABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class Image:
    """An image of a page as its markup has it; addresses are absolute, and None is not stated."""

    original_url: str
    """The one that a browser without `srcset` would show."""
    best_url: str
    """The widest one on offer."""
    width: int | None
    height: int | None
    """The size in pixels that the markup gives for `best_url`."""
    alt_text: str | None
    context: str | None
    """The text about it, in lines."""

    @property
    def addresses(self) -> tuple[str, str]:
        """Every address that it goes by, the best first."""
        return self.best_url, self.original_url


@dataclass(frozen=True)
class Page:
    """What a preview and an import know of a page."""

    url: str
    title: str | None
    published_at: str | None
    """A date or a date and time of ISO 8601."""
    images: tuple[Image, ...]

    def find(self, url: str) -> Image | None:
        """The image that goes by an address."""
        wanted = canonical_address(url)
        return next((image for image in self.images if wanted in map(canonical_address, image.addresses)), None)


class Document:
    """The markup of a page, and the address that it came from."""

    def __init__(self, markup: bytes, charset: str | None, url: str) -> None:
        """Parse markup whose encoding its HTTP header gives as `charset`."""
        self.tree = LexborHTMLParser(decode(markup, charset))
        self.url = url
        base = self.tree.css_first("base[href]")
        self.base_url = (base and absolute(url, base.attributes.get("href") or "")) or url

    def texts(self, selector: str) -> Iterator[str]:
        """The text of each element, spaces collapsed, empty ones left out."""
        for node in self.tree.css(selector):
            if text := text_of(node):
                yield text


def decode(markup: bytes, charset: str | None) -> str:
    """Markup as text: by its byte order mark, the charset of its header, the one it declares, or as UTF-8."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if markup.startswith(mark):
            return markup.removeprefix(mark).decode(encoding, "replace")
    declared = _CHARSET.search(markup[:1024])
    for name in (charset, declared and declared[1].decode("ascii", "replace")):
        if name:
            try:
                return markup.decode(name, "replace")
            except (LookupError, ValueError):  # no encoding of text
                continue
    return markup.decode("utf-8", "replace")


# The title and the date


def title(document: Document) -> str | None:
    """The page's title: that of its `<title>`, else of its social card, else its first heading."""
    card = document.tree.css_first('meta[property="og:title"]')
    candidates = (
        next(document.texts("head > title, title"), None),
        card and clean(card.attributes.get("content") or ""),
        next(document.texts("h1"), None),
    )
    return next((text for text in candidates if text), None)


def published_at(document: Document) -> str | None:
    """The page's own publish date as ISO 8601, from its meta elements, JSON-LD or `<time>`; None where it has none."""
    stated = (*_meta_dates(document), *_json_ld_dates(document), *_marked_dates(document))
    return next((moment for text in stated if (moment := iso8601(text))), None)


def _meta_dates(document: Document) -> Iterator[str]:
    given: dict[str, str] = {}
    for node in document.tree.css("meta[content]"):
        attributes = node.attributes
        name = attributes.get("property") or attributes.get("name") or attributes.get("itemprop")
        if name:
            given.setdefault(name.strip().lower(), attributes.get("content") or "")
    return (given[name] for name in PUBLISHED_META if name in given)


def _json_ld_dates(document: Document) -> Iterator[str]:
    for node in document.tree.css('script[type="application/ld+json"]'):
        try:
            value = json.loads(node.text() or "")
        except (ValueError, RecursionError):
            continue
        for item in _json_ld_items(value):
            types = item.get("@type")
            stated = item.get("datePublished")
            if isinstance(stated, str) and any(
                isinstance(name, str) and ARTICLE_TYPE.fullmatch(name)
                for name in (types if isinstance(types, list) else [types])
            ):
                yield stated


def _json_ld_items(value: Any) -> Iterator[dict[str, Any]]:
    """The things that JSON-LD is about: at its top, in its graph, and what a page is mainly about."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            yield item
            for inner in (item.get("@graph"), item.get("mainEntity")):
                things = inner if isinstance(inner, list) else [inner]
                yield from (thing for thing in things if isinstance(thing, dict))


def _marked_dates(document: Document) -> Iterator[str]:
    """The dates of elements marked as the publish date, else that of the article's, or the page's only, `<time>`."""
    for node in document.tree.css('[itemprop~="datePublished"], time[pubdate]'):
        yield node.attributes.get("datetime") or node.attributes.get("content") or text_of(node)
    times = [node for node in document.tree.css("time[datetime]") if not _is_elsewhere(node)]
    inside = [node for node in times if any(ancestor.tag in ("article", "main") for ancestor in _ancestors(node))]
    values = [node.attributes.get("datetime") or "" for node in inside[:1] or times]
    if len(set(values)) == 1:
        yield values[0]


def _is_elsewhere(node: LexborNode) -> bool:
    return any(ancestor.tag in _ELSEWHERE for ancestor in _ancestors(node))


def iso8601(text: str) -> str | None:
    """A date, or a date and time, in ISO 8601; None for text that names none."""
    text = text.strip()
    if not 8 <= len(text) <= 64:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return read(text).isoformat()
        except (ValueError, TypeError, OverflowError):
            continue
    for form in DATE_FORMATS:
        try:
            return datetime.strptime(text, form).date().isoformat()
        except ValueError:
            continue
    return None


# The images


def images(document: Document) -> tuple[Image, ...]:
    """The images of the page with an http(s) address, in its order, each of them once."""
    found: dict[str, Image] = {}
    for node in document.tree.css("img"):
        image = _image(document, node)
        if image is not None:
            found.setdefault(canonical_address(image.best_url), image)
    return tuple(found.values())


def _image(document: Document, node: LexborNode) -> Image | None:
    attributes = node.attributes
    shown = (absolute(document.base_url, attributes.get(name) or "") for name in _LAZY)
    original = next((url for url in shown if url), None)
    width, height = length(attributes.get("width")), length(attributes.get("height"))
    best = _widest(document.base_url, node)
    if best is not None:
        best_url, best_width = best
        if best_url != original and best_width:
            height = round(best_width * height / width) or None if width and height else None
            width = best_width
    elif original is not None:
        best_url = original
    else:
        return None
    alt = clean(attributes.get("alt") or "") or None
    return Image(original or best_url, best_url, width, height, alt, context_text(node))


def _widest(base_url: str, node: LexborNode) -> tuple[str, int | None] | None:
    """The last word of `srcset`, of the image or its `<picture>`: the widest address, and its width where stated."""
    sets = [node.attributes.get("srcset"), node.attributes.get("data-srcset")]
    if node.parent is not None and node.parent.tag == "picture":
        sets += [source.attributes.get("srcset") for source in node.parent.css("source")]
    offers = []
    for text in filter(None, sets):
        for address, size, unit in _SRCSET_ENTRY.findall(text):
            url = absolute(base_url, address)
            try:
                measure = float(size or 1)
            except ValueError:
                continue
            if url:
                offers.append((unit == "w", measure, url))
    if not offers:
        return None
    by_width, measure, url = max(offers, key=lambda offer: offer[:2])
    return url, int(measure) or None if by_width else None


def length(text: str | None) -> int | None:
    """A `width` or `height` attribute in pixels; None for a percentage, nothing or nonsense."""
    match = _LENGTH.fullmatch(text or "")
    return int(match[1]) or None if match else None


def context_text(node: LexborNode) -> str | None:
    """The text about an image: its figure's caption, else what the closest element around it says of it alone."""
    for ancestor in _ancestors(node):
        if ancestor.tag == "figure":
            caption = ancestor.css_first("figcaption")
            if caption is not None and (text := text_of(caption, lines=True)):
                return text[:MAX_CONTEXT]
            break
    for _, ancestor in zip(range(MAX_CLIMB), _ancestors(node), strict=False):
        if ancestor.tag in ("body", "html") or len(ancestor.css("img")) > 1:
            break
        if text := text_of(ancestor, lines=True):
            return text if len(text) <= MAX_CONTEXT else None
    return None


def _ancestors(node: LexborNode) -> Iterator[LexborNode]:
    parent = node.parent
    while parent is not None:
        yield parent
        parent = parent.parent


# Text and addresses


def text_of(node: LexborNode, *, lines: bool = False) -> str:
    """The text of an element as it is read: spaces collapsed, on one line, or one line per block or `<br>`."""
    pieces: list[str] = []
    waiting: list[LexborNode | str] = [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            pieces.append(item)
        elif item.tag == "-text":
            pieces.append(re.sub(r"\s", " ", item.text(deep=False)))
        elif item.tag == "br":
            pieces.append("\n")
        elif item.tag not in _UNSEEN:
            edge = [] if item.tag in _INLINE else ["\n"]
            waiting += [*edge, *reversed(list(item.iter(include_text=True))), *edge]
    cleaned = (clean(line) for line in "".join(pieces).split("\n"))
    return ("\n" if lines else " ").join(line for line in cleaned if line)


def clean(text: str) -> str:
    """Text on one line, without the characters that no database takes."""
    return " ".join(_UNPRINTABLE.sub("", text).split())


def absolute(base_url: str, address: str) -> str | None:
    """The http(s) address that a page means, without its fragment; None for any other, and for one that is too long."""
    address = clean(address).partition("#")[0].replace(" ", "%20")
    if not address:
        return None
    try:
        url = urljoin(base_url, address)
    except ValueError:
        return None
    return url if is_http(url) and len(url.encode()) <= MAX_ADDRESS else None


def is_http(url: str) -> bool:
    """Whether an address is one that may be fetched: http or https, of some host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def canonical_address(url: str) -> str:
    """One spelling for equivalent addresses: no fragment, scheme and host in lower case, no default port."""
    if not is_http(url):
        return url
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    user, at, _ = parts.netloc.rpartition("@")
    port = "" if parts.port in (None, DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{user}{at}{host}{port}{parts.path or '/'}{query}"


def names_in(text: str, names: Iterable[str]) -> frozenset[str]:
    """Those of the names, `folded`, that the text holds as whole words; one inside a longer name does not count."""
    longest_first = sorted(filter(None, map(folded, names)), key=len, reverse=True)
    if not longest_first:
        return frozenset()
    return frozenset(re.findall(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", folded(text)))


def folded(text: str) -> str:
    """Text as names are compared: composed, in no case, its spaces collapsed."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())
