"""Which videos the words of a command mean, and how an index grows, is completed and refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from archives import archive, table, tables_of, videos_in
from conftest import RunLivecam
from media_clips import write_clip

from live_cam.archive.dataset import VIDEO_SCHEMA, Dataset, TableWriter, file_name_of, table_metadata, table_of
from live_cam.archive.videos import one_line, problem_of, videos_of
from live_cam.errors import SettingError, SinkError, SourceError
from live_cam.settings import ExplainerSettings
from live_cam.sinks.atomic_file import OutputLock

NOWHERE = Path("/nowhere")


def files(folder: Path, *names: str) -> list[str]:
    """Writes files with those names and returns their paths as texts."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return [str(path) for path in paths]


def test_a_folder_means_all_videos_below_it(tmp_path: Path):
    wanted = files(tmp_path, "a.mp4", "B.MKV", "sub dir/ünï 日本.webm", "two\nlines.ts", "named.mp4/inner.avi")
    files(tmp_path, "notes.txt", "photo.jpg", ".hidden.mp4", ".trash/a.mp4", "sub dir/raw.264")
    assert videos_of([str(tmp_path)], NOWHERE) == sorted(wanted)


def test_a_file_that_is_named_is_taken_whatever_its_suffix_is(tmp_path: Path):
    (raw,) = files(tmp_path, "raw.264")
    assert videos_of([raw, f"{tmp_path}/./raw.264", f"file://{raw}"], NOWHERE) == [raw]


def test_patterns_and_names_that_look_like_patterns(tmp_path: Path):
    first, second, third = files(tmp_path, "clip1.mp4", "clip2.mp4", "clip[1].mp4")
    assert videos_of([f"{tmp_path}/clip?.mp4"], NOWHERE) == [first, second]
    assert videos_of([third], NOWHERE) == [third]


def test_links_keep_their_own_names(tmp_path: Path):
    (target,) = files(tmp_path, "real/a.mp4")
    link = tmp_path / "link.mp4"
    link.symlink_to(target)
    (tmp_path / "dead.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "real" / "loop").symlink_to(tmp_path)
    assert videos_of([str(tmp_path)], NOWHERE) == sorted([target, str(link), str(tmp_path / "dead.mp4")])


def test_linked_folders_are_entered_once(tmp_path: Path):
    files(tmp_path, "card/a.mp4")
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in ("first", "second"):
        (clips / name).symlink_to(tmp_path / "card")
    assert videos_of([str(clips)], NOWHERE) == [f"{clips}/first/a.mp4"]


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_a_list_names_a_video_or_folder_per_line(tmp_path: Path, start: str):
    first, inner, last = files(tmp_path, "a b.mp4", "sub/c.mp4", "d\u2028e.mp4")
    missing, long = str(tmp_path / "missing.mp4"), "/" + "x" * 300
    lines = [first, "", missing, str(tmp_path / "sub"), long, last]
    text = tmp_path / "list.txt"
    text.write_text(start + "\r\n".join(lines), encoding="utf-8", newline="")
    # One that does not exist fails later, when the others are explained.
    assert videos_of([str(text)], NOWHERE) == sorted([first, inner, last, missing, long])


def test_the_index_is_no_place_to_look_for_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wanted = files(tmp_path, "a.mp4", "INDEX2/b.mp4")
    files(tmp_path, "INDEX/annotated/a.mp4")
    assert videos_of([str(tmp_path)], tmp_path / "INDEX") == sorted(wanted)
    monkeypatch.chdir(tmp_path)
    assert videos_of(["."], Path("INDEX2/../INDEX")) == sorted(wanted)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("http://host/a.mp4", "http:// addresses cannot be archived; save the video as a file first"),
        ("rtsp://user:secret@host/1", "^rtsp:// addresses cannot be archived"),
        ("missing.mp4", "no such file: missing.mp4"),
        ("*.xyz", r"\*.xyz: no file matches"),
        ("empty", "empty: no video there; videos end in .*mp4"),
        ("urls.txt", "https:// addresses cannot be archived"),
        ("binary.txt", "binary.txt is not a text file; it should name a video per line"),
    ],
)
def test_words_that_mean_no_video_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, reason: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "urls.txt").write_text("https://host/a.mp4\n")
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)))
    with pytest.raises(SourceError, match=reason):
        videos_of([word], NOWHERE)


