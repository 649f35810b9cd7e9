"""Videos are read whole, in order, upright, in their colors and at their times; what is no video is refused."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from conftest import SHARED_DATA, needs_shared_data
from media_clips import decoded_by_ffmpeg, number_of, probe, write_clip
from recordings import ffmpeg

from live_cam.errors import SettingError, SourceError
from live_cam.frame import Frame
from live_cam.settings import SourceSettings
from live_cam.sources.address import display_name
from live_cam.sources.color import is_full_range
from live_cam.sources.open import open_source
from live_cam.sources.video import NoFrameLeftError, ResumePoint, VideoSource


def all_frames(path: Path | str, **options: float) -> list[Frame]:
    with VideoSource(path, **options) as source:
        return list(iter(source.read, None))


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.mov", "clip.ts", "clip.avi"])
def test_every_frame_is_read_once_in_order_and_at_its_time(tmp_path, name):
    path = write_clip(tmp_path / name, frame_count=50, rate=Fraction(30000, 1001))
    frames = all_frames(path)
    assert [number_of(frame.image) for frame in frames] == list(range(50))  # B-frames included
    assert [frame.index for frame in frames] == list(range(50))
    assert [frame.time_seconds for frame in frames] == pytest.approx([n * 1001 / 30000 for n in range(50)], abs=6e-4)


def test_attributes_of_a_video(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", frame_count=60, rate=Fraction(30000, 1001), size_wh=(66, 48))
    with open_source(SourceSettings(video=str(path))) as source:
        assert (source.name, source.size_wh, source.rate) == (str(path), (66, 48), Fraction(30000, 1001))
        assert (source.notices, source.reconnects, source.outage) == ((), 0, None)
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


def test_a_range_in_a_gap_between_frames_says_that_more_frames_follow(tmp_path):
    path = write_clip(tmp_path / "gap.mkv", 4, pts=[0, 40, 3000, 3040])
    with pytest.raises(NoFrameLeftError, match=r"gap.mkv has no frame from 1 s to 2 s; choose an earlier start") as gap:
        VideoSource(path, start_seconds=1, end_seconds=2)
    with pytest.raises(NoFrameLeftError, match=r"gap.mkv has no frame from 4 s on") as end:
        VideoSource(path, start_seconds=4, end_seconds=5)
    assert (gap.value.has_more, end.value.has_more) == (True, False)


def test_times_that_start_again_are_noticed_where_frames_are_left_out(tmp_path):
    part = write_clip(tmp_path / "part.ts", 50, options={"g": "10"})
    (tmp_path / "joined.ts").write_bytes(2 * part.read_bytes())
    for path, goes_back in ((part, False), (tmp_path / "joined.ts", True)):
        with VideoSource(path, start_seconds=1) as source:
            assert len(list(iter(source.read, None))) == 25 * (1 + goes_back)
            assert source.goes_back == goes_back


def test_a_start_behind_the_end_is_refused(tmp_path):
    path = write_clip(tmp_path / "clip.mp4")
    with pytest.raises(SourceError, match=r"clip.mp4 has no frame from 9 s on; choose an earlier start"):
        VideoSource(path, start_seconds=9)
    with pytest.raises(SettingError, match="the end, 1 s, must be later than the start, 2 s"):
        VideoSource(path, start_seconds=2, end_seconds=1)
    with pytest.raises(SettingError, match="the start must be 0 s or later"):
        VideoSource(path, start_seconds=-1)


# B, G, R; from the middle of the possible range, so that encoding does not clip.
PATCHES_BGR = [(40, 60, 200), (60, 190, 50), (200, 70, 50), (120, 120, 120), (60, 190, 200), (30, 30, 30)]
MATRICES = {"bt709": (0.2126, 0.0722), "smpte170m": (0.299, 0.114)}


def write_patches(path: Path, size_wh: tuple[int, int], matrix: str, is_full: bool, tag: bool = True) -> np.ndarray:
    """Encodes flat colors; their YUV values follow from the standard's two constants (BT.601/709, section 3)."""
    width, height = size_wh
    columns = np.minimum(np.arange(width) * len(PATCHES_BGR) // width, len(PATCHES_BGR) - 1)
    image = np.broadcast_to(np.uint8(PATCHES_BGR)[columns], (height, width, 3))
    kr, kb = MATRICES[matrix]
    blue, green, red = np.moveaxis(image / 255.0, -1, 0)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    blueness, redness = (blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)
    luma_span, chroma_span, black = (255, 255, 0) if is_full else (219, 224, 16)
    planes = [black + luma_span * luma, 128 + chroma_span * blueness[::2, ::2], 128 + chroma_span * redness[::2, ::2]]
    encoded = np.concatenate([np.rint(plane).astype(np.uint8).ravel() for plane in planes])
    tags = ["-color_range", "pc" if is_full else "tv", "-colorspace", matrix] if tag else []
    command = ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}", "-i", "-"]
    command += ["-c:v", "libx264", "-qp", "1", "-pix_fmt", "yuv420p", *tags, str(path)]
    subprocess.run(command, input=encoded.tobytes(), check=True)
    return image


