"""The engine that runs flatbuffers with LiteRT and XNNPACK. It needs no TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from live_cam.engines import Program
from live_cam.native_output import silenced_native_stderr


class LiteRTEngine:
    """Runs the flatbuffers of the one pass and of the bare network on the CPU.

    Args:
        explain_program: Flatbuffer of the one pass.
        forward_program: Gives the flatbuffer of the bare network; called when that is first asked for.
        threads: How many; None for one a core this process may use.
    """

    name = "litert"

    def __init__(
        self,
        explain_program: Program,
        forward_program: Callable[[], Program],
        threads: int | None = None,
    ) -> None:
        self.threads = threads or usable_cores()
        self._explain = _Runner(explain_program, self.threads)
        self._forward_program = forward_program
        self._forward: _Runner | None = None

    def explain(self, pixels: np.ndarray, class_indices: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """See ``Engine.explain``."""
        outputs, heatmap = self._explain.run(pixels, np.array(class_indices, np.int32))
        return outputs, heatmap

    def forward(self, pixels: np.ndarray) -> np.ndarray:
        """See ``Engine.forward``."""
        if self._forward is None:
            self._forward = _Runner(self._forward_program(), self.threads)
        return self._forward.run(pixels)[0]


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
