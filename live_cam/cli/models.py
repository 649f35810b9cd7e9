"""``livecam models``."""

from __future__ import annotations

import typer


def models(
    clear_cache: bool = typer.Option(False, "--clear-cache", help="Delete the converted models of earlier runs."),
) -> None:
    """Lists the models that are known by name, and the cache of converted models."""
    from live_cam.explain.model_cache import Cache
    from live_cam.models.registry import MODEL_SPECS

    cache = Cache()
    if clear_cache:
        print(f"{cache.clear()} converted models deleted from {cache.root}")
        return
    rows = [("name", "input", "target layer", "weights")]
    rows += [(spec.name, str(spec.input_size), spec.target_layer, spec.weights) for spec in MODEL_SPECS.values()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    count, size_bytes = cache.entry_count_and_bytes()
    print(f"\n{count} converted, {size_bytes / 1e6:.0f} MB in {cache.root}; delete them with --clear-cache")
