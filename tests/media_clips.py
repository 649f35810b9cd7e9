"""Makes the clips and results that the tests of sources and sinks need, without livecam's writers."""

from __future__ import annotations

import json
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from live_cam.frame import Explanation, Frame, Prediction, Result


def numbered_image(index: int, size_wh: tuple[int, int] = (64, 48)) -> np.ndarray:
    """Returns an image of its number in binary: eight vertical bars, light for 1 and dark for 0."""
    width, height = size_wh
    bars = np.uint8([200 if index >> bit & 1 else 50 for bit in range(8)])
    return np.broadcast_to(bars[np.arange(width) * 8 // width][None, :, None], (height, width, 3)).copy()


def number_of(image: np.ndarray) -> int:
    """Returns the number that ``numbered_image`` wrote, also after lossy encoding."""
    middles = image[image.shape[0] // 2, [(2 * bit + 1) * image.shape[1] // 16 for bit in range(8)], 1]
    return sum(1 << bit for bit in range(8) if middles[bit] > 125)


def write_clip(
    path: Path,
    frame_count: int = 50,
    rate: Fraction = Fraction(25),
    size_wh: tuple[int, int] = (64, 48),
    pts: list[int] | None = None,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    movflags: str = "faststart",
) -> Path:
    """Writes numbered frames, at a constant rate or at the times ``pts``, in milliseconds."""
    with av.open(str(path), "w", options={"movflags": movflags} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = size_wh
        stream.pix_fmt = "yuv420p"
        time_base = Fraction(1, 1000) if pts else 1 / rate
        stream.codec_context.time_base = time_base
        for index in range(frame_count):
            frame = av.VideoFrame.from_ndarray(numbered_image(index, size_wh), format="bgr24")
            frame.pts, frame.time_base = (pts[index] if pts else index), time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def noise_image(index: int, size_wh: tuple[int, int] = (320, 240)) -> np.ndarray:
    """Returns noise, which is encoded into so many bytes that most of the file is frames."""
    return np.random.default_rng(index).integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8)


def write_heavy_clip(path: Path, frame_count: int = 40, options: dict[str, str] | None = None) -> Path:
    """Writes noise with a keyframe every ten frames."""
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "g": "10"} | (options or {}))
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for index in range(frame_count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise_image(index), format="bgr24")))
        container.mux(stream.encode(None))
    return path


def probe(path: Path) -> dict[str, str]:
    """Returns what ffprobe says about the first video stream, with its packets counted."""
    command = ["ffprobe", "-v", "error", "-count_packets", "-select_streams", "v:0", "-show_streams", "-of", "json"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["streams"][0]


def packet_times(path: Path) -> list[float]:
    """Returns each packet's presentation time in seconds, as ffprobe reads it."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts_time", "-of", "json"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=True)
    return [float(packet["pts_time"]) for packet in json.loads(done.stdout)["packets"]]


def decoded_by_ffmpeg(path: Path, size_wh: tuple[int, int]) -> np.ndarray:
    """Returns the first frame as the ffmpeg program shows it, (height, width, 3) uint8, BGR."""
    exact = "flags=accurate_rnd+full_chroma_int+bitexact"
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-frames:v", "1", "-vf", f"scale={exact}"]
    done = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "bgr24", "-"], capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(size_wh[1], size_wh[0], 3)


def result_of(
    image: np.ndarray,
    index: int = 0,
    time_seconds: float = 0.0,
    explanation: Explanation | None = None,
    duration_seconds: float | None = None,
) -> Result:
    """A result whose annotated image is the frame's."""
    frame = Frame(image, index, time_seconds, duration_seconds)
    cat = Prediction(281, "tabby", 0.75, 3.0)
    explanation = explanation or Explanation((cat,), cat, np.zeros((7, 7), np.float32))
    return Result(frame, explanation, explanation, None, frame, None, lambda has_caption: image)
