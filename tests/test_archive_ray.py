"""The same index by the workers of a Ray cluster, also when one of its nodes is lost."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import archive, table, tables_of
from conftest import RunLivecam, StartLivecam, wait_until
from media_clips import write_clip

from live_cam.archive.archive import run_archive
from live_cam.archive.outcome import ArchiveProgress
from live_cam.errors import SettingError
from live_cam.jobs.outcome import JobContext
from live_cam.settings import ArchiveSettings, ExplainerSettings

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow

SEGMENT_MINUTES = 0.02  # 1.2 seconds


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds: ten segments of 1.2 seconds."""
    return write_clip(tmp_path_factory.mktemp("ray") / "clip.mp4", 300, options={"g": "20"})


@pytest.fixture(scope="module")
def by_processes(clip: Path, warm_cache: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The tables that processes of this machine make."""
    folder = tmp_path_factory.mktemp("processes") / "INDEX"
    archive(folder, clip, workers=2, segment_minutes=SEGMENT_MINUTES)
    return tables_of(folder)


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes of one core each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_a_cluster_makes_the_same_index(clip: Path, by_processes: dict[str, Any], cluster: Any, tmp_path: Path):
    lines: list[str] = []
    outcome = archive(tmp_path / "INDEX", clip, lines=lines, ray=cluster.address, segment_minutes=SEGMENT_MINUTES)
    assert (outcome.done, outcome.failures, lines) == (1, (), [])
    assert tables_of(tmp_path / "INDEX") == by_processes


def test_a_lost_node_costs_one_more_try(clip: Path, by_processes: dict[str, Any], cluster: Any, tmp_path: Path):
    """SIGKILL of one node's raylet, with which its workers end, while both nodes explain segments."""
    index = tmp_path / "INDEX"
    settings = ArchiveSettings((str(clip),), index, ray=cluster.address, segment_minutes=SEGMENT_MINUTES)
    lost: list[int] = []

    def lose_a_node(progress: ArchiveProgress) -> None:
        if not lost and list(index.glob("segments/*/*.frames.parquet")):
            (node,) = cluster.worker_nodes
            (raylet,) = node.all_processes["raylet"]
            lost.append(raylet.process.pid)
            os.kill(lost[0], signal.SIGKILL)

    outcome = run_archive(settings, JobContext(), lose_a_node)
    assert lost
    assert (outcome.done, outcome.failures) == (1, ())
    assert tables_of(index) == by_processes


def test_a_file_that_cannot_be_read_to_an_end_costs_its_worker_only(clip: Path, cluster: Any, tmp_path: Path):
    endless = tmp_path / "endless.gif"
    endless.touch()
    os.truncate(endless, 1 << 40)  # of zeros, which no disk has to hold
    outcome = archive(
        tmp_path / "INDEX", clip, endless, ray=cluster.address, stall_seconds=10, retries=0, every_seconds=1.0
    )
    assert (outcome.done, outcome.row_count) == (1, 12)
    assert outcome.failures == (f"{endless}: its worker was lost (WorkerCrashedError)",)


def without_progress(errors: str) -> list[str]:
    """Lines that are not livecam's own, of which there is one every half minute."""
    return [line for line in errors.splitlines() if not re.match(r"\d of 1 videos, ", line)]


def test_a_local_cluster_is_silent_and_interrupted_as_processes_are(
    clip: Path, by_processes: dict[str, Any], start_livecam: StartLivecam, run_livecam: RunLivecam, tmp_path: Path
):
    index = tmp_path / "INDEX"
    options = ("--ray", "local", "--workers", 2, "--segment-minutes", SEGMENT_MINUTES)
    process = start_livecam("archive", clip, "--output", index, *options)
    wait_until(lambda: list(index.glob("segments/*/*.frames.parquet")), 180, process=process)
    process.send_signal(signal.SIGTERM)
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, without_progress(errors)) == (130, [])
    assert printed.endswith("interrupted, the same command continues\n")
    done = run_livecam("archive", clip, "--output", index, *options)
    assert (done.returncode, without_progress(done.stderr)) == (0, [])
    assert re.fullmatch(r".*INDEX: 1 video explained; 300 rows, [\d.]+ h of video per hour\n", done.stdout)
    assert tables_of(index) == by_processes


def test_an_address_without_a_cluster_is_refused(clip: Path, warm_cache: None, tmp_path: Path):
    with pytest.raises(SettingError, match=r"no Ray cluster at 127.0.0.1:1: .*; start one with ray start --head, or"):
        archive(tmp_path / "INDEX", clip, ray="127.0.0.1:1")


def test_relative_names_are_meant_from_the_folder_of_the_command(
    clip: Path, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The cluster's workers start in another folder."""
    monkeypatch.chdir(tmp_path)
    Path("labels.txt").write_text("".join(f"class {number}\n" for number in range(1000)))
    explainer = ExplainerSettings(labels="labels.txt")
    outcome = archive(Path("INDEX"), clip, ray=cluster.address, explainer=explainer, every_seconds=1.0)
    assert (outcome.done, outcome.row_count) == (1, 12)
    labels = table(tmp_path / "INDEX", "frames", clip)["label_1"].to_pylist()
    assert all(label.startswith("class ") for label in labels)
