"""The page of ``livecam serve`` in Chromium, with photographs as sources and as a fake camera."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import socket
import subprocess
import threading

import cv2
import pytest
from conftest import livecam_command, wait_until
from recordings import ffmpeg
from test_web_page import CHROMIUM

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_core_python.sync_playwright")
skimage_data = pytest.importorskip("skimage.data")

TOKEN = "a-token-for-tests"
pytestmark = pytest.mark.slow
CAT, CUP = "Egyptian cat", "espresso"
DESKTOP, SCREEN_4K, PHONE = (1440, 900), (3840, 2160), (390, 844)
FAKE_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
# Converting a method or a layer takes a while on a busy machine.
LONG_MS = 120_000


class Server:
    """``livecam serve`` in a process of its own; can be stopped and started again at the same address."""

    def __init__(self, *sources):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._sources = sources
        self.address = f"http://127.0.0.1:{self.port}/"
        self.start()

    def start(self):
        arguments = ("serve", *self._sources, "--port", self.port, "--token", TOKEN)
        self.process = subprocess.Popen(livecam_command(*arguments), stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline().strip() == f"{self.address}#{TOKEN}"

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=30)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """The cat and the cup as PNG, as a video, and as what Chromium's fake camera plays."""
    folder = tmp_path_factory.mktemp("photos")
    for name, image in (("cat", skimage_data.chelsea()), ("cup", skimage_data.coffee())):
        png = folder / f"{name}.png"
        cv2.imwrite(str(png), cv2.resize(image[..., ::-1], (400, 300)))
        for suffix in ("mp4", "mjpeg"):
            ffmpeg("-loop", 1, "-i", png, "-t", 2, "-r", 15, "-pix_fmt", "yuvj420p", folder / f"{name}.{suffix}")
    return folder


@pytest.fixture(scope="module")
def server(photos):
    server = Server(f"yard={photos / 'cat.mp4'}", f"kitchen={photos / 'cup.mp4'}")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def started():
    assert CHROMIUM, "these tests need Chromium"
    with sync_api.sync_playwright() as started:
        yield started


def launched(started, *arguments):
    return started.chromium.launch(
        executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", *arguments], env={**os.environ, "DISPLAY": ""}
    )


@pytest.fixture(scope="module")
def browser(started, photos):
    browser = launched(started, *FAKE_CAMERA, f"--use-file-for-fake-video-capture={photos / 'cup.mjpeg'}")
    yield browser
    browser.close()


