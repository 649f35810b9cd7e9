"""The page of a search in Chromium: what it shows and filters; no text of an index becomes markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from archive_index import LABELS, Row, Scene, write_index, write_states
from conftest import wait_until
from test_browser import CHROMIUM

from live_cam.archive.condition import parse_condition
from live_cam.archive.search import Index
from live_cam.archive.search_page import PageContent, write_search_page
from live_cam.archive.summary import summarize
from live_cam.errors import SinkError
from live_cam.settings import SearchSettings

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")

HOSTILE = '<img src=x onerror="document.title=1">{{hits}}</script><script>document.title=2</script>'
JPEGS = [cv2.imencode(".jpg", np.full((30, 40 + number, 3), 128, np.uint8))[1].tobytes() for number in range(2)]

# One hit in a scene of its own with 1000 rows around it, one short hit, one in a video with a hostile name.
VIDEOS = {
    "/zoo/long.mp4": [
        Row(number / 10, {0: 0.8 if 200 <= number < 600 else 0.1, 2: 0.05}, duration=0.1) for number in range(1000)
    ],
    "/zoo/short.mp4": [Row(0.0, {0: 0.9}), Row(0.5, {2: 0.7, 0: 0.1})],
    f"/zoo/{HOSTILE.replace('/', '|')}.mp4": [Row(0.0, {0: 0.6}, duration=2.0)],
}
SCENES = {"/zoo/long.mp4": [Scene(0.0, 15.0, JPEGS[0]), Scene(15.0, 100.0, JPEGS[1])]}


def write_page(
    folder: Path, text: str = "zebra > 0.5", *, is_summary: bool = False, clip: Path | None = None, **options: Any
) -> Path:
    """Writes a page; ``clip`` is that of the first hit."""
    path = folder / "report.html"
    with Index(write_index(folder / "index", **{"videos": VIDEOS, "scenes": SCENES, **options})) as index:
        condition = parse_condition(text, index.labels, index.score)
        if is_summary:
            content = PageContent(text, condition, summary=summarize(index, condition, 3))
        else:
            found = index.search(condition, SearchSettings())
            content = PageContent(text, condition, found, clips={} if clip is None else {found.hits[0]: clip})
        write_search_page(path, index, content)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """Opens a page, and checks at the end that it asked for nothing else and reported no error."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def open_page(path: Path) -> Any:
        page.goto(path.as_uri())
        return page

    yield open_page
    assert [url for url in requests if not url.startswith("data:")] == requests[:1]
    assert not complaints
    page.close()


def texts(page: Any, selector: str) -> list[str]:
    return page.locator(selector).all_text_contents()


@needs_chromium
def test_hits_are_shown_best_first_with_picture_and_curve(tmp_path: Path, opened: Any):
    page = opened(write_page(tmp_path))
    assert page.title() == "zebra > 0.5 – livecam"
    assert texts(page, ".tile") == ["3intervals", "3videos", "42.5 sin total", "90 %highest score"]
    assert texts(page, ".card .best") == ["zebra90 %", "zebra80 %", "zebra60 %"]
    assert texts(page, ".card .span") == ["0:00.0 – 0:00.5", "0:20.0 – 1:00.0", "0:00.0 – 0:02.0"]
    assert texts(page, ".card .file")[:2] == ["/zoo/short.mp4", "/zoo/long.mp4"]
    assert "evidence 25 % from the left, 75 % from the top" in texts(page, ".card .facts")[0]
    long = page.locator(".card").nth(1)
    # The peak, at 20 s, lies in the second scene.
    assert long.locator("img").evaluate("(image) => [image.naturalWidth, image.naturalHeight]") == [41, 30]
    assert texts(page, ".missing") == ["no thumbnail", "no thumbnail"]
    # The hit of 40 s lies in the middle of 80 s; of 800 rows, at most 300 points remain.
    assert texts(page, ".card .axis")[1] == "0:00.0best at 0:20.01:20.0"
    assert long.locator("rect").evaluate("(hit) => [hit.x.baseVal.value, hit.width.baseVal.value]") == [250, 500]
    assert 250 < len(re.findall("L", long.locator("path.line").get_attribute("d"))) < 300


@needs_chromium
def test_a_picture_of_another_time_or_class_says_so(tmp_path: Path, opened: Any):
    videos = dict.fromkeys(("/zoo/early.mp4", "/zoo/horse.mp4", "/zoo/own.mp4"), VIDEOS["/zoo/long.mp4"])
    scenes = {
        "/zoo/early.mp4": [Scene(15.0, 100.0, JPEGS[0])],
        "/zoo/horse.mp4": [Scene(25.0, 100.0, JPEGS[0], explained=2)],
        "/zoo/own.mp4": [Scene(25.0, 100.0, JPEGS[0])],
    }
    page = opened(write_page(tmp_path, videos=videos, scenes=scenes))
    assert texts(page, ".picture .of") == ["picture from 0:15.0, heat for zebra", "picture from 0:25.0, heat for horse"]
    images = page.locator(".picture img").evaluate_all("(images) => images.map((image) => image.alt)")
    assert images == [*texts(page, ".picture .of"), "picture from 0:25.0, heat for zebra"]


@needs_chromium
def test_a_card_links_to_its_clip(tmp_path: Path, opened: Any):
    clip = tmp_path / "clips #1" / "a:b?.mp4"
    page = opened(write_page(tmp_path, clip=clip))
    assert page.locator(".card a").evaluate_all("(links) => links.map((link) => link.getAttribute('href'))") == [
        "clips%20%231/a%3Ab%3F.mp4"
    ]
    assert page.locator(".card").first.locator("a").evaluate("(link) => link.href") == clip.as_uri().replace(
        ":b", "%3Ab"
    )


