"""``livecam serve`` as a process, used by programs: HTTP, WebSocket, MJPEG, posted images."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import cv2
import httpx
import numpy as np
import pytest
from conftest import RunLivecam, livecam_command, wait_until
from media_clips import write_clip
from standin import StandIn
from stream_servers import MjpegServer, RtspServer, jpeg_of, part_of
from web_server import TOKEN, ReceivedFrame, RunningServer, served

import live_cam
from live_cam.errors import SettingError
from live_cam.pipeline.feed import Feed
from live_cam.pipeline.pipeline import Pipeline
from live_cam.render.overlay import heat_of
from live_cam.render.spline import spline_coefficients
from live_cam.settings import FeedSettings
from live_cam.sources.push import PushSource
from live_cam.viewers.explainer_switch import ExplainerSwitch
from live_cam.viewers.web.hub import Hub
from live_cam.viewers.web.routes import metrics_text
from live_cam.viewers.web.served_source import ServedSource

EGYPTIAN_CAT, TABBY, TIGER_CAT = 285, 281, 282


@pytest.fixture(scope="module")
def camera(photograph_path: Path) -> Iterator[MjpegServer]:
    """A camera that sees a cat."""
    part = part_of(jpeg_of(cv2.imread(str(photograph_path))))
    with MjpegServer() as running:
        running.part = lambda number: part
        yield running


@pytest.fixture(scope="module")
def server(warm_cache: None, camera: MjpegServer) -> Iterator[RunningServer]:
    with served(f"cat={camera.url}", "demo", "Küche 2!=http://127.0.0.1:9/none.mjpg") as running:
        running.wait_for_state("cat", "live")
        yield running


@pytest.fixture(scope="module")
def explainer() -> live_cam.ModelExplainer:
    return live_cam.load_explainer()


def shown(path: Path) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(jpeg_of(cv2.imread(str(path))), np.uint8), cv2.IMREAD_COLOR)


# --- state


def test_the_address_has_the_token_in_its_fragment(server: RunningServer):
    assert re.fullmatch(rf"http://127\.0\.0\.1:\d+/#{TOKEN}", server.address)


def test_health_needs_no_token(server: RunningServer):
    answer = httpx.get(f"http://127.0.0.1:{server.port}/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")


def test_sources_have_ids_names_and_states(server: RunningServer):
    wait_until(lambda: server.source("cat")["fps"])  # a rate needs two frames
    sources = {source["id"]: source for source in server.get("/api/sources")}
    assert {source_id: source["name"] for source_id, source in sources.items()} == {
        "cat": "cat",
        "demo": "demo",
        "küche-2": "Küche 2!",
    }
    cat = sources["cat"]
    assert (cat["state"], cat["size_wh"], cat["problem"]) == ("live", [451, 300], "")
    assert cat["explained"]["label"] == cat["predictions"][0]["label"] == "Egyptian cat"
    assert (cat["model"], cat["method"], cat["engine"]) == ("EfficientNet-Lite0", "grad-cam", "litert")
    assert cat["fps"] > 1


def test_a_source_that_is_not_there_is_offline_and_the_others_go_on(server: RunningServer):
    yard = server.wait_for_state("küche-2", "offline")
    assert "Connection refused" in yard["problem"]
    assert yard["offline_seconds"] >= 0
    frames_before = counter(server, "frames_explained_total", "cat")
    wait_until(lambda: counter(server, "frames_explained_total", "cat") > frames_before + 5)


def test_an_unknown_source_is_404_and_the_known_ones_are_named(server: RunningServer):
    answer = server.client.get("/api/sources/attic")
    assert answer.status_code == 404
    assert answer.json() == {"error": "there is no such source; there are: cat, demo, küche-2"}


def counter(server: RunningServer, name: str, source: str) -> float:
    text = server.client.get("/metrics").text
    return float(re.search(rf'^livecam_{name}{{source="{source}"}} (\S+)$', text, re.MULTILINE)[1])


def test_metrics_are_in_prometheus_format(server: RunningServer):
    answer = server.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    declared = set()
    for line in answer.text.splitlines():
        if line.startswith("#"):
            declared.add(re.fullmatch(r"# (?:HELP|TYPE) (livecam_\w+) .+", line)[1])
        else:
            name = re.fullmatch(r'(livecam_\w+)(?:{source="[\w-]+"})? [-+.e\d]+', line)[1]
            assert name in declared
    assert counter(server, "source_up", "cat") == 1
    assert counter(server, "source_up", "küche-2") == 0


def test_numbers_have_no_similar_classes():
    source = ServedSource("yard", "yard", Feed(PushSource("yard", (4, 3))), "heat")
    explainer = StandIn()
    source.change({"contrast": "similar"}, explainer)
    explainer.has_classes = False
    with pytest.raises(SettingError, match="numbers, which have no similar classes"):
        source.change({"contrast": "similar"}, explainer)


@pytest.mark.parametrize("target", [2, None])
def test_a_class_that_a_viewer_chose_before_the_first_frame_stays(target: int | None):
    feed = Feed(PushSource("yard", (4, 3)), FeedSettings(target=1))
    ServedSource("yard", "yard", feed, "heat").change({"target": target}, StandIn())
    feed.choose_target(StandIn())
    state = feed.temporal.classes.state
    assert (state.class_index if state.is_fixed else None) == target


def test_a_source_that_has_ended_has_no_stream_that_never_ends(warm_cache: None, tmp_path: Path):
    with served(f"x={tmp_path}/missing.mp4", "--retry", 0) as server:
        wait_until(lambda: server.source("x")["state"] == "ended", 60)
        assert server.client.get("/api/sources/x/stream.mjpg", timeout=20).content == b""
        assert server.client.get("/api/sources/x/frame.jpg").status_code == 404


def test_counters_of_metrics_keep_all_their_digits():
    # After nine hours at 30 fps.
    feed = Feed(PushSource("yard", (4, 3)))
    feed.stats.frames_read = 1_234_567
    hub = SimpleNamespace(sources=[ServedSource("yard", "yard", feed, "heat")], viewer_count=0)
    assert 'livecam_frames_read_total{source="yard"} 1234567\n' in metrics_text(hub)


def test_browsers_ask_whether_the_page_has_changed(server: RunningServer):
    for path in ("/", "/page/main.js", "/page/page.css"):
        assert server.client.get(path).headers["cache-control"] == "no-cache"
    assert server.client.get("/api/status").headers["cache-control"] == "no-store"


def test_labels_and_colormaps(server: RunningServer, explainer: live_cam.ModelExplainer):
    assert server.get("/api/labels") == list(explainer.labels)
    colormaps = server.get("/api/colormaps")
    assert set(colormaps["colormaps"]) == set(server.get("/api/status")["colormaps"])


# --- pictures


def test_a_frame_is_the_annotated_image(server: RunningServer, photograph_path: Path):
    answer = server.client.get("/api/sources/cat/frame.jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    annotated = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    photograph = cv2.imread(str(photograph_path))
    assert annotated.shape == photograph.shape
    difference = np.abs(annotated.astype(int) - photograph).max(axis=2)
    # Heat on the head in the middle, nothing at the right edge.
    assert np.median(difference[60:180, 150:300]) > 40
    assert np.median(difference[:250, 430:]) < 10


def test_ffmpeg_and_opencv_read_the_stream(server: RunningServer):
    url = f"http://livecam:{TOKEN}@127.0.0.1:{server.port}/api/sources/cat/stream.mjpg"
    command = ["ffprobe", "-v", "error", "-read_intervals", "%+#5", "-show_entries", "frame=width,height"]
    probed = subprocess.run([*command, "-of", "csv=p=0", url], capture_output=True, text=True, timeout=60, check=True)
    assert probed.stdout.split()[:5] == ["451,300"] * 5
    capture = cv2.VideoCapture(url)
    try:
        frames = [capture.read() for _ in range(5)]
    finally:
        capture.release()
    assert all(was_read and frame.shape == (300, 451, 3) for was_read, frame in frames)


def test_nothing_is_drawn_while_nobody_watches(server: RunningServer):
    wait_until(lambda: server.source("cat")["viewers"] == 0)
    with server.client.stream("GET", "/api/sources/cat/stream.mjpg") as stream:
        parts = stream.iter_bytes()
        next(parts)
        assert server.source("cat")["viewers"] == 1
    wait_until(lambda: server.source("cat")["viewers"] == 0)


# --- the page's WebSocket


def test_a_page_gets_the_camera_s_frames_with_their_heat(
    server: RunningServer, photograph_path: Path, explainer: live_cam.ModelExplainer
):
    with server.page() as page:
        page.watch("cat")
        frame = page.frame()
    image = shown(photograph_path)
    assert frame.image.shape == image.shape
    assert np.abs(frame.image.astype(int) - image).mean() < 6  # two rounds of JPEG
    assert frame.facts["explanation"]["explained"]["class_index"] == EGYPTIAN_CAT
    heatmap = explainer.explain(image).heatmap
    expected = spline_coefficients(heat_of(heatmap, None))
    np.testing.assert_allclose(frame.cells[0] / frame.cells[0].max(), expected / expected.max(), atol=0.05)
    assert frame.facts["heat_age_ms"] < 2000


def test_one_frame_is_under_way_until_it_is_painted(server: RunningServer):
    with server.page() as page:
        page.watch("cat")
        first = page.frame()
        with pytest.raises(TimeoutError):
            page.frame(1.5)  # some 45 frames later
        page.paint(first)
        assert page.frame().facts["number"] > first.facts["number"] + 3  # the newest, not the next


def test_only_watched_sources_are_sent(server: RunningServer):
    with server.page() as page:
        page.watch("demo", "cat")
        seen = set()
        while seen != {"demo", "cat"}:
            frame = page.frame()
            page.paint(frame)
            seen.add(frame.facts["source"])
        page.watch("demo")
        for _ in range(3):
            frame = page.frame()
            page.paint(frame)
        for _ in range(10):
            frame = page.frame()
            page.paint(frame)
            assert frame.facts["source"] == "demo"
    wait_until(lambda: server.source("demo")["viewers"] == server.source("cat")["viewers"] == 0)


def test_a_page_that_paints_nothing_does_not_slow_another(server: RunningServer):
    with server.page() as stuck, server.page() as page:
        stuck.watch("cat")
        stuck.frame()
        page.watch("cat")
        frames: list[ReceivedFrame] = []
        while len(frames) < 30:
            frames.append(page.frame())
            page.paint(frames[-1])
    numbers = [frame.facts["number"] for frame in frames]
    assert numbers == sorted(set(numbers))


def test_the_status_comes_at_once_and_when_it_changes(server: RunningServer):
    with server.page() as page:
        assert page.status()["state"] == "ready"
        server.client.post("/api/sources/demo/settings", json={"smooth_seconds": 0})
        while next(source for source in page.status()["sources"] if source["id"] == "demo")["settings"][
            "smooth_seconds"
        ]:
            pass
        server.client.post("/api/sources/demo/settings", json={"smooth_seconds": 0.15})


# --- settings


def test_class_contrast_and_smoothing_of_a_source(server: RunningServer):
    changed = server.client.post("/api/sources/cat/settings", json={"target": "tabby", "contrast": "second"}).json()
    assert (changed["settings"]["target_label"], changed["settings"]["contrast"]) == ("tabby", "second")
    wait_until(lambda: server.source("cat")["explained"]["class_index"] == TABBY)
    with server.page() as page:
        page.watch("cat")
        explanation = page.frame().facts["explanation"]
    assert explanation["is_locked"]
    (contrast,) = explanation["contrast"]
    assert contrast["label"] in ("Egyptian cat", "tiger cat")
    server.client.post("/api/sources/cat/settings", json={"target": None, "contrast": "none"})
    wait_until(lambda: server.source("cat")["explained"]["class_index"] == EGYPTIAN_CAT)


@pytest.mark.parametrize(("changes", "words"), [
    ({"target": "tabbi"}, "did you mean tabby"),
    ({"target": 1000}, "1000"),
    ({"target": True}, "target must be a class index, a label, or null"),
    ({"target": [1]}, "target must be a class index, a label, or null"),
    ({"contrast": "sekond"}, "did you mean second"),
    ({"smooth_seconds": -1}, "smooth_seconds must be a number from 0 to 10"),
    ({"smooth_seconds": "long"}, "smooth_seconds must be a number from 0 to 10"),
    ({"smooth_seconds": 1e400}, "smooth_seconds"),
    ({"smooth_seconds": True}, "smooth_seconds must be a number from 0 to 10"),
    ({"smoothing": 1}, "did you mean smooth_seconds"),
    ([], "the body must be a JSON object"),
])  # fmt: skip
def test_wrong_settings_are_refused_in_one_sentence(server: RunningServer, changes: object, words: str):
    before = server.source("cat")["settings"]
    content = str(changes).replace("'", '"').replace("True", "true").replace("inf", "1e400")
    answer = server.client.post(
        "/api/sources/cat/settings", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert server.source("cat")["settings"] == before


@pytest.mark.slow
def test_method_and_layer_change_for_all_while_the_picture_goes_on(server: RunningServer):
    answer = server.client.post("/api/settings", json={"method": "hirescam"}).json()
    assert answer["preparing"]["method"] == "hirescam"
    frames_before = counter(server, "frames_explained_total", "cat")
    wait_until(lambda: counter(server, "frames_explained_total", "cat") > frames_before + 3)
    wait_until(lambda: server.get("/api/status")["method"] == "hirescam", 120, process=server.process)
    assert server.get("/api/status")["preparing"] is None
    assert server.source("demo")["method"] == "hirescam"
    server.client.post("/api/settings", json={"method": "grad-cam"})
    wait_until(lambda: server.get("/api/status")["method"] == "grad-cam", 60, process=server.process)
    for wrong, words in (
        ({"method": "grad"}, "did you mean"),
        ({"layer": "top"}, "unknown layer"),
        ({"x": 1}, "setting"),
    ):
        refused = server.client.post("/api/settings", json=wrong)
        assert (refused.status_code, words in refused.json()["error"]) == (400, True)


# --- posted images


def test_a_posted_image_is_explained_like_explain_does(
    server: RunningServer, photograph_path: Path, explainer: live_cam.ModelExplainer
):
    expected = explainer.explain(cv2.imread(str(photograph_path)))
    answer = server.client.post("/api/explain", content=photograph_path.read_bytes())  # a PNG
    assert answer.status_code == 200
    explained = answer.json()
    assert (explained["width"], explained["height"]) == (451, 300)
    explanation = explained["explanation"]
    assert explanation["explained"]["class_index"] == expected.explained.class_index == EGYPTIAN_CAT
    assert explanation["explained"]["probability"] == pytest.approx(expected.explained.probability, abs=1e-4)
    np.testing.assert_allclose(explanation["heatmap"], expected.heatmap, atol=1e-3)
    (cells,) = explanation["coefficients"]
    np.testing.assert_allclose(cells, spline_coefficients(heat_of(expected.heatmap, None)).ravel(), atol=1e-3)


def test_classes_target_and_contrast_of_a_posted_image(
    server: RunningServer, photograph_path: Path, explainer: live_cam.ModelExplainer
):
    content = photograph_path.read_bytes()
    image = cv2.imread(str(photograph_path))
    explanation = server.client.post("/api/explain?classes=281,282", content=content).json()["explanation"]
    assert [each["class_index"] for each in explanation["maps"]] == [TABBY, TIGER_CAT]
    assert len(explanation["coefficients"]) == 2
    np.testing.assert_allclose(explanation["heatmap"], explainer.explain(image, TABBY).heatmap, atol=1e-3)
    explanation = server.client.post("/api/explain?target=tabby&contrast=similar", content=content).json()[
        "explanation"
    ]
    assert explanation["explained"]["class_index"] == TABBY
    assert len(explanation["contrast"]) == 3
    # None was given, so that it is no contrast.
    explanation = server.client.post("/api/explain?contrast=given", content=content).json()["explanation"]
    assert explanation["contrast"] == []
    for query in ("target=tabbi", "target=tabby&contrast=tabby", "classes=281,282&contrast=tabby"):
        assert server.client.post(f"/api/explain?{query}", content=content).status_code == 400


def test_each_visitor_s_camera_has_a_class_of_its_own(server: RunningServer, photograph_path: Path):
    content = jpeg_of(cv2.resize(cv2.imread(str(photograph_path)), (224, 224)))
    mine, other = (server.client.post("/api/cameras").json()["id"] for _ in range(2))
    server.client.post(f"/api/sources/{mine}/settings", json={"target": "tabby"})

    def explained_by(camera_id: str) -> int:
        answer = server.client.post(f"/api/explain?camera={camera_id}", content=content)
        assert answer.status_code == 200, answer.text
        return answer.json()["explanation"]["explained"]["class_index"]

    with ThreadPoolExecutor() as pool:
        assert list(pool.map(explained_by, [mine, other] * 5)) == [TABBY, EGYPTIAN_CAT] * 5
    assert {source["id"] for source in server.get("/api/sources")} == {"cat", "demo", "küche-2"}
    for camera_id in (mine, other):
        assert server.client.delete(f"/api/cameras/{camera_id}").status_code == 204
    gone = server.client.post(f"/api/explain?camera={mine}", content=content)
    assert (gone.status_code, "start it again" in gone.json()["error"]) == (404, True)


@pytest.mark.slow
def test_there_are_eight_cameras_of_visitors_at_most_and_idle_ones_make_room(server: RunningServer):
    cameras = [server.client.post("/api/cameras").json()["id"] for _ in range(8)]
    refused = server.client.post("/api/cameras")
    assert (refused.status_code, "try again later" in refused.json()["error"]) == (429, True)
    # Nobody uses them: they are gone after ten seconds.
    wait_until(lambda: server.client.get(f"/api/sources/{cameras[0]}").status_code == 404, 30)
    again = server.client.post("/api/cameras")
    assert again.status_code == 200
    server.client.delete(f"/api/cameras/{again.json()['id']}")


def test_a_camera_that_has_failed_is_refused_at_once_and_makes_room():
    pipeline = Pipeline(lambda frame: pytest.fail("nothing is explained"))
    hub = Hub(pipeline, ExplainerSwitch(pipeline, lambda choice: pytest.fail("nothing is loaded")), FeedSettings())
    camera = hub.add_camera()
    camera.feed.fail(SettingError("there is no such class"))
    assert camera.feed.join(10)
    with pytest.raises(asyncio.CancelledError):  # noqa: PT011 - it has no message
        asyncio.run(asyncio.wait_for(camera.explain(np.zeros((3, 4, 3), np.uint8)), 10))
    hub.tick()
    assert hub.camera(camera.id) is None
    pipeline.close()


# --- sources of every kind, the beginning and the end


def test_the_name_of_a_file_need_not_be_unicode(warm_cache: None, tmp_path: Path):
    name = os.fsdecode(b"caf\xe9.mp4")
    with served(tmp_path / name) as server:
        assert server.get("/api/status")["sources"][0]["name"] == name
        with server.page() as page:
            assert page.status()["sources"][0]["name"] == name


def test_streams_and_files_are_sources_and_offline_ones_come_back(warm_cache: None, tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=25, size_wh=(320, 240))
    with RtspServer() as rtsp, MjpegServer() as other, served(f"rtsp={rtsp.url}", clip, f"shy={other.url}") as server:
        for source_id in ("rtsp", "clip-mp4", "shy"):
            server.wait_for_state(source_id, "live")
        # The clip of one second goes on.
        wait_until(lambda: counter(server, "frames_explained_total", "clip-mp4") > 40)
        other.go_offline()
        server.wait_for_state("shy", "offline")
        other.go_online()
        assert server.wait_for_state("shy", "live")["reconnects"] == 1


def test_the_page_is_served_before_the_model_is_ready_and_signals_end_it(warm_cache: None):
    command = livecam_command("serve", "--port", 0)
    for number in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            address = process.stdout.readline().strip()
            base, _, token = address.partition("#")
            assert len(token) >= 22
            answer = httpx.get(f"{base}api/status", headers={"Authorization": f"Bearer {token}"})
            assert answer.json()["state"] in ("preparing", "ready")
            process.send_signal(number)
            _, errors = process.communicate(timeout=15)
            assert process.returncode == 0, errors
            assert token not in errors


def test_another_server_on_the_port_and_wrong_options_take_one_line(server: RunningServer, run_livecam: RunLivecam):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        free_port = free.getsockname()[1]
    for arguments, words in (
        (("--port", server.port), f"port {server.port} is in use"),
        (("--host", "192.0.2.1", "--port", free_port), "address of this machine"),
        (("--token", "short", "--port", free_port), "the token must have"),
        (("--key", "key.pem", "--port", free_port), "a certificate needs its key"),
        (("--model", "mobilnet", "--port", free_port), "did you mean"),
        (("--target", "tabbi", "--port", free_port), "did you mean tabby"),
        (("--contrast", "tabbi", "demo", "--port", free_port), "did you mean tabby"),
        (("--method", "gradcan", "--port", free_port), "did you mean grad-cam"),
        (("--allow-host", "https://cam.example.org", "--port", free_port), "is no host name"),
        (("photo.jpg",), "is an image or a folder"),
        (("=clip.mp4",), "lacks a name or a source"),
        (("yard=",), "lacks a name or a source"),
        ((300 * "a",), "File name too long; check the path"),
    ):
        done = run_livecam("serve", *arguments)
        assert done.returncode == 1, done
        assert done.stdout == "", "the address of a server that does not start"
        assert re.fullmatch(r"livecam: .+\n", done.stderr.splitlines(True)[-1])
        assert words in done.stderr
