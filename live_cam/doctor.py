"""Checks what livecam needs on this machine; each failed check has a hint."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from live_cam.errors import LiveCamError


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: What was checked.
        found: What was found.
        hint: What to do; empty if everything is fine.
        is_vital: Whether livecam cannot work if this check fails.
    """

    name: str
    found: str
    hint: str = ""
    is_vital: bool = False


def diagnose(environment: Mapping[str, str], on_build: Callable[[str], None]) -> Iterator[Check]:
    """Yields one result after the other, those of the slowest checks last.

    Args:
        environment: The environment variables of the process, which name the screen.
        on_build: Called with a line of text before the model is compiled.
    """
    yield _python()
    yield from _libraries()
    yield _window(environment)
    yield _cameras()
    yield _encoder()
    yield _demo_photographs()
    yield _cache()
    yield from _int8()
    yield _test_heatmap(on_build)
    yield _devices()


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    is_old = sys.version_info < (3, 10)
    return Check("Python", found, "livecam needs Python 3.10 or newer" if is_old else "", is_vital=True)


def _libraries() -> Iterator[Check]:
    reinstall = "reinstall livecam: pip install --force-reinstall ."
    for name, hint, is_vital in (
        ("tensorflow", reinstall, True),
        ("keras", reinstall, True),
        ("ai-edge-litert", "if it has no wheel for this platform, TensorFlow is used, several times slower", False),
        ("opencv-python", "another OpenCV package may work; install opencv-python if windows fail", False),
        ("av", reinstall, True),
        ("numpy", reinstall, True),
    ):
        try:
            yield Check(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, "not installed", hint, is_vital)


def _window(environment: Mapping[str, str]) -> Check:
    from live_cam.viewers.window import display_problem, gui_backend

    problem = display_problem(environment)
    if problem is None:
        return Check("window", f"{gui_backend()}, the screen responds")
    return Check("window", f"none: {problem}", "write files instead: --output FILE with --no-show")


def _cameras() -> Check:
    from live_cam.sources.camera import found_cameras

    indices = found_cameras()
    if not indices:
        return Check("cameras", "none found", "connect one, or use --video FILE or --demo")
    return Check("cameras", ", ".join(f"--webcam {index}" for index in indices))


def _encoder() -> Check:
    from live_cam.sinks.video.encoder import h264_encoder_name

    name = h264_encoder_name()
    hint = "" if name else "this build of PyAV cannot write H.264; reinstall its wheel: pip install av"
    return Check("H.264 encoder", name or "none", hint, is_vital=True)


def _demo_photographs() -> Check:
    if importlib.util.find_spec("skimage") is None:
        return Check("demo photographs", "not installed", 'install them: pip install ".[demo]" in the checkout')
    return Check("demo photographs", "scikit-image's")


def _cache() -> Check:
    from live_cam.explain.model_cache import Cache

    cache = Cache()
    count, size_bytes = cache.entry_count_and_bytes()
    found = f"{count} compiled models, {size_bytes / 1e6:.0f} MB in {cache.root}"
    try:
        cache.root.mkdir(parents=True, exist_ok=True)
        probe = cache.root / "probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return Check("model cache", found, f"not writable ({error.strerror}): the model is compiled at every start")
    return Check("model cache", found)


def _int8() -> Iterator[Check]:
    """Says whether int8 may be faster on this CPU, and what is known of the models that were tried."""
    from live_cam.explain.model_cache import Cache
    from live_cam.timing_harness import machine

    instructions = sorted(_cpu_flags() & {"avx512_vnni", "avx_vnni"})
    yield Check("int8 instructions", ", ".join(instructions) or "unknown; --precision int8 measures if it is faster")
    cache, cpu = Cache(), machine()["cpu"]
    for key, info in cache.int8_entries():
        known = replace(info, int8_time_ratio=cache.time_ratio(key, cpu))
        yield Check(f"int8, {info.format or 'a model'}, {info.layer}", known.int8_summary)


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}


def _test_heatmap(on_build: Callable[[str], None]) -> Check:
    from live_cam.explain.agreement import synthetic_image
    from live_cam.explain.load import load_explainer

    started_seconds = time.perf_counter()
    try:
        explainer = load_explainer(on_build=on_build)
        loading_seconds = time.perf_counter() - started_seconds
        # The first call of an engine is slower.
        explainer.explain(synthetic_image())
        started_seconds = time.perf_counter()
        explanation = explainer.explain(synthetic_image())
    except LiveCamError as error:
        return Check("test heatmap", "failed", str(error), is_vital=True)
    milliseconds = 1e3 * (time.perf_counter() - started_seconds)
    height, width = explanation.heatmap.shape
    info = explainer.info
    found = (
        f"{width}x{height} from {info.layer} in {milliseconds:.0f} ms on {info.engine} ({info.engine_reason}),"
        f" loaded in {loading_seconds:.1f} s"
    )
    return Check("test heatmap", found)


def _devices() -> Check:
    """Loads TensorFlow, so this check is the last."""
    try:
        from live_cam.engines.tensorflow import sees_gpu

        has_gpu = sees_gpu()
    except ImportError as error:
        return Check("devices", f"cannot load TensorFlow: {error}", "reinstall tensorflow", is_vital=True)
    return Check("devices", "a GPU that TensorFlow can use" if has_gpu else "CPU (TensorFlow finds no GPU)")
