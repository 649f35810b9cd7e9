"""Image files and folders: which pictures become what, in order and on all cores, and what the page says."""

from __future__ import annotations

import json
import re
import signal
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import SHARED_DATA, RunLivecam, StartLivecam, needs_shared_data, wait_until
from standin import StandIn

from live_cam.errors import LiveCamError, SettingError, SinkError, SourceError
from live_cam.explain.explainer import NetworkInput
from live_cam.explain.replica_pool import ReplicaPool
from live_cam.frame import Explanation, Prediction
from live_cam.jobs.image_plan import plan_images
from live_cam.jobs.image_report import true_labels
from live_cam.jobs.images import ImagesOutcome, run_images
from live_cam.jobs.outcome import JobContext, Progress
from live_cam.predictions import class_index_of
from live_cam.settings import (
    FeedSettings,
    JobSettings,
    LimitSettings,
    OutputSettings,
    RenderSettings,
    SourceSettings,
)
from live_cam.sinks.atomic_file import OutputLock
from live_cam.sources.image import read_image

LABELS = ("tabby", "Egyptian cat", "golden retriever", "space heater")


class LabeledStandIn(StandIn):
    """Explains the brightest half of an image under other labels."""

    def __init__(self, labels: tuple[str, str, str, str], pause_seconds: float = 0.0) -> None:
        super().__init__(pause_seconds)
        self._labels = labels

    def class_index(self, target: int | str) -> int:
        return class_index_of(target, self._labels)

    def label(self, class_index: int) -> str:
        return self._labels[class_index]

    def explain_input(
        self, network_input: NetworkInput, class_index: int | None = None, contrast_index: int | None = None
    ) -> Explanation:
        explanation = super().explain_input(network_input, class_index, contrast_index)

        def labeled(prediction: Prediction) -> Prediction:
            return replace(prediction, label=self._labels[prediction.class_index])

        predictions = tuple(map(labeled, explanation.predictions))
        return replace(explanation, predictions=predictions, explained=labeled(explanation.explained))


