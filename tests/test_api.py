"""``live_cam.stream`` and ``live_cam.annotate``: what they give, what they refuse, and what they leave behind."""

from __future__ import annotations

import dataclasses
import gc
import json
import threading
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from conftest import wait_until
from media_clips import number_of, numbered_image, probe, write_clip
from standin import StandIn
from stream_servers import MjpegServer, count_in

import live_cam
from live_cam import errors, settings
from live_cam.errors import SettingError, SinkError, SourceError


def live_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("livecam-")]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    gc.collect()
    wait_until(lambda: not live_threads(), 10)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frame_count=60)


def images(count: int = 20) -> list[np.ndarray]:
    return [numbered_image(index) for index in range(count)]


def numbers_of(results: list[live_cam.Result]) -> list[int]:
    return [number_of(result.frame.image) for result in results]


# --- stream


def test_a_video_is_streamed_whole_and_in_order(clip: Path):
    results = list(live_cam.stream(clip, explainer=StandIn()))
    assert numbers_of(results) == list(range(60))
    assert [result.frame.time_seconds for result in results] == pytest.approx([index / 25 for index in range(60)])


def test_a_stream_with_the_default_model_explains_as_explain_does(warm_cache: None, photograph_path: Path):
    image = cv2.imread(str(photograph_path))
    (result,) = live_cam.stream([image])
    alone = live_cam.load_explainer().explain(image)
    assert result.explanation.predictions == alone.predictions
    np.testing.assert_array_equal(result.explanation.heatmap, alone.heatmap)
    assert result.image.shape == image.shape


@pytest.mark.parametrize("make", [list, iter, lambda all_images: (image for image in all_images)])
def test_an_iterable_loses_no_image_and_has_the_times_of_its_frame_rate(make):
    results = list(live_cam.stream(make(images()), frame_rate=10, explainer=StandIn()))
    assert numbers_of(results) == list(range(20))
    assert [result.frame.time_seconds for result in results] == pytest.approx([index / 10 for index in range(20)])


def test_an_iterable_is_read_only_as_fast_as_its_results_are_used():
    taken = []

    def endless():
        for index in range(100_000):
            taken.append(index)
            yield numbered_image(index % 100)

    with live_cam.stream(endless(), explainer=StandIn()) as results:
        for _ in range(5):
            next(results)
    assert len(taken) < 50


def test_images_may_be_paths_and_pil_images(tmp_path: Path):
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), numbered_image(3))
    pil_image = PIL.Image.fromarray(numbered_image(4)[..., ::-1])
    assert numbers_of(list(live_cam.stream([path, pil_image], explainer=StandIn()))) == [3, 4]


def test_an_array_that_the_caller_reuses_is_copied():
    def reused():
        buffer = np.empty_like(numbered_image(0))
        for index in range(20):
            buffer[:] = numbered_image(index)
            yield buffer

    assert numbers_of(list(live_cam.stream(reused(), explainer=StandIn()))) == list(range(20))


def test_results_own_their_arrays(clip: Path):
    results = list(live_cam.stream(clip, explainer=StandIn(), smooth_seconds=0.1))
    kept = [(result.frame.image.copy(), result.explanation.heatmap.copy(), result.image.copy()) for result in results]
    for result in results[::2]:
        result.image[:] = 0
        result.frame.image[:] = 0
        result.explanation.heatmap[:] = 0
        result.drawn_explanation.heatmap[:] = 0
    for result, (image, heatmap, annotated) in list(zip(results, kept, strict=True))[1::2]:
        np.testing.assert_array_equal(result.frame.image, image)
        np.testing.assert_array_equal(result.explanation.heatmap, heatmap)
        np.testing.assert_array_equal(result.image, annotated)


def test_a_part_of_a_video_is_streamed(clip: Path):
    results = list(live_cam.stream(clip, start_seconds=1.0, end_seconds=1.4, explainer=StandIn()))
    assert numbers_of(results) == list(range(25, 35))
    assert numbers_of(list(live_cam.stream(clip, max_frames=7, explainer=StandIn()))) == list(range(7))


