"""Capture, explain, and render + write, each in a thread of its own, with bounded queues between them.

    source ─read─► captured ─explain─► explained ─draw, write─► results ─► whoever shows them

Files: every frame, in order. Live sources: the newest frame only; see ``handover``. The first error ends the run;
where the source breaks, what it gave before is still explained and written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from live_cam.channel import Channel
from live_cam.errors import SettingError
from live_cam.explainer import Explainer
from live_cam.frame import Explanation, Frame, Result
from live_cam.render.fitting import letterboxed
from live_cam.render.views import Renderer
from live_cam.run.ahead import guessed_passes
from live_cam.run.governor import Governor
from live_cam.run.handover import Captured, Drawing, EveryFrame, Explained, NewestFrame
from live_cam.run.metering import RunMeter
from live_cam.sinks import Sink
from live_cam.sources import Source
from live_cam.sources.live import LiveSource
from live_cam.steady.steady_pass import SteadyPass

if TYPE_CHECKING:
    from live_cam.run.checkpoints import Checkpointer
    from live_cam.sinks.recorder import Recorder

_SHOWN_CAPACITY = 2
_SHORTEST_PAUSE_SECONDS = 0.002


class Pipeline:
    """One run over one source.

    Args:
        source: Where frames come from; the caller closes it, after ``stop``.
        load: Makes the explainer, given the first frame; called in the explaining thread while frames already come.
        renderer: Draws.
        sinks: Written in order; the caller finishes and closes them, after ``stop``.
        target: The class to explain, as an index or a label; None for the top class.
        max_frames: Ends the run after so many explained frames.
        shows_every_frame: Whether ``results`` hands out every frame, making the run wait for who takes them; else the
            newest only.
        steady: Explains with a memory of the frames before; with its usual settings if not given.
        governor: Says when to explain; every frame, as soon as it can be, if not given.
        explains_ahead: Whether several frames may be in the network at once: more of them a second, each later. Not for
            a live source.
        checkpointer: Told of each frame that the sinks got.
        recorder: Written like a sink while it records. With one, ``results`` are without caption, for a window that has
            a better one.

    Attributes:
        meter: Counts and clocks.
        results: The drawn frames for a window; taken or not, the run goes on unless every frame is to be shown.
        preview: The newest captured frame, to show until the explainer is ready; of a file, its first.
        explainer: None until it is ready.
        last_explanation: Of the last drawn frame.
        last_time_seconds: Of the last drawn frame.
        steady: The class and the smoothing in use; both may be changed while the run goes on.
        renderer: May be replaced while the run goes on.
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
        steady: SteadyPass | None = None,
        governor: Governor | None = None,
        explains_ahead: bool = False,
        recorder: Recorder | None = None,
        checkpointer: Checkpointer | None = None,
    ) -> None:
        self.meter = RunMeter()
        self.explainer: Explainer | None = None
        self.preview: Frame | None = None
        self.last_explanation: Explanation | None = None
        self.last_time_seconds: float | None = None
        self._source, self._load, self.renderer, self._sinks = source, load, renderer, sinks
        self._recorder, self._checkpointer = recorder, checkpointer
        self._written_size_wh: tuple[int, int] | None = None
        self._target, self._max_frames = target, max_frames
        self.steady = steady or SteadyPass()
        self._governor = governor or Governor()
        self._explains_ahead = explains_ahead
        self._handover = NewestFrame(self._governor.limits) if source.is_live else EveryFrame()
        self.results: Channel[Result] = Channel(_SHOWN_CAPACITY if shows_every_frame else 1, not shows_every_frame)
        self._stopping = threading.Event()
        self._going = threading.Event()
        self._going.set()
        self._explaining = threading.Lock()
        self._error: BaseException | None = None
        self._error_lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._guarded, args=(stage, end), name=f"livecam-{name}", daemon=True)
            for name, stage, end in (
                ("capture", self._capture, self._handover.end_frames),
                ("explain", self._explain, self._handover.end_explained),
                ("render", self._render, self.results.close),
            )
        ]

    def start(self) -> None:
        """Sets the three threads going."""
        for thread in self._threads:
            thread.start()

    def end_capture(self) -> None:
        """Takes no more frames; those that were taken still go through."""
        self._stopping.set()
        self._going.set()
        self._handover.end_frames()

    def pause(self, paused: bool) -> None:
        """Takes no frames, or takes them again. Of a live source, those that come meanwhile are nobody's loss."""
        if paused and not self._stopping.is_set():
            self._going.clear()
        else:
            self._going.set()

    def use(self, explainer: Explainer) -> None:
        """Explains with another pass of the same model from the next frame on."""
        with self._explaining:
            self.explainer = explainer
            self.steady.begin_anew()

    def again(self, shown: Result, explains: bool) -> Result:
        """Draws a frame once more, as the settings are now; no sink gets it.

        Args:
            shown: What it was.
            explains: Whether it is explained once more, too.
        """
        frame, explainer = shown.frame, self.explainer
        if explains and explainer is not None:
            with self._explaining:
                explanation = self.steady.explain_alone(explainer, explainer.preprocess(frame.image))
            shown = Result(frame, explanation, shown.drawn)
        # Another thread may be drawing with the renderer itself.
        renderer = Renderer(self.renderer.settings)
        return replace(shown, drawn=renderer.draw(frame, shown.drawn_explanation, shown.scale, with_caption=False))

    def cancel(self) -> None:
        """Drops whatever is on its way."""
        self._stopping.set()
        self._going.set()
        self._handover.cancel()
        self.results.cancel()

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

    def _guarded(self, stage: Callable[[], None], end: Callable[[], None]) -> None:
        try:
            stage()
        except BaseException as error:  # noqa: BLE001 — raised again in the caller by raise_error
            with self._error_lock:
                if self._error is None:
                    self._error = error
            if stage != self._capture:
                self.cancel()
        finally:
            end()

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
            if not self._going.is_set() and self._source.is_live:
                continue
            self._going.wait()
            if not self._handover.put_frame(Captured(frame, time.monotonic())):
                return

    def _explain(self) -> None:
        captured = self._handover.frame_to_explain()
        if captured is None:
            return
        explainer = self._load(captured.frame)
        if self._target is not None:
            class_index = explainer.class_index(self._target)
            if class_index == explainer.contrast_index:
                raise SettingError(
                    f"the class and its contrast are both {explainer.labels[class_index]}; give two classes"
                )
            self.steady.classes.choose(class_index)
        self.explainer = explainer
        for explained in self._explained_frames(explainer, captured):
            self.meter.frames_explained += 1
            if not self._handover.put_explained(explained):
                return
            if self.meter.frames_explained == self._max_frames:
                self._stopping.set()
                self._handover.end_frames(drop_waiting=True)
                return
            self._wait_for_governor()

    def _explained_frames(self, explainer: Explainer, first: Captured) -> Iterator[Explained]:
        frames = chain([first], iter(self._handover.frame_to_explain, None))
        if not self._explains_ahead:
            yield from map(self._explained, frames)
            return
        passes = guessed_passes(explainer, lambda: next(frames, None), self.steady.guess)
        with closing(passes):
            for one in passes:
                self._governor.begins()
                self.meter.took("preprocess", one.preprocess_seconds)
                self.meter.took("explain", one.explain_seconds)
                steadied = self.steady.explain(one, one.network_input, one.captured.frame.time_seconds)
                yield Explained(one.captured, steadied)

    def _explained(self, captured: Captured) -> Explained:
        self._governor.begins()
        with self._explaining:
            explainer = self.explainer
            if explainer is None:
                raise RuntimeError("frames are explained before there is an explainer")
            with self.meter.stage("preprocess"):
                network_input = explainer.preprocess(captured.frame.image)
            with self.meter.stage("explain"):
                steadied = self.steady.explain(explainer, network_input, captured.frame.time_seconds)
        return Explained(captured, steadied)

    def _wait_for_governor(self) -> None:
        while (pause_seconds := self._governor.pause_seconds()) > 0:
            if self._stopping.wait(max(pause_seconds, _SHORTEST_PAUSE_SECONDS)):
                return

    def _render(self) -> None:
        while (drawing := self._handover.next_to_draw()) is not None:
            self.meter.frames_dropped = self._handover.dropped_count
            renderer = self.renderer
            with self.meter.stage("render"):
                result = self._drawn(renderer, drawing)
            self.meter.drawn(time.monotonic() - drawing.captured.captured_seconds)
            self.last_explanation = result.explanation
            with self.meter.stage("write"):
                self._write(renderer, result)
                if self._checkpointer is not None:
                    self._checkpointer.wrote(result.frame, drawing.explained.steadied.state)
            self.meter.frames_written += bool(self._sinks)
            self.last_time_seconds = result.frame.time_seconds
            self.results.put(result)

    def _drawn(self, renderer: Renderer, drawing: Drawing) -> Result:
        frame, explained_frame = drawing.captured.frame, drawing.explained.captured.frame
        steadied = drawing.explained.steadied
        drawn = renderer.draw(frame, steadied.drawn, steadied.scale, with_caption=self._recorder is None)
        earlier_frame = None if explained_frame is frame else explained_frame
        return Result(frame, steadied.explanation, drawn, earlier_frame, steadied.drawn, steadied.scale)

    def _write(self, renderer: Renderer, result: Result) -> None:
        recorder = self._recorder
        is_recording = recorder is not None and recorder.seconds is not None
        if recorder is not None and (self._sinks or is_recording):
            result = replace(result, drawn=renderer.captioned(result.drawn, result.drawn_explanation))
        if self._sinks:
            self._write_sinks(result)
        if recorder is not None and is_recording:
            recorder.write(result)

    def _write_sinks(self, result: Result) -> None:
        """Files keep the size they began with, also where the viewer turns to another view."""
        if self._recorder is not None:
            height, width = result.drawn.image.shape[:2]
            self._written_size_wh = self._written_size_wh or (width, height)
            result = replace(result, drawn=letterboxed(result.drawn, self._written_size_wh))
        for sink in self._sinks:
            sink.write(result)