def picture(side: str, seed: int = 0, size_wh: tuple[int, int] = (60, 40)) -> np.ndarray:
    """An image that is bright on one side: "left", "right", "top" or "bottom"."""
    width, height = size_wh
    image = np.random.default_rng(seed).integers(0, 60, (height, width, 3), np.uint8)
    areas = {
        "left": np.s_[:, : width // 2],
        "right": np.s_[:, width // 2 :],
        "top": np.s_[: height // 2],
        "bottom": np.s_[height // 2 :],
    }
    image[areas[side]] += 150
    return image


def write(path: Path, side: str = "left", seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture(side, seed))
    return path


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def settings_of(output: Path | None = None, html: Path | None = None, **options: object) -> JobSettings:
    return JobSettings(output=OutputSettings(output, html=html, **options))


def run(
    settings: JobSettings, *names: object, explainer: StandIn | None = None, context: JobContext | None = None
) -> tuple[ImagesOutcome, list[str]]:
    """Runs the job without a network; returns its outcome and the errors of its images."""
    errors: list[LiveCamError] = []
    plan = plan_images(settings, list(map(str, names)))
    outcome = run_images(
        plan, settings, context or JobContext(), errors.append, lambda pixels: explainer or LabeledStandIn(LABELS)
    )
    return outcome, [str(error) for error in errors]


# --- which images become what


def names_and_outputs(settings: JobSettings, *names: object) -> dict[str, str]:
    images = plan_images(settings, list(map(str, names))).images
    assert all(image.output is not None for image in images)
    return {image.name: image.output.relative_to(settings.output.output).as_posix() for image in images}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("b.png", "a.jpg", "cats/1.jpg", "cats/young/2.JPEG", "dogs/1.jpg", "odd.ppm"):
        write(folder / name)
    for name in (".hidden.jpg", ".thumbs/x.jpg", "notes.txt", "clip.mp4"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    return folder


def test_a_folder_keeps_its_subfolders_and_leaves_out_what_is_no_image(photos: Path, tmp_path: Path):
    assert names_and_outputs(settings_of(tmp_path / "heat"), photos) == {
        "a.jpg": "a.jpg",
        "b.png": "b.png",
        "odd.ppm": "odd.ppm.png",
        "cats/1.jpg": "cats/1.jpg",
        "cats/young/2.JPEG": "cats/young/2.JPEG",
        "dogs/1.jpg": "dogs/1.jpg",
    }


def test_several_names_keep_their_folders_below_the_one_that_contains_all(photos: Path, tmp_path: Path):
    settings = settings_of(tmp_path / "heat")
    assert list(names_and_outputs(settings, photos / "cats", photos / "dogs")) == [
        "cats/1.jpg", "cats/young/2.JPEG", "dogs/1.jpg",
    ]  # fmt: skip
    assert list(names_and_outputs(settings, photos / "*" / "1.jpg")) == ["cats/1.jpg", "dogs/1.jpg"]
    assert list(names_and_outputs(settings, photos / "b.png", photos / "a.jpg")) == ["b.png", "a.jpg"]
    # Each once, however it is named.
    assert list(names_and_outputs(settings, photos / "a.jpg", photos / "dogs" / ".." / "a.jpg")) == ["a.jpg"]


def test_the_output_folder_in_the_folder_is_no_source(photos: Path):
    before = names_and_outputs(settings_of(photos / "heat"), photos)
    write(photos / "heat" / "a.jpg")
    assert names_and_outputs(settings_of(photos / "heat"), photos) == before


@pytest.mark.parametrize("names", [["photos/*"], ["photos/**/*.jpg"], ["photos/**"], ["photos/a.jpg", "link"]])
def test_the_output_folder_is_no_source_however_it_is_named(
    photos: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
):
    monkeypatch.chdir(photos.parent)
    Path("link").symlink_to(photos / "heat")
    Path("photos/heat").mkdir()
    Path("photos/circle.jpg").symlink_to("circle.jpg")
    settings = settings_of(Path("photos/heat"))
    before = names_and_outputs(settings, *names)
    write(photos / "heat" / "a.jpg")
    write(photos / "heat" / "cats" / "1.jpg")
    assert names_and_outputs(settings, *names) == before


def test_what_lies_in_the_output_folder_is_explained_if_nothing_else_is_named(
    photos: Path, monkeypatch: pytest.MonkeyPatch
):
    assert list(names_and_outputs(settings_of(photos), photos / "cats" / "young")) == ["2.JPEG"]
    (photos / "a.jpg").unlink()
    monkeypatch.chdir(photos.parent)
    assert list(names_and_outputs(settings_of(Path()), "photos/*.png", "photos/cats")) == [
        "b.png",
        "cats/1.jpg",
        "cats/young/2.JPEG",
    ]
    (photos / "b.png").unlink()
    (photos / "cats").rename(photos.parent / "cats")
    (photos / "dogs" / "1.jpg").unlink()
    assert names_and_outputs(settings_of(Path("photos")), "photos") == {"odd.ppm": "odd.ppm.png"}


def test_links_are_followed_but_not_in_circles(photos: Path, tmp_path: Path):
    (photos / "linked").symlink_to(photos / "cats")
    (photos / "cats" / "up").symlink_to(photos)
    elsewhere = tmp_path / "elsewhere"
    write(elsewhere / "z.jpg")
    (photos / "far").symlink_to(elsewhere)
    names = names_and_outputs(settings_of(tmp_path / "heat"), photos)
    assert "far/z.jpg" in names
    assert sum(name.endswith("2.JPEG") for name in names) == 1
    assert len(names) == 7


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (settings_of(), SettingError, "nothing to do: for several images, give a folder as --output, or an --html"),
        (settings_of(Path("one.jpg")), SettingError, "6 images cannot all become one.jpg; give a folder"),
        (settings_of(Path("o"), sidecar=Path("s")), SettingError, "--sidecar is not for several images"),
        (settings_of(Path("o"), heatmaps=Path("s")), SettingError, "--heatmaps is not for several images"),
        (settings_of(Path("o"), report=Path("s")), SettingError, "--report is not for several images"),
        (settings_of(Path("o"), codec="h264"), SettingError, "--codec is not for several images"),
        (
            replace(settings_of(Path("o")), feed=FeedSettings(limits=LimitSettings(explanations_per_second=1))),
            SettingError,
            "--fps is not for several images",
        ),
        (settings_of(Path("o"), show=True), SettingError, "--show is not for several images"),
        (settings_of(Path("o"), resume=True), SettingError, "run the command again without resume=True: pictures"),
    ],
)
def test_what_makes_no_sense_for_images_is_refused(
    photos: Path, settings: JobSettings, error: type[LiveCamError], message: str
):
    with pytest.raises(error, match=re.escape(message)):
        plan_images(settings, [str(photos)])


def test_a_picture_or_page_over_an_image_and_a_folder_without_images_are_refused(photos: Path, tmp_path: Path):
    with pytest.raises(SinkError, match="would be written over the input"):
        plan_images(settings_of(photos), [str(photos)])
    with pytest.raises(SinkError, match="would be written over the input"):
        plan_images(settings_of(html=photos / "a.jpg"), [str(photos)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r'no image in .*empty; for videos, give a pattern such as ".*empty/\*\.mp4"'):
        plan_images(settings_of(tmp_path / "heat"), [str(tmp_path / "empty")])


def test_images_that_would_become_one_picture_are_refused(tmp_path: Path):
    for name in ("a.ppm", "a.ppm.png"):
        write(tmp_path / "photos" / name)
    with pytest.raises(SettingError, match=r"2 images would become .*a\.ppm\.png; rename one of them"):
        plan_images(settings_of(tmp_path / "heat"), [str(tmp_path / "photos")])


def test_max_frames_limits_the_images(photos: Path, tmp_path: Path):
    settings = replace(settings_of(tmp_path / "heat"), source=SourceSettings(max_frames=2))
    assert list(names_and_outputs(settings, photos)) == ["a.jpg", "b.png"]


# --- runs without a network


def test_a_broken_image_is_reported_the_others_are_made_and_skipped_the_next_time(photos: Path, tmp_path: Path):
    (photos / "cats" / "broken.jpg").write_text("no image")
    (photos / "empty.png").touch()
    settings = settings_of(tmp_path / "heat")
    outcome, errors = run(settings, photos)
    assert (outcome.done, outcome.skipped, outcome.failed, outcome.total) == (6, 0, 2, 8)
    assert errors == [
        f"{photos}/empty.png is empty: 0 bytes",
        f"{photos}/cats/broken.jpg is not an image that OpenCV can read, or it is damaged",
    ]
    made = ["a.jpg", "b.png", "cats/1.jpg", "cats/young/2.JPEG", "dogs/1.jpg", "odd.ppm.png"]
    assert files_below(tmp_path / "heat") == made
    times = {name: (tmp_path / "heat" / name).stat().st_mtime_ns for name in made}

    (tmp_path / "heat" / "b.png").unlink()
    outcome, errors = run(settings, photos)
    assert (outcome.done, outcome.skipped, outcome.failed) == (1, 5, 2)
    assert len(errors) == 2
    now = {name: (tmp_path / "heat" / name).stat().st_mtime_ns for name in made}
    assert {name for name in made if now[name] != times[name]} == {"b.png"}

    outcome, _ = run(settings_of(tmp_path / "heat", overwrite=True), photos)
    assert (outcome.done, outcome.skipped, outcome.failed) == (6, 0, 2)
    assert all((tmp_path / "heat" / name).stat().st_mtime_ns != now[name] for name in made)


def test_nothing_but_broken_images(tmp_path: Path):
    (tmp_path / "a.jpg").write_text("no image")
    outcome, errors = run(settings_of(tmp_path / "heat", tmp_path / "page.html"), tmp_path)
    assert (outcome.done, outcome.failed, len(errors)) == (0, 1, 1)
    assert files_below(tmp_path) == ["a.jpg"]


def lines_of(settings: JobSettings, *names: object) -> list[str]:
    """Runs the job; returns the lines that the user gets."""
    lines: list[str] = []
    run(settings, *names, context=JobContext(lines.append))
    return lines


def test_pictures_that_stay_though_settings_differ_are_told(photos: Path, tmp_path: Path):
    heat = tmp_path / "heat"
    settings = settings_of(heat)
    other = replace(settings, feed=FeedSettings("tabby", render=RenderSettings(opacity=1.0)))
    assert lines_of(settings, photos) == lines_of(settings, photos) == []
    differs = "opacity was 0.6 and is 1.0 now, target was not given and is tabby now"
    said = [f"{heat}: 6 pictures stay as they are, but {differs}; overwrite=True makes everything again"]
    assert lines_of(other, photos) == lines_of(other, photos) == said
    # Two new ones have the new look; nothing is known of a picture of somebody else's, though it has a known name.
    write(photos / "c.png")
    write(photos / "d.png")
    (heat / "a.jpg").write_bytes(b"mine")
    assert lines_of(other, photos) == [said[0].replace("6 pictures", "5 pictures")]
    assert lines_of(settings, photos) == [
        f"{heat}: 2 pictures stay as they are, but opacity was 1.0 and is 0.6 now, target was tabby and is not given "
        "now; overwrite=True makes everything again"
    ]
    third = replace(settings, feed=FeedSettings(render=RenderSettings("jet")))
    (line,) = lines_of(third, photos)
    assert "7 pictures stay as they are, but colormap was inferno and is jet now for 5 of them;" in line
    # Another folder has its own pictures, and those that are made again are known by their new settings.
    assert lines_of(replace(other, output=OutputSettings(tmp_path / "heat2")), photos) == []
    assert lines_of(replace(other, output=OutputSettings(heat, overwrite=True)), photos) == []
    assert lines_of(other, photos) == []


def test_without_a_cache_pictures_are_made_and_nothing_is_told(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "cache").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    other = replace(settings_of(tmp_path / "heat"), feed=FeedSettings("tabby"))
    assert lines_of(settings_of(tmp_path / "heat"), photos) == lines_of(other, photos) == []
    assert len(files_below(tmp_path / "heat")) == 6


def test_pictures_of_an_interrupted_run_are_known(tmp_path: Path):
    for number in range(30):
        write(tmp_path / "in" / f"{number:02}.png", seed=number)
    context = JobContext()

    def stop(progress: Progress) -> None:
        if progress.frames_explained >= 5:
            context.stop.set()

    settings = settings_of(tmp_path / "out")
    run(settings, tmp_path / "in", explainer=LabeledStandIn(LABELS, 0.002), context=replace(context, on_progress=stop))
    count = len(files_below(tmp_path / "out"))
    assert 5 <= count < 30
    (line,) = lines_of(replace(settings, feed=FeedSettings("tabby")), tmp_path / "in")
    assert f" {count} pictures stay as they are, but target was not given and is tabby now;" in line


def test_a_picture_that_another_process_writes_fails_and_the_others_are_made(photos: Path, tmp_path: Path):
    (tmp_path / "heat").mkdir()
    with OutputLock(tmp_path / "heat" / "b.png"):
        outcome, errors = run(settings_of(tmp_path / "heat"), photos)
    assert (outcome.done, outcome.failed) == (5, 1)
    assert errors == [f"{tmp_path}/heat/b.png is being written by another livecam process"]


class OutOfOrder(LabeledStandIn):
    """Fails on images of two widths as NumPy and OpenCV do."""

    def preprocess(self, image: np.ndarray) -> NetworkInput:
        if image.shape[1] == 61:
            np.empty(2**60, np.uint8)
        if image.shape[1] == 62:
            cv2.resize(image[:0], (9, 9))
        return super().preprocess(image)


def test_without_memory_for_an_image_or_with_an_error_of_opencv_the_others_are_made(tmp_path: Path):
    (tmp_path / "in").mkdir()
    for name, width in (("a", 60), ("b", 61), ("c", 62), ("d", 60)):
        assert cv2.imwrite(str(tmp_path / "in" / f"{name}.png"), picture("left", size_wh=(width, 40)))
    settings = settings_of(tmp_path / "heat", tmp_path / "page.html")
    outcome, errors = run(settings, tmp_path / "in", explainer=OutOfOrder(LABELS))
    assert (outcome.done, outcome.failed) == (2, 2)
    assert errors[0] == f"{tmp_path}/in/b.png: not enough memory; make the image smaller"
    assert re.fullmatch(re.escape(f"{tmp_path}/in/c.png: ") + r"OpenCV.*resize.*", errors[1])
    assert files_below(tmp_path / "heat") == ["a.png", "d.png"]
    page = (tmp_path / "page.html").read_text()
    assert "not enough memory" in page
    assert all(f"{name}.png" in page for name in "abcd")


def test_without_memory_for_the_first_image_the_others_are_made(photos: Path, monkeypatch: pytest.MonkeyPatch):
    def read(path: Path) -> np.ndarray:
        return np.empty((2**30, 2**30, 3), np.uint8) if path.name == "a.jpg" else read_image(path)

    monkeypatch.setattr("live_cam.jobs.images.read_image", read)
    outcome, errors = run(settings_of(photos / "heat"), photos)
    assert (outcome.done, outcome.failed) == (5, 1)
    assert errors == [f"{photos}/a.jpg: not enough memory; make the image smaller"]


def test_a_file_in_place_of_the_output_folder(photos: Path, tmp_path: Path):
    (tmp_path / "heat").touch()
    message = re.escape(f"{tmp_path}/heat is a file, not a folder; give another name")
    for output in (OutputSettings(tmp_path / "heat"), OutputSettings(tmp_path / "heat" / "in")):
        with pytest.raises(SinkError, match=f"^{message}$"):
            run(replace(settings_of(), output=output), photos)


def test_few_images_are_in_memory_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number in range(40):
        write(tmp_path / "in" / f"{number:02}.png", seed=number)
    alive = most = 0
    lock = threading.Lock()

    def change(by: int) -> None:
        nonlocal alive, most
        with lock:
            alive += by
            most = max(most, alive)

    def counted(path: Path) -> np.ndarray:
        image = read_image(path)
        change(1)
        weakref.finalize(image, change, -1)
        return image

    monkeypatch.setattr("live_cam.jobs.images.read_image", counted)
    done: list[int] = []
    context = JobContext(on_progress=lambda progress: done.append(progress.frames_explained))
    outcome, _ = run(settings_of(tmp_path / "out"), tmp_path / "in", context=context)
    assert outcome.done == 40
    assert done == sorted(done)
    assert done[-1] == 40
    # One in each thread, its predecessor, and the first one of all, which the explainer was built with.
    assert 1 <= most <= 2 * ReplicaPool([0]).reader_count + 1


def test_a_stop_leaves_whole_pictures_and_no_page(tmp_path: Path):
    for number in range(60):
        write(tmp_path / "in" / f"{number:02}.png", seed=number)
    context = JobContext()

    def stop(progress: Progress) -> None:
        if progress.frames_explained >= 5:
            context.stop.set()

    context = replace(context, on_progress=stop)
    settings = settings_of(tmp_path / "out", tmp_path / "page.html")
    outcome, errors = run(settings, tmp_path / "in", explainer=LabeledStandIn(LABELS, 0.002), context=context)
    assert outcome.was_interrupted
    assert 5 <= outcome.done < 60
    assert not errors
    assert not (tmp_path / "page.html").exists()
    made = files_below(tmp_path / "out")
    assert len(made) == outcome.done
    assert all(re.fullmatch(r"\d\d\.png", name) for name in made)
    assert all(cv2.imread(str(tmp_path / "out" / name)) is not None for name in made)
    # The next run makes the rest, and the page about all.
    outcome, _ = run(settings, tmp_path / "in")
    assert (outcome.done, outcome.skipped, outcome.was_interrupted) == (60 - len(made), len(made), False)
    assert files_below(tmp_path / "out") == [f"{number:02}.png" for number in range(60)]
    assert (tmp_path / "page.html").exists()


def names_on(page: Path) -> list[str]:
    data = re.search(r'id="data-images">(.*?)</script>', page.read_text(), re.DOTALL)[1]
    return [image["name"] for image in json.loads(data)]


def test_a_page_of_another_program_is_refused_before_any_work(photos: Path, tmp_path: Path):
    page = tmp_path / "page.html"
    for content in ("precious", ""):
        page.write_text(content)
        for output in (tmp_path / "heat", None):
            with pytest.raises(SinkError, match=r"page\.html exists; give another name"):
                run(settings_of(output, page), photos)
        assert page.read_text() == content
    assert files_below(tmp_path / "heat") == []
    run(settings_of(html=page, overwrite=True), photos)
    assert page.read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("has_output", [True, False])
def test_a_page_is_renewed_if_its_images_or_settings_have_changed(photos: Path, tmp_path: Path, has_output: bool):
    page, heat = tmp_path / "page.html", tmp_path / "heat"
    settings = settings_of(heat if has_output else None, page)
    (photos / "broken.jpg").write_text("no image")

    def is_renewed(settings: JobSettings) -> bool:
        before = page.stat().st_mtime_ns
        lines = lines_of(settings, photos)
        is_new = page.stat().st_mtime_ns != before
        assert (f"{page} is up to date" in lines) == (not is_new)
        return is_new

    run(settings, photos)
    assert len(names_on(page)) == 6
    assert not is_renewed(settings)
    times = {path: path.stat().st_mtime_ns for path in heat.rglob("*.*")}
    write(photos / "cats" / "new.jpg")
    assert is_renewed(settings)
    assert "cats/new.jpg" in names_on(page)
    assert len(names_on(page)) == 7
    assert not is_renewed(settings)
    (photos / "b.png").unlink()
    assert is_renewed(settings)
    assert "b.png" not in names_on(page)
    write(photos / "a.jpg", "right")  # another image under the same name
    assert is_renewed(settings)
    other = replace(settings, feed=FeedSettings("tabby"))
    assert is_renewed(other)
    assert not is_renewed(other)
    # What was drawn before is not drawn again.
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_a_page_without_an_image_that_could_not_be_written_is_renewed(photos: Path, tmp_path: Path):
    settings = settings_of(tmp_path / "heat", tmp_path / "page.html")
    (tmp_path / "heat").mkdir()
    with OutputLock(tmp_path / "heat" / "b.png"):
        run(settings, photos)
    assert "b.png" not in names_on(tmp_path / "page.html")
    run(settings, photos)
    assert "b.png" in names_on(tmp_path / "page.html")


def test_an_explained_class_that_is_not_the_top_class(tmp_path: Path):
    write(tmp_path / "in" / "a.png", "left")
    settings = replace(
        settings_of(tmp_path / "out"), feed=FeedSettings("Egyptian cat", render=RenderSettings(view="heatmap"))
    )
    run(settings, tmp_path / "in")
    other = replace(settings_of(tmp_path / "other"), feed=FeedSettings("tabby", render=RenderSettings(view="heatmap")))
    run(other, tmp_path / "in")
    first, second = (cv2.imread(str(tmp_path / name / "a.png")) for name in ("out", "other"))
    assert (first != second).any()


# --- true labels


@pytest.mark.parametrize(
    ("folders", "labels"),
    [
        (["tabby", "egyptian_cat", "Golden  Retriever"], ["tabby", "Egyptian cat", "golden retriever"]),
        (["n02123045_tabby", "n02124075-egyptian_cat"], ["tabby", "Egyptian cat"]),
        (["0", "2"], ["tabby", "golden retriever"]),
        # A year or a number among names is no class index, a part of a label no label.
        (["tabby", "2"], ["tabby", None]),
        (["2024", "1"], [None, "Egyptian cat"]),
        (["heat", "cat", "photos", ""], [None, None, None, None]),
    ],
)
def test_folders_named_like_classes_are_true_labels(folders: list[str], labels: list[str | None]):
    names = dict(enumerate(folders))
    found = true_labels(LabeledStandIn(LABELS), {str(number): folder for number, folder in names.items()})
    assert [found.get(str(number)) for number in names] == labels


# --- the command line


@needs_shared_data
def test_pictures_are_those_of_each_image_alone(run_livecam: RunLivecam, warm_cache: None, tmp_path: Path):
    photographs = sorted((SHARED_DATA / "images").iterdir())
    done = run_livecam(SHARED_DATA / "images", "--output", f"{tmp_path}/heat/", "--html", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"24 of 24 images done, \d+\.\d s in all -> .*/heat/, .*/page\.html\n", done.stdout)
    assert files_below(tmp_path / "heat") == [path.name for path in photographs]
    for path in photographs[:2]:
        alone = tmp_path / path.name
        assert run_livecam(path, "--output", alone, "--quiet").returncode == 0
        both = [cv2.imread(str(made)).astype(int) for made in (alone, tmp_path / "heat" / path.name)]
        # One interpreter with two threads and two with one round differently.
        assert np.abs(both[0] - both[1]).max() <= 8


def test_one_image_with_a_page_or_a_folder(
    run_livecam: RunLivecam, warm_cache: None, photograph_path: Path, tmp_path: Path
):
    for option in ([photograph_path], ["--image", photograph_path]):
        done = run_livecam(*option, "--html", tmp_path / "page.html", "--output", f"{tmp_path}/heat/", "--overwrite")
        assert done.returncode == 0, done.stderr
        assert files_below(tmp_path) == ["heat/chelsea.png", "page.html"]


def test_a_broken_image_takes_one_line_and_exit_code_1(
    run_livecam: RunLivecam, warm_cache: None, photograph_path: Path, tmp_path: Path
):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_text("no image")
    (folder / "b.png").write_bytes(photograph_path.read_bytes())
    done = run_livecam(folder, "--output", tmp_path / "out")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line == f"livecam: {folder}/a.jpg is not an image that OpenCV can read, or it is damaged"
    assert done.stdout.startswith("1 of 2 images done, 1 failed, ")
    assert files_below(tmp_path / "out") == ["b.png"]
    done = run_livecam(folder, "--output", tmp_path / "out")
    assert (done.returncode, done.stdout) == (1, "0 of 2 images done, 1 skipped, 1 failed\n")


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_in_order(
    start_livecam: StartLivecam, warm_cache: None, photograph_path: Path, tmp_path: Path, signal_number: int
):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(2000):
        (folder / f"{number:04}.png").symlink_to(photograph_path)
    page = tmp_path / "page.html"
    process = start_livecam(folder, "--output", tmp_path / "out", "--html", page)
    wait_until(lambda: (tmp_path / "out" / "0020.png").exists(), 60, process=process)
    process.send_signal(signal_number)
    printed, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors == ""
    line = r"interrupted: (\d+) of 2000 images done, .*/out/; the same command continues; .*page\.html is written at "
    made = re.fullmatch(line + r"the end\n", printed)
    assert made, printed
    assert int(made[1]) == len(files_below(tmp_path / "out"))
    assert files_below(tmp_path / "out") == sorted(path.name for path in (tmp_path / "out").glob("????.png"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_progress_for_programs_counts_images(
    run_livecam: RunLivecam, warm_cache: None, photograph_path: Path, tmp_path: Path
):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").symlink_to(photograph_path)
    done = run_livecam(folder, "--output", tmp_path / "out", "--json-progress")
    assert done.returncode == 0, done.stderr
    assert '"frames_written": 3, "frames_total_estimate": 3' in done.stdout.splitlines()[-1]
