"""One source in a pipeline: its settings, threads, writers, viewers and errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from live_cam.errors import LiveCamError, SettingError
from live_cam.frame import Frame, Result
from live_cam.pipeline.frame_queues import FrameQueue, LatestFrameQueue, LosslessFrameQueue
from live_cam.pipeline.rate_limiter import RateLimiter
from live_cam.pipeline.stats import FeedStats
from live_cam.pipeline.writer import SinkWriter
from live_cam.render.renderer import Renderer
from live_cam.settings import FeedSettings
from live_cam.temporal.explainer import SmoothedExplanation, TemporalExplainer

if TYPE_CHECKING:
    from live_cam.explain.explainer import Explainer
    from live_cam.sinks.protocol import FileSink
    from live_cam.sources.protocol import Source


class Receiver(Protocol):
    """Gets every result of a feed, in the feed's thread; a ``ClosableQueue`` is one."""

    def put(self, result: Result, /) -> object:
        """Takes a result."""

    def close(self) -> None:
        """Learns that no more results come."""

    def cancel(self) -> None:
        """Learns that no more results come, and that those that wait are not wanted."""


@dataclass(frozen=True, eq=False)
class Subscription:
    """Where a viewer gets its results.

    Attributes:
        queue: Gets every result: a ``LatestQueue`` never delays the feed, a ``LosslessQueue`` makes it wait.
        prepare: Draws what the viewer needs of a result before it is put into the queue; None if it draws itself.
    """

    queue: Receiver
    prepare: Callable[[Result], Any] | None = None


def target_index(explainer: Explainer, target: int | str | None) -> int | None:
    """Returns the class that a target means; None for the top class.

    Raises:
        SettingError: There is no such class, or it is the contrast class.
    """
    if target is None:
        return None
    class_index = explainer.class_index(target)
    if class_index == explainer.contrast_index:
        raise SettingError(
            f"the class and its contrast are both {explainer.label(class_index)}; give two different classes"
        )
    return class_index


