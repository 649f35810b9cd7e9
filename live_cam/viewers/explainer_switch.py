"""Switches to another method or layer while the one in use keeps running."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from live_cam.errors import LiveCamError
from live_cam.explain.load import build_explainer
from live_cam.gradmodel.cam_methods import CAM_METHODS

if TYPE_CHECKING:
    import numpy as np

    from live_cam.explain.explainer import Explainer
    from live_cam.frame import Frame
    from live_cam.pipeline.pipeline import Pipeline
    from live_cam.settings import ExplainerSettings

# A user who steps through a list by pressing a key repeatedly wants only the last entry.
_SETTLING_SECONDS = 0.3


@dataclass(frozen=True)
class MethodAndLayer:
    """Method and target layer of an explainer.

    Attributes:
        method: A CAM method's name.
        layer: The target layer, or several (comma-separated).
    """

    method: str
    layer: str

    def __str__(self) -> str:
        return f"{self.method} · {self.layer}" if self.layer else self.method


class ExplainerLoader:
    """Loads the explainer of a job, and others of the same model.

    Args:
        settings: The job's.
        on_build: Called with a line before anything that takes long while the job's explainer is loaded.
        on_line: Called with warnings about it, and with a line before anything that takes long for another one.
    """

    def __init__(
        self, settings: ExplainerSettings, on_build: Callable[[str], None], on_line: Callable[[str], None]
    ) -> None:
        self._settings, self._on_build, self._on_line = settings, on_build, on_line
        self._first_layer: str | None = None
        self._first_image: np.ndarray | None = None

    def first(self, frame: Frame | None) -> Explainer:
        """Loads the job's explainer; a new one is checked on this frame, or on a synthetic image."""
        image = None if frame is None else frame.image
        explainer = build_explainer(self._settings, image, self._on_build, self._on_line)
        self._first_layer, self._first_image = explainer.layer, image
        return explainer

    def other(self, choice: MethodAndLayer) -> Explainer:
        """Loads an explainer with another method or layer."""
        # A layer that was found and one that was named are two cache entries.
        layer = self._settings.layer if choice.layer == self._first_layer else choice.layer
        changed = replace(self._settings, method=choice.method, layer=layer)
        return build_explainer(changed, self._first_image, self._on_line)


class ExplainerSwitch:
    """Loads one choice at a time, always the last one asked for, and installs it in the pipeline. For one thread.

    Args:
        pipeline: Uses the explainers.
        load: Loads an explainer; called in a thread of its own.

    Attributes:
        pending: The choice that is being loaded or waits for that; None if there is none.
    """

    def __init__(self, pipeline: Pipeline, load: Callable[[MethodAndLayer], Explainer]) -> None:
        self._pipeline, self._load = pipeline, load
        self.pending: MethodAndLayer | None = None
        self._asked_seconds = 0.0
        self._failed: MethodAndLayer | None = None
        self._loading: _Loading | None = None

    def step_method(self, step: int) -> str:
        """Asks for the next or previous method; returns what to tell the user."""
        choice = self._wanted()
        return self.ask_for(replace(choice, method=next_in(list(CAM_METHODS), choice.method, step)))

    def step_layer(self, step: int) -> str:
        """Asks for the next or previous of the layers worth a look; returns what to tell the user."""
        explainer = self._pipeline.explainer
        layers = () if explainer is None else explainer.layer_choices
        choice = self._wanted()
        if not layers:
            return ""
        # From several layers together, a step forward leads to the first, a step back to the last.
        position = layers.index(choice.layer) if choice.layer in layers else -1 if step > 0 else len(layers)
        if not 0 <= position + step < len(layers):
            return f"{choice.layer} is the {'last' if step > 0 else 'first'} layer to choose"
        return self.ask_for(replace(choice, layer=layers[position + step]))

    def poll(self) -> str | None:
        """Installs an explainer that finished loading. Call it once per GUI tick.

        Returns:
            The choice that is in use now, or why it cannot be used; None if nothing happened.
        """
        message = None
        if self._loading is not None and self._loading.has_ended:
            message = self._finish(self._loading)
            self._loading = None
        has_settled = time.monotonic() - self._asked_seconds >= _SETTLING_SECONDS
        if self._loading is None and self.pending is not None and has_settled:
            self._loading = _Loading(self._load, self.pending)
        return message

    @property
    def waited_seconds(self) -> float:
        """Time since the last choice was asked for."""
        return time.monotonic() - self._asked_seconds

    @property
    def has_failed(self) -> bool:
        """Whether the last choice could not be loaded."""
        return self._failed is not None

    def _finish(self, loading: _Loading) -> str | None:
        if loading.choice != self.pending:
            return None
        self.pending = None
        if loading.explainer is None:
            self._failed = loading.choice
            return loading.error
        self._pipeline.use(loading.explainer)
        return str(loading.choice)

    def _wanted(self) -> MethodAndLayer:
        # After an error the next key continues from the failed choice, not back to it.
        return self.pending or self._failed or self._in_use()

    def _in_use(self) -> MethodAndLayer:
        explainer = self._pipeline.explainer
        return MethodAndLayer("", "") if explainer is None else MethodAndLayer(explainer.method, explainer.layer)

    def ask_for(self, choice: MethodAndLayer) -> str:
        """Asks for a choice; returns what to tell the user."""
        self._failed = None
        self.pending = None if choice == self._in_use() else choice
        self._asked_seconds = time.monotonic()
        return str(choice)


class _Loading:
    """Loads one explainer in a thread."""

    def __init__(self, load: Callable[[MethodAndLayer], Explainer], choice: MethodAndLayer) -> None:
        self.choice = choice
        self.explainer: Explainer | None = None
        self.error = ""
        self._load = load
        self._thread = threading.Thread(target=self._run, name="livecam-load", daemon=True)
        self._thread.start()

    @property
    def has_ended(self) -> bool:
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.explainer = self._load(self.choice)
        except LiveCamError as error:
            self.error = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the explainer in use still works
            first_line = (str(error).splitlines() or [""])[0]
            self.error = f"cannot load {self.choice}: {type(error).__name__}: {first_line}"


def next_in(names: Sequence[str], name: str, step: int) -> str:
    """Returns the name that many places further, starting over at the end; the first if ``name`` is unknown."""
    return names[(names.index(name) + step) % len(names)] if name in names else names[0]
