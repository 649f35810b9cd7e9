"""Which class is explained where the user names none: the top class, but not another one in every frame."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from live_cam.frame import Explanation

_HALF_LIFE_SECONDS = 0.2

# Another class takes over when its smoothed probability is ahead by this much ...
_CLEAR_LEAD = 0.2
# ... or when the explained class has been behind by this factor, without a break, for this long.
_LEADING_FACTOR = 1.1
_LONG_LEAD_SECONDS = 1.0

# Classes below this are forgotten.
_NEGLIGIBLE = 1e-3


@dataclass(frozen=True)
class ClassState:
    """What is remembered of the predictions so far.

    Attributes:
        class_index: The class to explain; None: the next frame's top class.
        is_fixed: Whether the user chose or locked it.
        probabilities: Class indexes with their probabilities, smoothed; of the classes seen lately.
        leader_index: The class that is ahead of the explained one; None if none is.
        leads_since_seconds: Since when one is.
        time_seconds: Of the last frame.
    """

    class_index: int | None = None
    is_fixed: bool = False
    probabilities: tuple[tuple[int, float], ...] = ()
    leader_index: int | None = None
    leads_since_seconds: float = 0.0
    time_seconds: float = 0.0


def next_class(state: ClassState, explanation: Explanation, time_seconds: float) -> ClassState:
    """The state after one more frame.

    Classes whose outputs are no probabilities are no rivals: a regression's number stays the one it is.

    Args:
        state: After the frame before.
        explanation: Of this frame, for ``state.class_index`` or, where that is None, for the top class.
        time_seconds: Of the frame.
    """
    explained_index = explanation.explained.class_index
    if state.class_index is None or time_seconds < state.time_seconds:
        class_index = explained_index if state.class_index is None else state.class_index
        state = ClassState(class_index, state.is_fixed, time_seconds=time_seconds)
    probabilities = _smoothed(state, explanation, time_seconds)
    state = replace(state, probabilities=tuple(probabilities.items()), time_seconds=time_seconds)
    if state.is_fixed or not probabilities:
        return replace(state, leader_index=None)
    leader = max(probabilities, key=lambda index: probabilities[index])
    own, best = probabilities.get(state.class_index or 0, 0.0), probabilities[leader]
    if best < _LEADING_FACTOR * own or leader == state.class_index:
        return replace(state, leader_index=None)
    # Who leads may change meanwhile: a class that nothing speaks for any more does not stay because others take turns.
    since_seconds = time_seconds if state.leader_index is None else state.leads_since_seconds
    if best - own >= _CLEAR_LEAD or time_seconds - since_seconds >= _LONG_LEAD_SECONDS:
        return replace(state, class_index=leader, leader_index=None)
    return replace(state, leader_index=leader, leads_since_seconds=since_seconds)


def _smoothed(state: ClassState, explanation: Explanation, time_seconds: float) -> dict[int, float]:
    """The probabilities after this frame; a class that is not among its best counts as 0."""
    now = {
        one.class_index: one.probability
        for one in (*explanation.predictions, explanation.explained)
        if one.probability is not None
    }
    before = dict(state.probabilities)
    kept = 0.5 ** ((time_seconds - state.time_seconds) / _HALF_LIFE_SECONDS) if before else 0.0
    mixed = {index: kept * before.get(index, 0.0) + (1 - kept) * now.get(index, 0.0) for index in before | now}
    return {index: value for index, value in mixed.items() if value >= _NEGLIGIBLE}


class ClassChooser:
    """The class to explain in the next frame; asked by the explaining thread, changed by any.

    Attributes:
        keeps: Whether a class is kept until another leads clearly or long enough; else each frame's top class is
            explained. A class that is fixed stays either way.
    """

    def __init__(self, keeps: bool = True) -> None:
        self.keeps = keeps
        self._state = ClassState()
        self._top: tuple[int, ...] = ()
        self._lock = threading.Lock()

    @property
    def state(self) -> ClassState:
        """What is remembered."""
        with self._lock:
            return self._state

    @property
    def is_fixed(self) -> bool:
        """Whether the user chose or locked the class."""
        return self.state.is_fixed

    def restore(self, state: ClassState) -> None:
        """Goes on from there."""
        with self._lock:
            self._state = state

    def wanted(self, is_cut: bool = False) -> int | None:
        """The class to explain in the next frame; None: its top class, as in the first frame and after a cut."""
        with self._lock:
            if not self._state.is_fixed and (is_cut or not self.keeps):
                self._state = ClassState()
            return self._state.class_index

    def saw(self, explanation: Explanation, time_seconds: float) -> None:
        """Takes notice of what a pass gave."""
        with self._lock:
            self._top = tuple(one.class_index for one in explanation.predictions)
            self._state = next_class(self._state, explanation, time_seconds)

    def choose(self, class_index: int) -> None:
        """Explains this class from the next frame on, until ``release``."""
        with self._lock:
            self._state = replace(self._state, class_index=class_index, is_fixed=True)

    def step(self, count: int) -> None:
        """Chooses the class that many places further down the last frame's best, round and round."""
        with self._lock:
            if self._top:
                current = self._state.class_index
                # From a class that is none of them, one step down leads to the first, one step up to the last.
                at = self._top.index(current) if current in self._top else -1 if count > 0 else 0
                index = self._top[(at + count) % len(self._top)]
                self._state = replace(self._state, class_index=index, is_fixed=True)

    def lock(self) -> None:
        """Stays with the class that is explained now; before the first frame, with what that will be."""
        with self._lock:
            self._state = replace(self._state, is_fixed=True)

    def release(self) -> None:
        """Lets the explained class change by itself again."""
        with self._lock:
            self._state = replace(self._state, is_fixed=False)


def class_arrays(state: ClassState) -> dict[str, np.ndarray]:
    """The state as named arrays, as ``np.savez`` takes them."""
    nobody = -1
    return {
        "class_index": np.array(nobody if state.class_index is None else state.class_index, np.int64),
        "class_is_fixed": np.array(state.is_fixed),
        "class_indexes": np.array([index for index, _ in state.probabilities], np.int64),
        "class_probabilities": np.array([value for _, value in state.probabilities], np.float64),
        "class_leader_index": np.array(nobody if state.leader_index is None else state.leader_index, np.int64),
        "class_times_seconds": np.array([state.leads_since_seconds, state.time_seconds], np.float64),
    }


def class_of(arrays: Mapping[str, np.ndarray]) -> ClassState:
    """The state that ``class_arrays`` gave these."""
    class_index, leader_index = int(arrays["class_index"]), int(arrays["class_leader_index"])
    indexes, probabilities = arrays["class_indexes"].tolist(), arrays["class_probabilities"].tolist()
    leads_since_seconds, time_seconds = arrays["class_times_seconds"].tolist()
    return ClassState(
        None if class_index < 0 else class_index,
        bool(arrays["class_is_fixed"]),
        tuple(zip(indexes, probabilities, strict=True)),
        None if leader_index < 0 else leader_index,
        leads_since_seconds,
        time_seconds,
    )
