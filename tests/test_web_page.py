"""The modules of the web page, in Chromium."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import shutil
import struct
import threading

import cv2
import numpy as np
import pytest

from live_cam.frame import Explanation, Prediction
from live_cam.render.colormaps import COLORMAPS, class_colors_bgr, colormap_lut, heat_lut
from live_cam.render.overlay import overlay
from live_cam.render.renderer import Renderer
from live_cam.render.spline import spline_coefficients
from live_cam.render.spots import read_spot
from live_cam.settings import RenderSettings
from live_cam.viewers import web

playwright = pytest.importorskip("playwright.sync_api")

PAGE_FOLDER = web.__path__[0] + "/page"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WHOLE = (0.0, 0.0, 1.0, 1.0)

DRAW = """async ({picture, explanation, look, colormaps, size}) => {
  const {useColormaps} = await import("/page/colormaps.js");
  const {drawPicture} = await import("/page/views.js");
  const {explanationOf} = await import("/page/frames.js");
  useColormaps(colormaps);
  const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${picture}`)).blob());
  const canvas = Object.assign(document.createElement("canvas"), {width: size[0], height: size[1]});
  const drawn = {image, width: image.width, height: image.height, explanation: explanationOf({explanation})};
  drawPicture(canvas, drawn, look);
  return canvas.toDataURL("image/png").split(",")[1];
}"""


class PageFiles(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/cut":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"{")
        self.close_connection = True

    def translate_path(self, path):
        return super().translate_path(path.removeprefix("/page"))

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def browser():
    assert CHROMIUM, "these tests need Chromium"
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def modules(browser):
    """A blank page that can import the modules."""
    handler = functools.partial(PageFiles, directory=PAGE_FOLDER)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page()
    page.route("**/blank", lambda route: route.fulfill(content_type="text/html", body="<!doctype html>"))
    page.goto(f"http://127.0.0.1:{server.server_address[1]}/blank")
    yield page
    server.shutdown()
    server.server_close()


def colormaps_json():
    def text(lut):
        return base64.b64encode(np.rint(lut[:, ::-1]).astype(np.uint8).tobytes()).decode()

    tables = {name: {"heat": text(heat_lut(name)), "full": text(colormap_lut(name))} for name in COLORMAPS}
    return {"colormaps": tables, "visible_heat": [0.15, 0.85]}


def explanation_json(explanation, blend):
    """The explanation as the server describes it, with the numbers that are drawn."""
    maps = [explanation.heatmap, *(heatmap for _, heatmap in explanation.other_maps)]
    classes = [explanation.explained, *(prediction for prediction, _ in explanation.other_maps)]
    scale = max(float(heatmap.max()) for heatmap in maps) or 1.0
    relative = [(heatmap / scale).astype(np.float32) for heatmap in maps]
    coefficients = [spline_coefficients(heat) for heat in relative] if blend == "heat" else relative
    colors = [f"#{red:02x}{green:02x}{blue:02x}" for blue, green, red in class_colors_bgr(explanation)]
    return {
        "predictions": [prediction_json(prediction) for prediction in explanation.predictions],
        "explained": prediction_json(explanation.explained),
        "is_locked": False,
        "is_unsure": False,
        "contrast": [],
        "region_xywh": list(explanation.region_xywh),
        "map_shape": list(explanation.heatmap.shape),
        "peak": scale,
        "maps": [{**prediction_json(each), "color": color} for each, color in zip(classes, colors, strict=True)],
        "coefficients": [heat.ravel().tolist() for heat in coefficients],
    }


def prediction_json(prediction):
    return {
        "class_index": prediction.class_index,
        "label": prediction.label,
        "probability": prediction.probability,
        "value": prediction.value,
    }


def explanation_of(*heatmaps, region=WHOLE):
    classes = [Prediction(index, f"class {index}", 0.5, 1.0) for index in range(len(heatmaps))]
    others = tuple(zip(classes[1:], heatmaps[1:], strict=True))
    return Explanation(tuple(classes), classes[0], heatmaps[0], region, others)


def photo(width=320, height=240):
    skimage_data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(cv2.resize(skimage_data.chelsea(), (width, height))[..., ::-1])


def heatmap_of(rows, columns, seed=0):
    values = np.random.default_rng(seed).random((rows, columns)) ** 3
    return np.maximum(values - 0.1, 0).astype(np.float32)


def hot_cell(rows, columns):
    heatmap = np.zeros((rows, columns), np.float32)
    heatmap[rows // 2, columns // 3] = 2.5
    return heatmap


def drawn_by_page(page, image, explanation, size_wh=None, **look):
    look = {"opacity": 0.6, "colormap": "inferno", "blend": "heat", "view": "overlay", "mirror": False, **look}
    argument = {
        "picture": base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode(),
        "explanation": explanation_json(explanation, look["blend"]),
        "look": look,
        "colormaps": colormaps_json(),
        "size": size_wh or image.shape[1::-1],
    }
    png = base64.b64decode(page.evaluate(DRAW, argument))
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def assert_alike(drawn, expected, most=6, mean=0.6):
    """Fails if a pixel is off by more than that many levels. A picture without heat would be off by over 100."""
    off = np.abs(drawn.astype(int) - expected)
    assert off.max() <= most, f"{off.max()} levels at {np.unravel_index(off.argmax(), off.shape)}"
    assert off.mean() <= mean


MAPS = {"7x7": heatmap_of(7, 7), "hot cell": hot_cell(7, 7), "wide": heatmap_of(4, 9, 1), "fine": heatmap_of(28, 28, 2)}


@pytest.mark.parametrize("blend", ["heat", "constant"])
@pytest.mark.parametrize("name", MAPS)
def test_heat_has_the_pixels_of_overlay(modules, name, blend):
    image, explanation = photo(), explanation_of(MAPS[name])
    drawn = drawn_by_page(modules, image, explanation, blend=blend)
    assert_alike(drawn, overlay(image, explanation, blend=blend))


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("colormap", ["inferno", "viridis", "jet", "turbo"])
def test_opacity_and_colormap_have_the_pixels_of_overlay(modules, colormap, opacity):
    image, explanation = photo(), explanation_of(MAPS["7x7"])
    drawn = drawn_by_page(modules, image, explanation, colormap=colormap, opacity=opacity)
    assert_alike(drawn, overlay(image, explanation, opacity, colormap), most=8)


@pytest.mark.parametrize("region", [(0.125, 0.0, 0.75, 1.0), (0.0, -0.1667, 1.0, 1.3333), (0.103, 0.217, 0.5, 0.61)])
def test_heat_lies_where_the_network_looked(modules, region):
    image, explanation = photo(), explanation_of(MAPS["7x7"], region=region)
    assert_alike(drawn_by_page(modules, image, explanation), overlay(image, explanation))


def test_a_large_picture_has_the_pixels_of_overlay(modules):
    image, explanation = photo(1280, 720), explanation_of(MAPS["7x7"])
    assert_alike(drawn_by_page(modules, image, explanation), overlay(image, explanation))


def test_a_map_without_evidence_shows_the_picture(modules):
    image, explanation = photo(), explanation_of(np.zeros((7, 7), np.float32))
    for blend in ("heat", "constant"):
        assert np.array_equal(drawn_by_page(modules, image, explanation, blend=blend), image)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("view", ["overlay", "split", "grid", "heatmap", "original"])
def test_views_have_the_pixels_of_the_renderer(modules, view, mirror):
    image, explanation = photo(), explanation_of(MAPS["7x7"])
    renderer = Renderer(RenderSettings(view=view, mirror=mirror, caption=False))
    expected = renderer.draw(image, explanation)
    drawn = drawn_by_page(modules, image, explanation, expected.shape[1::-1], view=view, mirror=mirror)
    if view == "grid":  # Its small pictures are reduced in another way.
        drawn, expected = (cv2.blur(each, (9, 9)) for each in (drawn, expected))
    assert_alike(drawn, expected, most=12 if view == "grid" else 6, mean=1.5 if view == "grid" else 0.6)


@pytest.mark.parametrize("view", ["overlay", "heatmap", "grid"])
def test_several_classes_are_drawn_like_the_renderer(modules, view):
    image, explanation = photo(640, 480), explanation_of(MAPS["7x7"], heatmap_of(7, 7, 4), heatmap_of(7, 7, 5))
    expected = Renderer(RenderSettings(view=view, caption=False)).draw(image, explanation)
    drawn = drawn_by_page(modules, image, explanation, view=view)
    # Lines are smoothed differently, so they are compared a little blurred, with what they change in the picture.
    without = Renderer(RenderSettings(view=view, caption=False)).draw(image, explanation_of(MAPS["7x7"]))
    without = without if view == "heatmap" else image
    blurred = [cv2.blur(each, (9, 9)).astype(int) for each in (drawn, expected, without)]
    off, lines = np.abs(blurred[0] - blurred[1]), np.abs(blurred[2] - blurred[1])
    assert off.mean() < 0.4 * lines.mean()


def test_a_binary_message_is_parsed(modules):
    message = {
        "source": "yard",
        "number": 7,
        "width": 2,
        "height": 1,
        "explanation": {"maps": [{"label": "a"}, {"label": "b"}], "map_shape": [1, 2], "predictions": []},
    }
    text = json.dumps(message).encode()
    text += b" " * (-(4 + len(text)) % 4)
    values = np.array([0.5, 1.0, 0.25, 0.0], "<f4")
    data = struct.pack("<I", len(text)) + text + values.tobytes() + b"\xff\xd8jpeg"
    parsed = modules.evaluate(
        """async (data) => {
          const {parseFrame} = await import("/page/frames.js");
          const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
          const frame = parseFrame(bytes.buffer);
          return {
            ...frame,
            jpeg: [...new Uint8Array(await frame.jpeg.arrayBuffer())],
            heats: frame.explanation.heatMaps.map(({values, rows, columns}) => [[...values], rows, columns]),
          };
        }""",
        base64.b64encode(data).decode(),
    )
    assert (parsed["source"], parsed["number"]) == ("yard", 7)
    assert parsed["heats"] == [[[0.5, 1.0], 1, 2], [[0.25, 0.0], 1, 2]]
    assert bytes(parsed["jpeg"]) == b"\xff\xd8jpeg"


@pytest.mark.parametrize("blend", ["heat", "constant"])
def test_a_spot_is_read_as_in_the_window(modules, blend):
    explanation = explanation_of(MAPS["7x7"], MAPS["hot cell"], region=(0.1, 0.0, 0.8, 1.0))
    for place in [(0.4, 0.55), (0.15, 0.02), (0.88, 0.97)]:
        expected = read_spot(explanation, place, RenderSettings(blend=blend)).shares
        shares = modules.evaluate(
            """async ({explanation, place, blend}) => {
              const {readSpot} = await import("/page/spots.js");
              const {explanationOf} = await import("/page/frames.js");
              return readSpot(explanationOf({explanation}), ...place, blend).map(({share}) => share);
            }""",
            {"explanation": explanation_json(explanation, blend), "place": place, "blend": blend},
        )
        assert shares == pytest.approx([share for _, share in expected], abs=1e-3)


@pytest.mark.parametrize(("path", "words"), [("/cut", "does not answer"), ("/page/main.js", "Something else")])
def test_what_is_no_answer_of_the_server_is_an_error_of_the_server(modules, path, words):
    # The page tries again after these, and only after these.
    message = modules.evaluate(
        """async (path) => {
          const {ServerError, request} = await import("/page/api.js");
          return request(path).catch((error) => (error instanceof ServerError ? error.message : `a bug: ${error}`));
        }""",
        path,
    )
    assert words in message


def test_a_picture_that_was_frozen_before_its_explanation_is_explained(modules):
    answer = {"explanation": explanation_json(explanation_of(np.ones((2, 2), np.float32)), "heat")}
    modules.route("**/api/explain?*", lambda route: route.fulfill(json=answer))
    label = modules.evaluate(
        """async () => {
          const {explainAgain} = await import("/page/commands.js");
          const picture = {explanation: null, grab: async () => new Blob()};
          const settings = {target: null, contrast: "second"};
          const tile = {picture, source: {settings}, explain: (explanation) => { tile.explanation = explanation; }};
          await explainAgain(tile);
          return tile.explanation.explained.label;
        }"""
    )
    assert label == "class 0"


def test_labels_that_come_after_the_search_was_left_are_not_shown(modules):
    is_hidden = modules.evaluate(
        """async () => {
          const {Combobox} = await import("/page/combobox.js");
          const [input, list] = ["input", "ul"].map((name) => document.body.appendChild(document.createElement(name)));
          let come;
          new Combobox(input, list, () => new Promise((resolve) => { come = resolve; }), () => {});
          input.focus();
          input.value = "cat";
          input.dispatchEvent(new Event("input"));
          input.blur();
          come(["cat"]);
          await new Promise((resolve) => setTimeout(resolve));
          return list.hidden;
        }"""
    )
    assert is_hidden