def test_breaking_off_ends_the_threads_and_closes_the_generator():
    is_closed = threading.Event()

    def endless():
        try:
            while True:
                yield numbered_image(1)
        finally:
            is_closed.set()

    for _ in live_cam.stream(endless(), explainer=StandIn()):
        assert live_threads()
        break
    gc.collect()
    wait_until(lambda: not live_threads(), 10)
    assert is_closed.wait(10)


def test_the_end_of_a_with_block_ends_the_threads(clip: Path):
    with live_cam.stream(clip, explainer=StandIn(0.01)) as results:
        next(results)
    assert not live_threads()
    with pytest.raises(StopIteration):
        next(results)
    results.close()


def test_an_error_in_the_callers_loop_ends_the_threads(clip: Path):
    def use() -> None:
        for _ in live_cam.stream(clip, explainer=StandIn(0.01)):
            raise ZeroDivisionError("the caller's own")

    with pytest.raises(ZeroDivisionError, match="the caller's own"):
        use()


def test_a_stream_that_is_never_read_can_be_dropped(clip: Path):
    live_cam.stream(clip, explainer=StandIn())
    gc.collect()
    wait_until(lambda: not live_threads(), 10)


def test_an_image_of_another_kind_ends_the_stream_after_those_before_it():
    results = live_cam.stream([*images(3), np.zeros((48, 64), np.uint8)], explainer=StandIn())
    assert numbers_of([next(results) for _ in range(3)]) == [0, 1, 2]
    with pytest.raises(SettingError, match=r"image 3: .*\(48, 64\)"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_an_error_of_the_callers_generator_is_raised_as_it_is():
    def broken():
        yield numbered_image(0)
        raise KeyError("a key of the caller")

    with pytest.raises(KeyError, match="a key of the caller"):
        list(live_cam.stream(broken(), explainer=StandIn()))


def test_an_unknown_class_is_refused():
    with pytest.raises(SettingError, match="class"):
        list(live_cam.stream(images(3), explainer=live_cam.ExplainerSettings(), target="no such class"))


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("nowhere.mp4", SourceError, "nowhere.mp4"),
        (None, SettingError, "source"),
        (3.5, SettingError, "source"),
        (True, SettingError, "source"),
        (b"clip.mp4", SettingError, "source"),
        (-1, SettingError, "source"),
        ("", SettingError, "source"),
        ([], SettingError, "at least one image"),
        ([1, 2], SettingError, "image 0"),
        (np.zeros((48, 64, 3), np.uint8), SettingError, "image 0"),
    ],
)
def test_other_sources_are_refused_at_once(source: object, error: type[Exception], message: str):
    with pytest.raises(error, match=message) as raised:
        live_cam.stream(source, explainer=StandIn())
    assert "\n" not in str(raised.value)
    assert "--" not in str(raised.value)  # arguments, not options of the command line


@pytest.mark.parametrize(
    "arguments",
    [
        {"frame_rate": 0},
        {"frame_rate": "fast"},
        {"max_frames": 0},
        {"max_frames": 1.5},
        {"smooth_seconds": -1},
        {"smooth_seconds": None},
        {"smooth_seconds": float("nan")},
        {"target": 1.5},
        {"explainer": "efficientnet-lite0"},
        {"render": {"opacity": 1}},
        {"limits": 5},
        {"retry": 5},
        {"on_line": "print"},
    ],
    ids=str,
)
def test_other_arguments_are_refused(arguments: dict[str, object]):
    with pytest.raises(SettingError, match=next(iter(arguments))) as raised:
        list(live_cam.stream(images(2), **{"explainer": StandIn(), **arguments}))
    assert "--" not in str(raised.value)


