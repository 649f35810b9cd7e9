"""Searches in an index, beside a brute-force evaluation row by row."""

from __future__ import annotations

import operator
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archive_index import LABELS, Row, write_index, write_states
from hypothesis import given, settings
from hypothesis import strategies as st

from live_cam.archive import search
from live_cam.archive.condition import (
    AllOf,
    AnyOf,
    Condition,
    ExplainedIs,
    FigureIs,
    Not,
    ScoreIs,
    named_classes,
    parse_condition,
)
from live_cam.archive.dataset import file_name_of
from live_cam.archive.search import Found, Index
from live_cam.errors import SettingError, SourceError
from live_cam.settings import SearchSettings

COMPARE = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "=": operator.eq, "!=": operator.ne,
}  # fmt: skip


def found_in(folder: Path, text: str, **options: float) -> Found:
    with Index(folder) as index:
        return index.search(parse_condition(text, index.labels, index.score), SearchSettings(**options))


def spans(found: Found) -> list[tuple[str, float, float]]:
    return [(hit.video, hit.from_seconds, hit.to_seconds) for hit in found.hits]


def holds(condition: Condition, row: Row) -> bool:
    if isinstance(condition, Not):
        return not holds(condition.part, row)
    if isinstance(condition, AllOf | AnyOf):
        parts = [holds(part, row) for part in condition.parts]
        return all(parts) if isinstance(condition, AllOf) else any(parts)
    if isinstance(condition, ExplainedIs):
        return COMPARE[condition.operator](row.explained_index, condition.class_index)
    if isinstance(condition, FigureIs):
        value = {"area_above_half": row.area, "peak": row.peak}[condition.column]
    else:
        value = dict(list(row.scores.items())[:5]).get(condition.class_index, 0.0)
    return COMPARE[condition.operator](np.float32(value), np.float32(condition.number))


def brute_force(videos: dict[str, list[Row]], condition: Condition, wanted: SearchSettings) -> list[tuple]:
    """Returns video, from, to, peak and peak's time of each interval, in the order of the result."""
    named, intervals = named_classes(condition), []
    for video in sorted(videos, key=file_name_of):
        current = None
        for row in (row for row in videos[video] if holds(condition, row)):
            end = row.time + row.duration
            score = max(row.scores.get(index, 0.0) for index in named or [row.explained_index])
            if current is None or row.time - current[2] > wanted.gap_seconds + 0.001:
                current = [video, row.time, end, score, row.time]
                intervals.append(current)
            current[2] = end
            if score > current[3]:
                current[3:] = score, row.time
    long_enough = [tuple(one) for one in intervals if one[2] - one[1] >= wanted.least_seconds - 0.001]
    return sorted(long_enough, key=lambda interval: -interval[3])


# Few values, so that comparisons often meet them exactly.
SCORES = st.sampled_from([0.0, 0.125, 0.1, 0.5, 0.9, 1.0])
CLASSES = st.integers(0, len(LABELS) - 1)
OPERATORS = st.sampled_from(list(COMPARE))
COMPARISONS = st.one_of(
    st.builds(ScoreIs, CLASSES, OPERATORS, SCORES),
    st.builds(ExplainedIs, CLASSES, st.sampled_from(["=", "!="])),
    st.builds(FigureIs, st.sampled_from(["area_above_half", "peak"]), OPERATORS, SCORES),
)


