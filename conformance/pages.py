"""Web pages to scrape, in the most conventional markup, and the corner of the page origin where a test puts its own."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from html import escape
from typing import Literal
from urllib.parse import quote

from conformance.lab import Answer, Call, answers
from conformance.lab.client import Lab
from conformance.pictures import picture

Dated = Literal["meta", "time", "json-ld"]
"""Where a page says when it was published: `article:published_time`, `<time datetime>` or JSON-LD's `datePublished`."""
META: tuple[Dated, ...] = ("meta",)


@dataclass(frozen=True)
class PageImage:
    """An image on a page, and the text that stands with it."""

    url: str
    """Absolute."""
    width: int | None = 1200
    """Pixels that the markup states, if it does."""
    height: int | None = 800
    name: str = ""
    """Whom it shows."""
    caption: str = ""
    two_lines: bool = False
    """Whether the name has a line of its own, before the caption's, instead of standing as `Name: caption`."""
    alt: str | None = None
    """The alternative text; None: the context in one line."""
    larger: str = ""
    """The address of a version of twice the width, which is in its `srcset`, if there is one."""

    @property
    def context(self) -> str:
        """The text of its `<figcaption>`, with a line feed for each `<br>`."""
        return ("\n" if self.two_lines else ": ").join(filter(None, (self.name, self.caption)))


def html_page(
    title: str,
    images: Iterable[PageImage] = (),
    *,
    published: str | None = None,
    dated: Collection[Dated] = META,
    text: str = "",
    charset: str = "utf-8",
) -> str:
    """An article with a figure for each image; `published` is the text of its date, said in each way of `dated`."""
    head = [f'<meta charset="{escape(charset)}">', f"<title>{escape(title)}</title>"]
    body = [f"<h1>{escape(title)}</h1>"]
    if published is not None and "meta" in dated:
        head.append(f'<meta property="article:published_time" content="{escape(published)}">')
    if published is not None and "json-ld" in dated:
        about = {"@type": "NewsArticle", "headline": title, "datePublished": published}
        data = json.dumps({"@context": "https://schema.org", **about}).replace("<", "\\u003c")
        head.append(f'<script type="application/ld+json">{data}</script>')
    if published is not None and "time" in dated:
        body.append(f'<p><time datetime="{escape(published)}">{escape(published)}</time></p>')
    if text:
        body.append(f"<p>{escape(text)}</p>")
    body += [_figure(image) for image in images]
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en">',
            *("<head>", *head, "</head>"),
            *("<body>", "<article>", *body, "</article>", "</body>"),
            "</html>\n",
        )
    )


def _figure(image: PageImage) -> str:
    alt = image.context.replace("\n", " ") if image.alt is None else image.alt
    sizes = (("width", image.width), ("height", image.height))
    stated = "".join(f' {name}="{pixels}"' for name, pixels in sizes if pixels is not None)
    if image.larger and image.width is not None:
        stated += f' srcset="{escape(image.url)} {image.width}w, {escape(image.larger)} {2 * image.width}w"'
    figcaption = f"<figcaption>{escape(image.context).replace(chr(10), '<br>')}</figcaption>" if image.context else ""
    return f'<figure><img src="{escape(image.url)}"{stated} alt="{escape(alt)}">{figcaption}</figure>'


class Site:
    """A fresh first path segment of the page origin, where one test has its pages and images."""

    def __init__(self, origin: Lab) -> None:
        self.origin = origin
        self.key = uuid.uuid4().hex

    def path(self, name: str) -> str:
        """The path of a name, which may have a query."""
        return f"/{self.key}/{quote(name, safe='/?=&')}"

    def url(self, name: str) -> str:
        """The address of a name."""
        return self.origin.origin_url + self.path(name)

    def image(
        self,
        name: str | None = None,
        *given: Answer,
        head: Answer | None = None,
        width: int | None = 1200,
        height: int | None = 800,
        person: str = "",
        caption: str = "",
        two_lines: bool = False,
    ) -> PageImage:
        """Serves a picture of its own, or what is given, and returns it as it stands on a page."""
        name = f"{uuid.uuid4().hex}.png" if name is None else name
        shown = given or (answers.image(picture(f"{self.key}/{name}", width or 1200, height or 800)),)
        self.origin.serve(self.path(name), *shown, head=head)
        return PageImage(self.url(name), width, height, person, caption, two_lines)

    def page(
        self,
        images: Iterable[PageImage] = (),
        *,
        name: str = "page.html",
        title: str = "Pictures of the season",
        published: str | None = None,
        dated: Collection[Dated] = META,
        answer: Answer | None = None,
    ) -> str:
        """Serves a page with these images, or `answer` instead, and returns its address."""
        html = html_page(title, images, published=published, dated=dated)
        self.origin.serve(self.path(name), answers.page(html) if answer is None else answer)
        return self.url(name)

    def fetches(self, where: str, *, method: str | None = None, at_least: int = 0, within_s: float = 0.0) -> list[Call]:
        """The calls for one of its addresses, in order."""
        return self.origin.fetches(where, method=method, at_least=at_least, within_s=within_s)

    def calls(self, *, at_least: int = 0, within_s: float = 0.0) -> list[Call]:
        """The calls for all of it, with those of the vision service about its images, in order."""
        return self.origin.calls(self.key, at_least=at_least, within_s=within_s)
