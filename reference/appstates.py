"""Provider states of the app, in the database that it reads; `reference.states` sets them up and takes them away."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reference.states import Plan, State, id_of


@dataclass(frozen=True)
class _Show:
    """A show under construction, with its images."""

    plan: Plan
    positions: Iterable[int]
    id: str
    seasons: tuple[str, ...]

    @classmethod
    def of(cls, plan: Plan, positions: Iterable[int], *, seasons: int) -> _Show:
        """Plan a show with so many seasons."""
        title = f"Show {uuid.uuid4().hex[:8]}"
        show_id = plan.add("core.shows", name=title, title=title)
        # the specials are season 0
        numbers = range(seasons)
        ids = [plan.add("core.seasons", show_id=show_id, season_number=n, name=f"Season {n}") for n in numbers]
        return cls(plan, positions, show_id, tuple(ids))

    def image(
        self,
        *,
        source: str = "tmdb",
        kind: str = "backdrop",
        hosted: bool = True,
        size: tuple[int | None, int | None] = (3840, 2160),
        language: str | None = None,
        file: bool = True,
        also: _Show | None = None,
        linked: Mapping[str, str] | None = None,
        legacy: Mapping[str, str] | None = None,
    ) -> str:
        """Plan an image that the show, and `also` another, has as `kind`.

        Seasons have it in `linked` and `legacy` as season → kind; without `file` TMDb's name of it is not known.
        """
        file_path = f"/{uuid.uuid4().hex}.jpg"
        metadata = {"iso_639_1": language, **({"file_path": file_path} if file else {})}
        asset = self.plan.asset(hosted, *size, source=source, metadata=metadata)
        for show in filter(None, (self, also)):
            show._link("show", show.id, asset.id, kind)
        for season_id, season_kind in (linked or {}).items():
            self._link("season", season_id, asset.id, season_kind)
        for season_id, season_kind in (legacy or {}).items():
            self.plan.add(
                "core.season_images", season_id=season_id, kind=season_kind, source=source, file_path=file_path
            )
        return asset.id

    def _link(self, entity_type: str, entity_id: str, asset_id: str, kind: str) -> None:
        self.plan.add(
            "core.media_links",
            entity_type=entity_type,
            entity_id=entity_id,
            media_asset_id=asset_id,
            kind=kind,
            position=next(iter(self.positions)),
        )


def _season_backdrops(plan: Plan, params: Mapping[str, Any], positions: Iterable[int]) -> Mapping[str, Any]:
    """A season among others of its show, images in every relation to them, and a show with nothing assigned.

    What another show has, or this one has as a poster, is in none of the lists, and not to be offered either.
    """
    show, other, bare = (_Show.of(plan, positions, seasons=seasons) for seasons in (3, 1, 1))
    # also the specials have backdrops
    season, before, after = show.seasons
    (elsewhere,) = other.seasons
    other.image()
    show.image(kind="poster")
    return {
        "season_id": season,
        "bare_season_id": bare.seasons[0],
        "bare_unassigned": [bare.image()],
        "unassigned": [
            show.image(),
            show.image(hosted=False),
            show.image(size=(None, None)),
            show.image(size=(1000, 563)),
            show.image(language="en"),
            show.image(file=False),
            show.image(also=other),
            # more than a page of a drawer has
            *(show.image() for _ in range(40)),
            show.image(linked={season: "poster", after: "other"}),
            show.image(legacy={season: "poster"}),
            show.image(linked={elsewhere: "backdrop"}),
            show.image(legacy={elsewhere: "backdrop"}),
        ],
        "assigned_by_link": [
            show.image(linked={season: "backdrop"}),
            show.image(linked={season: "backdrop"}, file=False),
            show.image(linked={before: "backdrop"}),
            show.image(linked={season: "poster", after: "backdrop"}),
            show.image(linked={season: "backdrop", after: "backdrop"}),
            show.image(linked={season: "backdrop"}, legacy={season: "backdrop"}),
        ],
        "assigned_by_legacy": [
            show.image(legacy={season: "backdrop"}),
            show.image(legacy={before: "backdrop"}),
            show.image(legacy={season: "poster", after: "backdrop"}),
            show.image(legacy={season: "backdrop", after: "backdrop"}),
        ],
        "other_source": [show.image(source="imdb"), show.image(source="web_scrape"), show.image(source="fanart")],
    }


def _backdrop_of_a_season(plan: Plan, params: Mapping[str, Any], positions: Iterable[int]) -> Mapping[str, Any]:
    """One more backdrop of a season, by a link."""
    link_id = plan.add(
        "core.media_links",
        entity_type="season",
        entity_id=id_of(params, "season_id"),
        media_asset_id=id_of(params, "media_asset_id"),
        kind="backdrop",
        position=next(iter(positions)),
    )
    return {"link_id": link_id}


_TABLES = frozenset({"core.shows", "core.seasons", "core.season_images"})

STATES: Mapping[str, State] = {
    "season backdrops": State(_season_backdrops, tables=_TABLES),
    "backdrop of a season": State(_backdrop_of_a_season, frozenset({"season_id", "media_asset_id"})),
}
"""The states of the app, by name."""
