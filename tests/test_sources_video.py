"""Videos come out whole, in order, upright, in their colours and at their times; the rest is refused in a line."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import SHARED_VIDEOS, decoded_by_ffmpeg, number_of, probe, write_clip

from live_cam.errors import SettingError, SourceError
from live_cam.frame import Frame
from live_cam.sources import open_source
from live_cam.sources.address import display_name
from live_cam.sources.color import is_full_range
from live_cam.sources.video import VideoSource


def all_frames(path: Path | str, **options: float) -> list[Frame]:
    with VideoSource(path, **options) as source:
        return list(iter(source.read, None))


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.mov", "clip.ts", "clip.avi"])
def test_every_frame_comes_once_in_order_and_at_its_time(tmp_path, name):
    path = write_clip(tmp_path / name, frame_count=50, rate=Fraction(30000, 1001))
    frames = all_frames(path)
    assert [number_of(frame.image) for frame in frames] == list(range(50))  # reordered B-frames included
    assert [frame.index for frame in frames] == list(range(50))
    assert [frame.time_seconds for frame in frames] == pytest.approx([n * 1001 / 30000 for n in range(50)], abs=6e-4)


def test_what_a_source_says_about_itself(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", frame_count=60, rate=Fraction(30000, 1001), size_wh=(66, 48))
    with open_source(video=path) as source:
        assert (source.name, source.size_wh, source.rate) == (str(path), (66, 48), Fraction(30000, 1001))
        assert (source.frame_count_estimate, source.is_live, source.is_still) == (60, False, False)
        assert source.duration_seconds == pytest.approx(60 * 1001 / 30000, abs=1e-3)


def test_uneven_times_are_kept_to_the_millisecond(tmp_path):
    times_ms = [0, 40, 80, 500, 517, 1700, 1790, 2500]
    path = write_clip(tmp_path / "clip.mkv", frame_count=8, pts=times_ms)
    assert [round(1000 * frame.time_seconds) for frame in all_frames(path)] == times_ms


def test_times_count_from_the_first_frame(tmp_path):
    path = write_clip(tmp_path / "late.mkv", frame_count=4, pts=[5000, 5040, 5080, 5120])
    assert [frame.time_seconds for frame in all_frames(path)] == pytest.approx([0, 0.04, 0.08, 0.12])


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.avi", "clip.h264"])
@pytest.mark.parametrize(("start", "end", "expected"), [(1.0, 1.2, range(25, 30)), (0.61, None, range(16, 50))])
def test_start_and_end_are_exact_to_the_frame(tmp_path, name, start, end, expected):
    path = write_clip(tmp_path / name, frame_count=50, options={"g": "12"})
    frames = all_frames(path, start_seconds=start, end_seconds=end)
    assert [number_of(frame.image) for frame in frames] == list(expected)
    assert [frame.index for frame in frames] == list(range(len(expected)))
    assert frames[0].time_seconds == pytest.approx(expected[0] / 25)


def test_start_behind_the_end_is_refused(tmp_path):
    path = write_clip(tmp_path / "clip.mp4")
    with pytest.raises(SourceError, match=r"clip.mp4 has no frame from 9 s on"):
        VideoSource(path, start_seconds=9)
    with pytest.raises(SettingError, match="the end, 1 s, must be later than the start, 2 s"):
        VideoSource(path, start_seconds=2, end_seconds=1)
    with pytest.raises(SettingError, match="the start must be 0 s or later"):
        VideoSource(path, start_seconds=-1)


# B, G, R; the middle of the possible range, so that coding does not clip.
PATCHES_BGR = [(40, 60, 200), (60, 190, 50), (200, 70, 50), (120, 120, 120), (60, 190, 200), (30, 30, 30)]
MATRICES = {"bt709": (0.2126, 0.0722), "smpte170m": (0.299, 0.114)}


def write_patches(path: Path, size_wh: tuple[int, int], matrix: str, is_full: bool, tag: bool = True) -> np.ndarray:
    """Codes flat colours with YUV values computed here from the standard's two constants (BT.601/709, section 3)."""
    width, height = size_wh
    columns = np.minimum(np.arange(width) * len(PATCHES_BGR) // width, len(PATCHES_BGR) - 1)
    image = np.broadcast_to(np.uint8(PATCHES_BGR)[columns], (height, width, 3))
    kr, kb = MATRICES[matrix]
    blue, green, red = np.moveaxis(image / 255.0, -1, 0)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    blueness, redness = (blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)
    luma_span, chroma_span, black = (255, 255, 0) if is_full else (219, 224, 16)
    planes = [black + luma_span * luma, 128 + chroma_span * blueness[::2, ::2], 128 + chroma_span * redness[::2, ::2]]
    coded = np.concatenate([np.rint(plane).astype(np.uint8).ravel() for plane in planes])
    tags = ["-color_range", "pc" if is_full else "tv", "-colorspace", matrix] if tag else []
    command = ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}", "-i", "-"]
    command += ["-c:v", "libx264", "-qp", "1", "-pix_fmt", "yuv420p", *tags, str(path)]
    subprocess.run(command, input=coded.tobytes(), check=True)
    return image


