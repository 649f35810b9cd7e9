"""A video of an archive: which of its segments are done, which is next, and its row of the table of videos."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from live_cam.archive.segment import Segment, SegmentResult
from live_cam.archive.videos import one_line, valid_text

if TYPE_CHECKING:
    from live_cam.archive.tasks import Probe
    from live_cam.settings import ArchiveSettings

_PENDING = "pending"


@dataclass(eq=False)
class VideoPlan:
    """A video and what is known of it by now.

    Attributes:
        path: Its absolute path.
        file_name: What its files are called.
        probe: What was found; None before.
        results: Of its segments, by number.
        next_number: The first segment that is not begun and has no result.
        planned_count: Number of segments, as far as is known.
        is_whole: Whether it is one segment, because its duration is not known or its times start again.
        row: Its row of ``videos``; None until it is merged or failed.
    """

    path: str
    file_name: str
    probe: Probe | None = None
    results: dict[int, SegmentResult] = field(default_factory=dict)
    next_number: int = 0
    planned_count: int = 0
    is_whole: bool = False
    row: dict[str, Any] | None = None

    def begin(self, probe: Probe, segment_seconds: float) -> None:
        """Plans the segments of a video that is not finished."""
        self.probe = probe
        self.results = {result.number: result for result in probe.segments}
        self.planned_count = max(1, math.ceil((probe.info.duration_seconds or 0) / segment_seconds))
        self.is_whole = probe.info.duration_seconds is None
        if any(result.goes_back for result in probe.segments):
            self._make_whole()
        self._correct()

    def add(self, result: SegmentResult) -> None:
        """Notes the result of a segment, which may tell where the video ends."""
        self.results[result.number] = result
        if result.goes_back and not self.is_whole:
            self._make_whole()
        self._correct()

    def _make_whole(self) -> None:
        """Does without segments: of those by now, only one that has the whole video is kept."""
        self.is_whole, self.planned_count, self.next_number = True, 1, 0
        self.results = {number: result for number, result in self.results.items() if number == 0 and result.is_last}

    def _correct(self) -> None:
        last = min((number for number, result in self.results.items() if result.is_last), default=None)
        if last is not None:
            self.planned_count = min(self.planned_count, last + 1)
        elif self.has_all_results and self.results[self.planned_count - 1].error is None:
            # The header promised less than there is.
            self.planned_count += 1
        self._skip_results()

    def _skip_results(self) -> None:
        while self.next_number in self.results:
            self.next_number += 1

    @property
    def has_next(self) -> bool:
        """Whether there is a segment that is not begun."""
        return self.next_number < self.planned_count

    @property
    def has_all_results(self) -> bool:
        """Whether all segments are done."""
        return self.planned_count > 0 and all(number in self.results for number in range(self.planned_count))

    @property
    def ordered_results(self) -> tuple[SegmentResult, ...]:
        """The results of all segments in order, once there are all."""
        return tuple(self.results[number] for number in range(self.planned_count))

    def take_next(self, probe: Probe, settings: ArchiveSettings, target_index: int | None) -> Segment:
        """Returns the next segment, which counts as begun from now on."""
        number, seconds = self.next_number, settings.segment_seconds
        self.next_number += 1
        self._skip_results()
        return Segment(
            self.path,
            self.file_name,
            probe.info.digest,
            number,
            number * seconds,
            math.inf if self.is_whole else (number + 1) * seconds,
            settings.every_seconds,
            target_index,
            settings.maps,
        )

    def needs(self, segment: Segment) -> bool:
        """Returns whether a segment is still of use: not behind the end, and not a part if there are no parts."""
        is_part = segment.end_seconds < math.inf
        return segment.number < self.planned_count and not (self.is_whole and is_part)

    @property
    def shown_row(self) -> dict[str, Any]:
        """Its row of ``videos``, which says "pending" until it is merged or failed."""
        if self.row is not None:
            return self.row
        info = {} if self.probe is None else asdict(self.probe.info)
        name = valid_text(self.path)
        return {"video": name, "file_name": self.file_name, "state": _PENDING, "row_count": 0, **info}

    @property
    def is_pending(self) -> bool:
        """Whether it is neither merged nor failed."""
        return self.row is None

    @property
    def failure_line(self) -> str | None:
        """A line about why it failed, in whole or in part; None if it did not. Most reasons name the video."""
        reason = None if self.row is None else self.row["error"]
        if reason is None:
            return None
        return one_line(reason if valid_text(self.path) in reason else f"{self.path}: {reason}")
