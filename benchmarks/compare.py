"""Compares livecam with its peers: prediction and heatmap of the same frames, with the same networks, in one run.

Each peer has its own environment under ``--folder``, and a process that stays alive. The environment also sees the
packages of this program's own one, so that all Keras peers share one TensorFlow. The processes take turns, a few frames
each, so that a slow phase of the machine affects all of them.
"""

from __future__ import annotations

import argparse
import json
import selectors
import site
import subprocess
import sys
import tempfile
import venv
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measuring import conditions, demo_images, markdown_table, median_ms, ratio_text, write_section

from live_cam.timing_harness import Timings, interleaved

_FRAME_COUNT = 24
_START_SECONDS = 600
_FRAME_SECONDS = 120
_TORCH = "torch==2.13.0"


@dataclass(frozen=True)
class Peer:
    """A library that explains a frame.

    Attributes:
        name: A key of ``peers.MAKERS``.
        title: Its name in the table.
        how: What is measured, for the table.
        installs: Arguments of ``pip install``, one per call. Default: it runs in this program's environment.
    """

    name: str
    title: str
    how: str
    installs: tuple[str, ...] = ()


_KERAS_PEERS = (
    Peer("livecam-mobilenetv2-litert", "**livecam, LiteRT**", "one call"),
    Peer("livecam-mobilenetv2-int8", "livecam, LiteRT int8", "one call; calibrated on the demo's photographs"),
    Peer("livecam-mobilenetv2-tensorflow", "livecam, TensorFlow", "one call"),
    Peer("article", "the article's recipe", "`predict`, then a new model, a tape, a loop over channels"),
    Peer("tf-explain", "tf-explain 0.3.1", "`predict_on_batch` for the class, then its map", ("tf-explain==0.3.1",)),
    Peer(
        "tf-keras-vis",
        "tf-keras-vis 0.8.7",
        "`predict_on_batch` for the class, then its map",
        ("tf-keras-vis==0.8.7",),
    ),
    Peer(
        "xplique",
        "xplique 2.0.2",
        "`predict_on_batch` for the class, then its map; with a newer TensorFlow than it asks for",
        (
            "--no-deps xplique==2.0.2 tensorflow-probability==0.25.0 tf-keras",
            "einops deprecated matplotlib scikit-learn scikit-image scipy dm-tree cloudpickle decorator",
        ),
    ),
)
_TORCH_PEERS = (
    Peer("livecam-lite0-litert", "**livecam, LiteRT**", "one call"),
    Peer("livecam-lite0-int8", "livecam, LiteRT int8", "one call; calibrated on the demo's photographs"),
    Peer("livecam-lite0-tensorflow", "livecam, TensorFlow", "one call"),
    Peer("torchcam", "torchcam 0.5.0", "one forward and one backward pass", (_TORCH, "--no-deps torchcam==0.5.0")),
    Peer(
        "pytorch-grad-cam",
        "pytorch-grad-cam 1.5.7",
        "one forward and one backward pass; with empty modules for torchvision, which Grad-CAM does not use",
        (_TORCH, "--no-deps grad-cam==1.5.7 ttach", "matplotlib tqdm scikit-learn"),
    ),
    Peer("torch-forward", "PyTorch, the bare network", "forward only, no map", (_TORCH,)),
)


class PeerError(Exception):
    """A peer cannot be installed or does not run. The message is one line."""


class Worker:
    """The process of one peer, which explains one frame at a time and measures it."""

    def __init__(self, python: Path, peer: Peer, frames_path: Path, weights: str, folder: Path) -> None:
        self._log_path = folder / f"{peer.name}.log"
        self.top_classes: dict[int, int] = {}
        with self._log_path.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [python, Path(__file__).with_name("peers.py"), peer.name, frames_path, weights],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._answers = selectors.DefaultSelector()
        self._answers.register(self._process.stdout, selectors.EVENT_READ)
        self._answer(_START_SECONDS)

    def seconds(self, index: int) -> float:
        """Has it explain a frame; returns how long that took, by its own clock."""
        print(index, file=self._process.stdin, flush=True)
        seconds, self.top_classes[index] = self._answer(_FRAME_SECONDS)
        return seconds

    def _answer(self, timeout_seconds: float) -> list:
        line = self._process.stdout.readline() if self._answers.select(timeout_seconds) else ""
        if not line:
            self.close()
            raise PeerError(f"does not run: {last_line(self._log_path.read_text(encoding='utf-8', errors='replace'))}")
        return json.loads(line)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        self._answers.close()


