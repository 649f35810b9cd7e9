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

    def saw(self, explanation: Explanation) -> None:
        """Takes notice of a frame's predictions; who is still among them stays the rival."""
        explained_index = explanation.explained.class_index
        others = [one.class_index for one in explanation.predictions if one.class_index != explained_index]
        if self._class_index not in others:
            self._class_index = others[0] if others else NO_CLASS

    def contrast_index(self) -> int | None:
        """For ``Explainer.explain_input``, in the next frame."""
        return {"given": None, "second": self._class_index}.get(self.mode, NO_CLASS)
