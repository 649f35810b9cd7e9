"""The engine that runs flatbuffers with LiteRT and XNNPACK. It needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from live_cam.engines.protocol import Program, usable_cores

# Every interpreter has its own copy of the weights: more than a few gain little, and large models would need too much.
_MOST_REPLICAS = 4
_LARGEST_REPLICATED_BYTES = 128 << 20


class LiteRTEngine:
    """Runs a model's flatbuffers on the CPU; creates each interpreter when it is first needed.

    Args:
        explain_program: The flatbuffer of ``GradModel.explain``.
        load_program: Returns the flatbuffer of "forward" or "masked_forward"; called when that is first needed.
        threads: Default: one per core that this process may use.
    """

    name = "litert"

    def __init__(
        self, explain_program: Program, load_program: Callable[[str], Program], threads: int | None = None
    ) -> None:
        self._threads = threads or usable_cores()
        self._explain_program = explain_program
        self._load_program = load_program
        self._runners: dict[str, _Runner] = {}

    def explain(self, pixels: np.ndarray, class_indices: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """See ``Engine.explain``."""
        outputs, heatmap = self._runner("explain").run(pixels, np.array(class_indices, np.int32))
        return outputs, heatmap

    def forward(self, pixels: np.ndarray) -> np.ndarray:
        """See ``Engine.forward``."""
        return self._runner("forward").run(pixels)[0]

    def masked_forward(self, pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """See ``Engine.masked_forward``."""
        return self._runner("masked_forward").run(pixels, mask)[0]

    def replicas(self) -> tuple[LiteRTEngine, ...]:
        """See ``Engine.replicas``.

        The threads of one interpreter wait for each other after every operation, and for whatever else the machine
        runs; interpreters with a thread each do not.
        """
        count = min(self._threads, _MOST_REPLICAS)
        program = self._explain_program
        size_bytes = len(program) if isinstance(program, bytes) else program.stat().st_size
        if count == 1 or size_bytes > _LARGEST_REPLICATED_BYTES:
            return (self,)
        # What this engine holds is made again if it is needed again; the replicas hold as much.
        self._runners.clear()
        # Read once, because each interpreter would map the file again.
        shared = program.read_bytes() if isinstance(program, Path) else program
        return tuple(LiteRTEngine(shared, self._load_program, self._threads // count) for _ in range(count))

    def _runner(self, name: str) -> _Runner:
        if name not in self._runners:
            program = self._explain_program if name == "explain" else self._load_program(name)
            self._runners[name] = _Runner(program, self._threads)
        return self._runners[name]


class _Runner:
    """Runs one flatbuffer; its inputs and outputs have the order of the function that it was converted from."""

    def __init__(self, program: Program, threads: int) -> None:
        content = {"model_content": program} if isinstance(program, bytes) else {"model_path": str(program)}
        self._interpreter = Interpreter(**content, num_threads=threads)
        self._interpreter.allocate_tensors()
        self._input_indices = [details["index"] for details in self._interpreter.get_input_details()]
        self._output_indices = [details["index"] for details in self._interpreter.get_output_details()]

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        for index, value in zip(self._input_indices, inputs, strict=True):
            self._interpreter.set_tensor(index, value)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._output_indices]
