"""The main job on the command line."""

from __future__ import annotations

import signal
from types import FrameType

from live_cam.cli.console import Console
from live_cam.render.caption import score_text
from live_cam.session import Outcome, SessionSettings, run_session


def watch_source(settings: SessionSettings, quiet: bool) -> None:
    """Runs the job, shows its progress, and says in one line what came of it.

    Raises:
        LiveCamError: As ``run_session``.
        KeyboardInterrupt: The user, or SIGTERM, ended it; what was made is named before.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    with Console(quiet) as console:
        outcome = run_session(settings, console.line, console.building, console.frames)
    if not quiet:
        print(summary(outcome))
    if outcome.was_interrupted:
        raise KeyboardInterrupt


def summary(outcome: Outcome) -> str:
    """One line: how many frames, how fast, and where the output is."""
    parts = [f"{outcome.frames_explained} frame{'' if outcome.frames_explained == 1 else 's'}"]
    if outcome.frames_explained == 1 and outcome.last_explanation is not None:
        explained = outcome.last_explanation.explained
        parts.append(f"{explained.label} {score_text(explained)}")
    if outcome.fps is not None:
        parts.append(f"{outcome.fps:.1f} fps")
    parts.append(f"{outcome.wall_seconds:.1f} s")
    files = [str(path) for path in outcome.made] + [f"{path} (not whole; it plays)" for path in outcome.kept]
    return ", ".join(parts) + (f" -> {', '.join(files)}" if files else "")


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
