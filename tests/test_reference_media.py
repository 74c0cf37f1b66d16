"""The reference's media workflow: pages read as they are meant, images stored once, bad calls refused."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from openapi_spec_validator import validate
from PIL import Image, ImageDraw

import contracts
from reference import overlay, page

ROOT = Path(__file__).parents[1]
API = "/api/v1/admin"


def png(seed: str = "", width: int = 800, height: int = 600) -> bytes:
    """A picture whose bytes depend on the seed."""
    color = tuple(hashlib.sha256(seed.encode()).digest()[:3])
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), color).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Web:
    """Somebody else's server: pages and images by path, and whatever it was asked."""

    url: str
    served: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    people: int | None = 3
    """What the vision service counts; None: it is out of order."""

    def image(self, content: bytes | None = None) -> str:
        """Serve a fresh picture, or these bytes, and return the address."""
        name = f"/{uuid4().hex}.png"
        self.served[name] = ("image/png", png(name) if content is None else content)
        return self.url + name

    def page(self, html: str, media_type: str = "text/html; charset=utf-8") -> str:
        """Serve a page and return its address."""
        name = f"/{uuid4().hex}.html"
        self.served[name] = (media_type, html.encode())
        return self.url + name

    def asked_for(self, url: str) -> list[str]:
        """The methods by which an address was asked for."""
        return [method for method, path, _ in self.asked if self.url + path == url]


