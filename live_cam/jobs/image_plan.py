"""Finds the images that files, folders and patterns mean, and where the annotated picture of each goes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from live_cam.errors import SettingError, SourceError
from live_cam.settings import OutputSettings
from live_cam.sinks.atomic_file import refuse_same_file
from live_cam.sources.address import files_below, is_among, names_for
from live_cam.sources.open import has_image_suffix

if TYPE_CHECKING:
    from live_cam.settings import JobSettings

# Images of other types become PNG files: few programs read annotated HDR or JPEG 2000 files.
_KEPT_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class PlannedImage:
    """An image file and where its annotated picture goes.

    Attributes:
        path: The file.
        name: Its path below the folder that contains all images, with "/".
        output: The annotated picture; None if none is written.
    """

    path: Path
    name: str
    output: Path | None = None


@dataclass(frozen=True)
class ImagePlan:
    """The image files that a job explains.

    Attributes:
        images: At least one.
        unreadable: Sub-folders that cannot be opened, with the reason.
    """

    images: list[PlannedImage]
    unreadable: dict[Path, SourceError]

    @property
    def files(self) -> dict[str, Path]:
        """All image files with their names."""
        return {image.name: image.path for image in self.images}


def plan_images(settings: JobSettings, names: Sequence[str]) -> ImagePlan:
    """Returns all images, in the order of the names; those of a folder or pattern are sorted.

    Sub-folders are entered; hidden files are left out, and so is what lies in the output folder, unless all names mean
    something in it. Below the output folder, pictures have the same sub-folders as the images have below the deepest
    folder that contains all.

    Args:
        settings: What is done with each image.
        names: Files, folders and patterns.

    Raises:
        SourceError: There is no image, or one of the names is a folder that cannot be opened.
        SettingError: Several images would become one file, nothing would be written, or an option is not for images.
        SinkError: A picture would be written over an image.
    """
    output = settings.output
    _check_options(settings)
    unreadable: dict[Path, SourceError] = {}
    folders, paths = _image_paths(names, output, unreadable)
    if not paths and unreadable:
        raise next(iter(unreadable.values()))
    if not paths:
        videos = os.path.join(names[0], "*.mp4")  # noqa: PTH118 - as the user wrote it
        raise SourceError(f'no image in {", ".join(names)}; for videos, give a pattern such as "{videos}"')
    root = Path(os.path.commonpath(folders))
    paths = paths[: settings.source.max_frames]
    images = [PlannedImage(path, Path(os.path.relpath(path, root)).as_posix()) for path in paths]
    if output.output is not None:
        is_folder = output.is_folder(output.output) or not output.output.suffix
        if not is_folder and len(images) > 1:
            raise SettingError(f"{len(images)} images cannot all become {output.output}; give a folder")
        images = [_with_output(image, output.output, is_folder) for image in images]
        path, count = Counter(image.output for image in images).most_common(1)[0]
        if count > 1:
            raise SettingError(f"{count} images would become {path}; rename one of them")
    for image in images:
        for written in (image.output, output.html):
            if written is not None:
                refuse_same_file(image.path, written)
    return ImagePlan(images, unreadable)


def _check_options(settings: JobSettings) -> None:
    output = settings.output
    refused = {
        "--show": output.show,
        "--sidecar": output.sidecar,
        "--heatmaps": output.heatmaps,
        "--report": output.report,
        "--codec": output.codec,
        "--quality": output.quality,
        "--loop": settings.source.loop,
        "--fps": settings.feed.limits.explanations_per_second,
        "--max-cpu": settings.feed.limits.max_cpu_percent,
    }
    given = [option for option, value in refused.items() if value not in (None, False)]
    if given:
        raise SettingError(f"{given[0]} is not for several images; give a folder as --output, or an --html report")
    if output.resume:
        raise SettingError("run the command again without resume=True: pictures that are finished are skipped anyway")
    if output.output is None and output.html is None:
        raise SettingError("nothing to do: for several images, give a folder as --output, or an --html report")


def _image_paths(
    names: Sequence[str], output: OutputSettings, unreadable: dict[Path, SourceError]
) -> tuple[list[str], list[Path]]:
    """Returns the absolute folders that the names mean or lie in, and all images, each once.

    What is or lies in an output is left out, unless that are all names. Sub-folders that cannot be opened are added to
    ``unreadable``.
    """
    folders: list[str] = []
    paths: dict[str, Path] = {}
    matches = [Path(match) for name in names for match in names_for(name)]
    # Shells and patterns name the outputs, too, once they exist.
    written = [path for path in (output.output, output.html) if path is not None]
    outside = [path for path in matches if not is_among(path, written)]
    for path in outside or matches:
        is_folder = path.is_dir()
        folders.append(os.path.abspath(path if is_folder else path.parent))  # noqa: PTH100 - links are kept
        for image in _images_below(path, output.output, unreadable) if is_folder else [path]:
            paths.setdefault(os.path.abspath(image), image)  # noqa: PTH100
    return folders, list(paths.values())


def _images_below(folder: Path, output: Path | None, unreadable: dict[Path, SourceError]) -> Iterator[Path]:
    """Yields the images in a folder and its sub-folders, without hidden ones and without those in ``output``.

    Raises:
        SourceError: The folder cannot be opened; sub-folders that cannot are added to ``unreadable``.
    """

    def on_error(error: OSError) -> None:
        path = Path(error.filename)
        reason = SourceError(f"cannot open the folder {path}: {error.strerror}; check the path and its permissions")
        if path == folder:
            raise reason from None
        unreadable[path] = reason

    yield from filter(has_image_suffix, files_below(folder, on_error, output))


def _with_output(image: PlannedImage, output: Path, is_folder: bool) -> PlannedImage:
    if not is_folder:
        return replace(image, output=output)
    is_kept = image.path.suffix.lower() in _KEPT_SUFFIXES
    return replace(image, output=output / (image.name if is_kept else f"{image.name}.png"))
