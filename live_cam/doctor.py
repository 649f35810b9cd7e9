"""Checks of the machine livecam runs on, each with a hint for when it fails."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from live_cam.errors import LiveCamError
from live_cam.native_output import silenced_native_stderr


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: What was looked at.
        found: What it is.
        hint: What to do; empty where all is well.
        is_vital: Whether livecam cannot do its main job without it.
    """

    name: str
    found: str
    hint: str = ""
    is_vital: bool = False


def diagnose(environment: Mapping[str, str], on_build: Callable[[str], None]) -> Iterator[Check]:
    """Looks at one thing after the other, the slowest last.

    Args:
        environment: The process's environment variables: they tell of a screen.
        on_build: Called with a line before the model is converted.
    """
    yield _python()
    yield from _libraries()
    yield _window(environment)
    yield _cameras()
    yield _codec()
    yield _demo_photographs()
    yield _cache()
    yield _test_heatmap(on_build)
    yield _devices()


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    old = sys.version_info < (3, 10)
    return Check("Python", found, "livecam needs Python 3.10 or newer" if old else "", is_vital=True)


def _libraries() -> Iterator[Check]:
    vital = "reinstall livecam: pip install --force-reinstall ."
    for name, hint, is_vital in (
        ("tensorflow", vital, True),
        ("keras", vital, True),
        ("ai-edge-litert", "no wheel for this platform: the TensorFlow engine serves, several times slower", False),
        ("opencv-python", "another OpenCV may serve; if windows fail, install opencv-python", False),
        ("av", vital, True),
        ("numpy", vital, True),
    ):
        try:
            yield Check(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, "not installed", hint, is_vital)


def _devices() -> Check:
    """Last, for it loads TensorFlow."""
    try:
        with silenced_native_stderr():
            import live_cam.models.quiet_tensorflow  # noqa: F401
            from live_cam.engines.tensorflow import sees_gpu

            has_gpu = sees_gpu()
    except ImportError as error:
        return Check("devices", f"TensorFlow does not load: {error}", "reinstall tensorflow", is_vital=True)
    return Check("devices", "a GPU, by TensorFlow" if has_gpu else "CPU (TensorFlow sees no GPU)")


def _window(environment: Mapping[str, str]) -> Check:
    from live_cam.sinks.window import display_problem, gui_backend

    problem = display_problem(environment)
    if problem is None:
        return Check("window", f"{gui_backend()}, a screen answers")
    return Check("window", f"none: {problem}", "write files instead: --output FILE with --no-show")


def _cameras() -> Check:
    from live_cam.sources.camera import found_cameras

    indexes = found_cameras()
    if not indexes:
        return Check("cameras", "none found", "plug one in, or use --video FILE or --demo")
    return Check("cameras", ", ".join(f"--webcam {index}" for index in indexes))


def _codec() -> Check:
    from live_cam.sinks.video import h264_encoder_name

    name = h264_encoder_name()
    hint = "" if name else "this build of PyAV cannot write H.264; reinstall it from its wheel: pip install av"
    return Check("H.264 encoder", name or "none", hint, is_vital=True)


def _demo_photographs() -> Check:
    if importlib.util.find_spec("skimage") is None:
        return Check("demo photographs", "not installed", 'pip install ".[demo]" in the checkout brings them')
    return Check("demo photographs", "scikit-image's")


def _cache() -> Check:
    from live_cam.cache import Cache

    cache = Cache()
    count, size_bytes = cache.entry_count_and_bytes()
    found = f"{count} converted models, {size_bytes / 1e6:.0f} MB in {cache.root}"
    try:
        cache.root.mkdir(parents=True, exist_ok=True)
        probe = cache.root / "probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return Check("model cache", found, f"cannot be written ({error.strerror}): every start converts anew")
    return Check("model cache", found)


def _test_heatmap(on_build: Callable[[str], None]) -> Check:
    from live_cam.loading import load_explainer
    from live_cam.pass_loader import made_picture

    started_seconds = time.perf_counter()
    try:
        explainer = load_explainer(on_build=on_build)
        loaded_seconds = time.perf_counter() - started_seconds
        explainer.explain(made_picture())
        started_seconds = time.perf_counter()
        explanation = explainer.explain(made_picture())
    except LiveCamError as error:
        return Check("test heatmap", "failed", str(error), is_vital=True)
    height, width = explanation.heatmap.shape
    milliseconds = 1e3 * (time.perf_counter() - started_seconds)
    facts = explainer.facts
    found = (
        f"{width}x{height} of {facts.layer} in {milliseconds:.0f} ms on {facts.engine} ({facts.engine_reason}),"
        f" ready after {loaded_seconds:.1f} s"
    )
    return Check("test heatmap", found)
