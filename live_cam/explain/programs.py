"""The converted programs of one model: from the cache, else converted when they are first needed."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from typing import Any

from live_cam.engines.protocol import Program
from live_cam.explain.model_cache import Cache, Entry, cache_key
from live_cam.explain.model_info import ModelInfo

# The settings that matter to "forward" and "masked_forward", which give no heatmap.
_BARE_SETTINGS = ("preprocess", "input_size", "output_name", "precision", "calibration")


class Programs:
    """The flatbuffers of "explain", "forward" and "masked_forward" of a model in one precision.

    Args:
        parts: Everything that the programs are built from, for the cache key; None if they cannot be cached.
        convert: Converts "forward" or "masked_forward", for which it loads the model.
        on_build: Called with a line of text if something cannot be stored.
    """

    def __init__(
        self,
        parts: Mapping[str, Any] | None,
        convert: Callable[[str], tuple[ModelInfo, bytes]],
        on_build: Callable[[str], None],
    ) -> None:
        self._parts = parts
        self._convert = convert
        self._on_build = on_build
        self._bare: dict[str, Program] = {}

    def key(self, kind: str) -> str | None:
        """Returns the name of a program's entry in the cache; None if it cannot be cached."""
        if self._parts is None:
            return None
        settings = dict(self._parts["settings"])
        if kind != "explain":
            settings = {name: settings[name] for name in _BARE_SETTINGS}
        return cache_key({**self._parts, "settings": settings, "kind": kind})

    def load(self, kind: str) -> Entry | None:
        """Returns the entry of a program; None if it is not in the cache."""
        key = self.key(kind)
        return None if key is None else Cache().load(key)

    def store(self, kind: str, info: ModelInfo, content: bytes | None) -> Program | None:
        """Returns the path of the stored flatbuffer, which is mapped into memory, or its content if not stored."""
        key = self.key(kind)
        if key is None:
            return content
        try:
            return Cache().store(key, info, content).program
        except OSError as error:
            self._on_build(f"cannot store the converted model, the next start will convert it again: {error}")
            return content

    def bare(self, name: str) -> Program:
        """Returns the flatbuffer of "forward" or "masked_forward"."""
        if name not in self._bare:
            entry = self.load(name)
            if entry is None or entry.program is None:
                self.store_bare(name, *self._convert(name))
                # Frees the Keras model, which refers to itself.
                gc.collect()
            else:
                self._bare[name] = entry.program
        return self._bare[name]

    def store_bare(self, name: str, info: ModelInfo, content: bytes) -> None:
        """Stores the flatbuffer of "forward" or "masked_forward" that was just converted."""
        self._bare[name] = self.store(name, info, content) or content
