"""From a model to a running engine of the pass that was asked for, through the cache where that serves."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from live_cam.cache import Cache, Entry, PassFacts, pass_key
from live_cam.cam import CAM_METHODS, SCORE_CAM
from live_cam.engines import Engine, Program
from live_cam.engines.agreement import disagreement
from live_cam.errors import ModelError, SettingError, unknown_name
from live_cam.models.reference import ModelReference
from live_cam.native_output import silenced_native_stderr
from live_cam.predictions import class_count_of
from live_cam.preprocess import PREPROCESSINGS, FrameFitter

if TYPE_CHECKING:
    import keras

    from live_cam.models.inspect import InputShape
    from live_cam.one_pass.gradmodel import GradModel

METHODS = (*CAM_METHODS, SCORE_CAM)
SCORES = ("logit", "probability")
ENGINES = ("auto", "litert", "tensorflow")


@dataclass(frozen=True)
class PassRequest:
    """What the user asked the pass to be; None and "auto" are still to be found out."""

    preprocess: str = "auto"
    input_size: int | None = None
    layers: tuple[str, ...] = ()
    method: str = "grad-cam"
    score: str = "logit"
    top_maps: int = 1
    output_name: str | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown_name("method", self.method, METHODS)
        if self.method == SCORE_CAM and (self.top_maps > 1 or len(self.layers) > 1):
            raise SettingError("score-cam explains one class by one layer; leave out --top-maps, give one --layer")
        if self.score not in SCORES:
            raise unknown_name("score", self.score, SCORES)
        if self.top_maps < 1:
            raise SettingError(f"{self.top_maps} maps are out of range; give 1 or more")
        if self.preprocess != "auto" and self.preprocess not in PREPROCESSINGS:
            raise unknown_name("preprocessing", self.preprocess, ["auto", *PREPROCESSINGS])
        if self.input_size is not None and not 16 <= self.input_size <= 4096:
            raise SettingError(f"input size {self.input_size} is out of range; give 16 to 4096 pixels")


def check_label_count(label_count: int, class_count: int, model_name: str) -> None:
    """Raises ModelError where there are more or fewer labels than classes."""
    if label_count != class_count:
        raise ModelError(f"{label_count} labels for {class_count} classes of {model_name}; give one label a class")


@dataclass(frozen=True, eq=False)
class PassLoader:
    """The way from a reference to a running engine."""

    reference: ModelReference
    request: PassRequest
    engine: str
    threads: int | None
    label_count: int | None
    check_image: np.ndarray | None
    on_build: Callable[[str], None]

    def engine_and_facts(self) -> tuple[Engine, PassFacts]:
        """From the cache if it has the pass, else from the model."""
        with silenced_native_stderr():
            return self._engine_and_facts()

    def _engine_and_facts(self) -> tuple[Engine, PassFacts]:
        if self.engine == "tensorflow":
            return self._on_tensorflow(self._grad_model, "asked for")
        if importlib.util.find_spec("ai_edge_litert") is None:
            self._refuse_where_litert_was_asked_for("ai-edge-litert is not installed")
            return self._on_tensorflow(self._grad_model, "ai-edge-litert is not installed")
        entry = self._cached("explain")
        if entry is None:
            return self._built()
        if entry.program is None:
            self._refuse_where_litert_was_asked_for(entry.facts.engine_reason)
            return self._on_tensorflow(self._grad_model, entry.facts.engine_reason)
        return self._on_litert(entry.program), entry.facts

    def _built(self) -> tuple[Engine, PassFacts]:
        grad_model = self._grad_model
        converted_program, reason = self._trusted_program(grad_model)
        facts = self._facts(grad_model, "tensorflow" if converted_program is None else "litert", reason)
        program = self._kept("explain", facts, converted_program)
        if program is None:
            self._refuse_where_litert_was_asked_for(reason)
            return self._on_tensorflow(grad_model, reason)
        return self._on_litert(program), facts

    def _trusted_program(self, grad_model: GradModel) -> tuple[bytes | None, str]:
        """The converted pass if it may be used, and why or why not."""
        from live_cam.engines.convert import ConversionError, converted
        from live_cam.engines.litert import LiteRTEngine
        from live_cam.engines.tensorflow import TensorFlowEngine, sees_gpu

        if self.engine == "auto" and sees_gpu():
            return None, "TensorFlow sees a GPU"
        self.on_build(f"converting {self.reference.name} for LiteRT, once ...")
        try:
            program = converted(grad_model.explain)
        except ConversionError as error:
            return None, f"LiteRT cannot run this pass: {error}"
        pixels = self._check_pixels(grad_model.settings.input_size_wh)
        candidate = LiteRTEngine(program, self._program, self.threads)
        difference = disagreement(TensorFlowEngine(grad_model), candidate, pixels, grad_model.head)
        return (program, "CPU") if difference is None else (None, f"LiteRT disagrees with TensorFlow: {difference}")

    def _program(self, name: str) -> Program:
        """A flatbuffer of the network without heatmap, converted when it is first asked for."""
        entry = self._cached(name)
        if entry is not None and entry.program is not None:
            return entry.program
        with silenced_native_stderr():
            grad_model = self._grad_model
            self.on_build(f"converting the bare {self.reference.name} for LiteRT, once ...")
            from live_cam.engines.convert import converted

            program = converted(getattr(grad_model, name))
        return self._kept(name, self._facts(grad_model, "litert", "CPU"), program) or program

    @cached_property
    def _grad_model(self) -> GradModel:
        self.on_build(f"loading TensorFlow and {self.reference.name} ...")
        import live_cam.models.quiet_tensorflow  # noqa: F401
        from live_cam.models.inspect import ensure_built, found_input, found_linear_outputs
        from live_cam.one_pass.gradmodel import GradModel, PassSettings

        request = self.request
        model = self.reference.load(request.input_size)
        shape = found_input(model, request.input_size or self.reference.input_size)
        ensure_built(model, shape)
        grad_model = GradModel(
            model,
            PassSettings(
                input_size_wh=shape.size_wh,
                preprocessing=PREPROCESSINGS[self._preprocessing(model, shape)],
                layers=request.layers,
                method=request.method,
                score=request.score,
                top_maps=request.top_maps,
                channel_count=shape.channel_count,
                output_name=request.output_name,
                linear_outputs=found_linear_outputs(model),
            ),
        )
        if self.label_count is not None:
            # Before the conversion, which takes long.
            class_count = class_count_of(grad_model.head, grad_model.output_count)
            check_label_count(self.label_count, class_count, self.reference.name)
        return grad_model

    def _preprocessing(self, model: keras.Model, shape: InputShape) -> str:
        if self.request.preprocess != "auto":
            return self.request.preprocess
        if self.reference.preprocessing is not None:
            return self.reference.preprocessing
        from live_cam.models.inspect import found_preprocessing

        found = found_preprocessing(model, shape)
        self.on_build(f"preprocessing {found.name}: {found.reason}")
        return found.name

    def _doubt(self, grad_model: GradModel) -> str:
        if self.reference.preprocessing is not None:
            return ""
        from live_cam.one_pass.doubts import preprocessing_doubt

        doubt = preprocessing_doubt(grad_model, self._check_pixels(grad_model.settings.input_size_wh))
        name = grad_model.settings.preprocessing.name
        others = ", ".join(other for other in PREPROCESSINGS if other != name)
        return "" if doubt is None else f"with preprocessing {name} {doubt}; try --preprocess with one of {others}"

    def _check_pixels(self, size_wh: tuple[int, int]) -> np.ndarray:
        image = made_picture() if self.check_image is None else self.check_image
        return FrameFitter(size_wh, "stretch").fit(image)[0]

    def _facts(self, grad_model: GradModel, engine: str, reason: str) -> PassFacts:
        return PassFacts(
            layer=",".join(grad_model.layer_names),
            head=grad_model.head,
            output_count=grad_model.output_count,
            input_size_wh=grad_model.settings.input_size_wh,
            preprocessing=grad_model.settings.preprocessing.name,
            engine=engine,
            engine_reason=reason,
            doubt=self._doubt(grad_model),
            layer_choices=grad_model.layer_choices,
        )

    def _on_tensorflow(self, grad_model: GradModel, reason: str) -> tuple[Engine, PassFacts]:
        from live_cam.engines.tensorflow import TensorFlowEngine

        return TensorFlowEngine(grad_model), self._facts(grad_model, "tensorflow", reason)

    def _on_litert(self, program: Program) -> Engine:
        from live_cam.engines.litert import LiteRTEngine

        return LiteRTEngine(program, self._program, self.threads)

    def _refuse_where_litert_was_asked_for(self, reason: str) -> None:
        if self.engine == "litert":
            raise ModelError(f"the litert engine cannot serve: {reason}; leave out the engine or take tensorflow")

    def _key(self, kind: str) -> str | None:
        if self.reference.identity is None:
            return None
        request = dataclasses.asdict(self.request)
        if kind != "explain":
            # The bare network is the same whatever is explained.
            request = {name: request[name] for name in ("preprocess", "input_size", "output_name")}
        return pass_key({"kind": kind, "model": self.reference.identity, "engine": self.engine, **request})

    def _cached(self, kind: str) -> Entry | None:
        key = self._key(kind)
        return None if key is None else Cache().load(key)

    def _kept(self, kind: str, facts: PassFacts, program: bytes | None) -> Program | None:
        """The program from where it was stored: mapped from a file it takes no memory of its own."""
        key = self._key(kind)
        if key is None:
            return program
        try:
            return Cache().store(key, facts, program).program
        except OSError as error:
            self.on_build(f"cannot keep the converted model, the next start will convert again: {error}")
            return program


def made_picture() -> np.ndarray:
    """(480, 640, 3) uint8: colour waves and noise, to compare engines on where no frame is at hand."""
    rows, columns = np.mgrid[0:480, 0:640].astype(np.float32)
    waves = [np.sin(rows / period + columns / (period + 11)) for period in (17, 31, 59)]
    noise = np.random.default_rng(0).normal(0, 12, (480, 640, 3))
    return np.clip(128 + 90 * np.stack(waves, axis=-1) + noise, 0, 255).astype(np.uint8)
