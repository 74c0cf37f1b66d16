"""The lab's page origin and vision service, streams, listeners that are paused, and the pages and pictures served."""

from __future__ import annotations

import json
import struct
import threading
import time
import uuid
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.lab import LISTENERS, UNSCRIPTED, answers
from conformance.lab.addresses import normal
from conformance.lab.answers import Answer
from conformance.lab.client import Lab, LabProcess
from conformance.media import same_address
from conformance.pages import PageImage, Site, html_page
from conformance.pictures import picture

PICTURE = picture("a picture", 300, 200)
SHOWN = answers.image(PICTURE)
HTTP = httpx.Client(timeout=30)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    process = LabProcess()
    lab = Lab(process.control_url)
    yield lab
    lab.close()
    process.stop()


@pytest.fixture
def site(lab: Lab) -> Site:
    return Site(lab)


def serve(site: Site, *given: Answer, head: Answer | None = None) -> str:
    """The address of these answers."""
    return site.image("a.png", *given, head=head).url


# --- the page origin -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer, content_length, content",
    [
        (SHOWN, str(len(PICTURE)), PICTURE),
        (answers.without_length(SHOWN), None, PICTURE),
        (answers.slow(SHOWN, 0.02), str(len(PICTURE)), PICTURE),
        (answers.stating(SHOWN, 10), "10", PICTURE[:10]),
        (answers.huge(answers.raw(b"x"), 200_000), "200001", b"x" + bytes(200_000)),
        (answers.empty_body("image/png"), "0", b""),
        (answers.page("é ☃", "iso-8859-1"), "9", b"\xe9 &#9731;"),
        (answers.status(410), "18", b'{"detail": "Gone"}'),
        (answers.stream([PICTURE], "image/png", step=7), None, PICTURE),
        (answers.stream([PICTURE], "image/png", framing="length"), str(len(PICTURE)), PICTURE),
        (answers.stream([]), None, b""),
    ],
)
def test_whole_answers(site: Site, answer: Answer, content_length: str | None, content: bytes) -> None:
    url = serve(site, answer)
    received = HTTP.get(url)
    assert (received.status_code, received.content) == (answer.status, content)
    assert received.headers["Content-Type"] == dict(answer.headers)["Content-Type"]
    assert received.headers.get("Content-Length") == content_length
    head = HTTP.head(url)
    assert (head.status_code, head.content, head.headers.get("Content-Length")) == (answer.status, b"", content_length)
    assert [(call.method, call.answer, call.completed) for call in site.fetches(url)] == [
        ("GET", answer.word, True),
        ("HEAD", answer.word, True),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        answers.truncated(SHOWN),
        answers.truncated(SHOWN, 1),
        answers.truncated(answers.without_length(SHOWN), 1),
        answers.stating(SHOWN, len(PICTURE) + 1),
        answers.truncated(answers.huge(SHOWN, 100), 1),
        answers.stream([b"a", b"b"], end="close"),
        answers.stream([b"a", b"b"], end="reset"),
        answers.reset(),
    ],
)
def test_broken_answers(site: Site, answer: Answer) -> None:
    url = serve(site, answer)
    with pytest.raises(httpx.TransportError):
        HTTP.get(url)
    assert [call.completed for call in site.fetches(url)] == [False]


def test_head_leaves_the_script_where_it_is(site: Site) -> None:
    url = serve(site, answers.status(503), SHOWN)
    assert [HTTP.request(method, url).status_code for method in ("HEAD", "HEAD", "GET", "HEAD")] == [503, 503, 503, 200]
    assert HTTP.post(url).status_code == 405


@pytest.mark.parametrize(
    "head, status, content_length",
    [
        (answers.stating(SHOWN, 123), 200, "123"),
        (answers.without_length(SHOWN), 200, None),
        (answers.status(405), 405, "32"),
    ],
)
def test_head_by_itself(site: Site, head: Answer, status: int, content_length: str | None) -> None:
    url = serve(site, SHOWN, head=head)
    received = HTTP.head(url)
    assert (received.status_code, received.headers.get("Content-Length")) == (status, content_length)
    assert HTTP.get(url).content == PICTURE


