"""Explains the frames of one or several sources with one explainer.

    source ─► capture thread ─┐                            ┌─► output thread ─► writer thread ─► file sinks
    source ─► capture thread ─┼─► one explaining thread ───┼─► output thread ─► viewers' queues
    source ─► capture thread ─┘   (one explainer)          └─► ...

A file has the pipeline to itself and loses no frame. Live sources come and go while it runs: each in turn has its
newest frame explained, so no camera can starve another, and one that gives no frames costs nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from live_cam.errors import LiveCamError
from live_cam.frame import Explanation, Frame, Result
from live_cam.pipeline.feed import Feed
from live_cam.pipeline.speculative import speculative_results
from live_cam.predictions import NO_CLASS
from live_cam.temporal.explainer import SmoothedExplanation

if TYPE_CHECKING:
    import numpy as np

    from live_cam.explain.explainer import Explainer

_SHORTEST_PAUSE_SECONDS = 0.002


class Pipeline:
    """Runs feeds through one explainer.

    Model, method and layer are the same for all feeds; everything else belongs to a feed.

    Args:
        load: Makes the explainer, given the first frame of any feed; called in the explaining thread.
        is_speculative: Whether several frames of a file may be explained at once: more frames per second, each later.

    Attributes:
        error: What ended the pipeline for all feeds, such as a model that cannot be loaded; None if nothing did.
    """

    def __init__(self, load: Callable[[Frame], Explainer], is_speculative: bool = False) -> None:
        self.error: BaseException | None = None
        self._load, self._is_speculative = load, is_speculative
        self._explainer: Explainer | None = None
        self._feeds: tuple[Feed, ...] = ()
        self._turn = 0
        self._was_started = self._is_closed = False
        self._wake = threading.Event()
        self._lock = threading.Lock()
        # An explainer serves one thread at a time.
        self._explaining = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="livecam-explain", daemon=True)

    @property
    def explainer(self) -> Explainer | None:
        """The explainer in use; None until it is loaded."""
        return self._explainer

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """The feeds, in the order in which they were added."""
        return self._feeds

    def add(self, feed: Feed) -> None:
        """Starts a feed.

        Raises:
            ValueError: A file would share the pipeline.
        """
        with self._lock:
            if self._feeds and not (feed.source.is_live and all(other.source.is_live for other in self._feeds)):
                raise ValueError("a file has the pipeline to itself; add live sources only")
            self._feeds = (*self._feeds, feed)
            feed.on_change = self._wake.set
            if len(self._feeds) == 1 and not self._was_started:
                self._was_started = True
                self._thread.start()
        feed.start()
        if self.error is not None:
            feed.fail(self.error)
            feed.frames.end_explained()

    def remove(self, feed: Feed) -> None:
        """Ends a live feed: what was read is still explained and written, and its files get their final names."""
        feed.end_capture()
        feed.source.close()
        feed.join()
        with self._lock:
            self._feeds = tuple(other for other in self._feeds if other is not feed)

    def use(self, explainer: Explainer) -> None:
        """Explains with another explainer of the same model (another method or layer) from the next frame on."""
        with self._lock:
            self._explainer = explainer
        for feed in self._feeds:
            feed.temporal.reset()

    def explain_again(self, feed: Feed, result: Result) -> Result:
        """Explains a frozen frame again with the current settings. Blocks until the network has finished."""
        explainer = self._explainer
        if explainer is None:
            return result
        with self._explaining:
            network_input = explainer.preprocess(result.frame.image)
            explanation = feed.temporal.explain_still(explainer, network_input)
        again = replace(
            result, explanation=explanation, drawn_explanation=explanation, scale=None, explained_frame=result.frame
        )
        return feed.redraw(again)

    def explain_classes(
        self, image: np.ndarray, class_indices: Sequence[int | None], contrast_index: int = NO_CLASS
    ) -> Explanation:
        """Explains an image that is no frame of a feed. Blocks until all calls are done.

        Args:
            image: (height, width, 3) uint8, BGR.
            class_indices: One call for each; None for the top class.
            contrast_index: The class whose score is subtracted, ``NO_CLASS`` or ``SIMILAR_CLASSES``.

        Returns:
            The first class's explanation, with the maps of the others in ``other_maps``.

        Raises:
            ValueError: There is no class, or the explainer is not ready.
            SettingError: There is no such class.
        """
        explainer = self._explainer
        if explainer is None or not class_indices:
            raise ValueError("nothing to explain")
        with self._explaining:
            network_input = explainer.preprocess(image)
            # A copy: between the calls, other frames are explained.
            network_input = replace(network_input, pixels=network_input.pixels.copy())
        explanations = []
        for index in class_indices:
            with self._explaining:
                explanations.append(explainer.explain_input(network_input, index, contrast_index))
        first, *others = explanations
        return replace(first, other_maps=tuple((other.explained, other.heatmap) for other in others))

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Ends all feeds and the explaining thread.

        A conversion cannot be interrupted: its thread is left behind after the timeout.
        """
        for feed in self._feeds:
            feed.close(timeout_seconds)
        with self._lock:
            self._is_closed = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        try:
            self._explain()
        except BaseException as error:  # noqa: BLE001 - every feed raises it in its caller
            self.error = error
            for feed in self._feeds:
                feed.fail(error)
        finally:
            for feed in self._feeds:
                feed.frames.end_explained()

    def _explain(self) -> None:
        while (feed := self._next_feed()) is not None:
            if not feed.source.is_live:
                self._explain_file(feed)
                return
            frame = feed.frames.take_frame()
            if frame is None:
                continue
            explainer = self._ready_explainer(feed, frame)
            if explainer is not None:
                try:
                    feed.put_explained(self._explained(explainer, feed, frame))
                except LiveCamError as error:  # of this feed's settings; the others go on
                    feed.fail(error)

    def _next_feed(self) -> Feed | None:
        """Waits for a feed whose frame is due, taking them in turn; None once the pipeline is closed."""
        while not self._is_closed:
            feeds, pauses = self._feeds, []
            for number in range(len(feeds)):
                position = (self._turn + number) % len(feeds)
                feed = feeds[position]
                if feed.frames.is_exhausted and feed.source.is_live:
                    feed.frames.end_explained()
                elif feed.frames.can_explain():
                    pauses.append(feed.limiter.pause_seconds())
                    if pauses[-1] == 0:
                        self._turn = position + 1
                        return feed
            self._wake.wait(max(min(pauses), _SHORTEST_PAUSE_SECONDS) if pauses else None)
            self._wake.clear()
        return None

    def _ready_explainer(self, feed: Feed, frame: Frame) -> Explainer | None:
        """Loads the explainer with the first frame, and fixes the feed's target; None if that ends the feed."""
        if self._explainer is None:
            self._explainer = self._load(frame)
        if feed.stats.frames_explained == 0:
            try:
                feed.choose_target(self._explainer)
            except Exception as error:  # noqa: BLE001 - a wrong class ends its own feed only
                feed.fail(error)
                return None
        return self._explainer

    def _explained(self, explainer: Explainer, feed: Feed, frame: Frame) -> SmoothedExplanation:
        feed.limiter.start()
        with self._explaining:
            with feed.stats.stage("preprocess"):
                network_input = explainer.preprocess(frame.image)
            with feed.stats.stage("explain"):
                explained = feed.temporal.explain(explainer, frame, network_input)
        if explainer is not self._explainer:
            # It was replaced meanwhile, perhaps before this explanation began: its maps are of another method or layer.
            feed.temporal.reset()
        return explained

    def _explain_file(self, feed: Feed) -> None:
        first = feed.frames.take_frame()
        explainer = None if first is None else self._ready_explainer(feed, first)
        if first is None or explainer is None:
            return
        frames = _with_first(first, feed.frames.take_frame)
        in_order = self._speculative if self._is_speculative else self._one_by_one
        with closing(in_order(explainer, feed, frames)) as explained_frames:
            for explained in explained_frames:
                if not feed.put_explained(explained):
                    return
                self._wait_for_limit(feed)

    def _one_by_one(self, explainer: Explainer, feed: Feed, frames: Iterator[Frame]) -> Generator[SmoothedExplanation]:
        for frame in frames:
            # Looked up for each frame: a viewer may switch to another one.
            yield self._explained(self._explainer or explainer, feed, frame)

    def _speculative(self, explainer: Explainer, feed: Feed, frames: Iterator[Frame]) -> Generator[SmoothedExplanation]:
        results = speculative_results(explainer, lambda: next(frames, None), feed.temporal.guess_class)
        with closing(results):
            for result in results:
                feed.limiter.start()
                feed.stats.add_duration("preprocess", result.preprocess_seconds)
                feed.stats.add_duration("explain", result.explain_seconds)
                yield feed.temporal.explain(result.explainer, result.frame, result.network_input, result.explanation)

    def _wait_for_limit(self, feed: Feed) -> None:
        while (pause_seconds := feed.limiter.pause_seconds()) > 0:
            if feed.stopping.wait(max(pause_seconds, _SHORTEST_PAUSE_SECONDS)):
                return


def _with_first(first: Frame, next_frame: Callable[[], Frame | None]) -> Iterator[Frame]:
    yield first
    yield from iter(next_frame, None)
