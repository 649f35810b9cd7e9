"""What a job writes: whether that can be, and the sinks that do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from live_cam.errors import SettingError
from live_cam.render.views import Renderer
from live_cam.sources import Source

if TYPE_CHECKING:
    from live_cam.run.session import SessionSettings, SourceSettings
    from live_cam.sinks import Sink
    from live_cam.sources.tracks import SideTracks


def check_outputs(settings: SessionSettings) -> None:
    """Finds, before anything slow, what cannot be written or is asked for in vain.

    Raises:
        SettingError: Options contradict each other, or a container cannot hold a codec.
        SinkError: A file cannot be made.
    """
    from live_cam.sinks.partial import check_output, refuse_same_file

    output = settings.output
    if output.show is False and not output.paths:
        raise SettingError("nothing to do: without a window, give --output, --sidecar, --heatmaps or --report")
    is_file_alone = output.output is not None or not output.wants_window(is_live=False)
    if settings.source.loop and settings.source.image is None and is_file_alone and settings.source.max_frames is None:
        raise SettingError("a loop into a file has no end; leave out --loop or the output, or give --max-frames")
    if len({path.resolve() for path in output.paths}) < len(output.paths):
        raise SettingError("two outputs have the same name; give each its own")
    _check_video_format(settings)
    for path in output.paths:
        if settings.source.input_path is not None:
            refuse_same_file(settings.source.input_path, path)
        check_output(path, output.overwrite)


def _check_video_format(settings: SessionSettings) -> None:
    from live_cam.sinks.codecs import video_format

    output = settings.output
    if output.output is not None and settings.source.image is None:
        video_format(output.output, output.codec, output.quality)
    elif output.codec is not None or output.quality is not None:
        raise SettingError("--codec and --quality are for a video; give one as --output, or leave them out")


def sinks_for(
    settings: SessionSettings,
    source: Source,
    renderer: Renderer,
    on_line: Callable[[str], None],
    about: Callable[[], Mapping[str, object]],
) -> Iterator[Sink]:
    """Makes the sinks that a job asks for, one after the other.

    Args:
        settings: The job.
        source: Already open.
        renderer: Tells the size of the pictures.
        on_line: Called with a line the user should know.
        about: Asked, when the first explanation is there, for what belongs beside the heatmaps.
    """
    output = settings.output
    if output.output is not None:
        yield _picture_sink(output.output, settings, source, renderer, on_line)
    if output.sidecar is not None:
        from live_cam.sinks.sidecar import SidecarSink

        yield SidecarSink(output.sidecar, output.overwrite)
    if output.heatmaps is not None:
        from live_cam.sinks.heatmaps import HeatmapSink

        yield HeatmapSink(output.heatmaps, output.overwrite, about)


def _picture_sink(
    path: Path, settings: SessionSettings, source: Source, renderer: Renderer, on_line: Callable[[str], None]
) -> Sink:
    output = settings.output
    if source.is_still:
        from live_cam.sinks.image import ImageSink

        return ImageSink(path, output.overwrite)
    from live_cam.sinks.video import VideoSink

    sink = VideoSink(
        path,
        renderer.drawn_size_wh(source.size_wh),
        source.rate,
        output.overwrite,
        output.codec,
        output.quality,
        _side_tracks(settings.source, source),
        output.audio,
    )
    for line in sink.lines:
        on_line(line)
    return sink


def _side_tracks(settings: SourceSettings, source: Source) -> SideTracks | None:
    """Of a recording, what it has beside its pictures."""
    if settings.video is None or source.is_live:
        return None
    from live_cam.sources.tracks import SideTracks
    from live_cam.sources.video import VideoSource

    if not isinstance(source, VideoSource):  # a loop: its sound would have to be one too
        return None
    return SideTracks(
        settings.video,
        source.zero_seconds,
        settings.start_seconds or 0.0,
        settings.end_seconds,
        ends_with_pictures=settings.end_seconds is not None or settings.max_frames is not None,
    )


def tell_of_video(source: Source, on_line: Callable[[str], None]) -> None:
    """Says how the frames of a recording are made, where that is not as they stand in the file."""
    from live_cam.sources.video import VideoSource

    if isinstance(source, VideoSource):
        for line in source.lines:
            on_line(line)
