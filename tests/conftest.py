"""What all tests share: a cache folder of their own, a photograph, and livecam as a user starts it."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

# Set while pytest is starting, so that this process and the ones it starts, also its workers, see the same fresh cache.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _CACHE = tempfile.mkdtemp(prefix="livecam-tests-")
    atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
    os.environ["XDG_CACHE_HOME"] = _CACHE
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

RunLivecam = Callable[..., "subprocess.CompletedProcess[str]"]


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


@pytest.fixture(scope="session")
def photograph_path() -> Path:
    """A cat, 451x300, from scikit-image's wheel."""
    skimage_data = pytest.importorskip("skimage.data")
    return Path(skimage_data.__file__).parent / "chelsea.png"


@pytest.fixture(scope="session")
def warm_cache(run_livecam: RunLivecam, photograph_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The default model is converted: runs after this one start at once."""
    done = run_livecam("--image", photograph_path, "--output", tmp_path_factory.mktemp("warm") / "cat.png", timeout=300)
    assert done.returncode == 0, done.stderr
