"""Capture, explain, and render + write, each in a thread of its own, with bounded queues between them.

    source ─read─► captured ─explain─► explained ─draw, write─► results ─► whoever shows them

Files: every frame, in order. Live sources: the newest frame only. The first error ends the run; where the source
breaks, what it gave before is still explained and written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from live_cam.channel import Channel
from live_cam.explainer import Explainer
from live_cam.frame import Explanation, Frame, Result
from live_cam.metering import RunMeter
from live_cam.render.views import Renderer
from live_cam.sinks import Sink
from live_cam.sources import Source
from live_cam.sources.live import LiveSource

# Deep enough that a slow frame of one stage does not stop the next, shallow enough that 4K frames stay few.
_CAPTURED_CAPACITY = 3
_EXPLAINED_CAPACITY = 2


@dataclass(frozen=True, eq=False)
class _Captured:
    frame: Frame
    captured_seconds: float


@dataclass(frozen=True, eq=False)
class _Explained:
    captured: _Captured
    explanation: Explanation


class Pipeline:
    """One run over one source.

    Args:
        source: Where frames come from; the caller closes it, after ``stop``.
        load: Makes the explainer, given the first frame; called in the explaining thread while frames already come.
        renderer: Draws.
        sinks: Written in order; the caller finishes and closes them, after ``stop``.
        target: The class to explain, as an index or a label; None for each frame's top class.
        max_frames: Ends the run after so many explained frames.
        shows_every_frame: Whether ``results`` hands out every frame, making the run wait for who takes them; else the
            newest only.

    Attributes:
        meter: Counts and clocks.
        results: The drawn frames for a window; taken or not, the run goes on unless every frame is to be shown.
        preview: The newest captured frame, to show until the explainer is ready; of a file, its first.
        explainer: None until it is ready.
        last_explanation: Of the last drawn frame.
    """

    def __init__(
        self,
        source: Source,
        load: Callable[[Frame], Explainer],
        renderer: Renderer,
        sinks: Sequence[Sink],
        target: int | str | None = None,
        max_frames: int | None = None,
        shows_every_frame: bool = False,
    ) -> None:
        self.meter = RunMeter()
        self.explainer: Explainer | None = None
        self.preview: Frame | None = None
        self.last_explanation: Explanation | None = None
        self._source, self._load, self._renderer, self._sinks = source, load, renderer, sinks
        self._target, self._max_frames = target, max_frames
        newest_only = source.is_live
        self._captured: Channel[_Captured] = Channel(1 if newest_only else _CAPTURED_CAPACITY, newest_only)
        self._explained: Channel[_Explained] = Channel(_EXPLAINED_CAPACITY)
        self.results: Channel[Result] = Channel(_EXPLAINED_CAPACITY if shows_every_frame else 1, not shows_every_frame)
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._error_lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._guarded, args=(stage, output), name=f"livecam-{name}", daemon=True)
            for name, stage, output in (
                ("capture", self._capture, self._captured),
                ("explain", self._explain, self._explained),
                ("render", self._render, self.results),
            )
        ]

    def start(self) -> None:
        """Sets the three threads going."""
        for thread in self._threads:
            thread.start()

    def end_capture(self) -> None:
        """Takes no more frames; those that were taken still go through."""
        self._stopping.set()
        self._captured.close()

    def cancel(self) -> None:
        """Drops whatever is on its way."""
        self._stopping.set()
        for channel in (self._captured, self._explained, self.results):
            channel.cancel()

    def wait(self, timeout_seconds: float) -> None:
        """Waits for the threads.

        A camera's ``read`` or a conversion cannot be interrupted: such a thread is left behind.
        """
        deadline_seconds = time.monotonic() + timeout_seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline_seconds - time.monotonic()))

    def wait_for_writing(self, timeout_seconds: float) -> bool:
        """Waits for the sinks to get their last frame; whether they are left alone from now on."""
        render_thread = self._threads[-1]
        render_thread.join(timeout_seconds)
        return not render_thread.is_alive()

    @property
    def is_running(self) -> bool:
        """Whether anything can still come out; a source that hangs in ``read`` after the last frame does not count."""
        return self._threads[-1].is_alive()

    def raise_error(self) -> None:
        """Raises the first error of any stage in the caller's thread."""
        if self._error is not None:
            raise self._error

    def _guarded(self, stage: Callable[[], None], output: Channel) -> None:
        try:
            stage()
        except BaseException as error:  # noqa: BLE001 — raised again in the caller by raise_error
            with self._error_lock:
                if self._error is None:
                    self._error = error
            if stage != self._capture:
                self.cancel()
        finally:
            output.close()

    def _capture(self) -> None:
        while not self._stopping.is_set():
            with self.meter.stage("capture"):
                frame = self._source.read()
            if frame is None:
                return
            self.meter.frames_read += 1
            if isinstance(self._source, LiveSource):
                self.meter.reconnects = self._source.reconnects
            if self._source.is_live or self.preview is None:
                self.preview = frame
            if not self._captured.put(_Captured(frame, time.monotonic())):
                return
            # Those between two reads count as well: a live source's indexes have gaps there.
            skipped_count = frame.index + 1 - self.meter.frames_read if self._source.is_live else 0
            self.meter.frames_dropped = self._captured.dropped_count + skipped_count

    def _explain(self) -> None:
        captured = self._captured.get()
        if captured is None:
            return
        explainer = self._load(captured.frame)
        class_index = None if self._target is None else explainer.class_index(self._target)
        self.explainer = explainer
        while captured is not None:
            with self.meter.stage("preprocess"):
                network_input = explainer.preprocess(captured.frame.image)
            with self.meter.stage("explain"):
                explanation = explainer.explain_input(network_input, class_index)
            self.meter.frames_explained += 1
            if not self._explained.put(_Explained(captured, explanation)):
                return
            if self.meter.frames_explained == self._max_frames:
                self.end_capture()
                self._captured.cancel()
            captured = self._captured.get()

    def _render(self) -> None:
        while (explained := self._explained.get()) is not None:
            frame = explained.captured.frame
            with self.meter.stage("render"):
                drawn = self._renderer.draw(frame, explained.explanation)
            self.meter.drawn(time.monotonic() - explained.captured.captured_seconds)
            self.last_explanation = explained.explanation
            result = Result(frame, explained.explanation, drawn)
            with self.meter.stage("write"):
                for sink in self._sinks:
                    sink.write(result)
            self.meter.frames_written += bool(self._sinks)
            self.results.put(result)
