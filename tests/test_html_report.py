"""The page about many images in Chromium: what it shows, sorts and filters; no text of a file becomes markup."""

from __future__ import annotations

import json
import queue
import re
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import environment_with
from test_browser import CHROMIUM, browser_on
from test_images import LabeledStandIn, files_below, picture, run, settings_of, write

from live_cam.errors import SinkError
from live_cam.frame import Frame
from live_cam.jobs.image_plan import ImagePlan, PlannedImage
from live_cam.jobs.image_report import ImageReport
from live_cam.settings import FeedSettings, RenderSettings
from live_cam.sinks.html_report import HtmlReport, content_policy, data_url, script_json
from live_cam.temporal.explainer import TemporalExplainer

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")

# Runs steps in the page, which is in a frame of the tested size, and tells what they return.
DRIVER = """<!DOCTYPE html><body style="margin: 0">
<iframe style="border: 0; width: WIDTHpx; height: HEIGHTpx"></iframe><script>
const frame = document.querySelector("iframe");
const tell = (what) => fetch(`/told?${new URLSearchParams({json: JSON.stringify(what)})}`);
frame.onload = async () => {
  const page = frame.contentWindow, find = (id) => page.document.getElementById(id);
  const all = (selector) => [...page.document.querySelectorAll(selector)];
  const labels = () => texts(".card .best b"), names = () => texts(".card .file");
  const set = (id, value) => {
    find(id).value = value;
    find(id).dispatchEvent(new page.Event("input", {bubbles: true}));
  };
  const pick = (id, text) => {
    const option = [...find(id).options].find((option) => option.text.startsWith(text));
    if (!option) throw new Error(`${id} has no ${text}`);
    set(id, option.value);
  };
  const texts = (selector) => all(selector).map((element) => element.textContent);
  const tiles = () => Object.fromEntries(all(".tile").map(({children: [value, name]}) => [
    name.textContent, value.textContent]));
  const moment = () => new Promise((resolve) => setTimeout(resolve, 50));
  try { await tell(await (async () => { STEPS })()); } catch (error) { await tell({error: `${error}`}); }
};
frame.src = "report.html";
</script>"""


def in_chromium(folder: Path, steps: str, size_wh: tuple[int, int] = (1280, 900)) -> Any:
    """Returns what the steps, a function's body in JavaScript, return on the folder's ``report.html``."""
    width, height = map(str, size_wh)
    page = DRIVER.replace("WIDTH", width).replace("HEIGHT", height).replace("STEPS", steps)
    (folder / "page.html").write_text(page)
    told: queue.Queue[dict[str, str]] = queue.Queue()
    with browser_on(folder, told):
        answer = json.loads(told.get(timeout=60)["json"])
    assert not (isinstance(answer, dict) and "error" in answer), answer
    return answer


THUMBNAIL = data_url(cv2.imencode(".jpg", np.full((30, 40, 3), 128, np.uint8))[1].tobytes())
ABOUT = {
    "title": "zoo", "model": "m", "method": "grad-cam", "layer": "top", "colors": ["#000000", "#ff0000"],
    "has_true_labels": True,
}  # fmt: skip


def entry(name: str, label: str, probability: float | None, true_label: str | None = None) -> dict[str, Any]:
    prediction = {"label": label, "probability": probability, "value": 1.5}
    return {
        "name": name, "predictions": [prediction], "explained": None, "true_label": true_label, "size_wh": [40, 30],
        "heat": THUMBNAIL, "plain": THUMBNAIL,
    }  # fmt: skip


def write_page(
    folder: Path, entries: list[dict[str, Any]], failures: tuple[dict[str, str], ...] = (), **about: object
) -> Path:
    with HtmlReport(folder / "report.html", {**ABOUT, **about}) as page:
        for image in entries:
            page.add(image)
        page.finish(failures)
    return folder / "report.html"


# Ten images: cats that are dogs and the like, and one in a folder that is no class.
ENTRIES = [
    entry("cat/1.jpg", "cat", 0.9, "cat"),
    entry("cat/2.jpg", "cat", 0.6, "cat"),
    entry("cat/3.jpg", "dog", 0.8, "cat"),
    entry("cat/10.jpg", "dog", 0.3, "cat"),
    entry("dog/1.jpg", "dog", 0.95, "dog"),
    entry("dog/2.jpg", "cat", 0.99, "dog"),
    entry("dog/3.jpg", "fox", 0.05, "dog"),
    entry("owl/1.jpg", "owl", 0.7, "owl"),
    entry("misc/1.jpg", "fox", 0.55),
    entry("misc/2.jpg", "owl", 0.45),
]