@pytest.mark.parametrize(("size_wh", "matrix", "is_full", "tag"), [
    ((96, 64), "smpte170m", False, True),
    ((96, 64), "bt709", False, True),
    ((96, 64), "smpte170m", True, True),
    ((96, 64), "smpte170m", False, False),  # small and untagged: BT.601
    ((96, 720), "bt709", False, False),  # 720 lines and untagged: BT.709
])  # fmt: skip
def test_colours_come_back(tmp_path, size_wh, matrix, is_full, tag):
    image = write_patches(tmp_path / "patches.mp4", size_wh, matrix, is_full, tag)
    read = all_frames(tmp_path / "patches.mp4")[0].image
    for patch in range(len(PATCHES_BGR)):
        column = (2 * patch + 1) * size_wh[0] // (2 * len(PATCHES_BGR))
        # swscale's fast path truncates three times; the wrong matrix or range is off by 10 and more.
        assert read[10, column].astype(int) == pytest.approx(image[10, column].astype(int), abs=3)


def test_full_range_is_known_by_its_tag_or_its_format():
    frame = av.VideoFrame(16, 16, "yuv420p")
    assert not is_full_range(frame)
    frame.color_range = 2
    assert is_full_range(frame)
    assert is_full_range(av.VideoFrame(16, 16, "yuvj420p"))


@pytest.mark.parametrize(("degrees", "size_wh"), [(90, (48, 64)), (180, (64, 48)), (270, (48, 64))])
def test_phone_videos_come_out_upright(tmp_path, degrees, size_wh):
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "4"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        corner = np.full((48, 64, 3), 60, np.uint8)
        corner[:16, :32] = 190  # top left: neither turn nor mirror image looks like it
        container.mux(stream.encode(av.VideoFrame.from_ndarray(corner, format="bgr24")))
        container.mux(stream.encode(None))
    command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "clip.mp4"), "-c", "copy"]
    help_text = subprocess.run(["ffmpeg", "-h", "full"], capture_output=True, text=True, check=True).stdout
    if "display_rotation" in help_text:  # ffmpeg 6 and later
        command = [*command[:3], "-display_rotation", str(degrees), *command[3:], str(tmp_path / "phone.mp4")]
    else:
        command += ["-metadata:s:v", f"rotate={degrees}", str(tmp_path / "phone.mp4")]
    subprocess.run(command, check=True)
    with VideoSource(tmp_path / "phone.mp4") as source:
        assert source.size_wh == size_wh
        image = source.read().image
    shown_by_ffmpeg = decoded_by_ffmpeg(tmp_path / "phone.mp4", size_wh)
    assert np.abs(image.astype(int) - shown_by_ffmpeg).max() <= 4
    stated = probe(tmp_path / "phone.mp4")["side_data_list"][0]["rotation"]  # counterclockwise, as np.rot90 turns
    np.testing.assert_array_equal(image[..., 1] > 125, np.rot90(corner[..., 1] > 125, stated // 90))


def test_bad_inputs_are_told_in_one_line(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("These are words.\n" * 500)
    (tmp_path / "text.txt").write_text("These are words.\n" * 500)
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(9000))
    write_clip(tmp_path / "clip.mp4")
    for name, arguments in {"sound.mp4": ["-f", "lavfi", "-i", "sine=duration=1"]}.items():
        subprocess.run(["ffmpeg", "-v", "error", *arguments, str(tmp_path / name)], check=True)
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(tmp_path / "clip.mp4"), "-frames:v", "1", str(tmp_path / "picture.png")],
        check=True,
    )
    reasons = {
        "none.mp4": "no such file",
        "": "is a directory",
        "empty.mp4": "is empty",
        "text.mp4": "is not a video",
        "text.txt": "is a text, not a video",
        "noise.mp4": "is not a video",
        "sound.mp4": "has no video stream",
        "picture.png": "open it with --image",
    }
    for name, reason in reasons.items():
        with pytest.raises(SourceError, match=reason) as raised:
            VideoSource(tmp_path / name)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("address", "name"), [
    ("rtsp://anna:se/cr@et@10.0.0.7:554/live", "rtsp://***@10.0.0.7:554/live"),
    ("rtsp://anna:s%40cret@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
    ("rtsp://anna:secret%4010.0.0.7/live", "rtsp://***@10.0.0.7/live"),
    ("rtsp://secret@10.0.0.7", "rtsp://***@10.0.0.7"),
    ("http://10.0.0.7:8080/cam@home", "http://10.0.0.7:8080/cam@home"),
    ("http://10.0.0.7/cam?tok%65n=abc;p%61ss=x#access_token=y", "http://10.0.0.7/cam?tok%65n=***;p%61ss=***#access_token=***"),
    ("http://10.0.0.7/?src=rtsp%3A%2F%2Fanna%3Asecret%40cam&w=5", "http://10.0.0.7/?src=***&w=5"),
    ("http://10.0.0.7/?src=rtsp://anna:secret@cam", "http://10.0.0.7/?src=***"),
    ("http://10.0.0.7/?API-Key=a&PASSWORD=b&sessionid=c", "http://10.0.0.7/?API-Key=***&PASSWORD=***&sessionid=***"),
    ("rtsp://anna:secr@et@10.0.0.7:554/live", "rtsp://***@10.0.0.7:554/live"),
    ("http://10.0.0.7/cam?user=anna&pwd=secret&size=2", "http://10.0.0.7/cam?user=***&pwd=***&size=2"),
    ("https://example.org/clip.mp4", "https://example.org/clip.mp4"),
    ("folder/me@home.mp4", "folder/me@home.mp4"),
])  # fmt: skip
def test_names_keep_secrets(address, name):
    assert display_name(address) == name


