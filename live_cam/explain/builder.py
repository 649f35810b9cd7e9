"""Builds the engine for a model: from the cache if it is there, else by loading, tracing and converting the model."""

from __future__ import annotations

import dataclasses
import gc
import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from live_cam.engines.protocol import Engine, Program
from live_cam.errors import ModelError, SettingError, unknown_name
from live_cam.explain.agreement import disagreement, synthetic_image
from live_cam.explain.model_info import ModelInfo
from live_cam.explain.programs import Programs
from live_cam.gradmodel.cam_methods import CAM_METHODS, SCORE_CAM
from live_cam.models.reference import ModelReference
from live_cam.predictions import class_count_of
from live_cam.preprocess import PREPROCESSINGS, FrameFitter, Preprocessing
from live_cam.settings import ExplainerSettings

if TYPE_CHECKING:
    from live_cam.gradmodel.grad_model import GradModel
    from live_cam.models.network import InputShape, Network

METHODS = (*CAM_METHODS, SCORE_CAM)
SCORES = ("logit", "probability")
ENGINES = ("auto", "litert", "tensorflow")
PRECISIONS = ("float", "int8")

_NOT_INSTALLED = "ai-edge-litert is not installed"


@dataclass(frozen=True)
class BuildRequest:
    """The settings that a converted model depends on, checked; part of its cache key.

    Attributes:
        preprocess: A key of ``PREPROCESSINGS``, or "auto".
        input_size: Side of the square input in pixels. Default: the model's own.
        layers: Names of the target layers. Default: the last one with a map.
        method: One of ``METHODS``.
        score: One of ``SCORES``.
        top_maps: Number of classes that are explained in the same call.
        output_name: Which of the model's outputs to explain. Default: its only one.
        precision: One of ``PRECISIONS``.
    """

    preprocess: str = "auto"
    input_size: int | None = None
    layers: tuple[str, ...] = ()
    method: str = ExplainerSettings.method
    score: str = "logit"
    top_maps: int = 1
    output_name: str | None = None
    precision: str = "float"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise unknown_name("precision", self.precision, PRECISIONS)
        if self.method not in METHODS:
            raise unknown_name("method", self.method, METHODS)
        if self.method == SCORE_CAM and (self.top_maps > 1 or len(self.layers) > 1):
            raise SettingError("score-cam explains one class by one layer; leave out top maps, and give one layer")
        if self.score not in SCORES:
            raise unknown_name("score", self.score, SCORES)
        if self.top_maps < 1:
            raise SettingError(f"{self.top_maps} maps are out of range; give 1 or more")
        if self.preprocess != "auto" and self.preprocess not in PREPROCESSINGS:
            raise unknown_name("preprocessing", self.preprocess, ["auto", *PREPROCESSINGS])
        if self.input_size is not None and not 16 <= self.input_size <= 4096:
            raise SettingError(f"input size {self.input_size} is out of range; give 16 to 4096 pixels")

    @staticmethod
    def from_settings(settings: ExplainerSettings) -> BuildRequest:
        """Returns the part of the settings that a converted model depends on.

        Raises:
            SettingError: One of them has an invalid value.
        """
        layer = settings.layer
        names = layer.split(",") if isinstance(layer, str) else layer or ()
        return BuildRequest(
            preprocess=settings.preprocess,
            input_size=settings.input_size,
            layers=tuple(name.strip() for name in names if name.strip()),
            method=settings.method,
            score=settings.score,
            top_maps=settings.top_maps,
            output_name=settings.output_name,
            precision=settings.precision,
        )


def method_named(name: str) -> str:
    """Returns the entry of ``METHODS`` that a user means: "Grad-CAM", "gradcam" and "grad_cam" are "grad-cam".

    Upper and lower case, blanks, "-" and "_" do not matter, and "pp" or "plusplus" at the end means "++".

    Raises:
        SettingError: There is no such method; the message names the nearest ones.
    """
    methods = {_folded_method(method): method for method in METHODS}
    if not isinstance(name, str) or _folded_method(name) not in methods:
        raise unknown_name("method", name, METHODS)
    return methods[_folded_method(name)]


def _folded_method(name: str) -> str:
    return re.sub("(plusplus|pp)$", "++", re.sub(r"[\s_-]", "", name.casefold()))


def check_label_count(label_count: int, class_count: int, model_name: str) -> None:
    """Checks that there are as many labels as classes.

    Raises:
        ModelError: There are more or fewer.
    """
    if label_count != class_count:
        raise ModelError(f"{label_count} labels for {class_count} classes of {model_name}; give one label per class")