def test_head_that_hangs(site: Site) -> None:
    url = serve(site, SHOWN, head=answers.hold())
    with pytest.raises(httpx.ReadTimeout):
        HTTP.head(url, timeout=0.05)
    assert HTTP.get(url).content == PICTURE
    assert [call.method for call in site.fetches(url, method="HEAD")] == ["HEAD"]


@pytest.mark.parametrize(
    "answer", [answers.hold(), answers.stream([answers.gate()]), answers.stream([b"1"], end="hold")]
)
def test_what_hangs_is_over_when_its_client_leaves(site: Site, answer: Answer) -> None:
    url = serve(site, answer)
    with pytest.raises(httpx.ReadTimeout):
        HTTP.get(url, timeout=0.05)
    deadline = time.monotonic() + 5
    while (call := site.fetches(url)[0]).ended is None and time.monotonic() < deadline:
        pass
    assert call.ended is not None
    assert not call.completed


def test_queries_and_encodings(site: Site) -> None:
    site.origin.serve(f"/{site.key}/é 1.png", answers.raw(b"any"))
    site.origin.serve(f"{site.origin.origin_url}/{site.key}/é 1.png?w=1#part", answers.raw(b"one"))
    url = f"{site.origin.origin_url}/{site.key}/%c3%a9%201.png"
    assert [HTTP.get(url + query).content for query in ("", "?w=2", "?w=1")] == [b"any", b"any", b"one"]
    assert [len(site.fetches(url + query)) for query in ("", "?w=1")] == [3, 1]
    with pytest.raises(ValueError, match="no path and no address of the page origin"):
        site.origin.serve("http://elsewhere.invalid/a.png", SHOWN)


def test_nothing_is_there_unless_it_is_served(site: Site) -> None:
    assert HTTP.get(site.url("missing.png")).status_code == 404
    (call,) = site.calls()
    assert (call.listener, call.operation, call.scripted) == ("page_origin", "fetch", False)
    assert call in site.origin.calls(UNSCRIPTED)


def test_redirects_to_another_host(site: Site) -> None:
    target = site.image()
    assert site.origin.origin_by_name is not None
    url = serve(site, answers.redirect(target.url.replace(site.origin.origin_url, site.origin.origin_by_name), 301))
    received = HTTP.get(url, follow_redirects=True)
    assert (received.content[:4], received.url.host) == (b"\x89PNG", "localhost")
    assert [call.path for call in site.calls()] == [site.path("a.png"), httpx.URL(target.url).path]


def test_an_endless_answer_ends_with_its_peer(site: Site) -> None:
    url = serve(site, answers.without_length(answers.huge(SHOWN, 10**12)))
    with HTTP.stream("GET", url) as received:
        assert len(next(received.iter_bytes(100_000))) == 100_000
    HTTP.get(site.url("after"))  # by now the lab has heard of it, or is still writing
    assert site.fetches(url)[0].completed is False


# --- what is held ----------------------------------------------------------------------------------------------------


def test_gates_open_one_by_one(site: Site) -> None:
    url = serve(site, answers.stream([b"1", answers.gate("x"), b"2", answers.gate(), answers.gate("y"), b"3", b"4"]))
    with HTTP.stream("GET", url) as received:
        parts = received.iter_raw(1)
        assert next(parts) == b"1"
        assert site.fetches(url)[0].ended is None
        site.origin.release(url, "x")
        assert next(parts) == b"2"
        site.origin.release(url)
        assert list(parts) == [b"3", b"4"]
    assert HTTP.get(url).content == b"1234"
    site.origin.serve(url, answers.stream([answers.gate(), b"anew"]))
    with pytest.raises(httpx.ReadTimeout):
        HTTP.get(url, timeout=0.05)


def test_half_an_image_is_held(site: Site) -> None:
    halves = answers.stream([PICTURE[:99], answers.gate(), PICTURE[99:]], "image/png", framing="length")
    url = serve(site, halves)
    with HTTP.stream("GET", url) as received:
        assert received.headers["Content-Length"] == str(len(PICTURE))
        parts = received.iter_raw(99)
        found = next(parts)
        site.origin.release(url)
        assert found + b"".join(parts) == PICTURE


