"""Films of many kinds, damaged in many ways; and as a program, what livecam makes of each."""

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
from live_cam.timing import peak_rss_mb

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
    """One of each kind, a second and a half long, with a tone."""
    picture = ("-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=1.5,format=yuv420p")
    for name, options in _KINDS.items():
        pixels = ("-pix_fmt", "yuvj420p") if "mjpeg" in options else ()
        ffmpeg(*picture, "-f", "lavfi", "-i", "sine=d=1.5", "-g", "12", *options, *pixels, folder / name)
    return [folder / name for name in _KINDS]


def _truncated(content: bytes, other: bytes, dice: random.Random) -> bytes:
    return content[: dice.randrange(1, len(content))]


def _flipped(content: bytes, other: bytes, dice: random.Random, end: int | None = None) -> bytes:
    changed = bytearray(content)
    for _ in range(dice.choice((1, 4, 30, 200))):
        changed[dice.randrange(min(end or len(changed), len(changed)))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def _flipped_header(content: bytes, other: bytes, dice: random.Random) -> bytes:
    return _flipped(content, other, dice, _HEADER_BYTES)


def _swapped_header(content: bytes, other: bytes, dice: random.Random) -> bytes:
    count = dice.choice((16, 64, 512, 3000))
    return other[:count] + content[count:]


def _without_a_block(content: bytes, other: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(content))
    return content[:start] + content[start + dice.randrange(1, 4000) :]


_DAMAGES = (_truncated, _flipped, _flipped_header, _swapped_header, _without_a_block)


def damaged_clips(folder: Path, count: int, seed: int) -> list[Path]:
    """Makes them, in turn of each kind of film and of damage."""
    contents = {path.name: path.read_bytes() for path in good_clips(folder)}
    dice, made = random.Random(seed), []
    for number in range(count):
        name = list(contents)[number % len(contents)]
        damage = _DAMAGES[number // len(contents) % len(_DAMAGES)]
        other = dice.choice([one for key, one in contents.items() if key != name])
        path = folder / f"{number:03}{damage.__name__}-{name}"
        path.write_bytes(damage(contents[name], other, dice))
        made.append(path)
    return made


def outcomes(paths: list[Path]) -> Iterator[str]:
    """For each film one line: its name, the exit code, seconds, the process's greatest memory in MB, what was said."""
    for path in paths:
        begin_seconds = time.monotonic()
        output = path.with_name(f"{path.stem}-out.mp4")
        code, said = 0, ""
        try:
            run_standin(path, output, path.with_suffix(".jsonl"))
        except LiveCamError as error:
            code, said = 1, repr(str(error))
        except BaseException:  # noqa: BLE001 — all of them are faults, and the others go on
            code, said = 2, repr(traceback.format_exc())
        most_mb = round(peak_rss_mb() or 0)
        yield f"{path.name}\t{code}\t{time.monotonic() - begin_seconds:.2f}\t{most_mb}\t{said}"


if __name__ == "__main__":
    for line in outcomes([Path(one) for one in sys.argv[1:]]):
        print(line, flush=True)