@needs_chromium
def test_counts_accuracy_and_the_confusion_matrix(tmp_path: Path):
    write_page(tmp_path, ENTRIES, ({"name": "x.jpg", "error": "x.jpg is empty: 0 bytes"},))
    shown = in_chromium(
        tmp_path,
        """return {
          title: page.document.title, tiles: tiles(), status: find("status").textContent,
          failures: find("failures").textContent,
          cells: all("tbody tr").map((row) => [...row.children].map((cell) => cell.textContent)),
          columns: all("thead th").map((cell) => cell.textContent),
          errors: all(".confusions li").map((item) => item.textContent)};""",
    )
    labeled = [image for image in ENTRIES if image["true_label"]]
    correct = sum(image["true_label"] == image["predictions"][0]["label"] for image in labeled)
    mean = sum(image["predictions"][0]["probability"] for image in ENTRIES) / len(ENTRIES)
    assert (len(labeled), correct) == (8, 4)
    assert shown["title"] == "zoo – livecam"
    assert shown["tiles"] == {
        "images": "10", "accuracy: 4 of 8 images whose folder names a class": "50.0 %", "errors": "4",
        "predicted classes": "4", "mean confidence": f"{100 * mean:.0f} %",
    }  # fmt: skip
    assert shown["status"] == "10 of 10 images, 4 of 8 correct"
    assert "1 image could not be read or written" in shown["failures"]
    assert "x.jpg: x.jpg is empty: 0 bytes" in shown["failures"]
    # Rows and columns of the classes that occur, true classes first.
    pairs = Counter((image["true_label"], image["predictions"][0]["label"]) for image in labeled)
    assert shown["columns"] == ["cat", "dog", "owl", "fox"]
    assert shown["cells"] == [
        [truth, *(str(pairs[truth, label] or "") for label in shown["columns"])] for truth in ("cat", "dog", "owl")
    ]
    assert shown["errors"] == ["2cat → dog", "1dog → cat", "1dog → fox"]


@needs_chromium
def test_sorting(tmp_path: Path):
    write_page(tmp_path, ENTRIES)
    orders = in_chromium(
        tmp_path,
        """const orders = {first: names()};
        const sorts = {errors: "Most confident", high: "Highest", low: "Lowest", predicted: "Predicted", truth: "True",
                       name: "File name"};
        for (const [key, text] of Object.entries(sorts)) { pick("sort", text); orders[key] = names(); }
        return orders;""",
    )
    probability = {image["name"]: image["predictions"][0]["probability"] for image in ENTRIES}
    label = {image["name"]: image["predictions"][0]["label"] for image in ENTRIES}
    by_confidence = sorted(probability, key=probability.__getitem__, reverse=True)
    assert orders["high"] == by_confidence
    assert orders["low"] == by_confidence[::-1]
    assert orders["predicted"] == sorted(by_confidence, key=label.__getitem__)
    assert [name.split("/")[0] for name in orders["truth"]] == ["cat"] * 4 + ["dog"] * 3 + ["owl"] + ["misc"] * 2
    assert orders["name"][:4] == ["cat/1.jpg", "cat/2.jpg", "cat/3.jpg", "cat/10.jpg"]  # 10 after 3
    # Errors, the surest first; then what is right, the least sure first; then what nobody knows.
    assert orders["errors"] == orders["first"] == [
        "dog/2.jpg", "cat/3.jpg", "cat/10.jpg", "dog/3.jpg",
        "cat/2.jpg", "owl/1.jpg", "cat/1.jpg", "dog/1.jpg", "misc/2.jpg", "misc/1.jpg",
    ]  # fmt: skip