def test_what_cannot_be_a_video_is_not_tried(tmp_path: Path):
    (good,) = files(tmp_path, "a.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "endless.mp4").symlink_to("/dev/zero")
    assert problem_of(good) is None
    for name in ("pipe.mp4", "endless.mp4"):
        assert problem_of(str(tmp_path / name)) == f"{tmp_path}/{name} is a device or a pipe, not a file"
    assert problem_of(str(tmp_path / "missing.mp4")).endswith("missing.mp4: No such file or directory")
    assert problem_of(os.fsdecode(b"/bad\xff.mp4")) == "/bad\\xff.mp4 has a name that is not UTF-8; rename it"


def test_names_are_told_in_one_line_that_every_terminal_shows():
    assert one_line("two\nlines\x1b[31m 日本") == r"two\nlines\x1b[31m 日本"
    assert one_line(os.fsdecode(b"bad\xff")) == r"bad\xff"


def test_names_of_files_are_plain_and_differ_where_the_videos_differ():
    names = [file_name_of(f"/videos/{number}/日本.mp4") for number in range(20_000)]
    assert len(set(names)) == len(names)
    assert all(name.isascii() and len(name) < 80 for name in names)
    assert file_name_of(f"/a/{'long ' * 50}.mp4").startswith("long_long_")


def test_an_unfinished_table_is_hidden_from_those_who_read_the_folder(tmp_path: Path):
    rows = table_of([{"video": "a.mp4", "state": "done"}], VIDEO_SCHEMA)
    with TableWriter(tmp_path / "frames" / "a.parquet", VIDEO_SCHEMA) as writer:
        writer.write(rows)
        (partial,) = (tmp_path / "frames").iterdir()
        assert partial.name.startswith(".")
        assert partial.suffix != ".parquet"
        Dataset(tmp_path).remove_partial_tables()
        assert list((tmp_path / "frames").iterdir()) == []
        with pytest.raises(SinkError, match=r"cannot write .*a.parquet: No such file or directory"):
            writer.finish({})


def test_partial_tables_are_removed_wherever_a_killed_process_leaves_them(tmp_path: Path):
    for folder in (tmp_path, tmp_path / "frames", tmp_path / "segments" / "a-1"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".a.parquet.partial-12345678").write_bytes(b"x")
    mine = tmp_path / "mine"
    mine.mkdir()
    Dataset(tmp_path).remove_partial_tables()
    Dataset(tmp_path).remove_empty_folders()
    assert list(tmp_path.iterdir()) == [mine]  # which livecam did not make


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no table at all"])
def test_a_damaged_table_has_no_metadata(tmp_path: Path, content: bytes):
    (tmp_path / "a.parquet").write_bytes(content)
    assert table_metadata(tmp_path / "a.parquet") is None
    assert table_metadata(tmp_path / "missing.parquet") is None


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory, warm_cache: None) -> Path:
    """A folder with a.mp4, b.mp4 and two that cannot be read, and an index of it."""
    folder = tmp_path_factory.mktemp("grown")
    (folder / "videos").mkdir()
    write_clip(folder / "videos" / "a.mp4", 10)
    write_clip(folder / "videos" / "b.mp4", 15)
    (folder / "videos" / "dead.mp4").symlink_to("nowhere.mp4")
    Path(os.fsdecode(os.fsencode(folder / "videos") + b"/bad\xff.mp4")).write_bytes(b"x")
    outcome = archive(folder / "INDEX", folder / "videos", workers=1)
    assert (outcome.done, outcome.skipped, outcome.row_count) == (2, 0, 25)
    assert len(outcome.failures) == 2
    return folder


