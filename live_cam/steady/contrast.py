"""Which class the explained one is set against, while the viewer switches that on and off."""

from __future__ import annotations

from live_cam.explainer import NO_CLASS
from live_cam.frame import Explanation


class Rival:
    """The second class: the best that is not explained; asked by the explaining thread, switched by any.

    Attributes:
        mode: "given": the one the explainer was made with, if any; "second": the rival; "none".
    """

    def __init__(self) -> None:
        self.mode = "given"
        self._class_index = NO_CLASS
        self._best: tuple[int, ...] = ()

    def saw(self, explanation: Explanation) -> None:
        """Takes notice of a frame's predictions; who is still among them stays the rival."""
        self._best = tuple(one.class_index for one in explanation.predictions)
        self._class_index = self._beside(explanation.explained.class_index)

    def contrast_index(self, explained_index: int | None = None) -> int | None:
        """For ``Explainer.explain_input``, in the next frame, where that class is to be explained."""
        if self.mode == "second" and explained_index == self._class_index:
            self._class_index = self._beside(explained_index)
        return {"given": None, "second": self._class_index}.get(self.mode, NO_CLASS)

    def _beside(self, explained_index: int | None) -> int:
        others = [index for index in self._best if index != explained_index]
        if self._class_index in others:
            return self._class_index
        return others[0] if others else NO_CLASS