@needs_chromium
def test_filters_alone_together_and_reset(tmp_path: Path):
    write_page(tmp_path, ENTRIES)
    shown = in_chromium(
        tmp_path,
        """const shown = {}, note = (key) => { shown[key] = names().sort(); };
        pick("sort", "File name");
        pick("predicted", "cat"); note("predicted");
        pick("true", "dog"); note("both"); shown.status = find("status").textContent;
        find("reset").click(); await moment(); note("reset");
        for (const text of ["Correct", "Wrong", "No true class"]) { pick("result", text); note(text); }
        find("reset").click(); await moment();
        set("lowest", 50); set("highest", 80); note("confidence");
        find("reset").click(); await moment();
        set("search", "DOG 1"); note("search");
        set("search", "nothing"); shown.none = [names().length, find("none").hidden];
        find("reset").click(); await moment();
        all("td button").find((button) => button.title === "cat predicted as dog: 2").click(); note("cell");
        shown.pressed = all("[aria-pressed=true]").map((button) => button.textContent);
        all("[aria-pressed=true]")[0].click(); note("again");
        return shown;""",
    )
    everything = sorted(image["name"] for image in ENTRIES)
    assert shown["predicted"] == ["cat/1.jpg", "cat/2.jpg", "dog/2.jpg"]
    assert shown["both"] == ["dog/2.jpg"]
    assert shown["status"] == "1 of 10 images, 0 of 1 correct"
    assert shown["reset"] == shown["again"] == everything
    assert shown["Correct"] == ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "owl/1.jpg"]
    assert shown["Wrong"] == ["cat/10.jpg", "cat/3.jpg", "dog/2.jpg", "dog/3.jpg"]
    assert shown["No true class"] == ["misc/1.jpg", "misc/2.jpg"]
    assert shown["confidence"] == ["cat/2.jpg", "cat/3.jpg", "misc/1.jpg", "owl/1.jpg"]
    # All words, in the name or a class: cat/10.jpg is taken for a dog.
    assert shown["search"] == ["cat/10.jpg", "dog/1.jpg"]
    assert shown["none"] == [0, False]
    assert shown["cell"] == ["cat/10.jpg", "cat/3.jpg"]
    # The cell, and the same pair among the most frequent errors.
    assert shown["pressed"] == ["2", "2cat → dog"]


@needs_chromium
def test_without_true_labels_or_probabilities_there_is_nothing_about_them(tmp_path: Path):
    numbers = [entry(f"{index}.jpg", "age", None) for index in range(3)]
    write_page(tmp_path, numbers, has_true_labels=False)
    shown = in_chromium(
        tmp_path,
        """const hidden = ["matrix", "true-tool", "result-tool", "confidence-tool"].map((id) => find(id).hidden);
        return {tiles: tiles(), hidden, sorts: texts("#sort option"), scores: texts(".card .number")};""",
    )
    assert shown["tiles"] == {"images": "3", "predicted classes": "1"}
    assert shown["hidden"] == [True] * 4
    assert shown["sorts"] == ["Highest confidence first", "Lowest confidence first", "Predicted class", "File name"]
    assert shown["scores"] == ["1.5"] * 3


@needs_chromium
def test_details_heat_and_the_keyboard(tmp_path: Path):
    images = [{**image, "plain": f"{THUMBNAIL}="} for image in ENTRIES]
    images[0]["explained"] = {"label": "owl", "probability": 0.01, "value": 0.1}
    write_page(tmp_path, images)
    shown = in_chromium(
        tmp_path,
        """const shown = {};
        const key = (key) => find("dialog").dispatchEvent(new page.KeyboardEvent("keydown", {key, bubbles: true}));
        const name = () => find("dialog-name").textContent;
        pick("sort", "File name");
        all(".card")[0].click(); shown.opened = [find("dialog").open, name()];
        shown.explained = find("dialog-explained").textContent;
        shown.predictions = texts("#dialog-predictions dt");
        key("ArrowLeft"); shown.before_first = name(); key("ArrowRight"); shown.second = name();
        find("previous").click(); shown.back = name();
        find("close").click(); shown.closed = find("dialog").open;
        const before = all(".card img")[0].src; find("heat").click();
        shown.is_plain = all(".card img")[0].src === `${before}=`;
        const hasName = (e) => e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length;
        shown.unnamed = all("button, input, select").filter((element) => !hasName(element)).length;
        shown.untabbable = all(".card, td button").filter((e) => e.tabIndex < 0).length;
        return shown;""",
    )
    assert shown["opened"] == [True, "cat/1.jpg"]
    assert shown["explained"] == "What speaks for owl"
    assert shown["predictions"] == ["cat", "owl"]
    assert (shown["before_first"], shown["second"], shown["back"]) == ("cat/1.jpg", "cat/2.jpg", "cat/1.jpg")
    assert (shown["closed"], shown["is_plain"]) == (False, True)
    assert (shown["unnamed"], shown["untabbable"]) == (0, 0)


