"""``live_cam.stream`` and ``live_cam.annotate``: the jobs of the command line for Python programs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from live_cam.errors import SettingError, check_type
from live_cam.explain.load import build_explainer
from live_cam.jobs.job import run_job
from live_cam.jobs.outcome import JobContext, Outcome, Progress
from live_cam.pipeline.feed import Feed, Subscription
from live_cam.pipeline.pipeline import Pipeline
from live_cam.pipeline.queues import ClosableQueue, LatestQueue, LosslessQueue
from live_cam.settings import (
    DEFAULT_SMOOTH_SECONDS,
    ExplainerSettings,
    FeedSettings,
    JobSettings,
    LimitSettings,
    OutputSettings,
    RenderSettings,
    RetrySettings,
    SourceSettings,
)
from live_cam.sources.images import ImagesSource
from live_cam.sources.open import open_source, source_settings_for

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np

    from live_cam.explain.explainer import Explainer
    from live_cam.frame import Frame, Result
    from live_cam.sources.protocol import Source

_WAITING_RESULTS = 2
# How often a waiting ``next`` looks for Ctrl-C.
_POLL_SECONDS = 0.1


class Stream:
    """An iterator over results that is also a context manager; made by ``stream``.

    Its threads end when the source ends, when an error is raised, at the end of a ``with`` block, and when the caller
    drops the stream, as after ``break`` in a ``for`` loop.

    Attributes:
        source_name: The source as the user knows it.
    """

    def __init__(self, source: Source, feed: Feed, load: Callable[[Frame], Explainer]) -> None:
        self.source_name = source.name
        self._feed = feed
        self._has_ended = False
        self._pipeline = Pipeline(load)
        self._results: ClosableQueue[Result] = LatestQueue() if source.is_live else LosslessQueue(_WAITING_RESULTS)
        feed.subscribe(Subscription(self._results))
        self._pipeline.add(feed)

    def __iter__(self) -> Iterator[Result]:
        return self

    def __next__(self) -> Result:
        while not self._results.has_ended:
            result = self._results.get(_POLL_SECONDS)
            if result is not None:
                return result
        if not self._has_ended:
            self._has_ended = True
            self.close()
            self._feed.raise_errors()
        raise StopIteration

    def close(self) -> None:
        """Ends the stream; results that wait are dropped. May be called twice."""
        self._results.cancel()
        self._pipeline.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_pipeline"):  # not if opening failed
            self.close()


def stream(
    source: int | str | Path | Iterable[np.ndarray],
    *,
    frame_rate: float = 30,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    max_frames: int | None = None,
    retry: RetrySettings | None = None,
    explainer: Explainer | ExplainerSettings | None = None,
    target: int | str | None = None,
    smooth_seconds: float = DEFAULT_SMOOTH_SECONDS,
    render: RenderSettings | None = None,
    limits: LimitSettings | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Stream:
    """Explains a source in background threads and yields a ``Result`` for each frame.

    Files and iterables lose no frame: their threads wait for the caller. Cameras and live streams give the newest
    frame.

    Args:
        source: A path, a URL, a camera index, or any iterable of images, (H, W, 3) uint8 BGR, all of one size.
        frame_rate: Frames per second of an iterable, for the times of its frames. Not used for other sources.
        start_seconds: First media time of a video that is read. Default: its beginning.
        end_seconds: Media time at which a video is no longer read. Default: its end.
        max_frames: Stop after this many frames. Default: no limit.
        retry: How often a lost camera or stream is tried again. Default: without limit once it gave frames.
        explainer: What ``load_explainer`` returned, or the settings for one. Default: the default model.
        target: The class to explain, as an index or a label. Default: the top class.
        smooth_seconds: Half-life of the heatmap smoothing. 0: none, and each frame is explained for its own top class.
        render: How ``result.image`` looks.
        limits: How much is computed.
        on_line: Called with lines worth knowing, such as "loading TensorFlow ...". Default: they are dropped.

    Raises:
        SourceError: The source cannot be opened; during iteration: it broke.
        ModelError: During iteration: the model cannot be used.
        SettingError: An argument has an invalid value.
    """
    tell = _callback("on_line", on_line)
    load = _loader(explainer, tell)
    feed_settings = FeedSettings(target, smooth_seconds, render or RenderSettings(), limits or LimitSettings())
    part = SourceSettings(
        start_seconds=start_seconds, end_seconds=end_seconds, max_frames=max_frames, retry=retry or RetrySettings()
    )
    if isinstance(source, Iterable) and not isinstance(source, str | bytes | Path):
        if start_seconds is not None or end_seconds is not None:
            raise SettingError("start_seconds and end_seconds work only for videos; pass only the images that you want")
        opened: Source = ImagesSource(source, frame_rate)
    else:
        given = source_settings_for(source)
        opened = open_source(replace(part, webcam=given.webcam, video=given.video, image=given.image))
    try:
        for line in opened.notices:
            tell(line)
        feed = Feed(opened, feed_settings, max_frames)
    except BaseException:
        opened.close()
        raise
    return Stream(opened, feed, load)


def annotate(
    source: int | str | Path,
    output: str | Path | None = None,
    *,
    sidecar: str | Path | None = None,
    heatmaps: str | Path | None = None,
    report: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    codec: str | None = None,
    quality: int | None = None,
    audio: bool = True,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    max_frames: int | None = None,
    explainer: Explainer | ExplainerSettings | None = None,
    target: int | str | None = None,
    smooth_seconds: float = DEFAULT_SMOOTH_SECONDS,
    render: RenderSettings | None = None,
    limits: LimitSettings | None = None,
    on_line: Callable[[str], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> Outcome:
    """Explains a video, image or stream and writes the files that are named; like the command line without a window.

    Args:
        source: A path, a URL or a camera index.
        output: The annotated video or image.
        sidecar: One line per explained frame: JSON lines, or CSV if the name ends in .csv.
        heatmaps: All heatmaps as one ``.npz``.
        report: Counts and timings as JSON.
        overwrite: Whether existing files may be replaced.
        resume: Whether an unfinished output of an earlier run is continued, or one that ended earlier.
        codec: "h264", "h265", "vp9", "av1" or "mjpeg". Default: the container's usual one.
        quality: Video quality, 0 to 100. Default: 60.
        audio: Whether the source's sound is copied.
        start_seconds: First media time of a video that is read. Default: its beginning.
        end_seconds: Media time at which a video is no longer read. Default: its end.
        max_frames: Stop after this many frames. Default: no limit.
        explainer: What ``load_explainer`` returned, or the settings for one. Default: the default model.
        target: The class to explain, as an index or a label. Default: the top class.
        smooth_seconds: Half-life of the heatmap smoothing. 0: none, and each frame is explained for its own top class.
        render: How the annotated image looks.
        limits: How much is computed.
        on_line: Called with lines worth knowing. Default: they are dropped.
        on_progress: Called up to 50 times per second.
        stop: Set it from another thread to end the job.

    Returns:
        The files that were made, the frame counts and the speed.

    Raises:
        LiveCamError: The job failed. The message is one line and names the files that are kept.
    """
    settings = JobSettings(
        source=replace(
            source_settings_for(source),
            start_seconds=start_seconds,
            end_seconds=end_seconds,
            max_frames=max_frames,
        ),
        explainer=_explainer_settings(explainer),
        feed=FeedSettings(target, smooth_seconds, render or RenderSettings(), limits or LimitSettings()),
        output=OutputSettings(
            output=_path("output", output),
            sidecar=_path("sidecar", sidecar),
            heatmaps=_path("heatmaps", heatmaps),
            report=_path("report", report),
            overwrite=overwrite,
            codec=codec,
            quality=quality,
            audio=audio,
            show=False,
            resume=resume,
        ),
    )
    tell = _callback("on_line", on_line)
    check_type("stop", stop, threading.Event, type(None))
    context = JobContext(tell, tell, _callback("on_progress", on_progress), stop or threading.Event())
    is_loaded = explainer is not None and not isinstance(explainer, ExplainerSettings)
    return run_job(settings, context, _loader(explainer, tell) if is_loaded else None)


def _loader(
    explainer: Explainer | ExplainerSettings | None, on_line: Callable[[str], None]
) -> Callable[[Frame], Explainer]:
    if explainer is None or isinstance(explainer, ExplainerSettings):
        settings = explainer or ExplainerSettings()
        return lambda frame: build_explainer(settings, frame.image, on_line, on_line)
    loaded = explainer
    if not callable(getattr(loaded, "explain_input", None)):
        raise SettingError(f"explainer must be what load_explainer returns, or ExplainerSettings, not {loaded!r:.60}")
    return lambda frame: loaded


def _explainer_settings(explainer: Explainer | ExplainerSettings | None) -> ExplainerSettings:
    """Returns the settings by which a resumed job recognizes its explainer; without a model if it has none."""
    if explainer is None or isinstance(explainer, ExplainerSettings):
        return explainer or ExplainerSettings()
    return getattr(explainer, "settings", ExplainerSettings(model=None))


def _callback(name: str, function: Callable[[Any], None] | None) -> Callable[[Any], None]:
    if function is not None and not callable(function):
        raise SettingError(f"{name} must be a function, not {function!r:.60}")
    return function or (lambda value: None)


def _path(name: str, path: str | Path | None) -> Path | None:
    check_type(name, path, str, Path, type(None))
    return None if path is None else Path(path)
