"""Provider states of the app, in the database that it reads; `reference.states` sets them up and takes them away."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reference.states import Plan, State


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
        linked: Mapping[str, str] | None = None,
        legacy: Mapping[str, str] | None = None,
    ) -> str:
        """Plan an image that the show has as `kind`; seasons have it in `linked` and `legacy` as season → kind."""
        file_path = f"/{uuid.uuid4().hex}.jpg"
        asset = self.plan.asset(hosted, 3840, 2160, source=source, metadata={"file_path": file_path})
        self._link("show", self.id, asset.id, kind)
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
    """A season among others of its show, and images in every relation to them.

    What another show has, or this one has as a poster, is in none of the lists, and not to be offered either.
    """
    show, other = _Show.of(plan, positions, seasons=3), _Show.of(plan, positions, seasons=1)
    # also the specials have backdrops
    season, before, after = show.seasons
    (elsewhere,) = other.seasons
    other.image()
    show.image(kind="poster")
    return {
        "season_id": season,
        "unassigned": [
            show.image(),
            show.image(hosted=False),
            show.image(linked={season: "poster", after: "other"}),
            show.image(legacy={season: "poster"}),
            show.image(linked={elsewhere: "backdrop"}),
            show.image(legacy={elsewhere: "backdrop"}),
        ],
        "assigned_by_link": [
            show.image(linked={season: "backdrop"}),
            show.image(linked={before: "backdrop"}),
            show.image(linked={season: "poster", after: "backdrop"}),
        ],
        "assigned_by_legacy": [
            show.image(legacy={season: "backdrop"}),
            show.image(legacy={before: "backdrop"}),
            show.image(legacy={season: "poster", after: "backdrop"}),
        ],
        "other_source": [show.image(source="imdb"), show.image(source="web_scrape"), show.image(source="fanart")],
    }


_TABLES = frozenset({"core.shows", "core.seasons", "core.season_images"})

STATES: Mapping[str, State] = {"season backdrops": State(_season_backdrops, tables=_TABLES)}
"""The states of the app, by name."""
