"""What the benchmark programs share: frames, runs of the pipeline, ratios, and the sections of RESULTS.md."""

from __future__ import annotations

import datetime
import re
import statistics
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from live_cam.explain.explainer import Explainer
from live_cam.frame import Frame
from live_cam.jobs.main_loop import MainLoop
from live_cam.jobs.outcome import JobContext, Progress
from live_cam.pipeline.feed import Feed, Subscription
from live_cam.pipeline.pipeline import Pipeline
from live_cam.pipeline.queues import LatestQueue
from live_cam.sources.demo import FRAME_COUNT, DemoSource
from live_cam.sources.protocol import Source
from live_cam.timing_harness import Timings, machine, versions

RESULTS_PATH = Path(__file__).with_name("RESULTS.md")


class MemorySource(Source):
    """Repeats images from memory, so that reading and decoding cost nothing.

    Args:
        images: (height, width, 3) uint8, BGR, all of one size.
        frame_count: Number of frames before it ends.
    """

    name = "memory"
    rate = Fraction(25)

    def __init__(self, images: Sequence[np.ndarray], frame_count: int) -> None:
        self._images = images
        self._index = 0
        self.frame_count_estimate = frame_count
        self.size_wh = (images[0].shape[1], images[0].shape[0])

    def read(self) -> Frame | None:
        """Returns the next frame; None after the last."""
        if self._index >= (self.frame_count_estimate or 0):
            return None
        frame = Frame(self._images[self._index % len(self._images)], self._index, self._index / 25)
        self._index += 1
        return frame


def run_feed(feed: Feed, explainer: Explainer, context: JobContext | None = None) -> None:
    """Runs a feed to its end without a viewer and without files; every result is drawn.

    Args:
        feed: Not in a pipeline yet.
        explainer: Explains its frames.
        context: Is told the progress, and can stop the run.

    Raises:
        LiveCamError: The source or the explainer failed.
    """
    feed.subscribe(Subscription(LatestQueue(), lambda result: result.image))
    pipeline = Pipeline(lambda frame: explainer, is_speculative=not feed.source.is_live)
    try:
        MainLoop(pipeline, feed, None, context or JobContext(), Progress).run()
    finally:
        pipeline.close()


def demo_images(size_wh: tuple[int, int], count: int) -> list[np.ndarray]:
    """Returns images of the demo, evenly spread over its duration; beyond 250, some are repeated.

    Args:
        size_wh: Width and height that they are resized to.
        count: Number of images.

    Returns:
        Each (height, width, 3) uint8, BGR.
    """
    with DemoSource() as source:
        wanted = set(np.linspace(0, FRAME_COUNT - 1, count).round().astype(int).tolist())
        frames = (source.read() for _ in range(FRAME_COUNT))
        images = [frame.image for frame in frames if frame is not None and frame.index in wanted]
    return [cv2.resize(images[number % len(images)], size_wh) for number in range(count)]


def median_ms(timings: Timings) -> float:
    """Returns the median duration over all calls of all rounds."""
    return float(np.median(np.concatenate(timings.rounds_ms)))


def ratio_text(ratios: Iterable[float]) -> str:
    """Returns the median of the rounds' ratios, with the lowest and the highest."""
    ratios = sorted(ratios)
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table with a header."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def conditions() -> str:
    """Returns the date, the machine and the versions in one line."""
    about = machine()
    listed = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"{datetime.date.today()}, {about['cpu']}{_vnni()}, {about['cores']} cores, {about['system']}; {listed}."


def _vnni() -> str:
    """Returns " with VNNI" if the CPU has instructions for int8 networks; on Linux only."""
    about = Path("/proc/cpuinfo")
    return " with VNNI" if about.exists() and "vnni" in about.read_text(encoding="utf-8") else ""


def write_section(name: str, text: str, path: Path = RESULTS_PATH) -> None:
    """Writes a section of the results; it replaces that of an earlier run.

    Args:
        name: Name of the section: the program that writes it.
        text: Markdown, with its own heading.
        path: File of the results; created if it does not exist.
    """
    opening, closing = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = f"{opening}\n{text.strip()}\n{closing}\n"
    before = (
        path.read_text(encoding="utf-8") if path.exists() else "# Results\n\nMade by the programs in this folder.\n"
    )
    pattern = re.compile(re.escape(opening) + ".*?" + re.escape(closing) + "\n", re.DOTALL)
    written = pattern.sub(lambda match: section, before) if pattern.search(before) else f"{before}\n{section}"
    path.write_text(written, encoding="utf-8")
