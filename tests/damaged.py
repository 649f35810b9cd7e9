"""Makes videos of many formats with many kinds of damage; as a program, processes each of them with livecam."""

from __future__ import annotations

import random
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from recordings import ffmpeg
from standin import run_standin

from live_cam.errors import LiveCamError
from live_cam.pipeline.stats import peak_rss_mb

_KINDS = {
    "a.mp4": ("-c:v", "libx264", "-c:a", "aac", "-movflags", "+faststart"),
    "b.mp4": ("-c:v", "libx264", "-bf", "2", "-c:a", "aac"),
    "c.mp4": ("-c:v", "mpeg4", "-c:a", "aac", "-movflags", "+frag_keyframe+empty_moov"),
    "d.mov": ("-c:v", "mjpeg", "-c:a", "pcm_s16le"),
    "e.mkv": ("-c:v", "libx264", "-c:a", "flac"),
    "f.webm": ("-c:v", "libvpx", "-c:a", "libopus"),
    "g.avi": ("-c:v", "mpeg4", "-c:a", "mp3"),
    "h.ts": ("-c:v", "libx264", "-c:a", "aac"),
    "i.flv": ("-c:v", "flv1", "-c:a", "mp3", "-ar", "44100"),
    "j.mpg": ("-c:v", "mpeg2video", "-c:a", "mp2"),
}
_HEADER_BYTES = 1500


def good_clips(folder: Path) -> list[Path]:
    """Writes one of each format, 1.5 seconds long, with a tone."""
    frames = ("-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=1.5,format=yuv420p")
    for name, options in _KINDS.items():
        pixels = ("-pix_fmt", "yuvj420p") if "mjpeg" in options else ()
        ffmpeg(*frames, "-f", "lavfi", "-i", "sine=d=1.5", "-g", "12", *options, *pixels, folder / name)
    return [folder / name for name in _KINDS]


def _truncated(content: bytes, other: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(1, len(content))]


def _flipped(content: bytes, other: bytes, rng: random.Random, end: int | None = None) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 4, 30, 200))):
        changed[rng.randrange(min(end or len(changed), len(changed)))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _flipped_header(content: bytes, other: bytes, rng: random.Random) -> bytes:
    return _flipped(content, other, rng, _HEADER_BYTES)


def _swapped_header(content: bytes, other: bytes, rng: random.Random) -> bytes:
    count = rng.choice((16, 64, 512, 3000))
    return other[:count] + content[count:]


def _without_a_block(content: bytes, other: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.randrange(1, 4000) :]


_DAMAGES = (_truncated, _flipped, _flipped_header, _swapped_header, _without_a_block)


def damaged_clips(folder: Path, count: int, seed: int) -> list[Path]:
    """Writes damaged videos: all formats with the first kind of damage, then with the next one, and so on."""
    contents = {path.name: path.read_bytes() for path in good_clips(folder)}
    rng, paths = random.Random(seed), []
    for number in range(count):
        name = list(contents)[number % len(contents)]
        damage = _DAMAGES[number // len(contents) % len(_DAMAGES)]
        other = rng.choice([content for other_name, content in contents.items() if other_name != name])
        path = folder / f"{number:03}{damage.__name__}-{name}"
        path.write_bytes(damage(contents[name], other, rng))
        paths.append(path)
    return paths


def outcomes(paths: list[Path]) -> Iterator[str]:
    """Yields a line for each video: name, exit code, seconds, the process's peak memory in MB, and the message."""
    for path in paths:
        begin_seconds = time.monotonic()
        output = path.with_name(f"{path.stem}-out.mp4")
        code, message = 0, ""
        try:
            run_standin(path, output, path.with_suffix(".jsonl"))
        except LiveCamError as error:
            code, message = 1, repr(str(error))
        except BaseException:  # noqa: BLE001 — reported as a failure; the other videos are still processed
            code, message = 2, repr(traceback.format_exc())
        peak_mb = round(peak_rss_mb() or 0)
        yield f"{path.name}\t{code}\t{time.monotonic() - begin_seconds:.2f}\t{peak_mb}\t{message}"


if __name__ == "__main__":
    for line in outcomes([Path(argument) for argument in sys.argv[1:]]):
        print(line, flush=True)