@needs_chromium
@pytest.mark.parametrize("size_wh", [(390, 844), (1920, 1080)])
def test_no_part_is_wider_than_the_screen(tmp_path: Path, size_wh: tuple[int, int]):
    long = "a" * 120
    wide = {**entry(f"{long}/1.jpg", long, 0.5, "x"), "size_wh": [4000, 100]}
    tall = {**entry("2.jpg", "cat", 0.5, long), "size_wh": [30, 2000]}
    many = [entry(f"{index}.jpg", f"class {index}", 0.5, f"class {index}") for index in range(80)]
    write_page(tmp_path, [wide, tall, *ENTRIES, *many], title=long)
    shown = in_chromium(
        tmp_path,
        """find("matrix").open = true; find("unfold").click(); await moment();
        const width = () => page.document.documentElement.scrollWidth, widths = [width()];
        all(".card")[0].click(); widths.push(width(), find("dialog").scrollWidth - find("dialog").clientWidth);
        return {widths, heights: all(".card img").map((image) => image.clientHeight)};""",
        size_wh,
    )
    # A scroll bar takes some of the width.
    assert all(width <= size_wh[0] for width in shown["widths"][:2])
    assert shown["widths"][2] <= 0
    assert all(40 < height < size_wh[1] for height in shown["heights"])


@needs_chromium
@pytest.mark.parametrize("size_wh", [(390, 844), (1400, 900)])
def test_no_tool_wraps_alone_and_no_text_is_cut(tmp_path: Path, size_wh: tuple[int, int]):
    tall = {**entry("2.jpg", "confectionery", 0.5, "confectionery"), "size_wh": [30, 50]}
    write_page(tmp_path, [tall, *ENTRIES, *[{**tall, "name": f"{index}.jpg"} for index in range(9)]])
    shown = in_chromium(
        tmp_path,
        """const row = (id) => Math.round(find(id).getBoundingClientRect().bottom);
        const measured = page.document.createElement("span"), sort = find("sort");
        measured.textContent = "Most confident errors first";
        measured.style.cssText = "position: absolute; font: " + page.getComputedStyle(sort).font;
        page.document.body.append(measured);
        const lines = all(".card .best b").map((label) => Math.round(label.clientHeight / 21.75));
        return {bottoms: ["reset", "search", "sort"].map(row), heat: row("heat"), lines: Math.max(...lines),
                text: measured.clientWidth, sort: sort.clientWidth};""",
        size_wh,
    )
    reset, search, sort = shown["bottoms"]
    assert abs(reset - shown["heat"]) <= 12
    assert (abs(reset - search) <= 2 and reset == sort) == (size_wh[0] == 1400)
    # The arrow of the box takes some 20 pixels, its padding as many.
    assert shown["sort"] >= shown["text"] + 40
    assert shown["lines"] == 1


@needs_chromium
@pytest.mark.parametrize("target", [None, "Egyptian cat"])
def test_the_head_names_the_explained_class(tmp_path: Path, target: str | None):
    write(tmp_path / "in" / "a.png")
    settings = replace(settings_of(html=tmp_path / "report.html"), feed=FeedSettings(target))
    run(settings, tmp_path / "in", explainer=LabeledStandIn(("tabby", "Egyptian cat", "fox", "owl")))
    head = in_chromium(tmp_path, """return find("about").textContent;""")
    assert ("explained: Egyptian cat" in head) == (target is not None)
    assert "weakstrong evidence" in head


@needs_chromium
def test_a_thousand_images_are_all_counted_and_shown_piece_by_piece(tmp_path: Path):
    write_page(tmp_path, [entry(f"{index}.jpg", f"class {index % 7}", index / 1000) for index in range(1000)])
    shown = in_chromium(
        tmp_path,
        """const first = all(".card").length, status = find("status").textContent;
        while (!find("more").hidden) find("more").click();
        return {first, status, all: all(".card").length};""",
        (1280, 400),
    )
    assert shown["status"] == "1000 of 1000 images"
    assert 0 < shown["first"] < 400
    assert shown["all"] == 1000


# --- nothing that a file contains becomes markup

HOSTILE = '"</script><img src=x onerror="top.hit=1;window.hit=1">&amp;<b>\'{{images}}{{about}}\u2028\u2029<!--'


@needs_chromium
def test_hostile_names_and_labels_are_shown_as_they_are(tmp_path: Path):
    images = tmp_path / "images"
    # A slash cannot be in a file's name, but after a folder's.
    hostile_path = images / "a<" / "script><img src=x onerror=window.hit=1>.png"
    labels = (HOSTILE, "<i>right</i>", "&lt;top", "bottom")
    write(hostile_path, "left")
    write(images / HOSTILE.replace("/", "") / "b.png", "right")
    (images / "<u>.jpg").write_text("no image")
    run(settings_of(html=tmp_path / "report.html"), images, explainer=LabeledStandIn(labels))
    content = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert content.count("</script>") == 4
    shown = in_chromium(
        tmp_path,
        """all(".card")[0].click();
        await moment();
        const requests = page.performance.getEntriesByType("resource").map(({name}) => name);
        return {hit: [page.hit ?? null, window.hit ?? null], labels: labels(), names: names(),
                failures: find("failures").textContent, requests: requests.filter((name) => !name.startsWith("data:")),
                markup: all("main img:not(.card img), main i:not(.bar i), main u, main script").length};""",
    )
    assert shown["hit"] == [None, None]
    assert set(shown["labels"]) == {HOSTILE, "<i>right</i>"}
    assert set(shown["names"]) == {
        "a</script><img src=x onerror=window.hit=1>.png", f"{HOSTILE.replace('/', '')}/b.png",
    }  # fmt: skip
    assert "<u>.jpg" in shown["failures"]
    assert shown["markup"] == 0
    assert shown["requests"] == []