@pytest.mark.parametrize(
    "render",
    [{"colormap": "rainbows"}, {"opacity": 2.0}, {"opacity": "half"}, {"blend": "none"}, {"view": "sideways"}],
    ids=str,
)
def test_other_render_settings_are_refused(render: dict[str, object]):
    with pytest.raises(SettingError, match=next(iter(render))):
        list(live_cam.stream(images(2), explainer=StandIn(), render=live_cam.RenderSettings(**render)))


def test_a_live_stream_gives_the_newest_frame():
    with MjpegServer() as server, live_cam.stream(server.url, explainer=StandIn()) as results:
        next(results)
        newest = server.count + 10
        wait_until(lambda: server.count > newest + 5)
        next(results)  # may have waited
        next(results)
        assert count_in(next(results).frame.image) > newest - 3


# --- annotate


def test_annotate_writes_the_files_and_returns_the_outcome(clip: Path, tmp_path: Path):
    output, sidecar, report = tmp_path / "out.mp4", tmp_path / "out.jsonl", tmp_path / "report.json"
    heatmaps = tmp_path / "heat.npz"
    progress: list[live_cam.Progress] = []
    outcome = live_cam.annotate(
        clip,
        output,
        sidecar=sidecar,
        heatmaps=heatmaps,
        report=report,
        explainer=StandIn(0.005),
        on_progress=progress.append,
    )
    assert int(probe(output)["nb_read_packets"]) == 60 == outcome.frame_count
    assert len(sidecar.read_text().splitlines()) == 60
    assert json.loads(report.read_text())["frames_written"] == 60
    assert sorted(outcome.made) == sorted([output, sidecar, heatmaps, report])
    assert not outcome.was_interrupted
    assert progress[-1].frames_written == 60
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heat.npz", "out.jsonl", "out.mp4", "report.json"]


def test_annotate_does_what_the_command_line_does(warm_cache: None, run_livecam, photograph_path: Path, tmp_path: Path):
    live_cam.annotate(str(photograph_path), str(tmp_path / "api.png"), sidecar=tmp_path / "api.jsonl")
    done = run_livecam(
        "--image", photograph_path, "--output", tmp_path / "cli.png", "--sidecar", tmp_path / "cli.jsonl", "--no-show"
    )
    assert done.returncode == 0
    assert (tmp_path / "api.jsonl").read_text() == (tmp_path / "cli.jsonl").read_text()
    images = [cv2.imread(str(tmp_path / name)) for name in ("api.png", "cli.png")]
    np.testing.assert_array_equal(*images)


def test_annotate_refuses_a_file_that_exists(clip: Path, tmp_path: Path):
    (tmp_path / "out.mp4").write_text("mine")
    with pytest.raises(SinkError, match=r"out\.mp4 exists.*overwrite=True") as raised:
        live_cam.annotate(clip, tmp_path / "out.mp4", explainer=StandIn())
    assert "--" not in str(raised.value)
    assert (tmp_path / "out.mp4").read_text() == "mine"
    live_cam.annotate(clip, tmp_path / "out.mp4", explainer=StandIn(), overwrite=True)
    assert int(probe(tmp_path / "out.mp4")["nb_read_packets"]) == 60


def test_an_interrupted_annotation_is_resumed(tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=200)
    stop = threading.Event()

    def stop_at_half(progress: live_cam.Progress) -> None:
        if progress.frames_written >= 150:
            stop.set()

    first = live_cam.annotate(clip, tmp_path / "out.mp4", explainer=StandIn(0.01), on_progress=stop_at_half, stop=stop)
    assert first.was_interrupted
    assert first.can_resume
    assert first.kept == (tmp_path / "out.partial.mp4",)
    assert int(probe(first.kept[0])["nb_read_packets"]) == first.frame_count
    with pytest.raises(SinkError, match="resume=True.*overwrite=True") as raised:
        live_cam.annotate(clip, tmp_path / "out.mp4", explainer=StandIn())
    assert "--" not in str(raised.value)
    second = live_cam.annotate(clip, tmp_path / "out.mp4", explainer=StandIn(), resume=True)
    assert second.made == (tmp_path / "out.mp4",)
    assert second.frames_explained < 150
    assert int(probe(tmp_path / "out.mp4")["nb_read_packets"]) == 200


