"""Chromium plays the videos that livecam writes."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import queue
import shutil
import subprocess
import threading
import urllib.parse

import pytest
from media_clips import result_of, write_clip
from recordings import ffmpeg, record
from stream_servers import counted_image

from live_cam.sinks.video.sink import VideoSink

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGE = """<video id="video" muted autoplay src="VIDEO"></video><script>
const video = document.getElementById("video");
const tell = (what) => fetch(`/told?${new URLSearchParams(what)}`);
video.onended = () => tell({ended: video.currentTime, width: video.videoWidth, height: video.videoHeight,
                            shown: video.getVideoPlaybackQuality().totalVideoFrames});
video.onerror = () => tell({error: video.error.message});
</script>"""

# Plays them one after the other, at four times the normal speed.
LIST_PAGE = """<video id="video" muted autoplay></video><script>
const names = NAMES, video = document.getElementById("video");
const tell = (what) => fetch(`/told?${new URLSearchParams({name: names.shift(), ...what})}`).then(next);
const next = () => {
  if (names.length) { video.src = names[0]; video.playbackRate = 4; video.play().catch(() => {}); }
};
video.onended = () => tell({ended: video.currentTime, width: video.videoWidth, height: video.videoHeight,
                            sound: video.webkitAudioDecodedByteCount});
video.onerror = () => tell({error: video.error.message});
next();
</script>"""


class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments, told, **keywords):
        self._told = told
        super().__init__(*arguments, **keywords)

    def do_GET(self):
        address = urllib.parse.urlsplit(self.path)
        if address.path == "/told":
            self._told.put(dict(urllib.parse.parse_qsl(address.query)))
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def browser_on(folder, told):
    """Runs Chromium on the folder's ``page.html``."""
    handler = functools.partial(Handler, directory=folder, told=told)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    quiet = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-sync", *quiet]
    command += ["--autoplay-policy=no-user-gesture-required", f"--user-data-dir={folder}/profile"]
    address = f"http://127.0.0.1:{server.server_port}/page.html"
    browser = subprocess.Popen([*command, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        browser.kill()
        browser.wait()
        server.shutdown()
        server.server_close()


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.usefixtures("warm_cache")
def test_chromium_plays_the_video_to_its_end(tmp_path, run_livecam):
    done = run_livecam("--demo", "--max-frames", 50, "--output", tmp_path / "demo.mp4")
    assert done.returncode == 0, done.stderr
    (tmp_path / "page.html").write_text(PAGE.replace("VIDEO", "demo.mp4"))
    told = queue.Queue()
    with browser_on(tmp_path, told):
        said = told.get(timeout=60)
    assert "error" not in said
    assert (said["width"], said["height"]) == ("640", "360")
    assert float(said["ended"]) == pytest.approx(2.0, abs=0.05)  # 50 frames at 25 a second
    assert int(said["shown"]) > 25


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("is_killed", [False, True])
def test_chromium_holds_the_frame_while_the_camera_was_away(tmp_path, is_killed):
    times = [index / 10 for index in range(11)] + [3.0 + index / 10 for index in range(21)]
    with VideoSink(tmp_path / "live.mp4", (320, 240), None) as sink:
        for index, time_seconds in enumerate(times):
            sink.write(result_of(counted_image(index), index, time_seconds))
        if is_killed:
            shutil.copy(sink.partial_path, tmp_path / "killed.mp4")
        sink.finish()
    (tmp_path / "page.html").write_text(PAGE.replace("VIDEO", "killed.mp4" if is_killed else "live.mp4"))
    told = queue.Queue()
    with browser_on(tmp_path, told):
        said = told.get(timeout=60)
    assert "error" not in said
    # The killed one lacks the last fragment: here one frame, the keyframe that began it.
    assert float(said["ended"]) == pytest.approx(4.9 if is_killed else 5.0, abs=0.05)


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_chromium_plays_every_container_with_its_audio(tmp_path):
    write_clip(tmp_path / "clip.mp4", frame_count=50, size_wh=(128, 96))
    sine = ["-f", "lavfi", "-i", "sine=440:d=2:r=48000"]
    ffmpeg("-i", tmp_path / "clip.mp4", *sine, "-c:v", "copy", "-c:a", "aac", tmp_path / "in.mp4")
    codecs = {"a.mp4": "h264", "b.mp4": "vp9", "c.mp4": "av1", "d.webm": "vp9", "e.webm": "av1", "f.mov": "h264"}
    for name, codec in codecs.items():
        record(tmp_path / "in.mp4", tmp_path / name, codec=codec)
    record(tmp_path / "in.mp4", tmp_path / "cut.mp4", start=0.5, end=1.5)
    names = [*codecs, "cut.mp4"]
    (tmp_path / "page.html").write_text(LIST_PAGE.replace("NAMES", json.dumps(names)))
    told = queue.Queue()
    with browser_on(tmp_path, told):
        said = [told.get(timeout=60) for _ in names]
    assert [answer["name"] for answer in said] == names
    for answer in said:
        assert "error" not in answer, answer
        assert (answer["width"], answer["height"]) == ("128", "96")
        assert float(answer["ended"]) == pytest.approx(1 if answer["name"] == "cut.mp4" else 2, abs=0.05), answer
        assert int(answer["sound"]) > 1000, answer