@pytest.mark.parametrize(("size_wh", "matrix", "is_full", "tag"), [
    ((96, 64), "smpte170m", False, True),
    ((96, 64), "bt709", False, True),
    ((96, 64), "smpte170m", True, True),
    ((96, 64), "smpte170m", False, False),  # small and untagged: BT.601
    ((96, 720), "bt709", False, False),  # 720 lines and untagged: BT.709
])  # fmt: skip
def test_colors_are_kept(tmp_path, size_wh, matrix, is_full, tag):
    image = write_patches(tmp_path / "patches.mp4", size_wh, matrix, is_full, tag)
    read = all_frames(tmp_path / "patches.mp4")[0].image
    for patch in range(len(PATCHES_BGR)):
        column = (2 * patch + 1) * size_wh[0] // (2 * len(PATCHES_BGR))
        # swscale's fast path truncates three times; the wrong matrix or range is off by 10 and more.
        assert read[10, column].astype(int) == pytest.approx(image[10, column].astype(int), abs=3)


def test_full_range_is_recognized_by_its_tag_or_its_format():
    frame = av.VideoFrame(16, 16, "yuv420p")
    assert not is_full_range(frame)
    frame.color_range = 2
    assert is_full_range(frame)
    assert is_full_range(av.VideoFrame(16, 16, "yuvj420p"))


@pytest.mark.parametrize(("degrees", "size_wh"), [(90, (48, 64)), (180, (64, 48)), (270, (48, 64))])
def test_rotated_videos_come_out_upright(tmp_path, degrees, size_wh):
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "4"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        corner = np.full((48, 64, 3), 60, np.uint8)
        corner[:16, :32] = 190  # top left: no rotated or mirrored image looks the same
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