def combined(parts: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    several = st.lists(parts, min_size=2, max_size=3).map(tuple)
    return st.one_of(st.builds(Not, parts), st.builds(AllOf, several), st.builds(AnyOf, several))


@st.composite
def rows_of_a_video(draw: st.DrawFn) -> list[Row]:
    time, rows = 0.0, []
    for _ in range(draw(st.integers(0, 12))):
        indices = draw(st.lists(CLASSES, min_size=1, max_size=5, unique=True))
        duration = draw(st.sampled_from([0.25, 0.5, 1.0]))
        rows.append(
            Row(
                time,
                {index: draw(SCORES) for index in indices},
                draw(st.sampled_from(indices)),
                duration,
                draw(SCORES),
                draw(SCORES),
            )
        )
        time += duration + draw(st.sampled_from([0.0, 0.0, 0.5, 2.0]))
    return rows


@settings(max_examples=50, deadline=None)
@given(
    st.lists(rows_of_a_video(), min_size=1, max_size=3),
    st.recursive(COMPARISONS, combined, max_leaves=6),
    st.builds(SearchSettings, st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 0.5, 2.0]), st.sampled_from([1, 100])),
)
def test_a_search_finds_what_brute_force_finds(tables: list[list[Row]], condition: Condition, wanted: SearchSettings):
    videos = {f"/videos/{number}.mp4": rows for number, rows in enumerate(tables)}
    expected = brute_force(videos, condition, wanted)
    with tempfile.TemporaryDirectory() as folder, Index(write_index(Path(folder), videos)) as index:
        found = index.search(condition, wanted)
    assert found.count == len(expected)
    assert [(hit.video, hit.from_seconds, hit.to_seconds, hit.peak, hit.peak_seconds) for hit in found.hits] == [
        (video, begin, end, pytest.approx(peak), time) for video, begin, end, peak, time in expected[: wanted.top]
    ]


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.0, 1.0, 3.0]), SCORES)), st.data())
def test_intervals_do_not_depend_on_how_rows_arrive(steps: list[tuple[int, float, float]], data: st.DataObject):
    rows = np.zeros(len(steps), search._INTERVALS)
    ends = np.cumsum([gap + 1 for _, gap, _ in steps])
    rows["file"] = np.cumsum([file for file, _, _ in steps])
    rows["from_seconds"], rows["to_seconds"], rows["peak_seconds"] = ends - 1, ends, ends - 1
    rows["peak"] = [score for _, _, score in steps]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    batches = np.split(rows, cuts)
    joined = np.concatenate(list(search._joined_batches(batches, 2.0)))
    assert joined.tolist() == search._joined(rows, 2.0).tolist()


ZOO = {
    "/zoo/a.mp4": [
        Row(0.0, {0: 0.6}),
        Row(0.5, {0: 0.9, 2: 0.05}, centroid=(0.125, 0.5)),
        Row(1.0, {2: 0.9}),
        Row(1.5, {0: 0.7}),
        Row(4.0, {0: 0.8}, centroid=None),
    ],
    "/zoo/b.mp4": [Row(0.0, {2: 0.9, 0: 0.85})],
}


def test_neighbors_with_a_small_gap_are_one_interval(tmp_path: Path):
    folder = write_index(tmp_path, ZOO)
    a, b = "/zoo/a.mp4", "/zoo/b.mp4"
    # The third row lasts half a second, and no row covers 2.0 to 4.0.
    assert spans(found_in(folder, "zebra > 0.5")) == [(a, 0.0, 2.0), (b, 0.0, 0.5), (a, 4.0, 4.5)]
    assert spans(found_in(folder, "zebra > 0.5", gap_seconds=0.25)) == [
        (a, 0.0, 1.0), (b, 0.0, 0.5), (a, 4.0, 4.5), (a, 1.5, 2.0),
    ]  # fmt: skip
    assert spans(found_in(folder, "zebra > 0.5", gap_seconds=2.0)) == [(a, 0.0, 4.5), (b, 0.0, 0.5)]


def test_short_intervals_are_left_out_and_the_best_come_first(tmp_path: Path):
    folder = write_index(tmp_path, ZOO)
    assert spans(found_in(folder, "zebra > 0.5", least_seconds=1.0)) == [("/zoo/a.mp4", 0.0, 2.0)]
    found = found_in(folder, "zebra > 0.5", top=2)
    assert found.count == 3
    assert [hit.peak for hit in found.hits] == pytest.approx([0.9, 0.85])


def test_the_evidence_is_that_of_a_named_class_at_the_peak(tmp_path: Path):
    folder = write_index(tmp_path, ZOO)
    first, in_b, last = found_in(folder, "zebra > 0.5").hits
    assert (first.label, first.peak_seconds, first.centroid_xy) == ("zebra", 0.5, (0.125, 0.5))
    assert in_b.centroid_xy is None  # The horse was explained.
    assert last.centroid_xy is None  # There was no positive evidence.
    assert [hit.label for hit in found_in(folder, "zebra > 0.8 or horse > 0.8", gap_seconds=0).hits][:2] == [
        "zebra", "horse",
    ]  # fmt: skip
    (hit,) = found_in(folder, "area > 0 and not zebra > 0", gap_seconds=0).hits
    assert (hit.label, hit.peak, hit.centroid_xy) == ("horse", pytest.approx(0.9), (0.25, 0.75))