def python_of(peer: Peer, folder: Path, may_install: bool) -> Path:
    """Returns the Python that runs a peer; makes its environment if there is none.

    Raises:
        PeerError: pip could not install it.
    """
    if not peer.installs:
        return Path(sys.executable)
    place = folder / peer.name
    python = place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    marker = place / "installed.txt"
    wanted = "\n".join(peer.installs)
    if marker.exists() and marker.read_text(encoding="utf-8") == wanted:
        return python
    if not may_install:
        raise PeerError("not installed")
    venv.create(place, clear=True, with_pip=True)
    for own, packages in zip(_site_packages(python), site.getsitepackages(), strict=False):
        # Its own packages come first; others are found in this environment.
        (own / "ours.pth").write_text(f"import site; site.addsitedir({packages!r})\n", encoding="utf-8")
    for arguments in peer.installs:
        command = [python, "-m", "pip", "install", "--quiet", *arguments.split()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise PeerError(f"cannot be installed: {last_line(done.stderr)}")
    marker.write_text(wanted, encoding="utf-8")
    return python


def _site_packages(python: Path) -> list[Path]:
    script = "import json, site; print(json.dumps(site.getsitepackages()))"
    return [Path(path) for path in json.loads(subprocess.check_output([python, "-c", script], text=True))]


def last_line(text: str) -> str:
    """Returns the line of a log that says what went wrong, shortened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line or "ERROR" in line]
    return (telling or lines or ["it ended without a message"])[-1][:200]


def compared(peers: tuple[Peer, ...], frames_path: Path, options: argparse.Namespace) -> str:
    """Runs the peers in turns and returns their table; the others are compared with the first."""
    workers: dict[str, Worker] = {}
    failures: dict[str, str] = {}
    with ExitStack() as stack:
        for peer in peers:
            print(f"starting {peer.name}", file=sys.stderr)
            try:
                python = python_of(peer, options.folder, not options.no_install)
                workers[peer.name] = Worker(python, peer, frames_path, options.weights, options.folder)
                stack.callback(workers[peer.name].close)
            except PeerError as error:
                failures[peer.name] = str(error)
        actions = {name: worker.seconds for name, worker in workers.items()}
        call_count = options.rounds * options.frames_per_round
        timings = interleaved(actions, call_count, options.rounds, _tell)
    return _table(peers, workers, timings, failures)


def _table(
    peers: tuple[Peer, ...], workers: dict[str, Worker], timings: dict[str, Timings], failures: dict[str, str]
) -> str:
    ours = peers[0].name
    rows = []
    for peer in peers:
        if peer.name in failures:
            rows.append([peer.title, "-", "-", "-", failures[peer.name].replace("|", "/")])
            continue
        ratio = ratio_text(timings[peer.name].ratios_to(timings[ours])) if ours in timings else "-"
        agreement = _agreement(workers[peer.name], workers[ours]) if ours in workers else "-"
        rows.append([peer.title, f"{median_ms(timings[peer.name]):.1f}", ratio, agreement, peer.how])
    return markdown_table(["", "ms per frame", "over livecam", "same top class", "what is measured"], rows)


def _agreement(worker: Worker, ours: Worker) -> str:
    shared = worker.top_classes.keys() & ours.top_classes.keys()
    return f"{sum(worker.top_classes[index] == ours.top_classes[index] for index in shared)} of {len(shared)}"


def _tell(what: str, done: int, total: int) -> None:
    print(f"{done} of {total} frames of each", file=sys.stderr)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default_folder = Path(tempfile.gettempdir()) / "livecam-peers"
    parser.add_argument("--folder", type=Path, default=default_folder, help="folder of the environments")
    parser.add_argument("--weights", default="random", help="weights of MobileNetV2, a .h5 file (default: random)")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--frames-per-round", type=int, default=4)
    parser.add_argument("--only", nargs="*", metavar="PEER", help="names as in peers.py; livecam always runs")
    parser.add_argument("--no-install", action="store_true", help="install nothing; use the environments that exist")
    parser.add_argument("--no-write", action="store_true", help="do not change RESULTS.md")
    return parser.parse_args()


def main() -> None:
    """Prints both tables and writes them into the results."""
    options = _parsed()
    options.folder.mkdir(parents=True, exist_ok=True)
    frames_path = options.folder / "frames.npy"
    np.save(frames_path, np.stack(demo_images((640, 480), _FRAME_COUNT)))
    tables = {}
    for network, peers in (("MobileNetV2", _KERAS_PEERS), ("EfficientNet-Lite0", _TORCH_PEERS)):
        wanted = [peer for peer in peers if not options.only or peer.name in options.only or peer is peers[0]]
        tables[network] = compared(tuple(wanted), frames_path, options)
    weights = "random weights" if options.weights == "random" else "ImageNet weights"
    text = (
        "## Comparison with peers (compare.py)\n\nFrom one 640x480 BGR frame to the top class and its heatmap, with "
        "resizing and normalization, without drawing.\nMedians; in brackets the lowest and the highest ratio of a "
        "round.\n\n"
        f"MobileNetV2, {weights}:\n\n{tables['MobileNetV2']}\n\n"
        f"EfficientNet-Lite0, bundled weights:\n\n{tables['EfficientNet-Lite0']}\n\n{conditions()} {_TORCH}.\n"
    )
    print(text)
    if not options.no_write:
        write_section("compare.py", text)


if __name__ == "__main__":
    main()
