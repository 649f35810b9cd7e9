"""From the name, file or object of a model to an explainer, through the cache where that serves."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from live_cam.cache import Cache, Entry, PassFacts, file_sha256, pass_key
from live_cam.cam import CAM_METHODS
from live_cam.engines import Engine, Program
from live_cam.engines.agreement import disagreement
from live_cam.errors import ModelError, SettingError, unknown_name
from live_cam.explainer import Explainer
from live_cam.models.labels import imagenet_labels, read_labels
from live_cam.models.specs import BUNDLED, DEFAULT_MODEL, MODEL_SPECS, find_spec
from live_cam.native_output import silenced_native_stderr
from live_cam.preprocess import PREPROCESSINGS, FrameFitter

if TYPE_CHECKING:
    import keras

    from live_cam.gradmodel import GradModel

SCORES = ("logit", "probability")
ENGINES = ("auto", "litert", "tensorflow")
MODEL_FILE_SUFFIXES = (".keras", ".h5")


@dataclass(frozen=True, eq=False)
class ModelReference:
    """A model that is known but not loaded.

    Attributes:
        name: As the user knows it.
        identity: What tells this model's numbers from another's, for the cache key; None: not to be kept on disk.
        load: Builds or reads it, for an input size or None for its own; loads TensorFlow.
        preprocessing: The normalization it was trained with; None where that must be found out from the model.
        input_size: Pixels a side; None where the model says so itself.
        has_imagenet_labels: Whether its outputs are the 1000 ImageNet classes.
    """

    name: str
    identity: dict[str, Any] | None
    load: Callable[[int | None], keras.Model]
    preprocessing: str | None = None
    input_size: int | None = None
    has_imagenet_labels: bool = False


@dataclass(frozen=True)
class PassRequest:
    """What the user asked the pass to be; None and "auto" are still to be found out."""

    preprocess: str = "auto"
    input_size: int | None = None
    layers: tuple[str, ...] = ()
    method: str = "grad-cam"
    score: str = "logit"

    def __post_init__(self) -> None:
        if self.method not in CAM_METHODS:
            raise unknown_name("method", self.method, CAM_METHODS)
        if self.score not in SCORES:
            raise unknown_name("score", self.score, SCORES)
        if self.preprocess != "auto" and self.preprocess not in PREPROCESSINGS:
            raise unknown_name("preprocessing", self.preprocess, ["auto", *PREPROCESSINGS])
        if self.input_size is not None and not 16 <= self.input_size <= 4096:
            raise SettingError(f"input size {self.input_size} is out of range; give 16 to 4096 pixels")


def load_explainer(
    model: str | Path | keras.Model = DEFAULT_MODEL,
    *,
    weights: str | Path | None = None,
    labels: str | Path | Sequence[str] | None = None,
    preprocess: str = "auto",
    fit: str = "stretch",
    input_size: int | None = None,
    layer: str | Sequence[str] | None = None,
    method: str = "grad-cam",
    score: str = "logit",
    contrast: int | str | None = None,
    engine: str = "auto",
    threads: int | None = None,
    top_k: int = 3,
    check_image: np.ndarray | None = None,
    on_build: Callable[[str], None] | None = None,
) -> Explainer:
    """Makes ready to explain what a model sees.

    The first call for a model converts it, which takes seconds to minutes, and keeps the result in the user's cache
    directory; later calls take a fraction of a second and load no TensorFlow.

    Args:
        model: A name (see ``livecam models``), the path of a ``.keras`` or ``.h5`` file, or a ``keras.Model``.
        weights: A file of weights for a model given by name.
        labels: The class names, or a text file with one a line; ImageNet's for models given by name.
        preprocess: "auto", or how the network wants its pixels: "raw", "unit", "tf", "torch", "caffe", "lite".
        fit: How a frame becomes the network's square: "stretch" shows it all, "crop" its middle, "pad" all with borders.
        input_size: Pixels a side of what the network sees; None for the model's own.
        layer: The target layer, or several, to be fused: names, or one text with commas; None for the last one with a
            map of more than 1x1.
        method: A name in ``live_cam.cam.CAM_METHODS``.
        score: "logit", or "probability" for the gradient of the probability.
        contrast: A class, by index or label, whose score is subtracted: why the target and not this one.
        engine: "auto", "litert" or "tensorflow".
        threads: For LiteRT; None for one a core.
        top_k: How many predictions an explanation holds.
        check_image: (height, width, 3) uint8 BGR on which LiteRT must agree with TensorFlow before it is trusted;
            None for a picture made for that.
        on_build: Called with a line of text before anything that takes long.

    Raises:
        ModelError: The model, its weights or its labels cannot be used.
        SettingError: An argument makes no sense; the message names the nearest that does.
    """
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    if top_k < 1:
        raise SettingError(f"top-k {top_k} is out of range; give 1 or more")
    reference = referenced(model, weights)
    request = PassRequest(preprocess, input_size, layer_names(layer), method, score)
    loader = _Loader(reference, request, engine, threads, check_image, on_build or (lambda line: None))
    running_engine, facts = loader.engine_and_facts()
    names = class_names(labels, reference, facts)
    return Explainer(reference.name, running_engine, facts, names, method, fit, top_k, contrast)


def layer_names(layer: str | Sequence[str] | None) -> tuple[str, ...]:
    """The names in what a user gives as ``layer``."""
    names = layer.split(",") if isinstance(layer, str) else layer or ()
    return tuple(name.strip() for name in names if name.strip())


def referenced(model: str | Path | keras.Model, weights: str | Path | None = None) -> ModelReference:
    """Finds out what the user means by ``model`` without loading it.

    Raises:
        ModelError: There is no such file.
        SettingError: There is no such name.
    """
    keras = sys.modules.get("keras")  # It can only be a Keras model if Keras is loaded.
    if keras is not None and isinstance(model, keras.Model):
        return ModelReference(model.name, _object_identity(model), lambda input_size: model)
    if Path(model).suffix.lower() in MODEL_FILE_SUFFIXES or Path(model).exists():
        return _referenced_file(Path(model), weights)
    spec = find_spec(str(model))
    if weights is not None:
        identity = {"name": spec.name, "weights": _readable_sha256(Path(weights), "weights")}
    elif spec.weights == BUNDLED:
        from live_cam.models.torch_weights import bundled_weights_version

        identity = {"name": spec.name, "weights": bundled_weights_version()}
    else:
        identity = {"name": spec.name, "weights": "imagenet"}

    def load(input_size: int | None) -> keras.Model:
        from live_cam.models.build import load_model

        return load_model(spec.name, weights, input_size)

    return ModelReference(spec.name, identity, load, spec.preprocessing, spec.input_size, spec.labels == "imagenet")


def _referenced_file(path: Path, weights: str | Path | None) -> ModelReference:
    if weights is not None:
        raise SettingError(f"{path} brings its own weights; leave out the weights, or give the model's name")
    digest = _readable_sha256(path, "model")

    def load(input_size: int | None) -> keras.Model:
        from live_cam.models.build import load_model_file

        return load_model_file(path)

    return ModelReference(path.name, {"file": digest}, load)


def _readable_sha256(path: Path, kind: str) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise ModelError(f"cannot read the {kind} file {path}: {error.strerror}; check the path") from error


def _object_identity(model: keras.Model) -> dict[str, Any] | None:
    """None where there is code in the model that no digest of its settings would cover."""
    layers = model._flatten_layers()
    if not all(type(layer).__module__.startswith("keras.") for layer in layers):
        return None
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(np.ascontiguousarray(weight.numpy()))
    return {"config": model.to_json(), "weights": digest.hexdigest()}


def class_names(
    labels: str | Path | Sequence[str] | None, reference: ModelReference, facts: PassFacts
) -> tuple[str, ...]:
    """The name of each class the network tells apart.

    Raises:
        ModelError: There are more or fewer names than classes.
    """
    class_count = 2 if facts.head == "binary" else facts.output_count
    if labels is None:
        known = imagenet_labels() if reference.has_imagenet_labels else ()
        # A named model with other weights may have another head; numbers are better than wrong names.
        return known if len(known) == class_count else tuple(str(index) for index in range(class_count))
    names = read_labels(labels) if isinstance(labels, str | Path) else tuple(labels)
    if len(names) != class_count:
        raise ModelError(f"{len(names)} labels for {class_count} classes of {reference.name}; give one label a class")
    return names


@dataclass(frozen=True, eq=False)
class _Loader:
    """The way from a reference to a running engine."""

    reference: ModelReference
    request: PassRequest
    engine: str
    threads: int | None
    check_image: np.ndarray | None
    on_build: Callable[[str], None]

    def engine_and_facts(self) -> tuple[Engine, PassFacts]:
        """From the cache if it has the pass, else from the model."""
        with silenced_native_stderr():
            return self._engine_and_facts()

    def _engine_and_facts(self) -> tuple[Engine, PassFacts]:
        if self.engine == "tensorflow":
            return self._on_tensorflow(self._grad_model(), "asked for")
        if importlib.util.find_spec("ai_edge_litert") is None:
            self._refuse_where_litert_was_asked_for("ai-edge-litert is not installed")
            return self._on_tensorflow(self._grad_model(), "ai-edge-litert is not installed")
        entry = self._cached("explain")
        if entry is None:
            return self._built()
        if entry.program is None:
            self._refuse_where_litert_was_asked_for(entry.facts.engine_reason)
            return self._on_tensorflow(self._grad_model(), entry.facts.engine_reason)
        return self._on_litert(entry.program), entry.facts

    def _built(self) -> tuple[Engine, PassFacts]:
        grad_model = self._grad_model()
        program, reason = self._trusted_program(grad_model)
        facts = self._facts(grad_model, "tensorflow" if program is None else "litert", reason)
        program = self._kept("explain", facts, program)
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
        self.on_build(f"converting {self.reference.name} for LiteRT, once")
        try:
            program = converted(grad_model.explain)
        except ConversionError as error:
            return None, f"LiteRT cannot run this pass: {error}"
        image = made_picture() if self.check_image is None else self.check_image
        pixels, _ = FrameFitter(grad_model.settings.input_size_wh, "stretch").fit(image)
        candidate = LiteRTEngine(program, self._forward_program, self.threads)
        difference = disagreement(TensorFlowEngine(grad_model), candidate, pixels, grad_model.head)
        return (program, "CPU") if difference is None else (None, f"LiteRT disagrees with TensorFlow: {difference}")

    def _forward_program(self) -> Program:
        """The bare network's flatbuffer, converted when it is first asked for."""
        entry = self._cached("forward")
        if entry is not None and entry.program is not None:
            return entry.program
        with silenced_native_stderr():
            grad_model = self._grad_model()
            self.on_build(f"converting the bare {self.reference.name} for LiteRT, once")
            from live_cam.engines.convert import converted

            program = converted(grad_model.forward)
        return self._kept("forward", self._facts(grad_model, "litert", "CPU"), program)

    def _grad_model(self) -> GradModel:
        self.on_build(f"loading TensorFlow and {self.reference.name}")
        import live_cam.models.quiet_tensorflow  # noqa: F401
        from live_cam.gradmodel import GradModel, PassSettings
        from live_cam.models.inspect import found_input_size_wh, found_preprocessing

        request, reference = self.request, self.reference
        model = reference.load(request.input_size)
        name = request.preprocess
        if name == "auto":
            name = reference.preprocessing or found_preprocessing(model)
        size_wh = found_input_size_wh(model, request.input_size or reference.input_size)
        return GradModel(
            model, PassSettings(size_wh, PREPROCESSINGS[name], request.layers, request.method, request.score)
        )

    def _facts(self, grad_model: GradModel, engine: str, reason: str) -> PassFacts:
        return PassFacts(
            layer=",".join(grad_model.layer_names),
            head=grad_model.head,
            output_count=grad_model.output_count,
            input_size_wh=grad_model.settings.input_size_wh,
            preprocessing=grad_model.settings.preprocessing.name,
            engine=engine,
            engine_reason=reason,
        )

    def _on_tensorflow(self, grad_model: GradModel, reason: str) -> tuple[Engine, PassFacts]:
        from live_cam.engines.tensorflow import TensorFlowEngine

        return TensorFlowEngine(grad_model), self._facts(grad_model, "tensorflow", reason)

    def _on_litert(self, program: Program) -> Engine:
        from live_cam.engines.litert import LiteRTEngine

        return LiteRTEngine(program, self._forward_program, self.threads)

    def _refuse_where_litert_was_asked_for(self, reason: str) -> None:
        if self.engine == "litert":
            raise ModelError(f"the litert engine cannot serve: {reason}; leave out the engine or take tensorflow")

    def _key(self, kind: str) -> str | None:
        if self.reference.identity is None:
            return None
        request = dataclasses.asdict(self.request)
        if kind == "forward":
            # The bare network is the same whatever is explained.
            request = {name: request[name] for name in ("preprocess", "input_size")}
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