def test_a_class_outside_the_best_five_counts_as_0(tmp_path: Path):
    six = {index: 0.9 - index / 10 for index in range(6)}
    folder = write_index(tmp_path, {"/a.mp4": [Row(0.0, six)]})
    assert found_in(folder, "4 > 0.4").count == 1
    assert found_in(folder, "lion > 0").count == 0
    assert found_in(folder, "lion < 0.1").count == 1


def test_a_number_is_compared_in_the_precision_of_the_table(tmp_path: Path):
    folder = write_index(tmp_path, {"/a.mp4": [Row(0.0, {0: 0.9}, area=0.1)]})
    assert found_in(folder, "zebra >= 0.9 and zebra = 0.9 and not zebra < 0.9 and area <= 0.1").count == 1
    assert found_in(folder, "peak < 1e30 and peak > -1e-30").count == 1


def test_values_of_a_regression_are_searched(tmp_path: Path):
    rows = [Row(0.0, {0: 12.5, 1: -3.0}), Row(5.0, {0: 2.5, 1: 1.0})]
    folder = write_index(tmp_path, {"/a.mp4": rows}, labels=("angle", "speed", "-angle", "-speed"), score="value")
    assert spans(found_in(folder, "speed < -1")) == [("/a.mp4", 0.0, 0.5)]
    assert [hit.peak for hit in found_in(folder, "angle > 0").hits] == [12.5, 2.5]


def test_intervals_of_joined_recordings_whose_times_start_again_are_two(tmp_path: Path):
    first, second = [Row(100.0, {0: 0.9}), Row(100.5, {0: 0.9})], [Row(5.0, {0: 0.8}), Row(5.5, {0: 0.8})]
    folder = write_index(tmp_path, {"/joined.ts": [*first, *second]})
    assert spans(found_in(folder, "zebra > 0.5")) == [("/joined.ts", 100.0, 101.0), ("/joined.ts", 5.0, 6.0)]


def test_a_network_that_returned_nan_is_no_crash(tmp_path: Path):
    folder = write_index(tmp_path, {"/a.mp4": [Row(0.0, {0: float("nan")}), Row(0.5, {0: 0.25})]})
    (hit,) = found_in(folder, "zebra >= 0").hits
    assert hit.peak == 0.25


@pytest.mark.parametrize("name", ['it\'s "here"', "a[b]*?", "überall 日本", "a,b;c$d %20", "{x}"])
def test_any_folder_can_be_searched(tmp_path: Path, name: str):
    assert found_in(write_index(tmp_path / name, ZOO), "zebra > 0.5").count == 3


def test_a_relative_folder_can_be_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_index(tmp_path / "index", ZOO)
    monkeypatch.chdir(tmp_path)
    assert found_in(Path("index"), "zebra > 0.5").count == 3
    monkeypatch.chdir(tmp_path / "index")
    assert found_in(Path(), "zebra > 0.5").count == 3


def test_what_is_complete_of_an_unfinished_index_is_found(tmp_path: Path):
    folder = write_index(tmp_path, {})
    assert found_in(folder, "zebra > 0.5").count == 0  # There is no table yet, nor a folder for it.
    write_index(folder, {"/zoo/b.mp4": ZOO["/zoo/b.mp4"]})
    (folder / "frames" / "a-1234-abcd.partial.parquet").write_bytes(b"PAR1 half")
    (folder / "segments" / "a").mkdir(parents=True)
    assert spans(found_in(folder, "zebra > 0.5")) == [("/zoo/b.mp4", 0.0, 0.5)]


def test_a_video_without_rows_has_no_interval(tmp_path: Path):
    assert spans(found_in(write_index(tmp_path, {"/none.mp4": [], **ZOO}), "zebra > 0.85")) == [
        ("/zoo/a.mp4", 0.5, 1.0)
    ]