@pytest.fixture
def open_page(browser, server):
    """Opens the page; the test fails if a script of the page did, or if the browser refused something."""
    contexts, errors = [], []

    def open_page(size_wh=DESKTOP, scheme="dark", server=server, browser=browser, script="", token=TOKEN):
        context = browser.new_context(
            viewport=dict(zip(("width", "height"), size_wh, strict=True)), color_scheme=scheme
        )
        contexts.append(context)
        context.set_default_timeout(30_000)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if "Security" in message.text else None)
        if script:
            page.add_init_script(script)
        page.goto(f"{server.address}#{token}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def page(open_page):
    page = open_page()
    seen(page, "yard", CAT)
    yield page
    for source in ("yard", "kitchen"):
        call(page, f"/api/sources/{source}/settings", {"target": None, "contrast": "none", "smooth_seconds": 0.15})


def tile(page, name):
    return page.locator(".tile", has=page.locator(".name", has_text=re.compile(f"^{name}$")))


def seen(page, name, label):
    """Waits until a tile says that it sees that."""
    sync_api.expect(tile(page, name).locator(".label")).to_have_text(label, timeout=LONG_MS)


def enlarge(page, name):
    tile(page, name).locator(".open").click()
    sync_api.expect(tile(page, name)).to_have_class(re.compile("is-focused"))
    # Keys are for the page, not for what was clicked.
    sync_api.expect(page.locator("#panel")).to_be_visible()


def call(page, path, body=None):
    """Sends a request as the page does, and returns the JSON of the answer."""
    return page.evaluate(
        """async ([path, body]) => {
          const options = body ? {method: "POST", body: JSON.stringify(body)} : {};
          return (await fetch(path, options)).json();
        }""",
        [path, body],
    )


def settings(page, name="yard"):
    return call(page, f"/api/sources/{name}")["settings"]


def expect_notice(page, text):
    sync_api.expect(page.locator("#notice-text")).to_have_text(text)


def pixels(page, name):
    """The drawn picture of a tile, every 97th byte."""
    return page.evaluate(
        """(canvas) => [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]
          .filter((value, index) => index % 97 === 0)""",
        tile(page, name).locator("canvas").element_handle(),
    )


def test_the_grid_shows_each_source_with_its_class(page):
    seen(page, "kitchen", CUP)
    assert page.url.endswith("/")  # The token is gone from the address.
    for name in ("yard", "kitchen"):
        sync_api.expect(tile(page, name).locator(".score")).to_have_text(re.compile(r"^\d\d %$"))
        sync_api.expect(tile(page, name).locator(".figures")).to_have_text(re.compile(r"^\d+ fps · heat \d+ ms old$"))


def test_a_wrong_token_is_explained(open_page):
    page = open_page(token="not-the-token")
    sync_api.expect(page.locator("#gate")).to_contain_text("Open the address that livecam printed")
    for key in "cmnvw[x":
        page.keyboard.press(key)  # There is nothing yet that they change.
    # The right address in the same tab changes its fragment only.
    page.evaluate(f"location.hash = '{TOKEN}'")
    seen(page, "yard", CAT)
    sync_api.expect(page.locator("#gate")).to_be_hidden()


def test_a_click_or_enter_enlarges_and_escape_returns(page):
    tile(page, "kitchen").locator(".open").click()
    sync_api.expect(tile(page, "yard")).to_be_hidden()
    page.keyboard.press("Escape")
    sync_api.expect(tile(page, "yard")).to_be_visible()
    tile(page, "yard").locator(".open").focus()
    page.keyboard.press("Enter")
    sync_api.expect(tile(page, "kitchen")).to_be_hidden()
    page.go_back()
    sync_api.expect(tile(page, "kitchen")).to_be_visible()
    page.locator(".open").first.click()
    page.locator("#back").click()
    sync_api.expect(tile(page, "kitchen")).to_be_visible()


def test_only_visible_tiles_are_watched(page):
    def viewers():
        return [source["viewers"] for source in call(page, "/api/sources")]

    wait_until(lambda: viewers() == [1, 1])
    enlarge(page, "yard")
    wait_until(lambda: viewers() == [1, 0])
    page.keyboard.press("Escape")
    wait_until(lambda: viewers() == [1, 1])
    page.evaluate(
        """() => {
          Object.defineProperty(document, "visibilityState", {value: "hidden"});
          document.dispatchEvent(new Event("visibilitychange", {bubbles: true}));
        }"""
    )
    wait_until(lambda: viewers() == [0, 0])


def test_keys_change_the_look_for_this_page_only(page, open_page):
    before = pixels(page, "yard")
    for key, notice in (
        ("c", "colormap: magma"),
        ("-", "opacity: 50 %"),
        ("+", "opacity: 60 %"),
        ("i", "figures: all"),
        ("v", "view: split"),
        ("v", "view: grid"),
        ("v", "view: heatmap"),
        ("v", "view: original"),
    ):
        page.keyboard.press(key)
        expect_notice(page, notice)
    wait_until(lambda: pixels(page, "yard") != before)
    page.reload()
    seen(page, "yard", CAT)
    enlarge(page, "yard")
    sync_api.expect(page.locator("#colormap")).to_have_value("magma")
    sync_api.expect(page.locator("input[name=view][value=original]")).to_be_checked()
    other = open_page()
    seen(other, "yard", CAT)
    enlarge(other, "yard")
    sync_api.expect(other.locator("#colormap")).to_have_value("inferno")


def test_the_look_is_changed_by_mouse_on_a_frozen_picture_too(page):
    enlarge(page, "yard")
    page.locator("#freeze").click()
    sync_api.expect(tile(page, "yard").locator(".badge")).to_have_text("frozen")
    for change in (
        lambda: page.locator("#colormap").select_option("viridis"),
        lambda: page.locator("#opacity").fill("1"),
        lambda: page.locator("#view label", has_text="heatmap").click(),
        lambda: page.locator("#view label", has_text="original").click(),
    ):
        before = pixels(page, "yard")
        change()
        wait_until(lambda before=before: pixels(page, "yard") != before)


def test_heat_lies_on_the_cup(page):
    enlarge(page, "kitchen")
    seen(page, "kitchen", CUP)
    page.keyboard.press("Escape")
    page.locator(".open").nth(1).focus()
    page.keyboard.press("Enter")
    page.locator("#freeze").click()
    center = page.evaluate(
        """async (canvas) => {
          const painted = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
          const data = () => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          const choose = (view) => document.querySelector(`input[name=view][value=${view}]`).click();
          await painted();
          const heated = data();
          choose("original");
          await painted();
          const original = data();
          let [x, y, sum] = [0, 0, 0];
          for (let index = 0; index < heated.length; index += 4) {
            const off = Math.abs(heated[index] - original[index]) + Math.abs(heated[index + 2] - original[index + 2]);
            x += off * ((index / 4) % canvas.width), y += off * Math.floor(index / 4 / canvas.width), sum += off;
          }
          return [x / sum / canvas.width, y / sum / canvas.height, sum / heated.length];
        }""",
        tile(page, "kitchen").locator("canvas").element_handle(),
    )
    assert 0.3 < center[0] < 0.7
    assert 0.3 < center[1] < 0.7
    assert center[2] > 1


def test_keys_change_the_class_the_contrast_and_the_smoothing(page):
    enlarge(page, "yard")
    sync_api.expect(page.locator("#source-scope")).to_have_text("for everyone watching yard")
    second = page.locator("#classes .label").nth(1).inner_text()
    for key, notice, name, value in (
        ("x", "against the second class", "contrast", "second"),
        ("x", "against similar classes", "contrast", "similar"),
        ("x", "no contrast", "contrast", "none"),
        ("s", "no smoothing", "smooth_seconds", 0),
        ("s", "smoothing: 0.15 s", "smooth_seconds", 0.15),
        ("l", f"locked: {CAT}", "target_label", CAT),
        ("l", "following the top class", "target_label", None),
        ("n", f"explaining {second}", "target_label", second),
        ("l", "following the top class", "target_label", None),
    ):
        page.keyboard.press(key)
        expect_notice(page, notice)
        assert settings(page)[name] == value
    assert settings(page, "kitchen")["target"] is None


def test_the_mouse_changes_the_class_the_contrast_and_the_smoothing(page, open_page):
    other = open_page()
    seen(other, "yard", CAT)
    enlarge(page, "yard")
    second = page.locator("#classes .label").nth(1).inner_text()
    page.locator("#classes button", has_text=second).click()
    sync_api.expect(page.locator("#lock")).to_have_attribute("aria-pressed", "true")
    # The other page sees it, too.
    sync_api.expect(tile(other, "yard").locator(".label")).to_have_text(second)
    page.locator("#lock").click()
    sync_api.expect(page.locator("#lock")).to_have_attribute("aria-pressed", "false")
    page.locator("#contrast label", has_text="similar").click()
    sync_api.expect(tile(page, "yard").locator(".label")).to_have_text(f"{CAT}, not similar classes")
    page.locator("#smooth").click()
    sync_api.expect(page.locator("#smooth")).to_have_attribute("aria-pressed", "false")
    assert settings(page)["smooth_seconds"] == 0


def test_any_class_is_found_by_its_name(page):
    enlarge(page, "yard")
    page.locator("#label-search").fill("golden r")
    sync_api.expect(page.locator("#label-list li").first).to_have_text("golden retriever")
    page.keyboard.press("Enter")
    seen(page, "yard", "golden retriever")
    sync_api.expect(page.locator("#label-list")).to_be_hidden()
    page.locator("#label-search").fill("school")
    page.locator("#label-list li", has_text="school bus").click()
    seen(page, "yard", "school bus")


def test_a_frozen_picture_is_explained_again_and_asks_for_no_frames(page):
    enlarge(page, "yard")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press(" ")
    expect_notice(page, "frozen")
    wait_until(lambda: call(page, "/api/sources/yard")["viewers"] == 0)
    before, second = pixels(page, "yard"), page.locator("#classes .label").nth(1).inner_text()
    page.keyboard.press("n")
    seen(page, "yard", second)
    sync_api.expect(tile(page, "yard").locator(".also")).to_contain_text("locked")
    wait_until(lambda: pixels(page, "yard") != before)
    page.keyboard.press(" ")
    expect_notice(page, "live")
    wait_until(lambda: call(page, "/api/sources/yard")["viewers"] == 1)


def test_a_snapshot_is_two_files(page, tmp_path):
    enlarge(page, "yard")
    with page.expect_event("download") as first:
        page.keyboard.press("w")
    picture = first.value
    with page.expect_event("download") as second:
        page.locator("#snapshot").click()
    assert re.fullmatch(r"livecam-\d{8}-\d{6}\.(png|json)", picture.suggested_filename)
    files = {}
    for download in (picture, second.value):
        path = tmp_path / download.suggested_filename
        download.save_as(path)
        files[path.suffix] = path
    assert cv2.imread(str(files[".png"])).shape == (300, 400, 3)
    facts = json.loads(files[".json"].read_text())
    assert facts["picture"].endswith(".png")
    assert (facts["source"], facts["method"], facts["view"], facts["contrast"]) == ("yard", "grad-cam", "overlay", None)
    assert facts["explained"]["label"] == facts["predictions"][0]["label"] == CAT
    assert facts["heatmap"]["peak"] > 0
    assert all(0 < share < 1 for share in facts["heatmap"]["centroid_xy"])


def test_a_spot_shows_the_evidence_for_each_class_there(page):
    enlarge(page, "yard")
    picture, spot = tile(page, "yard").locator(".open"), tile(page, "yard").locator(".reading")
    for click in (lambda: picture.click(position={"x": 300, "y": 200}), lambda: picture.press("Enter")):
        click()
        sync_api.expect(spot).to_contain_text(re.compile(rf"evidence here, of the strongest\s*{CAT}\s*\d+ %"))
        read = spot.inner_text()
        picture.press("ArrowRight")
        wait_until(lambda read=read: spot.inner_text() != read)
        picture.press("Enter")
        sync_api.expect(spot).to_be_hidden()
    picture.click(position={"x": 300, "y": 200})
    sync_api.expect(spot).to_be_visible()
    page.keyboard.press("Escape")
    sync_api.expect(spot).to_be_hidden()
    sync_api.expect(tile(page, "yard")).to_have_class(re.compile("is-focused"))


def test_method_and_layer_are_changed_for_all_sources(page):
    page.keyboard.press("m")
    sync_api.expect(page.locator("#connection")).to_contain_text("preparing grad-cam++")
    page.keyboard.press("m")
    expect_notice(page, re.compile("One at a time"))
    sync_api.expect(page.locator("#model-line")).to_contain_text("grad-cam++", timeout=LONG_MS)
    enlarge(page, "yard")
    page.locator("#method").select_option("grad-cam")
    sync_api.expect(page.locator("#model-line")).to_contain_text("grad-cam · ", timeout=LONG_MS)
    layer = call(page, "/api/status")["layer"]
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("[")
    sync_api.expect(page.locator("#preparing")).to_contain_text("preparing")
    sync_api.expect(page.locator("#model-line")).not_to_contain_text(layer, timeout=LONG_MS)
    page.locator("#layer").select_option(layer)
    sync_api.expect(page.locator("#model-line")).to_contain_text(layer, timeout=LONG_MS)


def test_the_timeline_tells_values_by_mouse_and_keyboard(page):
    enlarge(page, "yard")
    timeline = page.locator("#timeline")
    sync_api.expect(timeline).to_have_attribute("aria-valuetext", re.compile(rf"^now: .*{CAT} \d\d %"))
    wait_until(lambda: page.evaluate("performance.now()") > 5000)
    timeline.press("ArrowLeft")
    timeline.press("ArrowLeft")
    sync_api.expect(timeline).to_have_attribute("aria-valuetext", re.compile(rf"^[12] s ago: .*{CAT} \d\d %"))
    box = timeline.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    sync_api.expect(timeline).to_have_attribute("aria-valuetext", re.compile("^2[0-9] s ago|^3[0-9] s ago"))


def test_help_lists_the_keys(page):
    page.keyboard.press("h")
    rows = page.locator("#help tr").all_inner_texts()
    assert any(row.startswith("n") and "next or previous of the top classes" in row for row in rows)
    page.keyboard.press("h")
    sync_api.expect(page.locator("#help")).to_be_hidden()
    page.locator("#help-button").click()
    page.keyboard.press("Escape")
    sync_api.expect(page.locator("#help")).to_be_hidden()


def test_keys_of_letters_can_be_switched_off(page):
    page.locator("#help-button").click()
    page.locator("#letter-keys").uncheck()
    page.keyboard.press("h")
    sync_api.expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    page.reload()
    seen(page, "yard", CAT)
    enlarge(page, "yard")
    for key in ("v", "+", "?"):
        page.keyboard.press(key)
    page.keyboard.press("Space")  # Space is none of them.
    expect_notice(page, "frozen")
    assert page.evaluate("sessionStorage.getItem('livecam-look')") is None
    sync_api.expect(page.locator("#help")).to_be_hidden()
    page.locator("#help-button").click()
    page.locator("#letter-keys").check()
    page.keyboard.press("Escape")
    page.keyboard.press("v")
    expect_notice(page, "view: split")


@pytest.mark.parametrize("fragment", ["an-older-token", "%zz"])
def test_with_the_cookie_a_wrong_token_in_the_address_does_no_harm(page, fragment):
    page.evaluate("(fragment) => { location.hash = fragment; }", fragment)
    wait_until(lambda: page.evaluate("location.hash") == "", 20)
    sync_api.expect(page.locator("body")).to_have_attribute("data-connection", "live")
    sync_api.expect(page.locator("#gate")).to_be_hidden()


def test_color_tables_that_did_not_come_are_asked_for_again(page):
    page.route("**/api/colormaps", lambda route: route.abort())
    page.reload()
    seen(page, "yard", CAT)
    with page.expect_response("**/api/colormaps") as answer:
        page.unroute("**/api/colormaps")
    assert answer.value.ok


def test_the_page_recovers_after_the_server_restarts(open_page, photos):
    server = Server(f"yard={photos / 'cat.mp4'}")
    try:
        page = open_page(server=server)
        seen(page, "yard", CAT)
        server.stop()
        sync_api.expect(page.locator("#connection")).to_contain_text("reconnecting")
        server.start()
        sync_api.expect(page.locator("#connection")).to_have_text("", timeout=LONG_MS)
        seen(page, "yard", CAT)
        before = call(page, "/api/sources/yard")["viewers"]
        assert before == 1
    finally:
        server.stop()


def test_this_devices_camera(open_page, page):
    page.locator("#camera-button").click()
    name = "This device’s camera"
    seen(page, name, CUP)
    sync_api.expect(page.locator("#source-scope")).to_have_text("only for you")
    # Its class is its own.
    page.locator("#label-search").fill("golden retriever")
    sync_api.expect(page.locator("#label-list li").first).to_have_text("golden retriever", timeout=LONG_MS)
    page.keyboard.press("Enter")
    seen(page, name, "golden retriever")
    assert settings(page)["target"] is None
    sync_api.expect(page.locator("#camera-mirror")).to_have_attribute("aria-pressed", "true")
    page.locator("#camera-mirror").click()
    sync_api.expect(page.locator("#camera-mirror")).to_have_attribute("aria-pressed", "false")
    with page.expect_request(lambda request: request.method == "DELETE") as removal:
        page.locator("#camera-stop").click()
    assert "/api/cameras/" in removal.value.url
    sync_api.expect(tile(page, name)).to_have_count(0)
    other = open_page()
    seen(other, "yard", CAT)
    sync_api.expect(other.locator(".tile")).to_have_count(2)


def is_explained(answer):
    return "/api/explain?camera=" in answer.url and answer.ok


def test_this_devices_camera_goes_on_after_the_server_restarts(open_page, photos):
    server = Server(f"device={photos / 'cat.mp4'}")  # A source may be called as the page calls no other.
    try:
        page = open_page(server=server)
        seen(page, "device", CAT)
        page.locator("#camera-button").click()
        seen(page, "This device’s camera", CUP)
        server.stop()
        server.start()
        with page.expect_response(is_explained, timeout=LONG_MS):
            pass
        page.locator("#camera-stop").click()
        seen(page, "device", CAT)
    finally:
        server.stop()


def test_this_devices_camera_goes_on_without_settings_that_the_server_refuses(page):
    page.locator("#camera-button").click()
    seen(page, "This device’s camera", CUP)
    page.keyboard.press("l")
    expect_notice(page, f"locked: {CUP}")
    # As another model would, which has no such class.
    page.route("**/api/sources/*/settings", lambda route: route.fulfill(status=400, json={"error": "no class 504"}))
    with page.expect_response(is_explained) as answer:
        pass
    camera_id = answer.value.url.rpartition("=")[2]
    page.evaluate("(id) => fetch(`/api/cameras/${id}`, {method: 'DELETE'})", camera_id)
    with page.expect_response(lambda answer: is_explained(answer) and camera_id not in answer.url):
        pass
    expect_notice(page, "no class 504")
    page.locator("#camera-stop").click()


ASKING = """{
  const use = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    await new Promise((resolve) => { window.allow = resolve; });
    return (window.stream = await use(wanted));
  };
}"""


def test_a_camera_that_is_allowed_after_it_was_stopped_stays_off(open_page, camera_server):
    page = open_page(server=camera_server, script=ASKING)
    page.locator("#welcome-button").click()
    open_page(server=camera_server)  # The number of viewers is a new status, with which the page shows its only tile.
    page.locator("#camera-stop").click()
    page.evaluate("window.allow()")
    wait_until(lambda: page.evaluate("window.stream?.getTracks()[0].readyState") == "ended", 20)
    sync_api.expect(page.locator("#welcome")).to_be_visible()


@pytest.fixture(scope="module")
def camera_server():
    server = Server()
    yield server
    server.stop()


def test_without_sources_the_page_begins_with_the_visitors_camera(open_page, camera_server):
    page = open_page(server=camera_server)
    page.locator("#welcome-button").click()
    seen(page, "This device’s camera", CUP)
    page.locator("#camera-stop").click()
    sync_api.expect(page.locator("#welcome")).to_be_visible()


def test_a_camera_that_cannot_be_used_is_explained(open_page, camera_server, started):
    insecure = open_page(
        server=camera_server, script="Object.defineProperty(window, 'isSecureContext', {value: false})"
    )
    insecure.locator("#welcome-button").click()
    sync_api.expect(insecure.locator("#welcome-problem")).to_contain_text("https")
    for arguments, words in ((FAKE_CAMERA[:1], "Allow it"), ([], "no camera")):
        browser = launched(started, *arguments)
        page = open_page(server=camera_server, browser=browser)
        if not arguments:
            page.context.grant_permissions(["camera"])
        page.locator("#welcome-button").click()
        sync_api.expect(page.locator("#welcome-problem")).to_contain_text(words)
        page.context.close()
        browser.close()


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("size_wh", [DESKTOP, SCREEN_4K, PHONE])
def test_the_page_fits_screens_and_axe_finds_nothing(open_page, size_wh, scheme):
    page = open_page(size_wh, scheme)
    seen(page, "yard", CAT)
    seen(page, "kitchen", CUP)
    width, height = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    assert width <= size_wh[0]
    assert height <= size_wh[1] or size_wh == PHONE
    widths = [box["width"] for box in (each.bounding_box() for each in page.locator(".frame").all())]
    # As large as two pictures beside each other can be, or one in a column of a phone.
    assert min(widths) > (0.9 * size_wh[0] if size_wh == PHONE else 0.45 * size_wh[0])
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", color))) / 3
    assert brightness < 60 if scheme == "dark" else brightness > 200
    assert_accessible(page)
    enlarge(page, "kitchen")
    assert page.evaluate("document.documentElement.scrollWidth") <= size_wh[0]
    page.locator("#label-search").fill("cat")
    sync_api.expect(page.locator("#label-list")).to_be_visible()
    assert_accessible(page)
    page.keyboard.press("Escape")
    page.locator("#help-button").click()
    assert_accessible(page)


def test_messages_are_accessible(open_page, camera_server):
    welcome, refused = open_page(server=camera_server), open_page(token="not-the-token")
    sync_api.expect(welcome.locator("#welcome")).to_be_visible()
    sync_api.expect(refused.locator("#gate")).to_be_visible()
    for page in (welcome, refused):
        assert_accessible(page)


def assert_accessible(page):
    violations = axe.Axe().run(page)["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in violations] == []


def test_the_theme_button_changes_dark_and_light(page):
    page.locator("#theme-button").click()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    page.reload()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"


class ForeignPage(http.server.BaseHTTPRequestHandler):
    """A page of another site, which reaches for the server on the visitor's machine."""

    def do_GET(self):
        body = b"<!doctype html><title>another site</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


REACH_FOR = """async (address) => {
  const loads = (element) => new Promise((tell) => {
    element.onload = () => tell(true);
    element.onerror = () => tell(false);
    document.body.append(element);
  });
  const image = (path) => loads(Object.assign(new Image(), {src: `${address}api/sources/yard/${path}`}));
  const posts = fetch(`${address}api/sources/yard/settings`,
    {method: "POST", mode: "no-cors", credentials: "include", body: '{"target": 5}'}).then(() => true, () => false);
  const socket = new Promise((tell) => {
    const opened = new WebSocket(`${address.replace("http", "ws")}api/live`);
    opened.onopen = () => tell(true);
    opened.onerror = () => tell(false);
  });
  const [picture, stream] = [await image("frame.jpg"), await image("stream.mjpg")];
  return {picture, stream, socket: await socket, posts: await posts};
}"""


def test_a_page_of_another_site_gets_nothing(started, server):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), ForeignPage) as foreign:
        threading.Thread(target=foreign.serve_forever, daemon=True).start()
        # New Chromiums ask before a page reaches this machine at all; others do not.
        features = "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests"
        browser = launched(started, features, "--host-resolver-rules=MAP evil.example 127.0.0.1")
        try:
            context = browser.new_context()
            # The visitor is logged in, in another tab of the same browser.
            own = context.new_page()
            own.goto(f"{server.address}#{TOKEN}")
            seen(own, "yard", CAT)
            page, failures, messages = context.new_page(), [], []
            page.on("requestfailed", lambda request: failures.append(request.failure))
            page.on("console", lambda message: messages.append(message.text))
            page.goto(f"http://evil.example:{foreign.server_port}/")
            reached = page.evaluate(REACH_FOR, server.address)
            # What a script cannot see it may still have changed.
            assert settings(own)["target"] is None
        finally:
            browser.close()
            foreign.shutdown()
    assert reached == {"picture": False, "stream": False, "socket": False, "posts": False}
    # All reached the server, which refused them.
    assert failures == ["net::ERR_BLOCKED_BY_RESPONSE.NotSameOrigin"] * 3
    assert any("Unexpected response code: 403" in message for message in messages)
