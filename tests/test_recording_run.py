"""Annotated videos written by the command line."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import pytest
from conftest import RunLivecam
from media_clips import noise_image, packet_times, probe
from recordings import contents_of, ffmpeg, frames_of, packets_of

pytestmark = pytest.mark.usefixtures("warm_cache")
TIMES_MS = [0, 40, 90, 130, 400, 433, 467, 500, 900, 1000, 1050, 1300, 1800, 1900, 2100]


@pytest.fixture(scope="module")
def phone_video(tmp_path_factory) -> Path:
    """Writes a video as phones do: uneven frames, rotated by 90 degrees, with audio."""
    folder = tmp_path_factory.mktemp("phone")
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "10", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 16_000)
        for index, time_ms in enumerate(TIMES_MS):
            image = cv2.GaussianBlur(noise_image(index), (0, 0), 4)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = 16 * time_ms, Fraction(1, 16_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    sine = ["-f", "lavfi", "-i", "sine=440:d=2.2:r=48000"]
    ffmpeg("-i", folder / "clip.mp4", *sine, "-c:v", "copy", "-c:a", "aac", folder / "sound.mp4")
    ffmpeg("-i", folder / "sound.mp4", "-c", "copy", "-metadata:s:v", "rotate=90", folder / "phone.mp4")
    return folder / "phone.mp4"


def test_phone_video_becomes_upright_and_keeps_its_times_and_audio(run_livecam: RunLivecam, phone_video, tmp_path):
    done = run_livecam("--video", phone_video, "--view", "original", "--quality", 90, "--output", tmp_path / "out.mp4")
    assert (done.returncode, done.stderr) == (0, "")
    stated = probe(tmp_path / "out.mp4")
    assert (stated["width"], stated["height"], stated["nb_frames"]) == (240, 320, "15")
    assert packet_times(tmp_path / "out.mp4") == pytest.approx([time_ms / 1000 for time_ms in TIMES_MS], abs=1e-3)
    assert float(stated["duration"]) == pytest.approx(float(probe(phone_video)["duration"]), abs=1e-3)
    assert contents_of(tmp_path / "out.mp4", "audio") == contents_of(phone_video, "audio")
    pairs = zip(frames_of(tmp_path / "out.mp4"), frames_of(phone_video), strict=True)
    assert min(cv2.PSNR(made[:240], source[:240]) for (_, made), (_, source) in pairs) > 38  # the caption is below


def test_start_end_codec_and_container_from_the_command_line(run_livecam: RunLivecam, phone_video, tmp_path):
    cut = ["--start", "0:00.4", "--end", "00:00:01.300", "--codec", "av1"]
    done = run_livecam("--video", phone_video, *cut, "--output", tmp_path / "out.webm")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "audio track 1 (aac) is transcoded to Opus: WebM cannot hold it\n"
    assert probe(tmp_path / "out.webm")["codec_name"] == "av1"
    kept = [time_ms for time_ms in TIMES_MS if 400 <= time_ms < 1300]
    assert packet_times(tmp_path / "out.webm") == pytest.approx([(time_ms - 400) / 1000 for time_ms in kept], abs=1e-3)
    assert packets_of(tmp_path / "out.webm", "audio")[-1][1] < 1.2


def test_no_audio_option_leaves_the_audio_out(run_livecam: RunLivecam, phone_video, tmp_path):
    done = run_livecam("--video", phone_video, "--no-audio", "--output", tmp_path / "out.mkv", "--end", 0.4)
    assert done.returncode == 0, done.stderr
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


@pytest.mark.parametrize(("options", "message"), [
    (["--codec", "h264", "--output", "o.webm"], ".webm cannot hold h264; it can hold vp9, av1, and h264 goes"),
    (["--codec", "h264", "--sidecar", "o.jsonl", "--no-show"], "codec and quality are for a video"),
    (["--quality", "50", "--output", "o.gif"], "a GIF has neither codec nor quality"),
])  # fmt: skip
def test_impossible_options_are_refused_at_once(run_livecam: RunLivecam, phone_video, tmp_path, options, message):
    done = run_livecam("--video", phone_video, *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_invalid_time_is_a_usage_error(run_livecam: RunLivecam, phone_video, tmp_path):
    done = run_livecam("--video", phone_video, "--start", "soon", "--output", tmp_path / "out.mp4")
    assert done.returncode == 2
    assert "'soon' is no time" in done.stderr
