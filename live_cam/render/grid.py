"""The places of several small images in one large image."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt


@dataclass(frozen=True)
class Grid:
    """Tiles of equal size with the proportions of the whole, side by side in its center.

    Attributes:
        columns: Number of tiles in a row.
        rows: Number of rows.
    """

    columns: int
    rows: int

    @staticmethod
    def of_classes(class_count: int) -> Grid:
        """Returns the grid for one tile per class: nearly square, and never with a single tile."""
        columns = max(2, ceil(sqrt(class_count)))
        return Grid(columns, ceil(class_count / columns))

    @property
    def scale(self) -> float:
        """Width and height of a tile, relative to those of the whole."""
        return 1 / max(self.columns, self.rows)

    def boxes_xywh(self, size_wh: tuple[int, int]) -> list[tuple[int, int, int, int]]:
        """Returns left, top, width and height of each tile in pixels, row by row.

        Args:
            size_wh: Width and height of the whole. In one of a few pixels, some tiles lie outside.
        """
        width, height = (max(1, int(side * self.scale)) for side in size_wh)
        left, top = (
            max(0, (side - count * tile) // 2)
            for side, count, tile in zip(size_wh, (self.columns, self.rows), (width, height), strict=True)
        )
        return [
            (left + column * width, top + row * height, width, height)
            for row in range(self.rows)
            for column in range(self.columns)
        ]

    def tile_xy_of(self, xy: tuple[float, float]) -> tuple[float, float]:
        """Returns the place within its tile of a place of the whole; both as fractions.

        A place beside the tiles is outside of [0, 1].
        """
        x, y = (
            (position - 0.5) / self.scale + count / 2
            for position, count in zip(xy, (self.columns, self.rows), strict=True)
        )
        column, row = (min(max(int(tile // 1), 0), count - 1) for tile, count in ((x, self.columns), (y, self.rows)))
        return x - column, y - row

    def xy_of(self, tile_xy: tuple[float, float]) -> tuple[float, float]:
        """Returns where a place of the first tile is in the whole; both as fractions."""
        x, y = (
            0.5 + (position - count / 2) * self.scale
            for position, count in zip(tile_xy, (self.columns, self.rows), strict=True)
        )
        return x, y
