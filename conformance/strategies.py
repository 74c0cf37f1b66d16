"""What the property-based tests draw: always valid by construction, nothing filtered away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import hypothesis
from hypothesis import strategies as st

from conformance.profiles import MAX_SIZE


def max_size() -> int:
    """Links in a drawn gallery, at most, by the profile in force."""
    return MAX_SIZE[hypothesis.settings.get_current_profile_name().removeprefix("conformance-")]


@dataclass(frozen=True)
class Sizes:
    """How many links of each kind a gallery has."""

    seeded: int
    unseeded: int
    unhosted: int = 0

    @property
    def total(self) -> int:
        """All links."""
        return self.seeded + self.unseeded + self.unhosted


@st.composite
def sizes(draw: st.DrawFn, *, min_seeded: int = 0, min_unseeded: int = 0, unhosted: bool = False) -> Sizes:
    """A gallery of any size, flags and hosting: the size first, so that empty, single and large ones all come up."""
    room = draw(st.integers(0, max_size()))
    seeded = draw(st.integers(0, room))
    rest = room - seeded
    without_copy = draw(st.integers(0, rest)) if unhosted else 0
    return Sizes(seeded + min_seeded, rest - without_copy + min_unseeded, without_copy)


_NOT_TEXT = st.one_of(
    st.none(),
    st.lists(st.booleans(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.booleans(), max_size=2),
    st.integers(min_value=2),
    st.integers(max_value=-1),
    st.floats(min_value=1.5, allow_nan=False, allow_infinity=False),
)
# no spelling of a boolean begins with x
_NO_BOOLEAN_WORD = st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=12).map(
    lambda text: f"x{text}"
)

NO_BOOLEAN: st.SearchStrategy[Any] = st.one_of(_NOT_TEXT, st.just("maybe"), _NO_BOOLEAN_WORD)
"""JSON values that nobody can read as a boolean."""
