"""Explains several frames of a file in parallel. Each starts before the frame before it has settled the class.

A call that uses all cores wastes time, because its threads wait for each other after every operation; calls on one core
each do not. Each frame is explained for the class that the frames before it will probably choose; the few whose guess
was wrong are explained again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial

from live_cam.explain.explainer import Explainer, NetworkInput
from live_cam.explain.replica_pool import ReplicaPool, results_in_order
from live_cam.frame import Explanation, Frame
from live_cam.temporal.explainer import InputExplainer


@dataclass(frozen=True, eq=False)
class SpeculativeResult:
    """A frame explained for a guessed class.

    Attributes:
        frame: The frame.
        network_input: The frame as the network saw it.
        explanation: Its explanation for the guessed class.
        preprocess_seconds: How long preprocessing took.
        explain_seconds: How long the call took.
        explainer: Explains the frame again where the guess was wrong.
    """

    frame: Frame
    network_input: NetworkInput
    explanation: Explanation
    preprocess_seconds: float
    explain_seconds: float
    explainer: InputExplainer


def speculative_results(
    explainer: Explainer, next_frame: Callable[[], Frame | None], guess_class: Callable[[NetworkInput], int | None]
) -> Generator[SpeculativeResult]:
    """Explains frames on all cores and yields them in order.

    Args:
        explainer: Not used by anyone else meanwhile.
        next_frame: Waits for the next frame; None at the end.
        guess_class: Returns the class that a frame will probably be explained for; None for the top class. Called for
            each frame in order, in the thread that takes the results.
    """
    replicas = _Replicas(explainer.replicas())

    def calls() -> Iterator[Callable[[], SpeculativeResult]]:
        while (frame := next_frame()) is not None:
            started = time.perf_counter()
            fitted = explainer.preprocess(frame.image)
            # A copy: the next frame is preprocessed before this one is needed for the last time.
            network_input = replace(fitted, pixels=fitted.pixels.copy())
            preprocess_seconds = time.perf_counter() - started
            yield partial(replicas.explain, frame, network_input, guess_class(network_input), preprocess_seconds)

    return results_in_order(calls(), replicas.count)


class _Replicas(ReplicaPool[Explainer]):
    """Replicas that explain frames."""

    def explain_input(
        self, network_input: NetworkInput, class_index: int | None, contrast_index: int | None
    ) -> Explanation:
        """See ``InputExplainer``; waits for a free explainer."""
        with self.lent() as explainer:
            return explainer.explain_input(network_input, class_index, contrast_index)

    def explain(
        self, frame: Frame, network_input: NetworkInput, class_index: int | None, preprocess_seconds: float
    ) -> SpeculativeResult:
        with self.lent() as explainer:
            started = time.perf_counter()
            explanation = explainer.explain_input(network_input, class_index)
            explain_seconds = time.perf_counter() - started
        return SpeculativeResult(frame, network_input, explanation, preprocess_seconds, explain_seconds, self)
