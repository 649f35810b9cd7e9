"""Builds the int8 engine for a model, and decides whether it or the float engine is used."""

from __future__ import annotations

import contextlib
import gc
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from live_cam.engines.protocol import Engine, Program
from live_cam.errors import SettingError
from live_cam.explain.agreement import synthetic_image
from live_cam.explain.builder import EngineBuilder
from live_cam.explain.calibration import calibration_digest, calibration_pictures, mirrored, with_crops
from live_cam.explain.int8_check import int8_agreement
from live_cam.explain.model_cache import Cache
from live_cam.explain.model_info import ModelInfo
from live_cam.gradmodel.cam_methods import SCORE_CAM
from live_cam.predictions import NO_CLASS, TOP_CLASS
from live_cam.preprocess import FrameFitter
from live_cam.settings import ExplainerSettings
from live_cam.timing_harness import interleaved, machine, timed

if TYPE_CHECKING:
    from live_cam.gradmodel.grad_model import GradModel

# Of each engine: half a second, but no more and no fewer calls.
_MEASURED_SECONDS = 0.5
_CALLS_PER_ROUND = 3
_MOST_CALLS = 30

_Built = tuple[Engine, ModelInfo]


class Int8Builder:
    """Builds the int8 engine for a model; the float engine if int8 cannot be used, disagrees with float or is slower.

    Args:
        float_builder: Builds the float engine.
        settings: How the model is explained, by which engine, and the calibration pictures.
        on_build: Called with a line of text before anything that takes long.

    Raises:
        SettingError: One of the settings has an invalid value.
    """

    def __init__(
        self,
        float_builder: EngineBuilder,
        settings: ExplainerSettings,
        on_build: Callable[[str], None] = lambda line: None,
    ) -> None:
        if settings.engine == "tensorflow":
            raise SettingError("int8 runs on LiteRT only; use the engine auto or litert, or the precision float")
        self._float_builder = float_builder
        self._settings = settings
        self._on_build = on_build
        self._programs = float_builder.programs(self._converted_bare, calibration_digest(settings.calibrate))

    def build(self) -> tuple[Engine, ModelInfo]:
        """Returns the engine, ready to run, and what is known about the model, also why it is in float if it is.

        Raises:
            ModelError: The model cannot be loaded or explained, or the engine that was asked for cannot run it.
            SettingError: A setting does not fit the model, or there are no calibration pictures.
            SourceError: A calibration picture cannot be read.
        """
        entry = self._programs.load("explain")
        if entry is None:
            built = self._build_uncached()
            # Frees the Keras model, which refers to itself.
            gc.collect()
            return built
        return self._faster(entry.program, entry.info, self._float_builder.build)

    def _build_uncached(self) -> _Built:
        pictures = calibration_pictures(self._settings.calibrate)
        grad_model = self._float_builder.load_grad_model()
        built = self._float_builder.build(grad_model)
        engine, info = built
        if info.engine != "litert":
            reason = f"int8 needs LiteRT, and this model runs on TensorFlow: {info.engine_reason}"
            return engine, replace(info, precision_reason=reason)
        content, info = self._quantize_and_compare(grad_model, built, pictures)
        return self._faster(self._programs.store("explain", info, content), info, lambda: built)

    def _quantize_and_compare(
        self, grad_model: GradModel, built: _Built, pictures: list[np.ndarray]
    ) -> tuple[bytes | None, ModelInfo]:
        """Returns the int8 program if it agrees with float, else None; and what is known about the model."""
        from live_cam.engines.convert import ConversionError

        float_engine, info = built
        samples = with_crops(pictures)
        inputs = _fitted([*samples, *mirrored(samples)], info)
        try:
            program = self._converted("explain", grad_model, inputs[: len(samples)])
            if self._settings.method == SCORE_CAM:
                # Now, because the model is loaded but will not be kept.
                masked = self._converted("masked_forward", grad_model, inputs[: len(samples)])
                self._programs.store_bare("masked_forward", replace(info, precision="int8"), masked)
        except ConversionError as error:
            return None, replace(info, precision_reason=f"the conversion to int8 failed: {error}")
        self._on_build("comparing int8 with float ...")
        method = self._settings.method
        agreement, noise = int8_agreement(float_engine, self._engine(program), inputs, info.head, method)
        if objection := agreement.objection(noise):
            reason = f"int8 disagrees with float: {objection}"
            return None, replace(info, precision_reason=reason, int8_agreement=agreement)
        return program, replace(info, precision="int8", int8_agreement=agreement)

    def _converted(self, name: str, grad_model: GradModel, inputs: Sequence[np.ndarray]) -> bytes:
        from live_cam.engines.convert import quantize

        self._on_build(f"converting {self._float_builder.model_name} to int8 for LiteRT, once ...")
        height, width = inputs[0].shape[1:3]
        # From darkness on the left to the whole picture on the right.
        mask = np.broadcast_to(np.linspace(0, 1, width, dtype=np.float32), (height, width))
        others: dict[str, list[np.ndarray]] = {
            "explain": [np.array([TOP_CLASS, NO_CLASS], np.int32)],
            "forward": [],
            "masked_forward": [mask],
        }
        return quantize(getattr(grad_model, name), [[pixels, *others[name]] for pixels in inputs])

    def _converted_bare(self, name: str) -> tuple[ModelInfo, bytes]:
        """Converts "forward" or "masked_forward"."""
        pictures = calibration_pictures(self._settings.calibrate)
        grad_model = self._float_builder.load_grad_model()
        info = replace(self._float_builder.info(grad_model), precision="int8")
        return info, self._converted(name, grad_model, _fitted(with_crops(pictures), info))

    def _faster(self, program: Program | None, info: ModelInfo, build_float: Callable[[], _Built]) -> _Built:
        """Returns the int8 engine if there is one and it is faster, else the float engine with the reason."""
        reason, ratio = info.precision_reason, None
        if program is not None:
            int8_engine = self._engine(program)
            ratio = self._time_ratio(int8_engine, info, build_float)
            if ratio <= 1:
                return int8_engine, replace(info, int8_time_ratio=ratio)
            reason = f"int8 is slower on this CPU: {ratio:.2f} times float's time"
        engine, float_info = build_float()
        return engine, replace(
            float_info, precision_reason=reason, int8_agreement=info.int8_agreement, int8_time_ratio=ratio
        )

    def _time_ratio(self, int8_engine: Engine, info: ModelInfo, build_float: Callable[[], _Built]) -> float:
        """Returns the time of int8 over that of float: measured once for each CPU model, and kept in the cache."""
        cpu, key = machine()["cpu"], self._programs.key("explain")
        known = None if key is None else Cache().time_ratio(key, cpu)
        if known is not None:
            return known
        self._on_build("comparing the speed of int8 and float on this CPU ...")
        float_engine, _ = build_float()
        ratio = measured_time_ratio(int8_engine, float_engine, _fitted([synthetic_image()], info)[0])
        if key is not None:
            # In a cache that cannot be written, it is measured at the next start again.
            with contextlib.suppress(OSError):
                Cache().store_time_ratio(key, cpu, ratio)
        return ratio

    def _engine(self, program: Program) -> Engine:
        from live_cam.engines.litert import LiteRTEngine

        return LiteRTEngine(program, self._programs.bare, self._settings.threads)


def measured_time_ratio(engine: Engine, other: Engine, pixels: np.ndarray) -> float:
    """Returns the time that an engine takes for a picture over the time of another: the median of some rounds."""
    actions = {
        "engine": timed(lambda index: engine.explain(pixels, (TOP_CLASS, NO_CLASS))),
        "other": timed(lambda index: other.explain(pixels, (TOP_CLASS, NO_CLASS))),
    }
    # The first call of an engine is slower.
    actions["other"](0)
    call_count = min(_MOST_CALLS, max(2 * _CALLS_PER_ROUND, int(_MEASURED_SECONDS / actions["other"](0))))
    timings = interleaved(actions, call_count, call_count // _CALLS_PER_ROUND)
    return statistics.median(timings["engine"].ratios_to(timings["other"]))


def _fitted(pictures: Sequence[np.ndarray], info: ModelInfo) -> list[np.ndarray]:
    """Returns pictures as the network sees them, each (1, h, w, 3) uint8, BGR."""
    fitter = FrameFitter(info.input_size_wh, "stretch", info.resampling)
    return [fitter.fit(picture)[0].copy() for picture in pictures]
