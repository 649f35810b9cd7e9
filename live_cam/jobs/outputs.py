"""The files of a job: checks whether they can be written, and opens their sinks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from live_cam.errors import SettingError
from live_cam.render.renderer import Renderer
from live_cam.sinks.atomic_file import check_output, refuse_same_file
from live_cam.sinks.video.codecs import video_format
from live_cam.sources.address import display_name, is_url
from live_cam.sources.open import has_image_suffix

if TYPE_CHECKING:
    from live_cam.settings import JobSettings, SourceSettings
    from live_cam.sinks.heatmaps import HeatmapSink
    from live_cam.sinks.protocol import FileSink
    from live_cam.sinks.sidecar import SidecarSink
    from live_cam.sinks.video.sink import VideoSink
    from live_cam.sources.protocol import Source


@dataclass(frozen=True, eq=False)
class Outputs:
    """The open sinks of a job.

    Attributes:
        sinks: All of them, in the order in which they are written: the sidecar after the video, for checkpoints.
        video: The annotated video among them; None without one.
        sidecar: The sidecar among them; None without one.
        heatmaps: The heatmaps among them; None without them.
    """

    sinks: tuple[FileSink, ...] = ()
    video: VideoSink | None = None
    sidecar: SidecarSink | None = None
    heatmaps: HeatmapSink | None = None


def check_outputs(settings: JobSettings, replaces_report: bool = False) -> None:
    """Finds out before anything slow what cannot be written, or makes no sense together.

    Args:
        settings: The job.
        replaces_report: Whether a report may exist all the same: that of an unfinished run.

    Raises:
        SettingError: Settings contradict each other, or a container cannot hold a codec.
        SinkError: A file cannot be created.
    """
    source, output = settings.source, settings.output
    if output.show is False and not output.paths:
        raise SettingError("nothing to do: without a window, give an output, a sidecar, heatmaps or a report")
    makes_files_only = output.output is not None or not output.wants_window(is_live=False)
    if source.loop and source.image is None and makes_files_only and source.max_frames is None:
        raise SettingError(
            "with loop=True, files would never end; leave out the loop or the outputs, or set max_frames"
        )
    if len({path.resolve() for path in output.paths}) < len(output.paths):
        raise SettingError("two outputs have the same name; give each its own")
    if output.output is not None and source.image is None:
        _refuse_image_url(source, output.output)
        video_format(output.output, output.codec, output.quality)
    elif output.codec is not None or output.quality is not None:
        raise SettingError("codec and quality are for a video; give one as output, or leave them out")
    for path in output.paths:
        if source.input_path is not None:
            refuse_same_file(source.input_path, path)
        check_output(path, output.overwrite or (replaces_report and path == output.report))


def _refuse_image_url(source: SourceSettings, output: Path) -> None:
    """Checks that no image is to be made of an image at a URL.

    Raises:
        SettingError: It is.
    """
    url = source.video
    if url is not None and is_url(url) and all(map(has_image_suffix, (Path(re.split("[?#]", url)[0]), output))):
        raise SettingError(f"{display_name(url)}: images at a URL are not supported; download the image first")


def open_outputs(
    settings: JobSettings, source: Source, metadata: Callable[[], Mapping[str, object]], on_line: Callable[[str], None]
) -> Outputs:
    """Opens the sinks of a job; if one cannot be opened, those before it are closed.

    Args:
        settings: The job.
        source: Open.
        metadata: Asked after the first explanation for what belongs beside the heatmaps.
        on_line: Called with what the user should know about the output.
    """
    output = settings.output
    video = sidecar = heatmaps = None
    sinks: list[FileSink] = []
    with ExitStack() as on_failure:
        if output.output is not None and source.is_still:
            from live_cam.sinks.image import ImageSink

            sinks.append(on_failure.enter_context(ImageSink(output.output, output.overwrite)))
        elif output.output is not None:
            video = on_failure.enter_context(_video_sink(output.output, settings, source))
            sinks.append(video)
            for line in video.notices:
                on_line(line)
        if output.sidecar is not None:
            from live_cam.sinks.sidecar import SidecarSink

            sidecar = on_failure.enter_context(SidecarSink(output.sidecar, output.overwrite))
            sinks.append(sidecar)
        if output.heatmaps is not None:
            from live_cam.sinks.heatmaps import HeatmapSink

            heatmaps = on_failure.enter_context(HeatmapSink(output.heatmaps, output.overwrite, metadata))
            sinks.append(heatmaps)
        on_failure.pop_all()
    return Outputs(tuple(sinks), video, sidecar, heatmaps)


def _video_sink(path: Path, settings: JobSettings, source: Source) -> VideoSink:
    from live_cam.sinks.video.sink import VideoSink

    output = settings.output
    is_cut = settings.source.end_seconds is not None or settings.source.max_frames is not None
    return VideoSink(
        path,
        Renderer(settings.feed.render).output_size_wh(source.size_wh),
        source.rate,
        overwrite=output.overwrite,
        codec=output.codec,
        quality=output.quality,
        tracks=source.aux_tracks(ends_with_frames=is_cut),
        audio=output.audio,
    )