@needs_chromium
def test_a_folder_of_subfolders_as_a_report_from_a_file_url(tmp_path: Path):
    labels = ("left", "right", "top", "bottom")
    for side in labels:
        for seed in range(3):
            # One of each three is in the wrong folder.
            folder = labels[(labels.index(side) + 1) % 4] if seed == 2 else side
            write(tmp_path / "zoo" / folder / f"{side}{seed}.png", side, seed)
    run(settings_of(html=tmp_path / "report.html"), tmp_path / "zoo", explainer=LabeledStandIn(labels))
    assert files_below(tmp_path)[0] == "report.html"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    command += [f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=3000", "--dump-dom"]
    command.append((tmp_path / "report.html").as_uri())
    done = subprocess.run(command, capture_output=True, text=True, env=environment_with(), timeout=60)
    assert "CONSOLE" not in done.stderr
    assert "accuracy: 8 of 12 correct" in done.stdout
    assert re.search(r'role="status"[^>]*>12 of 12 images, 8 of 12 correct<', done.stdout)
    assert re.search(r"<title>zoo – livecam</title>", done.stdout)


# --- the file


def test_the_policy_allows_nothing_but_the_page_itself(tmp_path: Path):
    content = write_page(tmp_path, ENTRIES).read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', content)[1]
    assert policy == content_policy(content)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.search(r"https?://|@import|url\(|src=(?!x)", content.replace(THUMBNAIL, ""))


@pytest.mark.parametrize("value", [HOSTILE, {"<": [HOSTILE]}, "\udc80", "]]>", None])
def test_json_between_script_tags_has_no_markup(value: Any):
    text = script_json(value)
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert json.loads(text) == value


def test_a_page_that_is_not_finished_leaves_nothing(tmp_path: Path):
    with HtmlReport(tmp_path / "report.html", ABOUT) as page:
        page.add(ENTRIES[0])
        assert not (tmp_path / "report.html").exists()
    assert files_below(tmp_path) == []
    with pytest.raises(SinkError, match="there is no directory"):
        HtmlReport(tmp_path / "nowhere" / "report.html", ABOUT)
    (tmp_path / "report.html").touch()
    with pytest.raises(SinkError, match="exists"):
        HtmlReport(tmp_path / "report.html", ABOUT)


def plan_of(folder: Path, count: int = 1) -> ImagePlan:
    return ImagePlan([PlannedImage(folder / f"{index}.png", f"{index}.png") for index in range(count)], {})


def test_thumbnails_have_heat_but_no_text(tmp_path: Path):
    image = picture("left", size_wh=(200, 150))
    entries = []
    for number, look in enumerate((RenderSettings(caption=False), RenderSettings(panel=True, view="split"))):
        settings = replace(settings_of(), feed=FeedSettings(render=look))
        explainer = LabeledStandIn(("a", "b", "c", "d"))
        with ImageReport(tmp_path / f"{number}.html", settings, explainer, plan_of(tmp_path)) as report:
            entries.append(report.entry("0.png", explained_of(image)))
    assert entries[0] == entries[1]
    assert entries[0]["heat"] != entries[0]["plain"]
    assert entries[0]["predictions"][0]["label"] == "a"


def test_thumbnails_are_small_where_there_are_many(tmp_path: Path):
    def size_wh(count: int) -> list[int]:
        plan, explainer = plan_of(tmp_path, count), LabeledStandIn(("a", "b", "c", "d"))
        with ImageReport(tmp_path / f"{count}.html", settings_of(), explainer, plan) as report:
            return report.entry("0.png", explained_of(picture("left", size_wh=(1200, 900))))["size_wh"]

    assert size_wh(250) == [512, 384]
    assert size_wh(1000) == [320, 240]
    assert size_wh(1001) == [224, 168]


def explained_of(image: np.ndarray) -> Any:
    explainer = LabeledStandIn(("a", "b", "c", "d"))
    return TemporalExplainer().explain(explainer, Frame(image, 0, 0.0), explainer.preprocess(image))
