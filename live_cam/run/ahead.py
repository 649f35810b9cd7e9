"""Several frames in the network at once, given back in order, each as if it had been alone.

One pass on all cores spends much of its time waiting: its threads wait for each other after every operation, and for
whatever is scheduled in between. Passes on a core each do not, so a recording is explained that way. The class to
explain is known for certain only when the frame before is done, so each pass guesses that it stays; the few that
guessed wrong are done once more.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

from live_cam.explainer import Explainer, NetworkInput
from live_cam.frame import Explanation
from live_cam.run.handover import Captured

# Beside the frames that are in the network, so that no pass waits for its next frame.
_WAITING_COUNT = 1


@dataclass(frozen=True, eq=False)
class GuessedPass:
    """One frame, explained for a guessed class.

    Attributes:
        captured: The frame.
        network_input: As the network saw it.
        explanation: For the guessed class.
        guessed_index: That class; None: the top class.
        preprocess_seconds: How long fitting took.
        explain_seconds: How long the pass took.
        explain_again: Explains a network's input for a class, against another.
    """

    captured: Captured
    network_input: NetworkInput
    explanation: Explanation
    guessed_index: int | None
    preprocess_seconds: float
    explain_seconds: float
    explain_again: Callable[[NetworkInput, int | None, int | None], Explanation]

    def explain_input(
        self, network_input: NetworkInput, class_index: int | None, contrast_index: int | None = None
    ) -> Explanation:
        """As ``Explainer.explain_input``, but nothing is computed where the guess was right."""
        if contrast_index is None and self._is_for(class_index):
            return self.explanation
        return self.explain_again(network_input, class_index, contrast_index)

    def _is_for(self, class_index: int | None) -> bool:
        if class_index == self.guessed_index:
            return True
        explained, top = self.explanation.explained, self.explanation.predictions[0]
        if class_index is None:
            return top.probability is not None and explained.class_index == top.class_index
        return explained.class_index == class_index


def guessed_passes(
    explainer: Explainer, next_frame: Callable[[], Captured | None], guess: Callable[[NetworkInput], int | None]
) -> Generator[GuessedPass]:
    """Explains frames on all cores, and gives them back in order.

    Args:
        explainer: Whose pass; not used by anyone else meanwhile.
        next_frame: Waits for the next frame; None at the end.
        guess: The class that a frame will be explained for, as far as is known; None for the top class. Called for each
            frame in order, in the thread that takes the passes.
    """
    explainers = _Explainers(explainer.side_by_side())
    pool = ThreadPoolExecutor(explainers.count, thread_name_prefix="livecam-pass")
    under_way: deque[Future[GuessedPass]] = deque()
    try:
        while (captured := next_frame()) is not None:
            started = time.perf_counter()
            fitted = explainer.preprocess(captured.frame.image)
            # A copy: the next frame is fitted before this one is needed for the last time.
            network_input = replace(fitted, pixels=fitted.pixels.copy())
            preprocess_seconds = time.perf_counter() - started
            under_way.append(
                pool.submit(explainers.guessed_pass, captured, network_input, guess(network_input), preprocess_seconds)
            )
            if len(under_way) == explainers.count + _WAITING_COUNT:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _Explainers:
    """Explainers of one pass, each lent to one thread at a time."""

    def __init__(self, explainers: Sequence[Explainer]) -> None:
        self.count = len(explainers)
        self._free: queue.SimpleQueue[Explainer] = queue.SimpleQueue()
        for explainer in explainers:
            self._free.put(explainer)

    @contextmanager
    def _lent(self) -> Iterator[Explainer]:
        explainer = self._free.get()
        try:
            yield explainer
        finally:
            self._free.put(explainer)

    def explain_again(
        self, network_input: NetworkInput, class_index: int | None, contrast_index: int | None
    ) -> Explanation:
        with self._lent() as explainer:
            return explainer.explain_input(network_input, class_index, contrast_index)

    def guessed_pass(
        self, captured: Captured, network_input: NetworkInput, class_index: int | None, preprocess_seconds: float
    ) -> GuessedPass:
        with self._lent() as explainer:
            started = time.perf_counter()
            explanation = explainer.explain_input(network_input, class_index)
            explain_seconds = time.perf_counter() - started
        return GuessedPass(
            captured, network_input, explanation, class_index, preprocess_seconds, explain_seconds, self.explain_again
        )