def test_inputs_that_are_no_videos_are_refused_in_one_line(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("These are words.\n" * 500)
    (tmp_path / "text.txt").write_text("These are words.\n" * 500)
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(9000))
    write_clip(tmp_path / "clip.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", tmp_path / "sound.mp4")
    ffmpeg("-i", tmp_path / "clip.mp4", "-frames:v", "1", tmp_path / "image.png")
    reasons = {
        "none.mp4": "no such file",
        "": "is a directory",
        "empty.mp4": "is empty",
        "text.mp4": "is not a video",
        "text.txt": "is a text file, not a video",
        "noise.mp4": "is not a video",
        "sound.mp4": "has no video stream",
        "image.png": "is an image, not a video; open it as an image",
    }
    for name, reason in reasons.items():
        with pytest.raises(SourceError, match=reason) as raised:
            VideoSource(tmp_path / name)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("url", "name"), [
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
def test_names_hide_secrets(url, name):
    assert display_name(url) == name


def test_urls_that_cannot_be_opened_are_reported_without_their_secrets():
    with pytest.raises(SourceError, match="unknown protocol 'warp'; give a path, or an http"):
        VideoSource("warp://example.org/clip.mp4")
    with pytest.raises(SourceError, match=r"cannot reach http://\*\*\*@127.0.0.1:9/x.mp4: ") as raised:
        VideoSource("http://anna:secret@127.0.0.1:9/x.mp4")
    assert "secret" not in str(raised.value)


@pytest.fixture
def server(tmp_path):
    """Serves tmp_path, and under /live a stream of images without a length."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, *arguments):
            pass

        def do_GET(self):
            if self.path == "/live.ts":
                self.send_response(200)
                self.end_headers()  # without a length
                self.wfile.write((tmp_path / "live.ts").read_bytes())
                return None
            if self.path != "/live":
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            jpeg = (tmp_path / "image.jpg").read_bytes()
            for _ in range(60):
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n")
                self.wfile.write(b"Content-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg))
            return None

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_url_with_a_duration_is_a_recording(tmp_path, server):
    write_clip(tmp_path / "clip.mp4", frame_count=30)
    with VideoSource(f"{server}/clip.mp4") as source:
        assert (source.is_live, source.rate, source.frame_count_estimate) == (False, 25, 30)
        assert len(list(iter(source.read, None))) == 30


def test_a_url_without_a_duration_is_live(tmp_path, server):
    cv2.imwrite(str(tmp_path / "image.jpg"), np.full((48, 64, 3), 90, np.uint8))
    before_seconds = time.monotonic()
    with VideoSource(f"{server}/live") as source:
        assert (source.is_live, source.rate, source.duration_seconds) == (True, None, None)
        assert source.aux_tracks(ends_with_frames=False) is None
        frames = [source.read() for _ in range(5)]
    assert before_seconds < frames[0].time_seconds <= frames[-1].time_seconds < time.monotonic()
    assert abs(int(frames[4].image.mean()) - 90) <= 2


def test_a_live_stream_with_wide_pixels_keeps_its_size(tmp_path, server):
    wide = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=4,setsar=2")
    ffmpeg(*wide, "-c:v", "libx264", "-g", "5", tmp_path / "live.ts")
    with VideoSource(f"{server}/live.ts") as source:
        assert (source.is_live, source.size_wh) == (True, (128, 48))
        assert source.read().image.shape == (48, 128, 3)


def test_close_may_be_called_twice_and_from_another_thread(tmp_path):
    source = VideoSource(write_clip(tmp_path / "clip.mp4"))
    assert source.read().index == 0
    for _ in range(2):
        closer = threading.Thread(target=source.close)
        closer.start()
        closer.join()
    assert source.read() is None


def test_closing_while_another_thread_reads_is_safe(tmp_path):
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
    program = """
import sys
from live_cam.settings import SourceSettings
from live_cam.sources.open import open_source
assert not {"cv2", "av"} & sys.modules.keys()
try:
    open_source(SourceSettings(image="none.png"))
except Exception as error:
    print(error)
assert "av" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "no such file: none.png\n"


def test_the_other_tracks_are_opened_for_the_same_part_of_the_video(tmp_path):
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=4", "-f", "lavfi", "-i", "sine=d=4", tmp_path / "clip.mp4")
    with VideoSource(tmp_path / "clip.mp4", 1.0, 2.0) as source, source.aux_tracks(ends_with_frames=False) as tracks:
        assert [stream.type for stream in tracks.streams] == ["audio"]
        assert (tracks.end_seconds, tracks.ends_with_frames) == (2.0, True)  # an end cuts the sound, too
    with VideoSource(tmp_path / "clip.mp4") as source:
        for ends_with_frames in (False, True):
            with source.aux_tracks(ends_with_frames) as tracks:
                assert (tracks.end_seconds, tracks.ends_with_frames) == (None, ends_with_frames)


@pytest.mark.parametrize(("index", "time_seconds"), [(20, 0.8), (50, 2.0), (99, 3.96)])
def test_reading_resumes_at_the_same_frame(tmp_path, index, time_seconds):
    path = write_clip(tmp_path / "clip.mp4", frame_count=100, options={"g": "50"})
    with VideoSource(path, resume_at=ResumePoint(index, time_seconds)) as source:
        frames = list(iter(source.read, None))
    assert [number_of(frame.image) for frame in frames] == list(range(index, 100))
    assert [frame.index for frame in frames] == list(range(index, 100))


@needs_shared_data
@pytest.mark.parametrize("name", ["bottle-detection.mp4", "car-detection.mp4", "one-by-one-person-detection.mp4"])
def test_real_videos_are_read_whole(name):
    path = SHARED_DATA / "videos" / name
    stated = probe(path)
    with VideoSource(path) as source:
        assert source.rate == Fraction(stated["r_frame_rate"])
        assert len(list(iter(source.read, None))) == int(stated["nb_frames"])


def test_drawing_on_a_frame_does_not_change_later_ones(tmp_path: Path):
    """Flash Screen Video is decoded as BGR, each picture into the one before."""
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=320x192:r=10:d=1", "-c:v", "flashsv", "-g", "99", tmp_path / "clip.flv")
    with VideoSource(tmp_path / "clip.flv") as source:
        untouched = [frame.image.copy() for frame in iter(source.read, None)]
    with VideoSource(tmp_path / "clip.flv") as source:
        for expected in untouched:
            image = source.read().image
            assert (image == expected).all()
            image[:] = 255
