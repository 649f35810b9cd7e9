"""Facts about a built model that are available without loading it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from live_cam.explain.int8_check import Agreement
from live_cam.predictions import Head


@dataclass(frozen=True)
class ModelInfo:
    """Facts about a built model; the cache stores them beside the converted model.

    Attributes:
        layer: The target layer, or several, comma-separated.
        head: The kind of outputs, see ``predictions.Head``.
        output_count: The number of outputs.
        input_size_wh: Width and height of the network's input in pixels.
        preprocessing: Name of the normalization.
        engine: "litert" or "tensorflow".
        engine_reason: Why this engine, in a few words.
        warning: Why the preprocessing looks wrong, and what to do; empty if it does not.
        layer_choices: Target layers worth trying, largest map first.
        preprocessing_reason: Why this normalization, in a few words.
        channel_count: Channels of the network's input: 3 for color, 1 for gray.
        format: What the model was loaded from: ".keras file, Keras 3.15.1".
        output_name: The explained output.
        output_shapes: The shapes of all outputs by name, without the batch.
        resampling: How images are resized, see ``Preprocessing.resampling``.
        precision: "float" or "int8".
        precision_reason: Why float, if int8 was asked for; else empty.
        int8_agreement: How int8 agrees with float; None if they were not compared.
        int8_time_ratio: Time of int8 over that of float on this CPU; None if it was not measured.
    """

    layer: str
    head: Head
    output_count: int
    input_size_wh: tuple[int, int]
    preprocessing: str
    engine: str
    engine_reason: str
    warning: str = ""
    layer_choices: tuple[str, ...] = ()
    preprocessing_reason: str = ""
    channel_count: int = 3
    format: str = ""
    output_name: str = ""
    output_shapes: Mapping[str, Sequence[int | None]] = field(default_factory=dict)
    resampling: str | None = None
    precision: str = "float"
    precision_reason: str = ""
    int8_agreement: Agreement | None = None
    int8_time_ratio: float | None = None

    @property
    def int8_summary(self) -> str:
        """How int8 compares with float, and why it is not used if it is not; empty if it was not tried."""
        agreement = "" if self.int8_agreement is None else self.int8_agreement.text()
        if self.precision_reason:
            return f"not used: {self.precision_reason}; {agreement}".removesuffix("; ")
        ratio = self.int8_time_ratio
        time = "not timed on this CPU" if ratio is None else f"{ratio:.2f} times float's time"
        return agreement and f"{agreement}, {time}"

    def int8_figures(self) -> dict[str, Any] | None:
        """Returns what ``int8_summary`` says, for reports; None if int8 was not tried."""
        if not self.int8_summary:
            return None
        agreement = {} if self.int8_agreement is None else asdict(self.int8_agreement)
        return {"reason": self.precision_reason or None, **agreement, "time_ratio": self.int8_time_ratio}

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> ModelInfo:
        """Builds it from ``dataclasses.asdict`` after a round trip through JSON, which has no tuples.

        Raises:
            KeyError: The names are different.
            TypeError: Those of the agreement are.
        """
        if stored.keys() != {field.name for field in fields(ModelInfo)}:
            raise KeyError("these are the facts of another version")
        tuples = {name: tuple(stored[name]) for name in ("input_size_wh", "layer_choices")}
        agreement = stored["int8_agreement"]
        known = {**stored, **tuples, "int8_agreement": None if agreement is None else Agreement(**agreement)}
        return ModelInfo(**known)
