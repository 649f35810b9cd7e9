"""The engine that runs flatbuffers with LiteRT and XNNPACK. It needs no TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from live_cam.engines import Program
from live_cam.native_output import silenced_native_stderr

# Each interpreter packs the weights anew: more than a few gain little, and of a large model none is affordable.
_MOST_SIDE_BY_SIDE = 4
_LARGEST_SIDE_BY_SIDE_BYTES = 128 << 20


class LiteRTEngine:
    """Runs the flatbuffers of the one pass and of the bare network on the CPU; an interpreter is made at first use.

    Args:
        explain_program: Flatbuffer of the one pass.
        program_of: Gives the flatbuffer of "forward" or "masked_forward"; called when that is first asked for.
        threads: How many; None for one a core this process may use.
    """

    name = "litert"

    def __init__(
        self,
        explain_program: Program,
        program_of: Callable[[str], Program],
        threads: int | None = None,
    ) -> None:
        self.threads = threads or usable_cores()
        self._explain_program, self._program_of = explain_program, program_of

    def explain(self, pixels: np.ndarray, class_indices: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """See ``Engine.explain``."""
        outputs, heatmap = self._explain.run(pixels, np.array(class_indices, np.int32))
        return outputs, heatmap

    def forward(self, pixels: np.ndarray) -> np.ndarray:
        """See ``Engine.forward``."""
        return self._forward.run(pixels)[0]

    def masked_forward(self, pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """See ``Engine.masked_forward``."""
        return self._masked_forward.run(pixels, mask)[0]

    def side_by_side(self) -> tuple[LiteRTEngine, ...]:
        """See ``Engine.side_by_side``.

        The threads of one pass wait for each other after every operation, and for whatever else is scheduled in
        between; passes on a thread each do not.
        """
        count = min(self.threads, _MOST_SIDE_BY_SIDE)
        program = self._explain_program
        size_bytes = len(program) if isinstance(program, bytes) else program.stat().st_size
        if count == 1 or size_bytes > _LARGEST_SIDE_BY_SIDE_BYTES:
            return (self,)
        # Read once: each interpreter would map the file anew.
        shared = program.read_bytes() if isinstance(program, Path) else program
        return tuple(LiteRTEngine(shared, self._program_of, self.threads // count) for _ in range(count))

    @cached_property
    def _explain(self) -> _Runner:
        return _Runner(self._explain_program, self.threads)

    @cached_property
    def _forward(self) -> _Runner:
        return _Runner(self._program_of("forward"), self.threads)

    @cached_property
    def _masked_forward(self) -> _Runner:
        return _Runner(self._program_of("masked_forward"), self.threads)


class _Runner:
    """One flatbuffer, its inputs and outputs in the order of the function it was converted from."""

    def __init__(self, program: Program, threads: int) -> None:
        where = {"model_content": program} if isinstance(program, bytes) else {"model_path": str(program)}
        with silenced_native_stderr():
            self._interpreter = Interpreter(**where, num_threads=threads)
            self._interpreter.allocate_tensors()
        self._input_indices = [one["index"] for one in self._interpreter.get_input_details()]
        self._output_indices = [one["index"] for one in self._interpreter.get_output_details()]

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        for index, value in zip(self._input_indices, inputs, strict=True):
            self._interpreter.set_tensor(index, value)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._output_indices]


def usable_cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
