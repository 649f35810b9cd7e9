"""What the benchmark scripts share: frames, ratios with their spread, and the sections of RESULTS.md."""

from __future__ import annotations

import datetime
import re
import statistics
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from live_cam.frame import Frame
from live_cam.lifetime import ClosedByWith
from live_cam.measuring import Timings, machine, versions
from live_cam.sources.demo import FRAME_COUNT, DemoSource

RESULTS_PATH = Path(__file__).with_name("RESULTS.md")


class MemorySource(ClosedByWith):
    """Decoded frames from memory, over and over: a source that costs nothing.

    Args:
        images: (h, w, 3) uint8, BGR, all of one size.
        frame_count: How many frames it gives.
    """

    name = "memory"
    rate: Fraction | None = Fraction(25)
    duration_seconds: float | None = None
    is_live = False
    is_still = False

    def __init__(self, images: Sequence[np.ndarray], frame_count: int) -> None:
        self._images = images
        self._index = 0
        self.frame_count_estimate: int | None = frame_count
        self.size_wh = (images[0].shape[1], images[0].shape[0])

    def read(self) -> Frame | None:
        """The next frame; None after the last."""
        if self._index >= (self.frame_count_estimate or 0):
            return None
        frame = Frame(self._images[self._index % len(self._images)], self._index, self._index / 25)
        self._index += 1
        return frame

    def close(self) -> None:
        """Nothing is held."""


def demo_images(size_wh: tuple[int, int], count: int) -> list[np.ndarray]:
    """``count`` pictures of the demo, evenly spread over it, at that size: (h, w, 3) uint8, BGR."""
    with DemoSource() as source:
        wanted = set(np.linspace(0, FRAME_COUNT - 1, count).round().astype(int).tolist())
        frames = (source.read() for _ in range(FRAME_COUNT))
        images = [frame.image for frame in frames if frame is not None and frame.index in wanted]
    # Of more than the demo has, some come twice.
    return [cv2.resize(images[number % len(images)], size_wh) for number in range(count)]


def median_ms(timings: Timings) -> float:
    """Over all calls of all rounds."""
    return float(np.median(np.concatenate(timings.rounds_ms)))


def ratio_text(ratios: Iterable[float]) -> str:
    """The median of the rounds' ratios and how far they spread."""
    ratios = sorted(ratios)
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of text under a header."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def conditions() -> str:
    """One line: the day, the machine and the versions."""
    about = machine()
    listed = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"{datetime.date.today()}, {about['cpu']}, {about['cores']} cores, {about['system']}; {listed}."


def write_section(name: str, text: str, path: Path = RESULTS_PATH) -> None:
    """Puts ``text`` between the section's marks in the results, in place of an earlier run's.

    Args:
        name: Of the section: the script that writes it.
        text: Markdown, with its own heading.
        path: The results; made if there are none.
    """
    opening, closing = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = f"{opening}\n{text.strip()}\n{closing}\n"
    before = path.read_text(encoding="utf-8") if path.exists() else "# Results\n\nMade by the scripts beside it.\n"
    pattern = re.compile(re.escape(opening) + ".*?" + re.escape(closing) + "\n", re.DOTALL)
    written = pattern.sub(lambda match: section, before) if pattern.search(before) else f"{before}\n{section}"
    path.write_text(written, encoding="utf-8")