def test_a_stream_that_does_not_end(site: Site) -> None:
    url = serve(site, answers.stream([b"all"], end="hold"))
    with HTTP.stream("GET", url) as received:
        parts = received.iter_raw(3)
        assert next(parts) == b"all"
        threading.Timer(0, site.origin.release, [url]).start()
        assert list(parts) == []


def test_one_byte_chunks_of_the_stub_backend(lab: Lab) -> None:
    page = f"https://pages.invalid/{uuid.uuid4()}"
    lab.script(page, answers.stream(["data: {}\r\n", answers.gate("rest"), "\r\n"], step=1))
    url = f"{lab.stub_url}/api/v1/admin/scrape/import/stream"
    with HTTP.stream("POST", url, json={"source_url": page}) as received:
        assert received.headers["Content-Type"] == "text/event-stream"
        parts = received.iter_raw(1)
        assert b"".join(next(parts) for _ in range(10)) == b"data: {}\r\n"
        lab.release(page, "rest")
        assert b"".join(parts) == b"\r\n"
    assert [(call.operation, call.answer) for call in lab.calls(page)] == [("scrape", "stream")]


# --- the vision service ----------------------------------------------------------------------------------------------


def count(lab: Lab, image_url: object) -> httpx.Response:
    """What the vision service says to an image."""
    return HTTP.post(f"{lab.vision_url}/vision/people-count", json={"image_url": image_url, "mode": "auto"})


def test_people_are_counted_as_scripted(site: Site) -> None:
    lab = site.origin
    lab.script_vision(site.key, answers.people_count(3, 2, detector="yolo", model="n"), answers.status(503))
    lab.script_vision(site.url("other.png").upper(), answers.people_count(7))
    assert count(lab, site.url("a.png")).json() == {
        "people_count": 3,
        "face_count": 2,
        "detector": "yolo",
        "model": "n",
    }
    assert [count(lab, site.url(name)).status_code for name in ("a.png", "a.png")] == [503, 503]
    assert count(lab, site.url("other.png")).json()["people_count"] == 7
    assert [call.image_url for call in lab.vision_calls("OTHER.png")][-1:] == [site.url("other.png")]
    assert [call.answer for call in lab.vision_calls(site.key)] == ["3 people", "503", "503", "7 people"]


def test_an_image_without_a_script_shows_somebody(lab: Lab) -> None:
    marker = uuid.uuid4().hex
    assert count(lab, f"https://images.invalid/{marker}").json()["people_count"] == 1
    assert [(call.scripted, call.operation) for call in lab.vision_calls(marker)] == [(False, "people count")]


def test_what_is_no_count_is_refused(lab: Lab) -> None:
    base = lab.vision_url
    assert count(lab, None).status_code == 422
    assert HTTP.post(f"{base}/vision/people-count", content=b"[").status_code == 422
    assert HTTP.get(f"{base}/vision/people-count").status_code == 405
    assert HTTP.get(f"{base}/health").status_code == 404


def test_one_order_over_all_listeners(site: Site) -> None:
    image = site.image()
    page = site.page([image])
    HTTP.get(page)
    HTTP.get(f"{site.origin.stub_url}/{site.key}")
    HTTP.head(image.url)
    count(site.origin, image.url)
    calls = site.origin.calls_containing(site.key)
    assert [call.listener for call in calls] == ["page_origin", "stub_backend", "page_origin", "stub_vision"]
    assert [call.number for call in calls] == sorted(call.number for call in calls)
    assert site.calls() == [call for call in calls if call.listener != "stub_backend"]


# --- listeners -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listener", LISTENERS)
def test_a_paused_listener_is_gone_until_it_resumes(lab: Lab, listener: str) -> None:
    base = lab.urls[listener]
    with httpx.Client(timeout=30) as kept_alive:
        kept_alive.get(f"{base}/before")
        lab.pause(listener)
        lab.pause(listener)
        with pytest.raises(httpx.ConnectError, match="refused"):
            kept_alive.get(f"{base}/paused")
        lab.resume(listener)
        lab.resume(listener)
        assert kept_alive.get(f"{base}/after").status_code == 404
    assert not lab.calls_containing("/paused")