def test_an_index_grows_with_its_videos(grown: Path):
    """One video changes, one is new, one that fails is not named, and one is as it was."""
    videos, index = grown / "videos", grown / "INDEX"
    before = tables_of(index)
    assert {name: row["state"] for name, row in videos_in(index).items()} == {
        "a.mp4": "done", "b.mp4": "done", "dead.mp4": "failed", r"bad\xff.mp4": "failed",
    }  # fmt: skip
    write_clip(videos / "b.mp4", 5)
    write_clip(videos / "c.mp4", 8)
    outcome = archive(index, videos / "a.mp4", videos / "b.mp4", videos / "c.mp4", workers=1)
    assert (outcome.done, outcome.skipped, outcome.failures, outcome.row_count) == (2, 1, (), 23)
    assert {name: row["row_count"] for name, row in videos_in(index).items()} == {
        "a.mp4": 10, "b.mp4": 5, "c.mp4": 8, "dead.mp4": 0, r"bad\xff.mp4": 0,
    }  # fmt: skip
    assert table(index, "frames", videos / "b.mp4").num_rows == 5
    name = f"frames/{file_name_of(str(videos / 'a.mp4'))}.parquet"
    assert tables_of(index)[name] == before[name]


def test_the_same_command_again_explains_nothing(grown: Path):
    videos, index = grown / "videos", grown / "INDEX"
    archive(index, videos, workers=1)
    before = tables_of(index)
    times = {path: path.stat().st_mtime_ns for path in index.glob("frames/*")}
    outcome = archive(index, videos, workers=1)
    assert (outcome.done, outcome.skipped, len(outcome.failures), outcome.media_seconds) == (0, 3, 2, 0)
    assert {path: path.stat().st_mtime_ns for path in index.glob("frames/*")} == times
    assert tables_of(index) == before


def test_a_table_of_videos_that_is_damaged_is_made_again(grown: Path):
    index = grown / "INDEX"
    before = {name: row for name, row in videos_in(index).items() if row["state"] == "done"}
    (index / "videos.parquet").write_bytes(b"damaged")
    archive(index, grown / "videos" / "a.mp4", workers=1)
    assert videos_in(index) == before  # without those that failed: nobody names them


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"target": "tabby"}, "target was not given and is tabby now"),
        ({"maps": True}, "maps was false and is true now"),
        ({"every_seconds": 0.5}, "every was not given and is 0.5 now"),
        ({"segment_minutes": 1}, "segment_minutes was 5.0 and is 1.0 now"),
    ],
)
def test_other_settings_are_refused(grown: Path, changes: dict[str, object], reason: str):
    with pytest.raises(SettingError, match=f"INDEX was made with other settings: {reason}; give these again, or"):
        archive(grown / "INDEX", grown / "videos", **changes)


def test_another_precision_is_refused(grown: Path, tmp_path: Path):
    index = tmp_path / "INDEX"
    shutil.copytree(grown / "INDEX", index)
    info = json.loads((index / "index.json").read_text())
    (index / "index.json").write_text(json.dumps({**info, "precision": "int8"}))
    with pytest.raises(SettingError, match="was made with precision int8, and would get float now: "):
        archive(index, grown / "videos")


def test_a_class_is_not_contrasted_with_itself(grown: Path, tmp_path: Path):
    explainer = ExplainerSettings(contrast="tabby")
    with pytest.raises(SettingError, match="tabby"):
        archive(tmp_path / "INDEX", grown / "videos", target="tabby", explainer=explainer)


def test_a_second_run_on_an_index_is_refused(grown: Path):
    with (
        OutputLock(grown / "INDEX" / "index.json"),
        pytest.raises(SinkError, match="INDEX.* is being written by another livecam process"),
    ):
        archive(grown / "INDEX", grown / "videos")


def test_a_folder_that_is_a_file_is_refused(grown: Path):
    with pytest.raises(SinkError, match=r"a.mp4 is a file, not a folder; give another name"):
        archive(grown / "videos" / "a.mp4", grown / "videos")


def test_failures_are_listed_on_the_command_line(grown: Path, run_livecam: RunLivecam):
    done = run_livecam("archive", grown / "videos", "--output", grown / "INDEX", "--workers", 1, "--quiet")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "failed:",
        rf"  {grown}/videos/bad\xff.mp4 has a name that is not UTF-8; rename it",
        f"  cannot open {grown}/videos/dead.mp4: No such file or directory",
    ]
