"""Pages and images of other people, as the different backend reads them: with the standard library alone."""

from __future__ import annotations

import http.client
import json
import re
import struct
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from email.message import Message
from html.parser import HTMLParser
from urllib.parse import quote, urldefrag, urljoin, urlsplit, urlunsplit

TIMEOUT_S = 20.0
DEADLINE_S = 20.0
MAX_PAGE_BYTES = 4 * 1024 * 1024
MAX_IMAGE_BYTES = 20 * 1024 * 1024
PIECE_BYTES = 64 * 1024


class Unavailable(Exception):
    """What was asked for could not be had; the text says why."""


class NotHtml(Unavailable):
    """There is something, but no web page."""


def is_web(url: object) -> bool:
    """Whether this is an http(s) address with a host."""
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def canonical(url: str) -> str:
    """An address without fragment, scheme and host in lower case."""
    try:
        parts = urlsplit(urldefrag(url).url)
    except ValueError:
        return url
    return urlunsplit((parts.scheme.lower(), parts.netloc.lower(), parts.path or "/", parts.query, ""))


# --- Fetching ---------------------------------------------------------------------------------------------------------


class _WebRedirects(urllib.request.HTTPRedirectHandler):
    """Follows to http(s) only, and not too often."""

    max_redirections = 5

    def redirect_request(  # type: ignore[no-untyped-def]
        self, req, fp, code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        if not is_web(newurl):
            raise Unavailable("it redirects to something that is not http(s)")
        return urllib.request.Request(
            newurl, headers=req.headers, method="HEAD" if req.get_method() == "HEAD" else "GET"
        )


def _opener() -> urllib.request.OpenerDirector:
    """No proxies, no files, no FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        _WebRedirects,
    ):
        opener.add_handler(handler())
    return opener


OPENER = _opener()


@dataclass(frozen=True, slots=True)
class Fetched:
    """What an address gave: ``length`` as stated, ``body`` as far as it was asked for."""

    url: str
    content_type: str
    charset: str | None
    length: int | None
    body: bytes


def fetch(url: str, *, method: str = "GET", at_most: int = MAX_IMAGE_BYTES, head_only: bool = False) -> Fetched:
    """Gets an address; ``head_only`` reads no more than ``at_most`` bytes of it. Raises Unavailable."""
    deadline = time.monotonic() + DEADLINE_S
    try:
        request = urllib.request.Request(ascii_address(url), headers={"Accept": "*/*"}, method=method)
        with OPENER.open(request, timeout=TIMEOUT_S) as response:
            stated = response.headers.get("Content-Length", "")
            length = int(stated) if re.fullmatch("[0-9]{1,15}", stated) else None
            body = bytearray()
            while method != "HEAD" and (piece := response.read1(PIECE_BYTES)):
                body += piece
                if time.monotonic() > deadline:
                    raise Unavailable("it took too long")
                if len(body) >= at_most and head_only:
                    break
                if len(body) > at_most:
                    raise Unavailable("it is too large")
            if method != "HEAD" and not head_only and length is not None and len(body) != length:
                raise Unavailable("it was cut short")
            headers = response.headers
            return Fetched(
                response.geturl(), headers.get_content_type(), headers.get_content_charset(), length, bytes(body)
            )
    except urllib.error.HTTPError as error:
        error.close()
        raise Unavailable(f"it was answered {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unavailable(f"it could not be reached ({type(error).__name__})") from None


def ascii_address(url: str) -> str:
    """An address as it goes over the wire."""
    parts = urlsplit(urldefrag(url).url)
    netloc = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode()
    safe = "%/:=&?~#+!$,;'@()*[]-._"
    return urlunsplit((parts.scheme, netloc, quote(parts.path, safe), quote(parts.query, safe), ""))


# --- Images -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dimensions:
    """What an image's bytes say; width and height are None where this reader doesn't know the format well enough."""

    media_type: str
    width: int | None
    height: int | None


def look_at(data: bytes) -> Dimensions:
    """What a whole image is; raises Unavailable for anything that is none, or that is broken off."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _look_at_png(data)
    if data.startswith(b"\xff\xd8\xff") and data.rstrip(b"\0").endswith(b"\xff\xd9"):
        return Dimensions("image/jpeg", None, None)
    if data[:6] in (b"GIF87a", b"GIF89a") and data.endswith(b";"):
        return Dimensions("image/gif", *struct.unpack("<HH", data[6:10]))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 8 + int.from_bytes(data[4:8], "little"):
        return Dimensions("image/webp", None, None)
    raise Unavailable("it is no image")


def _look_at_png(data: bytes) -> Dimensions:
    size, at = None, 8
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        content = data[at + 8 : at + 8 + length]
        if data[at + 8 + length : at + 12 + length] != struct.pack(">I", zlib.crc32(kind + content)):
            break
        if kind == b"IHDR" and length == 13:
            size = struct.unpack(">II", content[:8])
        if kind == b"IEND" and size:
            return Dimensions("image/png", *size)
        at += 12 + length
    raise Unavailable("it is a broken image")


def png_size(head: bytes) -> tuple[int, int] | None:
    """Width and height from the first bytes of a PNG."""
    if head.startswith(b"\x89PNG\r\n\x1a\n") and head[12:16] == b"IHDR" and len(head) >= 24:
        width, height = struct.unpack(">II", head[16:24])
        return width, height
    return None


# --- Pages ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Picture:
    """An image of a page."""

    url: str
    width: int | None
    height: int | None
    alt: str
    context: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A page as read: the text of its publish date, and its pictures in order, each address once."""

    url: str
    title: str
    published: str | None
    pictures: tuple[Picture, ...] = field(default_factory=tuple)

    def context(self, url: str, *, with_alt: bool = False) -> str:
        """The text that stands with an image; the alternative text too, or only where there is no other."""
        wanted = canonical(url)
        found = next((picture for picture in self.pictures if canonical(picture.url) == wanted), None)
        if found is None:
            return ""
        texts = [found.context, found.alt] if with_alt else [found.context or found.alt]
        return "\n".join(dict.fromkeys(filter(None, texts)))


def read_page(url: str) -> Page:
    """Fetches and reads a page; raises NotHtml or another Unavailable."""
    fetched = fetch(url, at_most=MAX_PAGE_BYTES)
    is_html = fetched.content_type in ("text/html", "application/xhtml+xml")
    if not is_html or b"<" not in fetched.body:
        raise NotHtml(f"it is {fetched.content_type} and no web page")
    reader = _Reader(fetched.url)
    try:
        reader.feed(_decoded(fetched))
        reader.close()
    except (ValueError, AssertionError):
        raise NotHtml("it is no readable web page") from None
    return replace(reader.page(), url=url)


def _decoded(fetched: Fetched) -> str:
    declared = re.search(rb"<meta[^>]+charset=[\"']?([\w-]+)", fetched.body[:2048], re.IGNORECASE)
    charset = fetched.charset or (declared[1].decode("ascii") if declared else "utf-8")
    try:
        return fetched.body.decode(charset, "replace")
    except LookupError:
        return fetched.body.decode("utf-8", "replace")


class _Reader(HTMLParser):
    """Collects title, dates, and pictures with the captions of their figures."""

    def __init__(self, base: str) -> None:
        super().__init__(convert_charrefs=True)
        self._base = base
        self._pictures: dict[str, Picture] = {}
        self._figure: list[Picture] | None = None
        self._text: list[str] | None = None
        self._title = ""
        self._dates: dict[str, str] = {}

    def page(self) -> Page:
        date = next((self._dates[name] for name in ("json-ld", "meta", "time") if name in self._dates), None)
        return Page(self._base, self._title, date, tuple(self._pictures.values()))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        match tag:
            case "title" | "figcaption":
                self._text = []
            case "script" if given.get("type", "").lower() == "application/ld+json":
                self._text = []
            case "figure":
                self._figure = []
            case "br" if self._text is not None:
                self._text.append("\n")
            case "meta" if given.get("property") == "article:published_time" and given.get("content"):
                self._dates.setdefault("meta", given["content"].strip())
            case "time" if given.get("datetime"):
                self._dates.setdefault("time", given["datetime"].strip())
            case "img" if given.get("src"):
                self._add(given)

    def _add(self, given: dict[str, str]) -> None:
        try:
            url = urljoin(self._base, given["src"].strip())
        except ValueError:
            return
        if not is_web(url):
            return
        width, height = (_pixels(given.get(name, "")) for name in ("width", "height"))
        picture = self._pictures.setdefault(canonical(url), Picture(url, width, height, given.get("alt", "")))
        if self._figure is not None:
            self._figure.append(picture)

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(re.sub(r"\s+", " ", data))

    def handle_endtag(self, tag: str) -> None:
        if tag == "figure":
            self._figure = None
        if tag not in ("title", "figcaption", "script") or self._text is None:
            return
        text = "".join(self._text)
        self._text = None
        if tag == "title":
            self._title = text.strip()
        elif tag == "figcaption":
            for picture in self._figure or ():
                picture.context = "\n".join(line.strip() for line in text.split("\n")).strip()
        else:
            self._dates.update(("json-ld", date) for date in _dates_in(text))


def _pixels(text: str) -> int | None:
    found = re.fullmatch(r"\s*([0-9]{1,5})(?:px)?\s*", text, re.ASCII)
    return int(found[1]) or None if found else None


def _dates_in(text: str) -> Iterator[str]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict) and isinstance(item.get("datePublished"), str):
            yield item["datePublished"].strip()