def test_a_pause_ends_what_is_held(site: Site) -> None:
    url = serve(site, answers.stream([b"1", answers.gate(), b"2"]))
    with HTTP.stream("GET", url) as received:
        parts = received.iter_raw(1)
        assert next(parts) == b"1"
        site.origin.pause("page_origin")
        with pytest.raises(httpx.TransportError):
            next(parts)
    site.origin.resume("page_origin")
    site.origin.release(url)
    assert HTTP.get(url).content == b"12"


@pytest.mark.parametrize(
    "url, spelling",
    [
        ("http://pages.example:80", "http://pages.example"),
        ("https://Pages.Example:443/lab/", "https://pages.example/lab"),
        ("HTTP://pages.example:443", "http://pages.example:443"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://[::80]:8080", "http://[::80]:8080"),
        ("http://pages.example:", "http://pages.example"),
    ],
)
def test_addresses_are_spelled_as_url_libraries_do(url: str, spelling: str) -> None:
    assert normal(url) == spelling
    assert same_address(f"{url.rstrip('/')}/a.png#b", f"{spelling}/a.png")


def test_only_what_is_named_is_started() -> None:
    process = LabProcess({"page_origin": {"bind": "0.0.0.0:0"}})
    lab = Lab(process.control_url)
    assert set(lab.urls) == {"control", "page_origin"}
    assert HTTP.get(lab.origin_url).status_code == 404
    assert lab.origin_url.startswith("http://127.0.0.1:")
    lab.close()
    process.stop()


# --- pages and pictures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width, height", [(1, 1), (300, 200), (1200, 800), (1999, 3)])
def test_pictures_are_png(width: int, height: int) -> None:
    data, chunks = picture("x", width, height), {}
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at = 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(kind + content),)
        chunks[kind] = content
        at += 12 + length
    assert struct.unpack_from(">II", chunks[b"IHDR"]) == (width, height)
    assert len(zlib.decompress(chunks[b"IDAT"])) == height * (1 + (width + 7) // 8)
    assert list(chunks)[-1] == b"IEND"


def test_pictures_differ_by_name() -> None:
    assert picture("one") == picture("one") != picture("two")
    assert len({len(picture(str(number))) for number in range(20)}) > 10


class Reader(HTMLParser):
    """What a parser finds: start tags with their attributes, and the text of each element by its tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "br":
            self.handle_data("\n")
        elif tag not in ("img", "meta"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open[-1]] = self.texts.get(self._open[-1], "") + data


WORDS = st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=("Cs", "Cc")), min_size=1)


@given(title=WORDS, name=WORDS, caption=WORDS, two_lines=st.booleans())
def test_pages_say_what_they_are_told(title: str, name: str, caption: str, two_lines: bool) -> None:
    image = PageImage("http://origin.invalid/a.png?x=1&y='", 640, None, name, caption, two_lines)
    html = html_page(title, [image], published="2024-03-05T10:00:00Z", dated=("meta", "time", "json-ld"), text="<i>")
    found = Reader(html)
    assert (found.texts["title"], found.texts["h1"], found.texts["p"].strip()) == (title, title, "<i>")
    assert found.texts["figcaption"] == image.context == f"{name}{chr(10) if two_lines else ': '}{caption}"
    alt = image.context.replace("\n", " ")
    assert [attributes for tag, attributes in found.tags if tag == "img"] == [
        {"src": image.url, "width": "640", "alt": alt}
    ]
    assert ("meta", {"property": "article:published_time", "content": "2024-03-05T10:00:00Z"}) in found.tags
    assert ("time", {"datetime": "2024-03-05T10:00:00Z"}) in found.tags
    data = json.loads(found.texts["script"])
    assert (data["headline"], data["datePublished"]) == (title, "2024-03-05T10:00:00Z")


def test_a_page_without_a_date_has_none(site: Site) -> None:
    html = HTTP.get(site.page([site.image()])).text
    assert not {"time", "script"} & {tag for tag, _ in Reader(html).tags}
    assert "published" not in html