@needs_chromium
def test_an_unfinished_index_is_mentioned(tmp_path: Path, opened: Any):
    write_states(tmp_path / "index", "done", "pending")
    page = opened(write_page(tmp_path))
    assert page.text_content("#unfinished") == "1 of 2 videos is not explained yet; run livecam archive again"


@needs_chromium
def test_one_video_is_no_videos(tmp_path: Path, opened: Any):
    page = opened(write_page(tmp_path, videos={"/zoo/short.mp4": VIDEOS["/zoo/short.mp4"]}))
    assert texts(page, ".tile")[:2] == ["1interval", "1video"]
    assert page.locator("#unfinished").is_hidden()
    assert page.locator(".card a").count() == 0


@needs_chromium
def test_filters_and_sorting(tmp_path: Path, opened: Any):
    page = opened(write_page(tmp_path))
    spans = {"short": "0:00.0 – 0:00.5", "long": "0:20.0 – 1:00.0", "hostile": "0:00.0 – 0:02.0"}

    def shown() -> list[str]:
        return texts(page, ".card .span")

    page.fill("#search", "LONG zebra")
    assert shown() == [spans["long"]]
    assert page.text_content("#status") == "1 of 3 intervals"
    page.fill("#search", "")
    page.fill("#lowest", "80")
    assert shown() == [spans["short"], spans["long"]]
    page.fill("#shortest", "40")
    assert shown() == [spans["long"]]
    page.fill("#lowest", "95")
    assert page.text_content("#none") == "No interval fits these filters."
    page.click("#reset")
    wait_until(lambda: page.locator(".card").count() == 3)
    page.select_option("#sort", "long")
    assert shown() == [spans["long"], spans["hostile"], spans["short"]]
    page.select_option("#sort", "video")
    assert shown() == [spans["hostile"], spans["long"], spans["short"]]


@needs_chromium
def test_the_curve_tells_its_value_at_the_pointer(tmp_path: Path, opened: Any):
    page = opened(write_page(tmp_path))
    plot = page.locator(".plot").nth(1)
    width = plot.bounding_box()["width"]
    # At 10 s of 80, before the hit.
    plot.hover(position={"x": width / 8, "y": 10})
    assert re.fullmatch(r"0:(09\.[89]|10\.[012]): 10 %", texts(page, ".axis span:nth-child(2)")[1])
    page.mouse.move(1, 1)
    assert texts(page, ".axis span:nth-child(2)")[1] == "best at 0:20.0"


@needs_chromium
def test_text_of_an_index_never_becomes_markup(tmp_path: Path, opened: Any):
    labels = (HOSTILE, *LABELS[1:])
    page = opened(write_page(tmp_path, "0 > 0.5", labels=labels, model=HOSTILE, method=HOSTILE))
    assert page.title() == "0 > 0.5 – livecam"
    assert texts(page, ".card .best b") == [HOSTILE] * 3
    assert HOSTILE in page.text_content("#about")
    assert page.locator("img:not(.picture img)").count() == 0
    assert page.locator("script").count() == 4


@needs_chromium
def test_an_empty_result_says_so(tmp_path: Path, opened: Any):
    page = opened(write_page(tmp_path, "zebra > 0.95"))
    assert page.text_content("#none") == "Nothing found in 3 videos."
    assert page.locator("#tools").is_hidden()
    assert page.locator("#summary").is_hidden()


@pytest.mark.parametrize("is_summary", [False, True])
def test_rows_for_which_the_network_returned_nan_are_left_out(tmp_path: Path, is_summary: bool):
    nan = Row(0.0, {0: float("nan")})
    page = write_page(
        tmp_path, "zebra >= 0", videos={"/a.mp4": [nan, Row(0.5, {0: 0.25})]}, scenes={}, is_summary=is_summary
    )
    assert "0.25" in page.read_text()


@needs_chromium
def test_a_summary_shows_classes_videos_and_moments(tmp_path: Path, opened: Any):
    page = opened(write_page(tmp_path, "area > 0", is_summary=True))
    assert page.locator("#found").is_hidden()
    assert texts(page, "#classes .best") == ["zebra1 min 42 s", "horse0.5 s"]
    assert texts(page, "#classes .facts")[1] == "0.5 % of the time, in 1 video"
    assert texts(page, "#videos .file")[0] == "/zoo/long.mp4"
    assert texts(page, "#videos .facts")[2] == "zebra 50 %horse 50 %"
    # At least 10 s apart: the rows with 0.1 are before 20 s and from 60 s on.
    assert texts(page, "#moments .span") == ["0:00.0", "0:10.0", "1:00.0"]


@needs_chromium
@pytest.mark.parametrize("is_summary", [False, True])
def test_a_phone_needs_no_sideways_scrolling(tmp_path: Path, opened: Any, is_summary: bool):
    page = opened(write_page(tmp_path, is_summary=is_summary))
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 400


def test_a_file_of_another_program_is_not_replaced(tmp_path: Path):
    (tmp_path / "report.html").write_text("<p>mine</p>")
    with pytest.raises(SinkError, match=r"report\.html exists; give another name, or replace it with overwrite=True"):
        write_page(tmp_path)
    assert (tmp_path / "report.html").read_text() == "<p>mine</p>"
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "index"}


def test_an_own_page_is_replaced_and_nothing_else_is_left(tmp_path: Path):
    write_page(tmp_path)
    assert r'"condition":"zebra \u003e 0.7"' in write_page(tmp_path, "zebra > 0.7").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "index"}
