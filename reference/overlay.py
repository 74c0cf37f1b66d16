"""A detector of text that lies over an image: deterministic, local, and no more than a heuristic."""

from __future__ import annotations

import io

from PIL import Image, ImageChops

DETECTOR = "contrast-bands"

WIDTH = 512
"""The width in pixels that images are looked at in."""
CONTRAST = 64
"""The step in brightness between two neighbours that may be the edge of a letter."""
MIN_EDGES, CALM_EDGES = 12, 3
"""How many such steps a row within a line of text has at least, and a row beside it at most."""
MIN_ROWS, MAX_ROWS = 4, 96
"""How high a line of text may be."""


def has_text(content: bytes) -> bool:
    """Whether a band of rows is as busy as letters, between calm ones; raises what Pillow does for what is no image."""
    with Image.open(io.BytesIO(content)) as image:
        gray = image.convert("L")
    gray = gray.resize((WIDTH, max(1, round(gray.height * WIDTH / gray.width))))
    shifted = ImageChops.offset(gray, 1, 0)
    steps = ImageChops.difference(gray, shifted).point([0] * CONTRAST + [255] * (256 - CONTRAST))
    # The mean of a row tells the number of its steps.
    means = steps.resize((1, gray.height), Image.Resampling.BOX).tobytes()
    edges = [mean * WIDTH / 255 for mean in means]
    start: int | None = None
    for row, count in enumerate([*edges, 0.0]):
        if count >= MIN_EDGES:
            start = row if start is None else start
        elif start is not None:
            if MIN_ROWS <= row - start <= MAX_ROWS and _calm(edges, start - 2) and _calm(edges, row + 1):
                return True
            start = None
    return False


def _calm(edges: list[float], row: int) -> bool:
    """Whether a row, within the image, has hardly any step."""
    return not 0 <= row < len(edges) or edges[row] <= CALM_EDGES