class Feed:
    """One source, how its frames are explained and drawn, and where the results go.

    A file feed loses no frame. A live feed explains and draws the newest frame only.

    Its settings (class, contrast, smoothing, look) may be changed from any thread and hold from the next frame on.

    Args:
        source: Open; closed by ``close``.
        settings: How its frames are explained and drawn.
        max_frames: Ends the feed after this many explained frames. Default: no limit.

    Attributes:
        source: The source.
        stats: Counters and timings.
        temporal: Class choice, contrast and smoothing.
        limiter: Tells when to explain the next frame.
        preview: A frame to show until there is a result: a file's first, a live source's newest; None after it.
        last_result: The last result; None before it.
        errors: What ended the feed; empty if nothing failed.
        was_cancelled: Whether the feed was ended before its source.
    """

    def __init__(
        self,
        source: Source,
        settings: FeedSettings | None = None,
        max_frames: int | None = None,
    ) -> None:
        settings = settings or FeedSettings()
        limits = settings.limits
        self.source = source
        self.stats = FeedStats()
        self.temporal = TemporalExplainer(settings.smooth_seconds)
        self.limiter = RateLimiter(limits.max_cpu_percent, limits.explanations_per_second if source.is_live else None)
        self.preview: Frame | None = None
        self.last_result: Result | None = None
        self.errors: list[BaseException] = []
        self.was_cancelled = False
        self._has_ended = False
        self.on_change: Callable[[], None] = lambda: None
        self._target, self._max_frames = settings.target, max_frames
        self._renderer = Renderer(settings.render)
        self.frames: FrameQueue = (
            LatestFrameQueue(self.limiter.has_limit, lambda: self.on_change(), source.is_awaited)
            if source.is_live
            else LosslessFrameQueue()
        )
        self._writers: list[SinkWriter] = []
        self._recordings: list[SinkWriter] = []
        self._subscriptions: list[Subscription] = []
        self._stopping, self._running = threading.Event(), threading.Event()
        self._running.set()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._guard, args=(work,), name=f"livecam-{name}", daemon=True)
            for name, work in (("capture", self._capture), ("output", self._output))
        ]

    # Settings, for viewers.

    @property
    def renderer(self) -> Renderer:
        """Draws the results."""
        return self._renderer

    def change_look(self, **changes: Any) -> None:
        """Changes fields of ``RenderSettings`` from the next result on."""
        with self._lock:
            self._renderer = Renderer(replace(self._renderer.settings, **changes))

    def pause(self, paused: bool) -> None:
        """Stops or resumes reading frames. Frames that a live source gives meanwhile do not count as dropped."""
        with self._lock:
            if paused and not self._stopping.is_set():
                self._running.clear()
            else:
                self._running.set()

    # Outputs.

    def add_writer(
        self, sinks: Sequence[FileSink], on_written: Callable[[Result], None] = lambda result: None
    ) -> SinkWriter:
        """Writes the results to sinks, in a thread that closes them at the end. An error in a sink ends the feed.

        Args:
            sinks: Open.
            on_written: Called after each written result.
        """
        writer = SinkWriter(sinks, self.source.is_live, self.stats, on_written, self._note_end)
        with self._lock:
            self._writers = [*self._writers, writer]
        return writer

    def start_recording(
        self, sink: FileSink, on_written: Callable[[Result], None], on_end: Callable[[BaseException | None], None]
    ) -> SinkWriter:
        """Writes the results from now on to a sink as well; its file is completed however the feed ends.

        Args:
            sink: Open.
            on_written: Called after each written result.
            on_end: Called after the sink is closed, with an error or None; an error does not end the feed.
        """
        writer = SinkWriter([sink], self.source.is_live, None, on_written, on_end)
        with self._lock:
            self._recordings = [*self._recordings, writer]
            has_ended = self._has_ended
        if has_ended:
            writer.end(is_complete=True)
        return writer

    def stop_recording(self, writer: SinkWriter) -> None:
        """Completes a recording, in its thread."""
        with self._lock:
            self._recordings = [other for other in self._recordings if other is not writer]
        writer.end(is_complete=True)

    def subscribe(self, subscription: Subscription) -> None:
        """Puts every result from now on into a viewer's queue."""
        with self._lock:
            self._subscriptions = [*self._subscriptions, subscription]

    def unsubscribe(self, subscription: Subscription) -> None:
        """Puts no more results into that queue, and closes it."""
        with self._lock:
            self._subscriptions = [other for other in self._subscriptions if other is not subscription]
        subscription.queue.cancel()

    # Life.

    def start(self) -> None:
        """Starts capture and output."""
        for thread in self._threads:
            thread.start()

    def end_capture(self) -> None:
        """Reads no more frames; those that were read are still explained and written."""
        self._stop_reading()
        self.frames.end_frames()

    def cancel(self) -> None:
        """Ends the feed at once and drops what is under way; files stay under their partial names."""
        self.was_cancelled = True
        self._stop_reading()
        self.frames.cancel()
        for subscription in self._subscriptions:
            subscription.queue.cancel()

    def fail(self, error: BaseException) -> None:
        """Notes an error and ends the feed; frames that were read are lost."""
        self._note_error(error)
        self.cancel()

    @property
    def stopping(self) -> threading.Event:
        """Set once no more frames are read."""
        return self._stopping

    @property
    def is_running(self) -> bool:
        """Whether results still come or files are being written; a source that hangs in ``read`` does not count."""
        return self._threads[1].is_alive() or any(writer.is_running for writer in self._writers)

    @property
    def is_finishing(self) -> bool:
        """Whether all results are written and files are being completed."""
        return any(writer.is_finishing and writer.is_running for writer in self._writers)

    def join(self, timeout_seconds: float | None = None) -> bool:
        """Waits for output and writers, not for a source that hangs; returns whether they have ended."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        for join in (self._threads[1].join, *(writer.join for writer in self._writers)):
            join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return not self.is_running

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Ends the feed and closes its source.

        A camera's ``read`` cannot be interrupted: its thread is left behind after the timeout.
        """
        if self.is_running:
            self.cancel()
        # Before the wait: it wakes a reader that waits for a lost camera.
        self.source.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout_seconds)

    def raise_errors(self) -> None:
        """Raises the first error, with later, different ones in its message."""
        if not self.errors:
            return
        first, *later = self.errors
        others = [str(error) for error in later if str(error) and str(error) != str(first)]
        if others and isinstance(first, LiveCamError):
            raise type(first)("; also: ".join([str(first), *dict.fromkeys(others)])) from first
        raise first

    # For the pipeline.

    def choose_target(self, explainer: Explainer) -> None:
        """Fixes the class that the settings name.

        Raises:
            SettingError: There is no such class, or it is the contrast class.
        """
        class_index = target_index(explainer, self._target)
        if class_index is not None:
            self.temporal.classes.choose(class_index)

    def release_target(self) -> None:
        """Leaves the class to a viewer, who chose one before the settings' class was looked up."""
        self._target = None

    def put_explained(self, explained: SmoothedExplanation) -> bool:
        """Takes an explained frame; returns False if no more are wanted."""
        self.stats.add_explained()
        if not self.frames.put_explained(explained):
            return False
        if self.stats.frames_explained == self._max_frames:
            self._stopping.set()
            self.frames.end_frames(drop_waiting=True)
            return False
        return True

    # Threads.

    def _stop_reading(self) -> None:
        with self._lock:
            self._stopping.set()
            self._running.set()

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised in the caller by raise_errors
            if work == self._capture:
                self._note_error(error)  # what was read before is still explained and written
            else:
                self.fail(error)
        finally:
            if work == self._capture:
                self.frames.end_frames()
            else:
                self._end_outputs()

    def _note_error(self, error: BaseException) -> None:
        with self._lock:
            self.errors.append(error)

    def _note_end(self, error: BaseException | None) -> None:
        if error is not None:
            self.fail(error)

    def _capture(self) -> None:
        last_index = -1
        while not self._stopping.is_set():
            with self.stats.stage("capture"):
                frame = self.source.read()
            if frame is None:
                return
            lost_count, last_index = max(0, frame.index - last_index - 1), frame.index
            self.stats.frames_read += 1
            self.stats.reconnects = self.source.reconnects
            if self.last_result is None and (self.source.is_live or self.preview is None):
                self.preview = frame
            if not self._running.is_set() and self.source.is_live:
                continue
            self._running.wait()
            if not self.frames.put_frame(replace(frame, captured_seconds=time.monotonic()), lost_count):
                return

    def _output(self) -> None:
        while (drawing := self.frames.next_to_draw()) is not None:
            result = self._result(*drawing)
            self._end_recordings_before(result)
            self._draw(result)
            self.last_result, self.preview = result, None
            for writer in (*self._writers, *self._recordings):
                writer.put(result)
            for subscription in self._subscriptions:
                subscription.queue.put(result)
            not_written = sum(writer.dropped_count for writer in self._writers)
            self.stats.frames_dropped = self.frames.dropped_count + not_written

    def _end_recordings_before(self, result: Result) -> None:
        """Ends recordings where a recording that is watched starts again or is played from an earlier place."""
        if self.last_result is not None and result.frame.time_seconds < self.last_result.frame.time_seconds:
            for writer in self._recordings:
                self.stop_recording(writer)

    def redraw(self, result: Result) -> Result:
        """Returns the result as it is drawn with the settings as they are now."""
        renderer = self._renderer
        image, explanation, scale = result.frame.image, result.drawn_explanation, result.scale
        return replace(result, draw=lambda caption: renderer.draw(image, explanation, scale, caption))

    def _result(self, frame: Frame, explained: SmoothedExplanation) -> Result:
        renderer, drawn_explanation, scale = self._renderer, explained.drawn_explanation, explained.scale
        # Viewers draw a result several times; files need its image once.
        in_place = self.source.is_sole_owner and not self._subscriptions and not self.source.is_live
        return Result(
            frame=frame,
            explanation=explained.explanation,
            drawn_explanation=drawn_explanation,
            scale=scale,
            explained_frame=explained.frame,
            state=explained.state,
            draw=lambda caption: renderer.draw(frame.image, drawn_explanation, scale, caption, in_place),
        )

    def _draw(self, result: Result) -> None:
        """Draws what viewers and sinks need; nothing if they need nothing."""
        prepares = [subscription.prepare for subscription in self._subscriptions if subscription.prepare is not None]
        needs_image = any(writer.needs_image for writer in (*self._writers, *self._recordings))
        if prepares or needs_image:
            with self.stats.stage("render"):
                for prepare in prepares:
                    prepare(result)
                if needs_image:
                    _ = result.image
        self.stats.add_drawn(time.monotonic() - result.frame.captured_seconds)
        if not self._writers:
            self.stats.last_time_seconds = result.frame.time_seconds

    def _end_outputs(self) -> None:
        with self._lock:
            self._has_ended = True
        for writer in self._writers:
            if self.was_cancelled:
                writer.cancel()
            else:
                writer.end(is_complete=not self.errors)
        for writer in self._recordings:
            writer.end(is_complete=True)
        for subscription in self._subscriptions:
            subscription.queue.close()