def test_a_video_is_not_resumed_with_another_model(tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=200)
    stop = threading.Event()

    def stop_late(progress: live_cam.Progress) -> None:
        if progress.frames_written >= 150:
            stop.set()

    live_cam.annotate(clip, tmp_path / "out.mp4", explainer=StandIn(0.01), on_progress=stop_late, stop=stop)
    other = StandIn()
    other.settings = live_cam.ExplainerSettings("mobilenetv2")
    with pytest.raises(SettingError, match="model was efficientnet-lite0 and is mobilenetv2 now"):
        live_cam.annotate(clip, tmp_path / "out.mp4", explainer=other, resume=True)
    other.settings = live_cam.ExplainerSettings(model=None)
    with pytest.raises(SettingError, match="a model object cannot be compared"):
        live_cam.annotate(clip, tmp_path / "out.mp4", explainer=other, resume=True)


def test_the_input_is_not_written_over_if_it_is_given_as_a_file_url(clip: Path, tmp_path: Path):
    copy = tmp_path / "clip.mp4"
    copy.write_bytes(clip.read_bytes())
    with pytest.raises(SinkError, match="written over the input"):
        live_cam.annotate(f"file://{copy}", copy, overwrite=True, explainer=StandIn())
    assert copy.read_bytes() == clip.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"output": 5}, SettingError, "output"),
        ({"output": "out.xyz"}, SinkError, "xyz"),
        ({"output": "nowhere/out.mp4"}, SinkError, "nowhere"),
        ({"quality": 101}, SettingError, "quality"),
        ({"quality": "high"}, SettingError, "quality"),
        ({"codec": "divx"}, SettingError, "codec"),
        ({"source": ["clip.mp4"]}, SettingError, "source"),
        ({"source": "nowhere.mp4"}, SourceError, "nowhere.mp4"),
        ({"stop": True}, SettingError, "stop"),
        ({"on_progress": 1}, SettingError, "on_progress"),
    ],
    ids=str,
)
def test_annotate_refuses_other_arguments(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, object], error, message: str
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message) as raised:
        live_cam.annotate(**{"source": clip, "output": "out.mp4", "explainer": StandIn(), **arguments})
    assert "\n" not in str(raised.value)
    assert "--" not in str(raised.value)
    assert not list(tmp_path.iterdir())


# --- names and settings


def test_every_exported_name_exists_and_is_documented():
    for name in live_cam.__all__:
        assert getattr(live_cam, name).__doc__, name
    assert set(live_cam.__all__) <= set(dir(live_cam))


def test_all_errors_are_exported():
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(classes) == 6
    assert {error.__name__ for error in classes} <= set(live_cam.__all__)


def test_all_settings_are_exported_and_can_be_built_without_arguments():
    classes = [value for value in vars(settings).values() if dataclasses.is_dataclass(value)]
    assert {kind.__name__ for kind in classes} <= set(live_cam.__all__)
    for kind in classes:
        # These need a folder.
        if kind not in (live_cam.EvaluationSettings, live_cam.ArchiveSettings, live_cam.SearchSettings):
            kind()


def test_a_job_with_all_defaults_runs_the_demo(tmp_path: Path):
    from live_cam.jobs.job import run_job
    from live_cam.jobs.outcome import JobContext

    output = live_cam.OutputSettings(output=tmp_path / "demo.mp4")
    outcome = run_job(live_cam.JobSettings(output=output), JobContext(), lambda frame: StandIn())
    assert outcome.made == (tmp_path / "demo.mp4",)
    assert outcome.frame_count == 250
