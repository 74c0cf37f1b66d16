"""The media workflow as a state machine: previews, imports and deletes for several entities, against a model."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from conformance.core_tables import CoreTables
from conformance.errors import PremiseBroken, Violation
from conformance.exchange import Exchange
from conformance.media import NOT_IMPORTED, Entity, Imported, Media, image_order
from conformance.pages import PageImage, Site
from conformance.sse import normal_id
from conformance.suites.backend.upkeep import entities_of, excluding, few, link_to, no_server_error, only_asset

ANY = st.integers(0, 10_000)


@dataclass(eq=False)
class Who:
    """An entity of the model."""

    entity: Entity
    by_number: Entity
    """The same, where it is a season, named by show and number."""
    kin: list[Who] = field(default_factory=list)
    """A season's show, a show's seasons: what is excluded for one may be excluded for the other."""


@dataclass(eq=False)
class Photo:
    """What the model knows of an image."""

    image: PageImage
    asset_id: str | None = None
    linked: set[Who] = field(default_factory=set)
    """Who imported it since it became this asset."""
    maybe_linked: set[Who] = field(default_factory=set)
    """Whose link the contract leaves open: who imported a duplicate, the show of a season."""
    excluded: set[Who] = field(default_factory=set)
    maybe_excluded: set[Who] = field(default_factory=set)
    was_deleted: bool = False
    was_let_go: bool = False
    """The last delete excluded nothing."""

    @property
    def url(self) -> str:
        """Its address."""
        return self.image.url

    def outcomes(self, who: Who) -> set[str]:
        """How an import for somebody may end."""
        if who in self.excluded:
            return {"excluded"}
        sound = "success" if self.asset_id is None else "duplicate"
        return {sound, "excluded"} if who in self.maybe_excluded else {sound}

    def settle(self, who: Who, *, excluded: bool) -> None:
        """What was open is seen."""
        if who in self.maybe_excluded:
            self.maybe_excluded.discard(who)
            if excluded:
                self.excluded.add(who)


@dataclass(eq=False)
class Page:
    """A page of the model."""

    url: str
    photos: list[Photo]


class MediaMachine(RuleBasedStateMachine):
    """Shows with their seasons, people, pages, and each image's asset, links and exclusions."""

    def __init__(self, media: Media, tables: CoreTables) -> None:
        super().__init__()
        self.media = media
        self.tables = tables
        self.given = ExitStack()
        self.everybody: list[Who] = []
        self.photos: list[Photo] = []
        self.pages: list[Page] = []
        self.site: Site = media.site()

    def teardown(self) -> None:
        self.given.close()

    # --- who and what there is ---

    @initialize(who=ANY)
    def first(self, who: int) -> None:
        """Two shows, a person, and two pages that share an image; somebody has imported one of them."""
        self.show()
        self.show()
        person = self.given.enter_context(self.media.person())
        self.everybody.append(Who(person, person))
        self.photos = [Photo(self.site.image()) for _ in range(3)]
        self._add_page(self.photos[:2])
        self._add_page(self.photos[1:])
        self.import_page(who, 0, backwards=False, by_number=False)

    def _add_page(self, photos: list[Photo]) -> None:
        name = f"page-{len(self.pages)}.html"
        self.pages.append(Page(self.site.page([photo.image for photo in photos], name=name), photos))

    def show(self) -> None:
        made = self.given.enter_context(self.media.show())
        season, show = Who(made.season, made.season_by_number), Who(made.show, made.show)
        season.kin, show.kin = [show], [season]
        self.everybody += [season, show]

    # --- steps ---

    @rule(who=ANY, page=ANY, for_nobody=st.booleans())
    def preview(self, who: int, page: int, for_nobody: bool) -> None:
        """A page is previewed: for somebody all but what is excluded for them is shown, for nobody all of it."""
        self._compare_preview(self._page(page), None if for_nobody else self._who(who))

    @rule(who=ANY, page=ANY, backwards=st.booleans(), by_number=st.booleans())
    def import_page(self, who: int, page: int, backwards: bool, by_number: bool) -> None:
        """All images of a page are imported by the stream."""
        chosen, source = self._who(who), self._page(page)
        photos = source.photos[::-1] if backwards else source.photos
        orders = [image_order(photo.url) for photo in photos]
        told = self.media.streamed(chosen.by_number if by_number else chosen.entity, source.url, orders)
        for photo in photos:
            final = told.final(photo.url)
            self._ended(photo, chosen, final.status, final.media_asset_id, told.exchange)

    @rule(who=ANY, page=ANY, which=ANY)
    def import_one(self, who: int, page: int, which: int) -> None:
        """One image is imported plainly."""
        chosen, source = self._who(who), self._page(page)
        photo = source.photos[which % len(source.photos)]
        if chosen in photo.maybe_excluded:
            return  # the counts of a plain import would not say which it was
        imported = self.media.imported(chosen.entity, source.url, [image_order(photo.url)])
        self._ended(photo, chosen, self._status(imported, photo, chosen), self._asset_id(imported), imported.exchange)

    @precondition(lambda self: any(photo.asset_id for photo in self.photos))
    @rule(which=ANY, exclude=st.sampled_from((True, False)), again=st.sampled_from((None, True, False)))
    def delete(self, which: int, exclude: bool, again: bool | None) -> None:
        """An asset is deleted, with or without excluding its image, and perhaps again, which changes nothing.

        Then each entity's preview is as it should be.
        """
        known = [photo for photo in self.photos if photo.asset_id is not None]
        photo = known[which % len(known)]
        assert photo.asset_id is not None
        linked = set(photo.linked)
        if self.tables.present:
            rows = entities_of(self.tables.links_of([photo.asset_id]))
            linked = {who for who in self.everybody if rows & entities_of([who.entity.members])}
            photo.maybe_linked.clear()
        asset_id = photo.asset_id
        exchange = self.media.deleted(asset_id, exclude=exclude)
        photo.asset_id, photo.was_deleted, photo.was_let_go = None, True, not exclude
        if exclude:
            photo.excluded |= linked
            photo.maybe_excluded |= {*photo.maybe_linked, *(kin for who in linked for kin in who.kin)}
            photo.maybe_excluded -= photo.excluded
        self._compare_tables(asset_id, photo, linked if exclude else set(), exchange)
        photo.linked.clear()
        photo.maybe_linked.clear()
        if again is not None:
            exchange = self.media.delete(asset_id, exclude=again)
            no_server_error(exchange, clause="DEL-01", what="a second delete")
        page = next(page for page in self.pages if photo in page.photos)
        for who in self.everybody:
            self._compare_preview(page, who)

    # --- against the model ---

    def _who(self, number: int) -> Who:
        return self.everybody[number % len(self.everybody)]

    def _page(self, number: int) -> Page:
        return self.pages[number % len(self.pages)]

    def _compare_preview(self, page: Page, who: Who | None) -> None:
        preview = self.media.previewed(page.url, None if who is None else who.entity)
        for photo in page.photos:
            shown = preview.shows(photo.url)
            if who is not None and who in photo.maybe_excluded:
                photo.settle(who, excluded=not shown)
            elif who is not None and shown and who in photo.excluded:
                self._fail("EXC-02", "a preview shows an excluded image", "left out", "shown", photo, preview.exchange)
            elif not shown and (who is None or who not in photo.excluded):
                clause = "PRE-05" if who is None else self._why_not_excluded(photo, default="PRE-05")
                self._fail(clause, "a preview leaves out an image", "shown", "left out", photo, preview.exchange)

    def _why_not_excluded(self, photo: Photo, *, default: str) -> str:
        """The clause by which an image is not excluded for whom it was not excluded."""
        if photo.was_let_go:  # what was left out before is seen after every delete
            return "EXC-03"
        return "EXC-04" if photo.excluded or photo.maybe_excluded else default

    def _ended(self, photo: Photo, who: Who, status: str, asset_id: str | None, exchange: Exchange) -> None:
        """The import of an image has ended as the model says, which takes note of it."""
        expected = photo.outcomes(who)
        if status not in expected:
            self._fail(
                self._broken(photo, expected, status),
                "the import of an image ended otherwise than its history says",
                " or ".join(sorted(expected)),
                status,
                photo,
                exchange,
            )
        photo.settle(who, excluded=status == "excluded")
        if status == "success":
            photo.asset_id = asset_id
            photo.linked, photo.maybe_linked = {who}, set(who.kin)
        if status == "duplicate":
            if asset_id is not None and normal_id(asset_id) != normal_id(str(photo.asset_id)):
                self._fail("SSE-04", "a duplicate names another asset", photo.asset_id, asset_id, photo, exchange)
            photo.maybe_linked |= {who, *who.kin}
        if status == "excluded" and photo.asset_id is not None and self.tables.present:
            links = link_to(self.tables.links_of([photo.asset_id]), who.entity)
            if links and who not in photo.maybe_linked:
                self._fail("SSE-05", "an excluded image was linked", [], [dict(row) for row in links], photo, exchange)

    def _broken(self, photo: Photo, expected: set[str], status: str) -> str:
        """The clause that an import breaks that ended with `status`."""
        if expected == {"excluded"}:
            return "EXC-02"
        if status == "excluded":
            return self._why_not_excluded(photo, default="EXC-04")
        if status == "duplicate" and photo.was_deleted:
            return "DEL-01"
        return NOT_IMPORTED.get(status, "IMP-03")

    def _compare_tables(self, asset_id: str, photo: Photo, excluded: set[Who], exchange: Exchange) -> None:
        """After a delete, the tables have no trace of the asset, all of the others, and the exclusions."""
        if not self.tables.present:
            return
        left = [*self.tables.assets([asset_id]), *self.tables.links_of([asset_id])]
        if left:
            self._fail("DEL-01", "a deleted asset left rows", [], [dict(row) for row in left], photo, exchange)
        known = {normal_id(each.asset_id) for each in self.photos if each.asset_id is not None}
        gone = known - {normal_id(str(row["id"])) for row in self.tables.assets(known)}
        if gone:
            self._fail("DEL-01", "a delete took other assets", [], sorted(gone), photo, exchange)
        rows = entities_of(excluding(self.tables, [who.entity for who in excluded], photo.url))
        missing = [who.entity.members for who in excluded if not rows & entities_of([who.entity.members])]
        if missing:
            self._fail("EXC-01", "a delete excluded for some only", [], missing, photo, exchange)

    # --- plain imports ---

    def _status(self, imported: Imported, photo: Photo, who: Who) -> str:
        """How the import of one image ended, by its counts: what is skipped may be a duplicate or excluded."""
        if imported.imported:
            return "success"
        if imported.errors and who not in photo.excluded:
            return "error"
        skipped = "excluded" if who in photo.excluded else "duplicate"
        return skipped if imported.skipped_duplicates or who in photo.excluded else "excluded"

    def _asset_id(self, imported: Imported) -> str | None:
        if not imported.imported:
            return None
        asset = only_asset(imported)
        if asset is None:
            raise PremiseBroken(
                "IMP-01",
                "an import of one image answers no asset",
                expected="one asset with its id",
                actual=imported.assets,
                exchange=imported.exchange,
            )
        return str(asset["id"])

    def _fail(self, clause: str, what: str, expected: Any, actual: Any, photo: Photo, exchange: Exchange) -> None:
        raise Violation(f"{what}: {photo.url}", clause=clause, expected=expected, actual=actual, exchange=exchange)


@pytest.mark.clause("EXC-02", "EXC-03", "EXC-04", "DEL-01", "IMP-03", "PRE-05")
def test_any_history_of_previews_imports_and_deletes(media: Media, tables: CoreTables) -> None:
    """After any history, previews and imports for each entity are as what was deleted and excluded says."""
    with media.show(), media.person():
        pass  # not verified at once where there are no states
    media.reach()
    # a factory is as good as a class, which takes no arguments
    machine = partial(MediaMachine, media, tables)
    run_state_machine_as_test(machine, settings=few())  # type: ignore[arg-type]
