"""Explains images on all cores: an annotated picture of each, and one page about all."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from live_cam.errors import LiveCamError, SinkError, SourceError
from live_cam.explain.explainer import Explainer, engine_title
from live_cam.explain.load import build_explainer
from live_cam.explain.replica_pool import ReplicaPool, results_in_order
from live_cam.frame import Frame, Result
from live_cam.jobs.batch import check_folder, make_folder
from live_cam.jobs.image_plan import ImagePlan, PlannedImage
from live_cam.jobs.image_report import ImageReport, page_digest
from live_cam.jobs.job_identity import picture_identity
from live_cam.jobs.outcome import Progress
from live_cam.jobs.picture_record import PictureRecord
from live_cam.models.reference import resolve_settings
from live_cam.pipeline.feed import target_index
from live_cam.render.renderer import Renderer
from live_cam.sinks.atomic_file import check_output
from live_cam.sinks.html_report import is_html_report, is_made_of
from live_cam.sinks.image import ImageSink
from live_cam.sources.image import read_image
from live_cam.temporal.explainer import SmoothedExplanation, TemporalExplainer

if TYPE_CHECKING:
    import numpy as np

    from live_cam.jobs.outcome import JobContext
    from live_cam.settings import JobSettings, OutputSettings, RenderSettings

    Load = Callable[[np.ndarray], Explainer]

_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class ImagesOutcome:
    """Result of a job over images.

    Attributes:
        done: Number of annotated pictures that were made; without these, of images that were explained for the page.
        skipped: Number of images whose annotated pictures existed already.
        failed: Number of images that could not be read or written, and of folders that could not be opened.
        total: Number of images, and of folders that could not be opened.
        wall_seconds: Duration of the job.
        made: The folder or file of the annotated pictures, and the page.
        was_interrupted: Whether the job was ended before the last image.
    """

    done: int = 0
    skipped: int = 0
    failed: int = 0
    total: int = 0
    wall_seconds: float = 0.0
    made: tuple[Path, ...] = ()
    was_interrupted: bool = False


def run_images(
    plan: ImagePlan,
    settings: JobSettings,
    context: JobContext,
    on_error: Callable[[LiveCamError], None],
    load: Load | None = None,
) -> ImagesOutcome:
    """Explains the images on all cores and continues after those that fail. Pictures that exist are left as they are.

    Args:
        plan: From ``plan_images``.
        settings: The same.
        context: How the job reports and is stopped.
        on_error: Called with the reason why an image failed.
        load: Makes the explainer from the first image. Default: as ``settings.explainer`` says.

    Raises:
        LiveCamError: About all images: the model, a setting or the page.
    """
    started_seconds = time.monotonic()
    Renderer(settings.feed.render)
    if load is None:
        resolve_settings(settings.explainer)
    images = plan.images
    html = _html_to_write(plan, settings, context)
    record = _picture_record(images, settings, context)
    for reason in plan.unreadable.values():
        on_error(reason)
    left = [image for image in images if html is not None or _is_missing(image, settings.output.overwrite)]
    _check_folder(left, settings.output)
    outcome = ImagesOutcome(failed=len(plan.unreadable), total=len(images) + len(plan.unreadable))
    if record is not None or html is None:
        missing_count = sum(_is_missing(image, settings.output.overwrite) for image in images)
        outcome = replace(outcome, skipped=len(images) - missing_count)
    explainer, failures = _explainer_for(left, settings, context, load)
    if explainer is None:
        for error in failures:
            on_error(error)
        return replace(outcome, failed=outcome.failed + len(failures), was_interrupted=context.stop.is_set())
    with ExitStack() as stack:
        report = None if html is None else stack.enter_context(ImageReport(html, settings, explainer, plan))
        if record is not None:
            stack.callback(record.save)
        worker = _Worker(settings, explainer, report, record)
        outcome = _explain_all(left, worker, outcome, context, on_error)
        if report is not None and not outcome.was_interrupted:
            report.finish()
    # The threads have completed the pictures that they had begun when the job was stopped.
    done = outcome.done if record is None else record.added_count
    made = tuple(path for path in (settings.output.output, html) if path is not None and path.exists())
    # A picture may exist of an image that cannot be read any more.
    skipped = min(outcome.skipped, outcome.total - done - outcome.failed)
    return replace(outcome, done=done, skipped=skipped, wall_seconds=time.monotonic() - started_seconds, made=made)


def _html_to_write(plan: ImagePlan, settings: JobSettings, context: JobContext) -> Path | None:
    """Returns the page that is to be written; None if there is to be none, or the one of an earlier run is the same.

    Raises:
        SinkError: It cannot be written, or another program's file has its name.
    """
    html, overwrite = settings.output.html, settings.output.overwrite
    if html is None:
        return None
    check_output(html, overwrite or is_html_report(html))
    if not overwrite and is_made_of(html, page_digest(plan, settings)):
        context.on_line(f"{html} is up to date")
        return None
    return html


def _check_folder(images: Sequence[PlannedImage], output: OutputSettings) -> None:
    """Checks once for all pictures that are to be written that their folder can be made and written to."""
    missing = [image.output for image in images if image.output is not None and _is_missing(image, output.overwrite)]
    if missing and output.output is not None:
        check_folder(output.output.parent if output.output in missing else output.output)


def _picture_record(images: Sequence[PlannedImage], settings: JobSettings, context: JobContext) -> PictureRecord | None:
    """Returns the record of the pictures, None if there are none; says which pictures stay though settings differ."""
    output = settings.output
    if output.output is None:
        return None
    record = PictureRecord(output.output, picture_identity(settings))
    kept = [] if output.overwrite else [image.output for image in images if image.output is not None]
    count, change = record.differences(kept)
    if count:
        are = f"{count} pictures stay as they are" if count > 1 else "1 picture stays as it is"
        context.on_line(f"{output.output}: {are}, but {change}; overwrite=True makes everything again")
    return record


def _is_missing(image: PlannedImage, overwrite: bool) -> bool:
    return image.output is not None and (overwrite or not os.path.exists(image.output))  # noqa: PTH110 - a locked folder


def _explainer_for(
    images: Sequence[PlannedImage], settings: JobSettings, context: JobContext, load: Load | None
) -> tuple[Explainer | None, list[SourceError]]:
    """Returns an explainer, built with the first image that can be read, and why those before it cannot.

    It is None if there is no such image, or if the job is stopped meanwhile.
    """
    build = load or (lambda pixels: build_explainer(settings.explainer, pixels, context.on_build, context.on_line))
    errors: list[SourceError] = []
    for image in images:
        try:
            pixels = read_image(image.path)
        except SourceError as error:
            errors.append(error)
            continue
        except (MemoryError, cv2.error) as error:
            errors.append(_failure(image, error))
            continue
        # In a thread: a conversion cannot be interrupted.
        pool = ThreadPoolExecutor(1, thread_name_prefix="livecam-load")
        loading = pool.submit(build, pixels)
        while not loading.done() and not context.stop.wait(_POLL_SECONDS):
            context.on_progress(Progress())
        pool.shutdown(wait=False)
        return (loading.result() if loading.done() else None), []
    return None, errors


def _failure(image: PlannedImage, error: Exception) -> SourceError:
    """Returns the error of an image that can be decoded or drawn no further, which is no reason to end the job."""
    is_memory = isinstance(error, MemoryError)
    reason = "not enough memory; make the image smaller" if is_memory else " ".join(str(error).split())
    return SourceError(f"{image.path}: {reason}")


class _Worker:
    """Explains one image after the other in each of several threads.

    Args:
        settings: The job.
        explainer: Not used by anyone else meanwhile.
        report: Gets every image; None without one.
        record: Gets every picture; None without pictures.

    Attributes:
        engine_name: What executes the model.
        thread_count: Number of threads that should call ``explain``.
        report: See above.
    """

    def __init__(
        self, settings: JobSettings, explainer: Explainer, report: ImageReport | None, record: PictureRecord | None
    ) -> None:
        self.engine_name, self.report, self._record = engine_title(explainer), report, record
        self._feed, self._overwrite = settings.feed, settings.output.overwrite
        self._pool = ReplicaPool(explainer.replicas())
        self.thread_count = self._pool.reader_count
        self._class_index = target_index(explainer, settings.feed.target)
        self._renderers = _Renderers(settings.feed.render)

    def explain(self, image: PlannedImage) -> dict[str, Any] | LiveCamError:
        """Reads, explains and writes an image; returns what the report shows of it, or why it failed."""
        try:
            frame = Frame(read_image(image.path), 0, 0.0)
            # As the first frame of a video, so that a picture is the same as if the image were explained alone.
            temporal = TemporalExplainer(self._feed.smooth_seconds)
            if self._class_index is not None:
                temporal.classes.choose(self._class_index)
            with self._pool.lent() as replica:
                explained = temporal.explain(replica, frame, replica.preprocess(frame.image))
            if image.output is not None and _is_missing(image, self._overwrite):
                self._write(image.output, explained)
            return {} if self.report is None else self.report.entry(image.name, explained)
        except (SourceError, SinkError) as error:
            return error
        except (MemoryError, cv2.error) as error:
            return _failure(image, error)

    def _write(self, output: Path, explained: SmoothedExplanation) -> None:
        """Writes the annotated picture, and its folder if there is none."""
        draw = partial(self._renderers.own.draw, explained.frame.image, explained.drawn_explanation, explained.scale)
        frame = explained.frame
        result = Result(frame, explained.explanation, explained.drawn_explanation, explained.scale, frame, None, draw)
        make_folder(output.parent)
        with ImageSink(output, self._overwrite) as sink:
            sink.write(result)
            sink.finish()
        if self._record is not None:
            self._record.add(output)


class _Renderers(threading.local):
    """A renderer for each thread: threads that share one take turns."""

    def __init__(self, settings: RenderSettings) -> None:
        self.own = Renderer(settings)


def _explain_all(
    images: Sequence[PlannedImage],
    worker: _Worker,
    outcome: ImagesOutcome,
    context: JobContext,
    on_error: Callable[[LiveCamError], None],
) -> ImagesOutcome:
    done = failed = 0
    started_seconds = time.monotonic()
    calls = (partial(worker.explain, image) for image in images)
    with closing(results_in_order(calls, worker.thread_count)) as results:
        for image, result in zip(images, results, strict=True):
            if isinstance(result, LiveCamError):
                failed += 1
                on_error(result)
                if worker.report is not None:
                    worker.report.add_failure(image.name, result)
            else:
                done += 1
                if worker.report is not None:
                    worker.report.add(result)
            fps = (done + failed) / (time.monotonic() - started_seconds)
            context.on_progress(
                Progress("explaining", worker.engine_name, done + failed, done, len(images), fps=fps, mean_fps=fps)
            )
            if context.stop.is_set():
                break
    return replace(outcome, done=done, failed=outcome.failed + failed, was_interrupted=done + failed < len(images))