@dataclass(frozen=True)
class Backend:
    """The reference backend, called as the deployed app calls it."""

    process: subprocess.Popen[str]
    environment: Mapping[str, Any]
    variables: Mapping[str, str]

    @property
    def client(self) -> httpx.Client:
        token = self.variables["TRR_CORE_SUPABASE_SERVICE_ROLE_KEY"]
        return httpx.Client(
            base_url=self.environment["backend_url"], headers={"Authorization": f"Bearer {token}"}, timeout=30
        )

    def call(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of a success."""
        with self.client as client:
            return client.request(method, API + path, **options).raise_for_status().json()

    def state(self, name: str, **params: Any) -> Any:
        """Set up a provider state."""
        body = {"state": name, "params": params}
        return httpx.post(self.environment["backend_states_url"], json=body).raise_for_status().json()

    def offers(self, url: str, **members: Any) -> list[str]:
        """The addresses of a preview."""
        return [
            image["best_url"] for image in self.call("POST", "/scrape/preview", json={"url": url, **members})["images"]
        ]

    def stream(self, body: Any) -> list[dict[str, Any]]:
        """The data of a stream's events."""
        with self.client as client:
            text = client.post(f"{API}/scrape/import/stream", json=body).raise_for_status().text
        return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]

    def rows(self, statement: str, *arguments: Any) -> list[Any]:
        """The one column of what the database has."""
        with psycopg.connect(self.variables["TRR_DB_URL"]) as connection:
            return [value for (value,) in connection.execute(statement, arguments)]

    def links(self, entity_id: str) -> list[Any]:
        """The links of an entity, as objects."""
        return self.rows("select to_jsonb(l) from core.media_links l where entity_id = %s", entity_id)


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    """A web server, which is the vision service as well."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self, status: int, media_type: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def do_GET(self) -> None:
            web.asked.append((self.command, self.path, None))
            media_type, content = web.served.get(self.path, ("text/plain", b""))
            self.answer(200 if self.path in web.served else 404, media_type, content)

        do_HEAD = do_GET

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            web.asked.append((self.command, self.path, body))
            count = json.dumps({"people_count": web.people, "face_count": 1, "detector": "d", "model": "m"}).encode()
            self.answer(500 if web.people is None else 200, "application/json", count)

        def log_message(self, *arguments: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        web = Web(f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield web
        server.shutdown()


@contextmanager
def running(*arguments: str) -> Iterator[Backend]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "reference", "--json", "--only", "backend", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        printed = json.loads(process.stdout.readline())
        yield Backend(process, printed["environment"], printed["variables"])
    finally:
        process.terminate()
        assert (process.communicate(timeout=60)[1], process.returncode) == ("", 0)


@pytest.fixture(scope="module")
def backend(web: Web) -> Iterator[Backend]:
    with running("--vision-url", web.url) as backend:
        yield backend


def season_import(show: Mapping[str, Any], source_url: str, *urls: str, **members: Any) -> dict[str, Any]:
    """An import of these images for a season."""
    images = [{"candidate_id": "1", "url": url, "kind": "promo", **members} for url in urls]
    return {"entity_type": "season", "season_id": show["season_id"], "source_url": source_url, "images": images}


# Pages


def document(html: str) -> page.Document:
    return page.Document(html.encode(), None, "http://site.invalid/a/page.html")


DATED = {
    "meta": '<meta property="article:published_time" content="2026-01-05T10:00:00Z">',
    "meta by another name": '<meta name="DC.date.issued" content="2026-01-05">',
    "JSON-LD": '<script type="application/ld+json">{"@type": "NewsArticle", "datePublished": "2026-01-05"}</script>',
    "JSON-LD in a graph": '<script type="application/ld+json">{"@graph": [{"@type": "Person"}, {"@type": ["Article"],'
    ' "datePublished": "2026-01-05T23:00:00+02:00"}]}</script>',
    "time": '<p><time datetime="2026-01-05">yesterday</time>',
    "time of the article": '<main><time datetime="2026-01-05">a</time></main><time datetime="2025-05-05">b</time>',
    "time beside a teaser's": '<time datetime="2026-01-05">a</time><aside><time datetime="2020-02-02">b</time></aside>',
    "marked": '<span itemprop="datePublished">January 5, 2026</span>',
    "an unreadable date before a readable one": '<meta name="date" content="soon"><time datetime="2026-01-05">',
    "an RFC 9110 date": '<meta name="pubdate" content="Mon, 05 Jan 2026 10:00:00 GMT">',
}


@pytest.mark.parametrize("html", DATED.values(), ids=DATED)
def test_publish_date(html: str) -> None:
    stated = page.published_at(document(html))
    assert stated is not None
    assert stated.startswith("2026-01-05")


UNDATED = {
    "no date": "<p>2026-01-05</p>",
    "several times": '<time datetime="2026-01-05">a</time><time datetime="2026-01-06">b</time>',
    "a teaser's time": '<aside><time datetime="2026-01-05">a</time></aside>',
    "another thing's JSON-LD": '<script type="application/ld+json">{"@type": "VideoObject", "datePublished":'
    ' "2026-01-05"}</script>',
    "broken JSON-LD": f'<script type="application/ld+json">{"[" * 100_000}</script>',
    "a date out of range": '<meta name="date" content="99999-01-01T00:00:00">',
}


@pytest.mark.parametrize("html", UNDATED.values(), ids=UNDATED)
def test_no_publish_date(html: str) -> None:
    assert page.published_at(document(html)) is None


CONTEXTS = {
    "caption": ("<figure><img src=a.png><figcaption>Ada: on  air</figcaption></figure>", "Ada: on air"),
    "lines": (
        "<figure><img src=a.png><figcaption><h3>Ada</h3>on <b>air</b><br>now</figcaption></figure>",
        "Ada\non air\nnow",
    ),
    "beside": ("<ul><li><img src=a.png> Ada</li><li><img src=b.png> Bo</li></ul>", "Ada"),
    "shared": ("<div><img src=a.png><img src=b.png>both</div>", None),
    "far away": (f"<div><img src=a.png>{'word ' * 200}</div>", None),
}


@pytest.mark.parametrize("html, context", CONTEXTS.values(), ids=CONTEXTS)
def test_context(html: str, context: str | None) -> None:
    assert page.images(document(html))[0].context == context


def test_images_of_a_page() -> None:
    """Lazy, responsive and repeated images; the widest address is the best, and only http(s) counts."""
    found = page.images(
        document(
            '<base href="/b/"><img src="data:image/gif;base64,R0" data-src="lazy.png" width="640px" height="100%">'
            '<img src="s.png" srcset="s-400.png 400w, s-1600.png 1600w" width="400" height="300">'
            '<picture><source srcset="x.webp 2x"><img src="x.png"></picture>'
            '<img src="lazy.png#again"><img src="ftp://site.invalid/f.png"><img src="">'
        )
    )
    assert [(image.best_url, image.original_url, image.width, image.height) for image in found] == [
        ("http://site.invalid/b/lazy.png", "http://site.invalid/b/lazy.png", 640, None),
        ("http://site.invalid/b/s-1600.png", "http://site.invalid/b/s.png", 1600, 1200),
        ("http://site.invalid/b/x.webp", "http://site.invalid/b/x.png", None, None),
    ]


def test_deep_markup_is_read() -> None:
    deep = document("<div>" * 20_000 + "<img src=a.png>text")
    assert [image.context for image in page.images(deep)] == ["text"]


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "no-such", "rot13", None])
def test_charsets(charset: str | None) -> None:
    encoding = "iso-8859-1" if charset == "iso-8859-1" else "utf-8"
    read = page.Document("<title>Zoë</title>".encode(encoding), charset, "http://site.invalid/")
    assert page.title(read) == "Zoë"


SPELLINGS = ["http://site.invalid/a.png", "HTTP://Site.INVALID:80/a.png", "http://site.invalid/a.png#part"]


@pytest.mark.parametrize("url", SPELLINGS)
def test_equivalent_addresses(url: str) -> None:
    assert page.canonical_address(url) == SPELLINGS[0]


@pytest.mark.parametrize("url", ["http://site.invalid/A.png", "http://site.invalid:8080/a.png", f"{SPELLINGS[0]}?b"])
def test_other_addresses(url: str) -> None:
    assert page.canonical_address(url) not in {SPELLINGS[0], "http://site.invalid/"}


def test_names() -> None:
    """Whole names alone, in any case, and the longest that fits."""
    assert page.names_in("JO  Ann and joanna", ["Ann", "Jo Ann", "Anna", ""]) == {"jo ann"}


def test_text_overlay() -> None:
    plain = Image.new("RGB", (1200, 800), (40, 90, 140))
    lettered = plain.copy()
    ImageDraw.Draw(lettered).text((100, 600), "TONIGHT: REUNION, PART ONE", fill="white", font_size=48)
    for image, text in ((plain, False), (lettered, True)):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        assert overlay.has_text(buffer.getvalue()) is text


# Preview


def test_preview(backend: Backend, web: Web) -> None:
    wide, unmarked, narrow, gone = web.image(), web.image(), web.image(png(width=100)), f"{web.url}/gone.png"
    url = web.page(
        f'<title>All</title><figure><img src="{wide}" width=1000 height=500 alt=x><figcaption>Ada: on air</figcaption>'
        f'</figure><img src="{unmarked}"><img src="{narrow}"><img src="{gone}"><img src="{web.url}/thin.png" width=9>'
    )
    answer = backend.call("POST", "/scrape/preview", json={"url": url})
    contracts.load().validator("preview-response").validate(answer)
    assert (answer["page_title"], answer["page_published_at"], answer["total_found"]) == ("All", None, 3)
    lengths = [len(web.served[url.removeprefix(web.url)][1]) for url in (wide, unmarked)]
    sizes = [(image["best_url"], image["width"], image["height"], image["bytes"]) for image in answer["images"]]
    assert sizes == [(wide, 1000, 500, lengths[0]), (unmarked, 800, 600, lengths[1]), (gone, None, None, None)]
    assert answer["images"][0]["context"] == "Ada: on air"
    assert web.asked_for(wide) == ["HEAD"]


NO_PAGES: Mapping[str, Callable[[Web], str]] = {
    "404": lambda web: f"{web.url}/nothing.html",
    "no HTML": lambda web: web.page("{}", "application/json"),
    "nobody there": lambda web: "http://127.0.0.1:1/",
    "a file": lambda web: "file:///etc/hosts",
    "FTP": lambda web: "ftp://127.0.0.1/page.html",
    "data": lambda web: "data:text/html,<img src=a>",
    "no host": lambda web: "http://",
    "no port": lambda web: "http://127.0.0.1:port/",
    "NUL": lambda web: f"{web.url}/\0",
    "a surrogate": lambda web: f"{web.url}/\ud800",
}


@pytest.mark.parametrize("address", NO_PAGES.values(), ids=NO_PAGES)
def test_no_preview(backend: Backend, web: Web, address: Callable[[Web], str]) -> None:
    with backend.client as client:
        answer = client.post(
            f"{API}/scrape/preview",
            content=json.dumps({"url": address(web)}),
            headers={"Content-Type": "application/json"},
        )
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"]


# Import


def test_stream_and_import_agree(backend: Backend, web: Web) -> None:
    """The same images end the same way, and the stream says of each what the summary counts."""
    content = png(uuid4().hex)
    urls = [web.image(content), web.image(content), web.image(b"no image"), f"{web.url}/gone.png", "ftp://a.invalid/b"]
    show = backend.state("show with season")
    events = backend.stream(season_import(show, web.url, *urls))
    results = [event["status"] for event in events[:-1] if event["status"] != "downloading"]
    assert results == ["success", "duplicate", "error", "error", "error"]
    summary = events[-1]
    assert (summary["imported"], summary["skipped_duplicates"], len(summary["errors"])) == (1, 1, 3)
    other = backend.state("show with season")
    again = backend.call("POST", "/scrape/import", json=season_import(other, web.url, *urls))
    assert (again["imported"], again["skipped_duplicates"], len(again["errors"])) == (0, 2, 3)
    for entity_id in (show["season_id"], show["show_id"], other["season_id"], other["show_id"]):
        assert [link["media_asset_id"] for link in backend.links(entity_id)] == [summary["assets"][0]["id"]]
    assert httpx.get(summary["assets"][0]["hosted_url"]).content == content


def test_cast(backend: Backend, web: Web) -> None:
    """What the page says of a cast image becomes part of it, unless the request says something else."""
    said, silent, plain = web.image(), web.image(), web.image()
    captions = ((said, "Ada Byron: on air"), (silent, "Ada Byron<br>with Bo Derek"), (plain, "Bo Derek: off air"))
    figures = (f'<figure><img src="{url}"><figcaption>{text}</figcaption></figure>' for url, text in captions)
    source_url = web.page(f'<meta property="article:published_time" content="2026-01-05">{"".join(figures)}')
    show = backend.state("show with season", cast=["Ada Byron", "Bo Derek", "Byron"])
    ada, bo, byron = (member["person_id"] for member in show["cast"])
    order = season_import(show, source_url, said, silent, plain, kind="cast")
    order["images"][0] |= {"caption": "mine", "person_ids": [byron]}
    order["images"][1] |= {"caption": "", "person_ids": []}
    order["images"][2] |= {"kind": "promo"}
    assets = backend.call("POST", "/scrape/import", json=order)["assets"]
    assert [asset["caption"] for asset in assets] == ["mine", "with Bo Derek", None]
    people = {link["media_asset_id"]: link["context"].get("people_ids") for link in backend.links(show["season_id"])}
    tagged = [sorted(people[asset["id"]] or ()) for asset in assets]
    assert tagged == [[byron], sorted([ada, bo]), []]
    dates = "select metadata ->> 'source_created_at' from core.media_assets where source_url = %s"
    assert [backend.rows(dates, url) for url in (said, silent, plain)] == [["2026-01-05"], ["2026-01-05"], [None]]


def test_imports_at_once_and_clients_that_leave(backend: Backend, web: Web) -> None:
    """However often it is asked for, and whoever leaves meanwhile, an image is one asset and one link."""
    show = backend.state("show with season")
    urls = [web.image() for _ in range(8)]
    order = season_import(show, web.url, *urls)

    def leave(lines: int) -> None:
        with backend.client as client, client.stream("POST", f"{API}/scrape/import/stream", json=order) as answer:
            for _, _ in zip(range(lines), answer.iter_lines(), strict=False):
                pass

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(leave, range(0, 24, 4)))
        orders = list(threads.map(lambda _: backend.call("POST", "/scrape/import", json=order), range(3)))
    assert all(answer["errors"] == [] for answer in orders)
    assert len(backend.links(show["season_id"])) == len(urls)
    assert backend.rows("select count(*) from core.media_assets where source_url = any(%s)", urls) == [len(urls)]


REFUSED_IMPORTS: Mapping[str, Mapping[str, Any]] = {
    "no images": {"images": []},
    "too many images": {"images": [{"candidate_id": "1", "url": "http://a.invalid/"}] * 51},
    "images are an object": {"images": {}},
    "an image without an address": {"images": [{"candidate_id": "1"}]},
    "a nonsense kind": {"images": [{"candidate_id": "1", "url": "http://a.invalid/", "kind": "selfie"}]},
    "a person who is no id": {"images": [{"candidate_id": "1", "url": "http://a.invalid/", "person_ids": ["Ada"]}]},
    "NUL in a caption": {"images": [{"candidate_id": "1", "url": "http://a.invalid/", "caption": "\0"}]},
    "a surrogate in an address": {"images": [{"candidate_id": "1", "url": "http://a.invalid/\ud800"}]},
    "no season": {"season_id": None},
    "an unknown season": {"season_id": str(uuid4())},
    "a huge season number": {"season_id": None, "show_id": str(uuid4()), "season_number": 10**30},
    "a person without an id": {"entity_type": "person"},
    "an unknown show": {"entity_type": "show", "show_id": str(uuid4())},
    "an unknown type": {"entity_type": "episode"},
    "no source": {"source_url": None},
}


@pytest.mark.parametrize("members", REFUSED_IMPORTS.values(), ids=REFUSED_IMPORTS)
@pytest.mark.parametrize("path", ["/scrape/import", "/scrape/import/stream"])
def test_refused_imports(backend: Backend, web: Web, path: str, members: Mapping[str, Any]) -> None:
    order = season_import(backend.state("show with season"), web.url, web.image()) | members
    with backend.client as client:
        headers = {"Content-Type": "application/json"}
        assert client.post(API + path, content=json.dumps(order), headers=headers).status_code in (404, 422)


# Delete, exclusion and purge


def test_delete_and_exclude(backend: Backend, web: Web) -> None:
    """What is excluded stays away from that entity and its show, under every spelling, and from nobody else."""
    url = web.image()
    source_url = web.page(f'<img src="{url}" width=800>')
    show, other = backend.state("show with season"), backend.state("show with season")
    entity = {"entity_type": "season", "entity_id": show["season_id"]}
    for exclude in ("false", "true"):
        assert backend.offers(source_url, **entity) == [url]
        (asset,) = backend.call("POST", "/scrape/import", json=season_import(show, source_url, url))["assets"]
        backend.call("DELETE", f"/media-assets/{asset['id']}", params={"exclude": exclude})
        assert httpx.get(asset["hosted_url"]).status_code == 404
    assert backend.offers(source_url, **entity) == []
    assert backend.offers(source_url) == [url]
    number = {"show_id": show["show_id"], "season_number": show["season_number"]}
    assert backend.offers(source_url, entity_type="season", **number) == []
    spelled = url.replace("http://", "HTTP://") + "#part"
    events = backend.stream(season_import(show, source_url, spelled))
    assert (events[0]["status"], events[0]["url"]) == ("excluded", spelled)
    assert backend.links(show["season_id"]) == []
    assert backend.stream(season_import(other, source_url, url))[1]["status"] == "success"
    excluded = "select entity_id::text from core.media_scrape_exclusions where source_image_url = %s"
    assert sorted(backend.rows(excluded, url)) == sorted([show["season_id"], show["show_id"]])


def test_purge(backend: Backend, web: Web) -> None:
    """A dry run says what would go and touches nothing; the other takes what that page gave that season alone."""
    source_url, elsewhere = f"{web.url}/a.html", f"{web.url}/b.html"
    show, other = backend.state("show with season"), backend.state("show with season")
    mine, shared, later = web.image(), web.image(), web.image()
    backend.call("POST", "/scrape/import", json=season_import(show, source_url, mine, shared))
    backend.call("POST", "/scrape/import", json=season_import(show, elsewhere, later))
    backend.call("POST", "/scrape/import", json=season_import(other, source_url, shared))
    addresses = "select source_url from core.media_assets where source_url = any(%s)"

    def purge(*options: str) -> str:
        values = {"show_id": show["show_id"], "season_number": "1", "page_url": f"{source_url}#top"}
        command = [word.format(**values) for word in backend.environment["purge"]["command"]]
        variables = {**os.environ, **backend.variables, "PYTHONPATH": str(ROOT)}
        return subprocess.run([*command, *options], env=variables, check=True, capture_output=True, text=True).stdout

    assert mine in purge()
    assert set(backend.rows(addresses, [mine, shared, later])) == {mine, shared, later}
    assert mine in purge("--execute")
    assert set(backend.rows(addresses, [mine, shared, later])) == {shared, later}
    assert [len(backend.links(entity)) for entity in (show["season_id"], show["show_id"])] == [1, 1]
    assert [len(backend.links(entity)) for entity in (other["season_id"], other["show_id"])] == [1, 1]
    assert backend.rows("select id from core.media_scrape_exclusions where entity_id = %s", show["season_id"]) == []
    assert "0 assets and 0 links" in purge("--execute")


# People count and text overlay


@pytest.mark.parametrize("hosted", [True, False])
def test_people_count(backend: Backend, web: Web, hosted: bool) -> None:
    """Counted once unless forced, at the hosted copy where there is one; a failure is told and stores nothing."""
    asset = backend.state("media asset", hosted=hosted)
    path = f"/media-assets/{asset['media_asset_id']}/auto-count"
    address = asset["hosted_url"] or asset["source_url"]

    def asked() -> int:
        return sum(body is not None and body["image_url"] == address for _, _, body in web.asked)

    web.people = None
    with backend.client as client:
        failure = client.post(API + path)
    assert (failure.status_code, bool(failure.json()["detail"]), asked()) == (502, True, 1)
    web.people = 3
    assert backend.call("POST", path)["people_count"] == 3
    web.people = 4
    assert (backend.call("POST", path)["people_count"], asked()) == (3, 2)
    assert (backend.call("POST", path, params={"force": "true"})["people_count"], asked()) == (4, 3)


def test_text_overlay_failure(backend: Backend, web: Web) -> None:
    show = backend.state("show with season")
    asset_id = backend.stream(season_import(show, web.url, web.image()))[1]["media_asset_id"]
    path = f"{API}/media-assets/{asset_id}/detect-text-overlay"
    with backend.client as client:
        assert client.post(path).json()["has_text_overlay"] is False
        failure = backend.state("text overlay failure", media_asset_id=asset_id)
        refusal = client.post(path, params={"force": "true"})
        assert (refusal.status_code, bool(refusal.json()["detail"])) == (502, True)
        body = {"state": "text overlay failure", "action": "teardown", "params": failure}
        httpx.post(backend.environment["backend_states_url"], json=body).raise_for_status()
        assert client.post(path, params={"force": "true"}).is_success


@pytest.mark.parametrize(
    "method, path",
    [("DELETE", "?exclude=maybe"), ("DELETE", "?exclude=true&exclude=true"), ("POST", "/auto-count?force=2")],
)
def test_flags_without_a_reading(backend: Backend, method: str, path: str) -> None:
    asset_id = backend.state("media asset", hosted=True)["media_asset_id"]
    with backend.client as client:
        assert client.request(method, f"{API}/media-assets/{asset_id}{path}").status_code == 422
        assert client.delete(f"{API}/media-assets/{asset_id}").is_success
        assert client.delete(f"{API}/media-assets/{asset_id}").status_code == 404


def test_document(backend: Backend) -> None:
    """The reference describes every operation that the contract pins."""
    with backend.client as client:
        document = client.get("/openapi.json").json()
    validate(document)
    pinned = contracts.load().openapi("backend")["paths"]
    assert {(path, method) for path, item in document["paths"].items() for method in item} >= {
        (path, method) for path, item in pinned.items() for method in item
    }
