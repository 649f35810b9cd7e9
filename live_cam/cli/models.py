"""``livecam models``."""

from __future__ import annotations

from live_cam.cache import Cache
from live_cam.models.specs import MODEL_SPECS


def list_models() -> None:
    """Prints the table of models and where the converted ones are kept."""
    rows = [("name", "input", "target layer", "weights")]
    rows += [(spec.name, str(spec.input_size), spec.target_layer, spec.weights) for spec in MODEL_SPECS.values()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    cache = Cache()
    count, size_bytes = cache.entry_count_and_bytes()
    print(f"\n{count} converted, {size_bytes / 1e6:.0f} MB in {cache.root}; delete them with --clear-cache")


def clear() -> None:
    """Empties the cache."""
    cache = Cache()
    print(f"{cache.clear()} converted models deleted from {cache.root}")
