"""The passes of one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from live_cam.loading import load_explainer

if TYPE_CHECKING:
    import numpy as np

    from live_cam.explainer import Explainer
    from live_cam.frame import Frame
    from live_cam.run.preparing import PassWish


class Passes:
    """Loads the pass that was asked for, and those that keys ask for.

    Args:
        settings: Arguments for ``load_explainer``.
        on_build: Called with a line of text before anything that takes long in the pass that was asked for.
        on_line: Called with a line of what may be wrong with that pass, and of what takes long in another one.
    """

    def __init__(
        self, settings: Mapping[str, Any], on_build: Callable[[str], None], on_line: Callable[[str], None]
    ) -> None:
        self._settings, self._on_build, self._on_line = settings, on_build, on_line
        self._first_layer: str | None = None
        self._first_image: np.ndarray | None = None

    def first(self, frame: Frame) -> Explainer:
        """That which was asked for, checked on the first frame where it must be built."""
        explainer = load_explainer(
            **self._settings, check_image=frame.image, on_build=self._on_build, on_warning=self._on_line
        )
        self._first_layer, self._first_image = explainer.facts.layer, frame.image
        return explainer

    def other(self, wish: PassWish) -> Explainer:
        """The same model by another method or layer."""
        # A layer that was found and one that was named are two passes in the cache.
        layer = self._settings.get("layer") if wish.layer == self._first_layer else wish.layer
        changed = {**self._settings, "method": wish.method, "layer": layer}
        return load_explainer(**changed, check_image=self._first_image, on_build=self._on_line)
