"""What the different backend knows: people, shows, seasons, assets, their links and exclusions, in memory.

Ids are lower-case UUIDs. With `Tables` (tables.py) every change to assets, links and exclusions is written through, so
that what the memory says and what the database shows are the same after every answer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from uuid import uuid4


def fresh_id() -> str:
    return str(uuid4())


@dataclass(frozen=True, slots=True)
class Entity:
    """A person, a show or a season."""

    type: str
    id: str


@dataclass(slots=True, eq=False)
class Asset:
    """An image; ``hosted_url`` is None where there is no hosted copy, ``digest`` where its bytes were never seen."""

    source_url: str
    hosted_url: str | None
    id: str = field(default_factory=fresh_id)
    digest: str | None = None
    page_url: str | None = None
    width: int | None = None
    height: int | None = None
    caption: str | None = None
    published: str | None = None
    people: int | None = None

    @property
    def served_url(self) -> str:
        return self.source_url if self.hosted_url is None else self.hosted_url


@dataclass(slots=True, eq=False)
class Link:
    """An asset's place with an entity; ``facebank_seed`` is written under ``lock`` only."""

    owner: Entity
    asset: Asset
    position: int = 0
    is_primary: bool = False
    facebank_seed: bool = False
    kind: str = "gallery"
    tagged: tuple[str, ...] = ()
    id: str = field(default_factory=fresh_id)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An image that an entity is not to get again; ``key`` is its address as addresses are compared."""

    owner: Entity
    key: str
    image_url: str
    page_url: str | None
    id: str = field(default_factory=fresh_id)


@dataclass(frozen=True, slots=True)
class Season:
    """A season of a show, and its cast as (person's id, name)."""

    id: str
    show_id: str
    number: int
    cast: tuple[tuple[str, str], ...] = ()


Thing = Asset | Link | Exclusion


class Record(Protocol):
    """Where changes are written through."""

    def put(self, things: Iterable[Thing]) -> None: ...

    def drop(self, things: Iterable[Thing]) -> None: ...


class Catalog:
    """All of it. Each method is one step for other threads; what must be one step together is done under ``lock``."""

    def __init__(self, record: Record | None = None) -> None:
        self.lock = threading.RLock()
        self.people: dict[str, str] = {}
        self.shows: set[str] = set()
        self.seasons: dict[str, Season] = {}
        self.assets: dict[str, Asset] = {}
        self.deleted: set[str] = set()
        self.links: dict[str, Link] = {}
        self.owned: dict[Entity, tuple[Link, ...]] = {}
        self.exclusions: dict[Entity, Mapping[str, Exclusion]] = {}
        self.failing: set[str] = set()
        self.unreadable: set[str] = set()
        self._record = record

    def add_person(self, person_id: str, links: tuple[Link, ...] = (), name: str = "") -> None:
        with self.lock:
            self.people[person_id] = name
            self.add(*{link.asset.id: link.asset for link in links}.values())
            self.attach(*links)

    def add_season(self, season: Season) -> None:
        with self.lock:
            for person_id, name in season.cast:
                self.people[person_id] = name
            self.shows.add(season.show_id)
            self.seasons[season.id] = season

    def remove_person(self, person_id: str) -> None:
        with self.lock:
            self._forget(Entity("person", person_id))
            self.people.pop(person_id, None)

    def remove_show(self, show_id: str) -> None:
        with self.lock:
            for season in [season for season in self.seasons.values() if season.show_id == show_id]:
                self._forget(Entity("season", season.id))
                del self.seasons[season.id]
                for person_id, _ in season.cast:
                    self.remove_person(person_id)
            self._forget(Entity("show", show_id))
            self.shows.discard(show_id)

    def _forget(self, owner: Entity) -> None:
        links = self.owned.pop(owner, ())
        for link in links:
            del self.links[link.id]
        self._drop(links)
        self._drop(self.exclusions.pop(owner, {}).values())

    def knows(self, entity: Entity) -> bool:
        known: Mapping[str, Iterable[str]] = {"person": self.people, "show": self.shows, "season": self.seasons}
        return entity.id in known[entity.type]

    def season_of(self, show_id: str, number: int) -> Season | None:
        return next((s for s in list(self.seasons.values()) if (s.show_id, s.number) == (show_id, number)), None)

    def gallery(self, person_id: str) -> list[Link]:
        return [link for link in self.owned.get(Entity("person", person_id), ()) if link.kind == "gallery"]

    def add(self, *assets: Asset) -> None:
        with self.lock:
            self.assets.update((asset.id, asset) for asset in assets)
            self.save(*assets)

    def attach(self, *links: Link) -> None:
        with self.lock:
            for link in links:
                self.links[link.id] = link
                self.owned[link.owner] = (*self.owned.get(link.owner, ()), link)
            self.save(*links)

    def find(self, **members: object) -> Asset | None:
        """The asset with these members."""
        return next(
            (
                a
                for a in list(self.assets.values())
                if all(getattr(a, name) == value for name, value in members.items())
            ),
            None,
        )

    def links_of(self, asset: Asset) -> list[Link]:
        return [link for link in list(self.links.values()) if link.asset is asset]

    def remove(self, asset: Asset) -> list[Link]:
        """Takes an asset away with its links, which are returned."""
        with self.lock:
            links = self.links_of(asset)
            for link in links:
                del self.links[link.id]
                self.owned[link.owner] = tuple(each for each in self.owned[link.owner] if each is not link)
            self._drop(links)
            if self.assets.pop(asset.id, None) is not None:
                self.deleted.add(asset.id)
                self._drop([asset])
            return links

    def exclude(self, exclusion: Exclusion) -> None:
        with self.lock:
            known = self.exclusions.get(exclusion.owner, {})
            if exclusion.key not in known:
                self.exclusions[exclusion.owner] = {**known, exclusion.key: exclusion}
                self.save(exclusion)

    def excluded(self, owner: Entity) -> Mapping[str, Exclusion]:
        return self.exclusions.get(owner, {})

    def save(self, *things: Thing) -> None:
        if self._record is not None:
            with self.lock:
                self._record.put(things)

    def _drop(self, things: Iterable[Thing]) -> None:
        if self._record is not None:
            self._record.drop(things)