class EngineBuilder:
    """Builds the float engine for a model.

    Args:
        reference: The model.
        settings: How it is explained, and by which engine.
        label_count: Number of labels that the user gave, which must be that of the classes. Default: not checked.
        check_image: (height, width, 3) uint8, BGR, on which the engines must agree. Default: a synthetic image.
        on_build: Called with a line of text before anything that takes long.

    Attributes:
        model_name: The model's name, as the user knows it.

    Raises:
        SettingError: One of the settings has an invalid value.
    """

    def __init__(
        self,
        reference: ModelReference,
        settings: ExplainerSettings,
        label_count: int | None = None,
        check_image: np.ndarray | None = None,
        on_build: Callable[[str], None] = lambda line: None,
    ) -> None:
        if settings.engine not in ENGINES:
            raise unknown_name("engine", settings.engine, ENGINES)
        if settings.calibrate is not None and settings.precision == "float":
            raise SettingError("calibration pictures are for the precision int8; ask for it, or leave them out")
        if settings.threads is not None and settings.threads < 1:
            raise SettingError(f"{settings.threads} threads are out of range; give 1 or more")
        self.model_name = reference.name
        self._reference = reference
        self._request = BuildRequest.from_settings(settings)
        self._engine = settings.engine
        self._threads = settings.threads
        self._label_count = label_count
        self._check_image = synthetic_image() if check_image is None else check_image
        self._on_build = on_build
        self._programs = self.programs(self._converted_bare)
        self._preprocessing_reason = ""

    def build(self, grad_model: GradModel | None = None) -> tuple[Engine, ModelInfo]:
        """Returns the engine, ready to run, and what is known about the model.

        Args:
            grad_model: The model, if it is loaded already.

        Raises:
            ModelError: The model cannot be loaded or explained, or the engine that was asked for cannot run it.
            SettingError: A setting does not fit the model.
        """
        if self._engine == "tensorflow":
            return self._on_tensorflow(grad_model or self.load_grad_model(), "asked for")
        if importlib.util.find_spec("ai_edge_litert") is None:
            self._refuse_if_litert_was_asked_for(_NOT_INSTALLED)
            return self._on_tensorflow(grad_model or self.load_grad_model(), _NOT_INSTALLED)
        entry = self._programs.load("explain")
        if entry is None:
            built = self._build_uncached(grad_model or self.load_grad_model())
            # Frees the Keras model, which refers to itself. A loop over frames may never trigger the collector.
            gc.collect()
            return built
        if entry.program is None:
            self._refuse_if_litert_was_asked_for(entry.info.engine_reason)
            return self._on_tensorflow(grad_model or self.load_grad_model(), entry.info.engine_reason)
        return self._on_litert(entry.program), entry.info

    def _build_uncached(self, grad_model: GradModel) -> tuple[Engine, ModelInfo]:
        content, reason = self._convert_and_compare(grad_model)
        info = self.info(grad_model, "tensorflow" if content is None else "litert", reason)
        program = self._programs.store("explain", info, content)
        if program is None:
            self._refuse_if_litert_was_asked_for(reason)
            return self._on_tensorflow(grad_model, reason)
        if self._request.method == SCORE_CAM:
            # Now, because the model is loaded but will not be kept.
            self._programs.store_bare("masked_forward", *self._converted_bare("masked_forward", grad_model))
        return self._on_litert(program), info

    def _convert_and_compare(self, grad_model: GradModel) -> tuple[bytes | None, str]:
        """Returns the converted model if it can be trusted, else None; and the reason for the choice of engine."""
        from live_cam.engines.convert import ConversionError, convert
        from live_cam.engines.tensorflow import TensorFlowEngine, sees_gpu

        if self._engine == "auto" and sees_gpu():
            return None, "TensorFlow sees a GPU"
        self._on_build(f"converting {self.model_name} for LiteRT, once ...")
        try:
            program = convert(grad_model.explain)
        except ConversionError as error:
            return None, f"LiteRT cannot run this model: {error}"
        pixels = self._check_pixels(grad_model)
        difference = disagreement(TensorFlowEngine(grad_model), self._on_litert(program), pixels, grad_model.info.head)
        return (program, "CPU") if difference is None else (None, f"LiteRT disagrees with TensorFlow: {difference}")

    def load_grad_model(self) -> GradModel:
        """Loads TensorFlow and the model, and traces it."""
        code = "" if self._reference.code is None else f", running {self._reference.code}"
        self._on_build(f"loading TensorFlow and {self.model_name}{code} ...")
        from live_cam.gradmodel.grad_model import GradModel, GraphConfig

        request = self._request
        network = self._reference.load(request.input_size)
        shape = network.input_shape(request.input_size or self._reference.input_size)
        config = GraphConfig(
            input_size_wh=shape.size_wh,
            preprocessing=self._preprocessing(network, shape),
            layers=request.layers,
            method=request.method,
            score=request.score,
            top_maps=request.top_maps,
            channel_count=shape.channel_count,
            output_name=request.output_name,
            linear_outputs=network.linear_outputs(request.output_name),
        )
        grad_model = GradModel(network, config)
        if self._label_count is not None:
            # Before the conversion, which takes long.
            class_count = class_count_of(grad_model.info.head, grad_model.output_count)
            check_label_count(self._label_count, class_count, self.model_name)
        return grad_model

    def _preprocessing(self, network: Network, shape: InputShape) -> Preprocessing:
        if self._request.preprocess != "auto":
            self._preprocessing_reason = "asked for"
            return PREPROCESSINGS[self._request.preprocess]
        if self._reference.preprocessing is not None:
            self._preprocessing_reason = "its weights were trained with it"
            return PREPROCESSINGS[self._reference.preprocessing]
        detected = network.preprocessing(shape)
        self._preprocessing_reason = detected.reason
        self._on_build(f"preprocessing {detected.name}: {detected.reason}")
        return detected.preprocessing

    def info(self, grad_model: GradModel, engine: str = "litert", reason: str = "CPU") -> ModelInfo:
        """Returns what is known about the model."""
        return ModelInfo(
            layer=",".join(grad_model.info.layer_names),
            head=grad_model.info.head,
            output_count=grad_model.output_count,
            input_size_wh=grad_model.config.input_size_wh,
            preprocessing=grad_model.config.preprocessing.name,
            engine=engine,
            engine_reason=reason,
            warning=self._warning(grad_model),
            layer_choices=grad_model.info.layer_choices,
            preprocessing_reason=self._preprocessing_reason,
            channel_count=grad_model.config.channel_count,
            format=grad_model.network.format,
            output_name=grad_model.config.output_name or next(iter(grad_model.info.output_shapes)),
            output_shapes=grad_model.info.output_shapes,
            resampling=grad_model.config.preprocessing.resampling,
        )

    def _warning(self, grad_model: GradModel) -> str:
        if self._reference.preprocessing is not None:
            return ""
        from live_cam.gradmodel.diagnostics import doubt

        problem = doubt(grad_model, self._check_pixels(grad_model))
        name = grad_model.config.preprocessing.name
        others = ", ".join(other for other in PREPROCESSINGS if other != name)
        if problem is None:
            return ""
        return (
            f"with preprocessing {name}, {problem}; either the preprocessing is another one (try one of {others}), "
            "or the model is not trained"
        )

    def _check_pixels(self, grad_model: GradModel) -> np.ndarray:
        config = grad_model.config
        return FrameFitter(config.input_size_wh, "stretch", config.preprocessing.resampling).fit(self._check_image)[0]

    def _on_tensorflow(self, grad_model: GradModel, reason: str) -> tuple[Engine, ModelInfo]:
        from live_cam.engines.tensorflow import TensorFlowEngine

        return TensorFlowEngine(grad_model), self.info(grad_model, "tensorflow", reason)

    def _on_litert(self, program: Program) -> Engine:
        from live_cam.engines.litert import LiteRTEngine

        return LiteRTEngine(program, self._programs.bare, self._threads)

    def _refuse_if_litert_was_asked_for(self, reason: str) -> None:
        if self._engine == "litert":
            raise ModelError(f"the litert engine cannot be used: {reason}; use the engine auto or tensorflow")

    def programs(self, convert: Callable[[str], tuple[ModelInfo, bytes]], calibration: str | None = None) -> Programs:
        """Returns the programs of this model, in float or, with the digest of the calibration pictures, in int8."""
        precision = "float" if calibration is None else "int8"
        settings = {**dataclasses.asdict(self._request), "precision": precision, "calibration": calibration}
        identity = self._reference.identity
        parts = None if identity is None else {"model": identity, "engine": self._engine, "settings": settings}
        return Programs(parts, convert, self._on_build)

    def _converted_bare(self, name: str, grad_model: GradModel | None = None) -> tuple[ModelInfo, bytes]:
        """Converts "forward" or "masked_forward"."""
        grad_model = grad_model or self.load_grad_model()
        from live_cam.engines.convert import convert

        self._on_build(f"converting {self.model_name} without heatmap for LiteRT, once ...")
        return self.info(grad_model), convert(getattr(grad_model, name))