@pytest.mark.parametrize(
    ("states", "line"),
    [
        (("pending", "pending", "failed", "pending"), "3 of 4 videos are not explained yet, 1 failed"),
        (("done", "failed", "partial"), "1 of 3 videos failed, 1 is explained only in part"),
        (("pending",), "1 of 1 video is not explained yet"),
    ],
)
def test_videos_that_are_not_explained_are_counted(tmp_path: Path, states: tuple[str, ...], line: str):
    write_states(write_index(tmp_path, ZOO), *states)
    with Index(tmp_path) as index:
        assert index.unfinished() == f"{line}; run livecam archive again"


def test_nothing_is_said_of_a_complete_index_or_one_without_a_table_of_videos(tmp_path: Path):
    with Index(write_index(tmp_path, ZOO)) as index:
        assert index.unfinished() is None
        write_states(tmp_path, "done", "done")
        assert index.unfinished() is None


def test_times_are_rounded_to_microseconds(tmp_path: Path):
    # 0.1 as a float32 is 0.10000000149.
    (hit,) = found_in(write_index(tmp_path, {"/a.mp4": [Row(8.0, {0: 0.9}, duration=0.1)]}), "zebra > 0.5").hits
    assert (hit.from_seconds, hit.to_seconds) == (8.0, 8.1)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def overwritten(content: bytes) -> bytes:
    footer_bytes = int.from_bytes(content[-8:-4], "little") + 8
    return content[:4] + bytes(len(content) - 4 - footer_bytes) + content[-footer_bytes:]


@pytest.mark.parametrize("damage", [cut, overwritten, lambda content: b"", lambda content: b"text" * 100])
def test_a_damaged_table_is_named(tmp_path: Path, damage):
    folder = write_index(tmp_path, ZOO)
    path = folder / "frames" / f"{file_name_of('/zoo/b.mp4')}.parquet"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SourceError, match=rf"{path.name} is damaged, or not livecam's; remove it"):
        found_in(folder, "zebra > 0.5")


@pytest.mark.parametrize(
    "foreign", [{"text": ["a"]}, {"time_seconds": ["a"], "duration_seconds": [1.0], "area_above_half": [0.5]}]
)
def test_a_foreign_table_is_named(tmp_path: Path, foreign: dict[str, list]):
    folder = write_index(tmp_path, ZOO)
    pq.write_table(pa.table(foreign), folder / "frames" / "foreign.parquet")
    with pytest.raises(SourceError, match=r"foreign\.parquet is damaged, or not livecam's; remove it"):
        found_in(folder, "area > 0")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": 1}', "no labels or score"),
        ('{"format": 1, "labels": 3, "score": "probability"}', "no labels or score"),
        ('{"format": 1, "labels": [], "score": "x\'; DROP TABLE y"}', "its score is"),
        ("[]", "is damaged, or not livecam's"),
    ],
)
def test_a_damaged_description_is_named(tmp_path: Path, content: str, message: str):
    (tmp_path / "index.json").write_text(content)
    with pytest.raises(SourceError, match=message):
        Index(tmp_path)


def test_queries_see_no_file_outside_the_index(tmp_path: Path):
    write_index(tmp_path / "other", ZOO)
    outside = next((tmp_path / "other" / "frames").iterdir())
    with (
        Index(write_index(tmp_path / "index", ZOO)) as index,
        pytest.raises(SourceError, match="is damaged, or not livecam's"),
    ):
        index.rows("SELECT count(*) FROM read_parquet($files)", [str(outside)], {})
    with Index(tmp_path / "index") as index, pytest.raises(duckdb.Error, match="has been locked"):
        index._connection.execute("SET enable_external_access = true")


def test_a_long_search_draws_no_bar_into_the_output(tmp_path: Path):
    with Index(write_index(tmp_path, ZOO)) as index:
        # DuckDB draws one after two seconds.
        assert index.rows("SELECT current_setting('enable_progress_bar'), $files", [""], {}) == [(False, [""])]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"least_seconds": -1}, "least_seconds must be"), ({"gap_seconds": -1}, "gap_seconds"), ({"top": 0}, "top must")],
)
def test_settings_out_of_range_are_refused(options: dict[str, float], message: str):
    with pytest.raises(SettingError, match=message):
        SearchSettings(**options)
