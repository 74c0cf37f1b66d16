"""What only the backend's suites need."""

from __future__ import annotations

import pytest

from conformance.core_tables import CoreTables
from conformance.media import Media


@pytest.fixture(scope="session")
def tables(media: Media) -> CoreTables:
    """The backend's media tables, where the environment lets us look at them."""
    return media.tables