def test_addresses_that_cannot_be_opened_are_told_without_their_secrets():
    with pytest.raises(SourceError, match="unknown protocol 'warp'; give a path, or an http"):
        VideoSource("warp://example.org/clip.mp4")
    with pytest.raises(SourceError, match=r"cannot reach http://\*\*\*@127.0.0.1:9/x.mp4: ") as raised:
        VideoSource("http://anna:secret@127.0.0.1:9/x.mp4")
    assert "secret" not in str(raised.value)


@pytest.fixture
def server(tmp_path):
    """Serves tmp_path, and under /live pictures without an end or a length."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, *arguments):
            pass

        def do_GET(self):
            if self.path != "/live":
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            picture = (tmp_path / "picture.jpg").read_bytes()
            for _ in range(60):
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n")
                self.wfile.write(b"Content-Length: %d\r\n\r\n%s\r\n" % (len(picture), picture))
            return None

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_an_address_with_a_duration_is_a_recording(tmp_path, server):
    write_clip(tmp_path / "clip.mp4", frame_count=30)
    with VideoSource(f"{server}/clip.mp4") as source:
        assert (source.is_live, source.rate, source.frame_count_estimate) == (False, 25, 30)
        assert len(list(iter(source.read, None))) == 30


def test_an_address_without_a_duration_is_live(tmp_path, server):
    import time

    import cv2

    cv2.imwrite(str(tmp_path / "picture.jpg"), np.full((48, 64, 3), 90, np.uint8))
    before_seconds = time.monotonic()
    with VideoSource(f"{server}/live") as source:
        assert (source.is_live, source.rate, source.duration_seconds) == (True, None, None)
        frames = [source.read() for _ in range(5)]
    assert before_seconds < frames[0].time_seconds <= frames[-1].time_seconds < time.monotonic()
    assert abs(int(frames[4].image.mean()) - 90) <= 2


def test_close_ends_it_and_can_be_repeated_from_another_thread(tmp_path):
    source = VideoSource(write_clip(tmp_path / "clip.mp4"))
    assert source.read().index == 0
    for _ in range(2):
        closer = threading.Thread(target=source.close)
        closer.start()
        closer.join()
    assert source.read() is None


def test_closing_under_a_reading_thread_is_safe(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", frame_count=100)
    for _ in range(20):
        source = VideoSource(path)
        reader = threading.Thread(target=lambda opened=source: list(iter(opened.read, None)))
        reader.start()
        source.close()
        reader.join(10)
        assert not reader.is_alive()
        assert source.read() is None


def test_a_source_loads_only_what_it_needs(tmp_path):
    program = (
        "import sys\nfrom live_cam.sources import open_source\n"
        "assert 'cv2' not in sys.modules and 'av' not in sys.modules\n"
        "try: open_source(image='none.png')\nexcept Exception as error: print(error)\nassert 'av' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "no such file: none.png\n"


@pytest.mark.skipif(not SHARED_VIDEOS.is_dir(), reason="shared videos are not here")
@pytest.mark.parametrize("name", ["bottle-detection.mp4", "car-detection.mp4", "one-by-one-person-detection.mp4"])
def test_real_videos_come_whole(name):
    path = SHARED_VIDEOS / name
    stated = probe(path)
    with VideoSource(path) as source:
        assert source.rate == Fraction(stated["r_frame_rate"])
        assert len(list(iter(source.read, None))) == int(stated["nb_frames"])
