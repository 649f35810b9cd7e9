"""What all tests share: a cache folder of their own, a photograph, livecam as a user starts it, and a screen."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

# Set while pytest is starting, so that this process and the ones it starts, also its workers, see the same fresh cache.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _CACHE = tempfile.mkdtemp(prefix="livecam-tests-")
    atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
    os.environ["XDG_CACHE_HOME"] = _CACHE
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

# A shell without job control starts background jobs with Ctrl-C ignored, and what tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
# .ci/run knows this reason, and accepts it only where the folder is really absent.
needs_shared_data = pytest.mark.skipif(
    not SHARED_DATA.is_dir(), reason="needs the shared data, which is not beside this checkout"
)


RunLivecam = Callable[..., "subprocess.CompletedProcess[str]"]
StartLivecam = Callable[..., "subprocess.Popen[str]"]
Value = TypeVar("Value")


def wait_until(
    condition: Callable[[], Value], seconds: float = 30.0, *, process: subprocess.Popen[str] | None = None
) -> Value:
    """Waits for what has to happen, and returns the first true value of ``condition()``.

    The test fails when it has not happened after so many seconds, or when ``process``, which is to make it happen,
    has ended before.
    """
    __tracebackhide__ = True
    deadline_seconds = time.monotonic() + seconds
    while not (value := condition()):
        if process is not None and process.poll() is not None and not condition():
            pytest.fail(f"the process ended before it happened: {process.communicate()}")
        if time.monotonic() > deadline_seconds:
            pytest.fail(f"it did not happen in {seconds} s")
        time.sleep(0.01)
    return value


def livecam_command(*arguments: object) -> list[str]:
    """The command line of ``python -m live_cam``."""
    return [sys.executable, "-m", "live_cam", *map(str, arguments)]


def environment_with(changes: dict[str, str | None] | None = None) -> dict[str, str]:
    """This process's environment; None takes a variable out."""
    merged = {**os.environ, **(changes or {})}
    return {name: value for name, value in merged.items() if value is not None}


def line_count(path: Path) -> int:
    """Lines of a file; 0 also where the file comes and goes: whether it can be made is tried before the run."""
    try:
        return path.read_text().count("\n")
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Runs a program beside the test, and ends it; the options are ``subprocess.Popen``'s."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def run_livecam() -> RunLivecam:
    """Runs livecam to its end without a screen: ``run_livecam(*arguments, env={}, timeout=120, cwd=None)``."""

    def run(
        *arguments: object, env: dict[str, str | None] | None = None, timeout: float = 120, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            livecam_command(*arguments),
            capture_output=True,
            text=True,
            env=environment_with({"DISPLAY": None, **(env or {})}),
            timeout=timeout,
            cwd=cwd,
            check=False,
        )

    return run


@pytest.fixture
def start_livecam() -> Iterator[StartLivecam]:
    """Starts livecam without a screen and returns its process: ``start_livecam(*arguments, env={}, cwd=None)``.

    After the test it is killed if it still runs.
    """
    processes: list[subprocess.Popen[str]] = []

    def start(
        *arguments: object, env: dict[str, str | None] | None = None, cwd: Path | None = None
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            livecam_command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment_with({"DISPLAY": None, **(env or {})}),
            cwd=cwd,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def photograph_path() -> Path:
    """A cat, 451x300, from scikit-image's wheel."""
    skimage_data = pytest.importorskip("skimage.data")
    return Path(skimage_data.__file__).parent / "chelsea.png"


@pytest.fixture(scope="session")
def warm_cache(run_livecam: RunLivecam, photograph_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The default model is converted: runs after this one start at once."""
    output = tmp_path_factory.mktemp("warm") / "cat.png"
    # The first worker converts it, the others wait for that.
    with (Path(os.environ["XDG_CACHE_HOME"]) / "warming").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run_livecam("--image", photograph_path, "--output", output, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """The name of an X display: a real one would show the tests to whoever sits there."""
    from x_display import opened_display  # which itself imports from this file

    with opened_display() as name:
        yield name


@pytest.fixture
def open_window(display: str, warm_cache: None, start_livecam: StartLivecam) -> StartLivecam:
    """Starts livecam on the display, and returns when its window shows heat: ``open_window(*arguments, cwd=None)``.

    ``cache`` is another cache folder; ``prepared=False`` returns when anything is painted.
    """
    from x_display import title_of_window, wait_for_picture

    def start(
        *arguments: object, cache: Path | None = None, cwd: Path | None = None, prepared: bool = True
    ) -> subprocess.Popen[str]:
        own_cache = {} if cache is None else {"XDG_CACHE_HOME": str(cache)}
        process = start_livecam(*arguments, env={"DISPLAY": display, **own_cache}, cwd=cwd)
        wait_for_picture(display, process)
        if prepared:  # Keys that are pressed earlier have nothing to act on.
            wait_until(lambda: "CAM" in title_of_window(display), process=process)
        return process

    return start
