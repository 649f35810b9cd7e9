"""Every settings class and every default, once. The command line, the Python API and the jobs build these objects.

    JobSettings
    ├── source     SourceSettings      where frames come from
    ├── explainer  ExplainerSettings   which model, and how it is explained
    ├── feed       FeedSettings        how this source's frames are explained over time and drawn
    └── output     OutputSettings      what is written or shown

All are frozen, and all but ``EvaluationSettings`` and ``ArchiveSettings`` can be built without arguments. Names of
models, methods, colormaps and the like are checked by the module that has the table, which can name the nearest one.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any

from live_cam.errors import SettingError, check_number, check_type

DEFAULT_MODEL = "efficientnet-lite0"
DEFAULT_METHOD = "grad-cam"
DEFAULT_COLORMAP = "inferno"
DEFAULT_OPACITY = 0.6
DEFAULT_BLEND = "heat"
# When the evidence moves and is half as strong at its new place, the heatmap follows within 1.6 half-lives: 0.24 s.
DEFAULT_SMOOTH_SECONDS = 0.15
DEFAULT_QUALITY = 60

_FOREVER = "forever"
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+\]?")


@dataclass(frozen=True)
class CameraSettings:
    """Requested camera mode; the camera may use another.

    Attributes:
        size_wh: Width and height of its images in pixels. Default: the camera's own.
        fps: Frames per second. Default: the camera's own.
    """

    size_wh: tuple[int, int] | None = None
    fps: float | None = None

    @staticmethod
    def parse(size: str | None, fps: float | None) -> CameraSettings:
        """Builds the settings from a size such as "1280x720" and a rate.

        Raises:
            SettingError: The size is written differently, or the rate is not above 0.
        """
        match = None if size is None else re.fullmatch(r"([1-9]\d{0,4})[xX]([1-9]\d{0,4})", size)
        if size is not None and match is None:
            raise SettingError(f"the camera size is width x height, such as 1280x720, not {size!r}")
        check_number("the camera's frame rate", fps, 0, is_above=True)
        return CameraSettings((int(match[1]), int(match[2])) if match else None, fps)


@dataclass(frozen=True)
class RetrySettings:
    """Limit of attempts to reconnect a lost camera or stream.

    Attributes:
        limit: Failed tries in a row before giving up. Default: no limit.
        at_start: Whether to retry even if the source cannot be opened the first time. By default, a wrong address is an
            error at once.
    """

    limit: int | None = None
    at_start: bool = False

    @staticmethod
    def parse(text: str | None) -> RetrySettings:
        """Builds the settings from "forever", a number, or None for the default.

        Raises:
            SettingError: The text is none of these.
        """
        if text is None:
            return RetrySettings()
        if text == _FOREVER:
            return RetrySettings(at_start=True)
        if not (text.isascii() and text.isdecimal()):
            raise SettingError(f"retry is a number, 0 or more, or the word {_FOREVER}, not {text!r}")
        return RetrySettings(int(text), at_start=True)

    def allows(self, tries: int) -> bool:
        """Returns whether another try may follow that many failed ones."""
        return self.limit is None or tries < self.limit


@dataclass(frozen=True)
class SourceSettings:
    """The source of the frames: the one that is set, or the demo if none is.

    Attributes:
        webcam: Index of a camera, from 0.
        video: Path of a video, or an ``http(s)://`` or ``rtsp://`` URL.
        image: Path of an image.
        start_seconds: First media time of a video that is read. Default: its beginning.
        end_seconds: Media time at which a video is no longer read. Default: its end.
        loop: Whether a video starts again at its end.
        max_frames: Stop after this many frames. Default: no limit.
        camera: What the camera is asked for.
        retry: How often a lost camera or stream is tried again.
    """

    webcam: int | None = None
    video: str | None = None
    image: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    loop: bool = False
    max_frames: int | None = None
    camera: CameraSettings = CameraSettings()
    retry: RetrySettings = RetrySettings()

    def __post_init__(self) -> None:
        if sum(name is not None for name in (self.webcam, self.video, self.image)) > 1:
            raise SettingError("give only one source: webcam, video or image")
        check_number("max_frames", self.max_frames, 1, is_whole=True)
        check_number("start_seconds", self.start_seconds, 0)
        check_number("end_seconds", self.end_seconds, 0)
        check_type("camera", self.camera, CameraSettings)
        check_type("retry", self.retry, RetrySettings)
        if self.webcam is None and self.camera != CameraSettings():
            raise SettingError("the camera size and frame rate are for a webcam; other sources have their own")

    @property
    def is_demo(self) -> bool:
        """Whether no source is set."""
        return self.webcam is None and self.video is None and self.image is None

    @property
    def input_path(self) -> Path | None:
        """The file that is read; None for a camera, a URL and the demo."""
        name = re.sub("^file://", "", self.video or self.image or "")
        return Path(name) if name and "://" not in name else None

    @property
    def is_remote_or_camera(self) -> bool:
        """Whether it is a camera or a URL: slow to open, and perhaps live. A ``file://`` URL is a file."""
        video = self.video or ""
        return self.webcam is not None or ("://" in video and not video.lower().startswith("file://"))

    @property
    def is_known_live(self) -> bool:
        """Whether it is live for certain before it is opened; an http URL may be a recording."""
        return self.webcam is not None or (self.is_remote_or_camera and not str(self.video).lower().startswith("http"))


@dataclass(frozen=True)
class ExplainerSettings:
    """Which model is explained, and how; ``load_explainer`` has the same names.

    Attributes:
        model: A name (see ``livecam models``), the path of a ``.keras`` or ``.h5`` file or of a SavedModel folder, or
            a ``keras.Model``.
        weights: A weights file for a model given by name. Default: its ImageNet weights.
        labels: The class names, or a text or JSON file with them. Default: ImageNet's for models given by name, else
            the class indices.
        preprocess: "auto", "raw", "unit", "tf", "torch", "caffe" or "lite".
        output_name: Which of a model's outputs to explain. Needed only if it has several.
        unsafe: Whether code that is stored in a model may run: Lambda layers, and ops of a SavedModel that may do more
            than compute, such as writing files.
        custom_objects: Classes and functions of yours that a model file needs, by name; or the path of the Python file
            that defines them, which is run when the model is converted.
        fit: How a frame is brought to the network's input: "stretch", "crop" or "pad".
        input_size: Side of the square network input, in pixels. Default: the model's own.
        engine: "auto", "litert" or "tensorflow".
        threads: LiteRT threads. Default: one per core.
        method: The CAM method.
        layer: The target layer, or several (comma-separated in one text), whose maps are combined. Default: the last
            one with a map of more than 1x1.
        score: What is differentiated: "logit" or "probability".
        top_maps: Number of classes that are explained in the same call.
        top_k: Number of predictions in an explanation.
        contrast: A class, by index or label, whose score is subtracted; or "similar" for the three classes with the
            nearest scores (Finer-CAM), even if a label has that name. Default: none.
        precision: "float" or "int8", which LiteRT runs up to twice as fast on newer CPUs, with nearly the same maps.
        calibrate: A folder of images that int8 is calibrated on; ten suffice. Default: the demo's photographs.
    """

    model: Any = DEFAULT_MODEL
    weights: str | Path | None = None
    labels: str | Path | Sequence[str] | None = None
    preprocess: str = "auto"
    output_name: str | None = None
    unsafe: bool = False
    custom_objects: Mapping[str, Any] | str | Path | None = None
    fit: str = "stretch"
    input_size: int | None = None
    engine: str = "auto"
    threads: int | None = None
    method: str = DEFAULT_METHOD
    layer: str | Sequence[str] | None = None
    score: str = "logit"
    top_maps: int = 1
    top_k: int = 3
    contrast: int | str | None = None
    precision: str = "float"
    calibrate: str | Path | None = None


@dataclass(frozen=True)
class RenderSettings:
    """Look of the annotated image.

    Attributes:
        colormap: One of ``live_cam.render.colormaps.COLORMAPS``.
        opacity: Weight of the heatmap's colors, in [0, 1].
        blend: "heat" (cold areas show the frame) or "constant".
        view: "overlay", "split", "grid" (a small image per class), "heatmap" or "original".
        mirror: Whether the image is flipped left to right; text is not.
        caption: Whether the explained class is written on the image.
        panel: Whether the best classes are drawn with bars instead of the caption; not in the grid, whose images have
            labels.
    """

    colormap: str = DEFAULT_COLORMAP
    opacity: float = DEFAULT_OPACITY
    blend: str = DEFAULT_BLEND
    view: str = "overlay"
    mirror: bool = False
    caption: bool = True
    panel: bool = False


@dataclass(frozen=True)
class LimitSettings:
    """Limits of the computation.

    Attributes:
        max_cpu_percent: Share of the whole machine's CPU time that this process may use, in percent. Default: no limit.
        explanations_per_second: At most this many explanations of a live source per second. Default: no limit.
    """

    max_cpu_percent: float | None = None
    explanations_per_second: float | None = None

    def __post_init__(self) -> None:
        check_number("max_cpu_percent", self.max_cpu_percent, 0, is_above=True)
        check_number("explanations_per_second", self.explanations_per_second, 0, is_above=True)


@dataclass(frozen=True)
class FeedSettings:
    """Class, smoothing and look of the frames of one source.

    Attributes:
        target: The class to explain, as an index or a label. Default: the top class.
        smooth_seconds: Half-life of the heatmap smoothing. 0: none, and each frame is explained for its own top class.
        render: How the annotated image looks.
        limits: How much is computed.
    """

    target: int | str | None = None
    smooth_seconds: float = DEFAULT_SMOOTH_SECONDS
    render: RenderSettings = RenderSettings()
    limits: LimitSettings = LimitSettings()

    def __post_init__(self) -> None:
        if isinstance(self.target, bool) or not isinstance(self.target, Integral | str | None):
            raise SettingError(f"target must be a class index or a label, not {self.target!r:.60}")
        check_type("smooth_seconds", self.smooth_seconds, float, int)
        check_number("smooth_seconds", self.smooth_seconds, 0)
        check_type("render", self.render, RenderSettings)
        check_type("limits", self.limits, LimitSettings)


@dataclass(frozen=True)
class OutputSettings:
    """Files and window of a job.

    Attributes:
        output: The annotated video or image.
        sidecar: One line per explained frame: JSON lines, or CSV if the name ends in .csv.
        heatmaps: All heatmaps as one ``.npz``.
        report: Counts and timings of the job as JSON.
        overwrite: Whether existing files may be replaced.
        codec: Video codec: "h264", "h265", "vp9", "av1" or "mjpeg". Default: the container's usual one.
        quality: Video quality, 0 to 100. Default: 60.
        audio: Whether the source's sound is copied.
        show: Whether a window is opened. Default: for live sources, and for files if nothing is written.
        resume: Whether unfinished files of an earlier run are continued, or finished ones to a later end. False: it is
            an error if there are any, unless ``overwrite`` is set. None: they are continued if possible, else started
            again.
        folders: Those of the paths that mean folders, even if they do not exist yet.
        html: A page about all images, for a job over images.
    """

    output: Path | None = None
    sidecar: Path | None = None
    heatmaps: Path | None = None
    report: Path | None = None
    overwrite: bool = False
    codec: str | None = None
    quality: int | None = None
    audio: bool = True
    show: bool | None = None
    resume: bool | None = False
    folders: tuple[Path, ...] = ()
    html: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """All files that will be written."""
        files = (self.output, self.sidecar, self.heatmaps, self.report, self.html)
        return [path for path in files if path is not None]

    @property
    def frame_files(self) -> list[Path]:
        """The files that grow with every frame: all but the report."""
        return [path for path in (self.output, self.sidecar, self.heatmaps) if path is not None]

    @property
    def may_resume(self) -> bool:
        """Whether an unfinished output is continued if possible."""
        return self.resume is True or (self.resume is None and not self.overwrite)

    def is_folder(self, path: Path) -> bool:
        """Returns whether one of the paths is a folder for several files."""
        # Unlike Path.is_dir, this is False where a folder cannot be entered.
        return path in self.folders or os.path.isdir(path)  # noqa: PTH112

    def wants_window(self, is_live: bool) -> bool:
        """Returns whether a window is shown: for live sources, and for files if nothing is written."""
        if self.show is not None:
            return self.show
        return is_live or not self.paths


@dataclass(frozen=True)
class JobSettings:
    """One source with its outputs.

    Attributes:
        source: Where frames come from.
        explainer: Which model, and how it is explained.
        feed: How the frames are explained over time and drawn.
        output: What is written or shown.
    """

    source: SourceSettings = SourceSettings()
    explainer: ExplainerSettings = ExplainerSettings()
    feed: FeedSettings = FeedSettings()
    output: OutputSettings = OutputSettings()


@dataclass(frozen=True)
class BenchSettings:
    """Settings of ``livecam bench``.

    Attributes:
        source: A camera or a video; the demo's frames if none is set.
        size_wh: Width and height the frames are resized to. Default: the source's own; 640x480 for the demo.
        frame_count: Number of frames behind each figure.
        explainer: Which model, and how it is explained.
    """

    source: SourceSettings = SourceSettings()
    size_wh: tuple[int, int] | None = None
    frame_count: int = 200
    explainer: ExplainerSettings = ExplainerSettings()

    def __post_init__(self) -> None:
        if self.frame_count < 2:
            raise SettingError(f"{self.frame_count} frames give no rate; give 2 or more")
        if self.size_wh is not None and not all(16 <= side <= 8192 for side in self.size_wh):
            raise SettingError(f"size {self.size_wh} is out of range; give 16 to 8192 pixels a side")


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of ``livecam evaluate``.

    Attributes:
        images: The folder of images; its subfolders are not entered.
        methods: Names of CAM methods.
        layers: Each a layer's name, or several (comma-separated) whose maps are combined; "" for the default layer.
        boxes: Where the objects are, for the pointing game. Default: not measured.
        max_images: At most this many images, the first by name. Default: all.
        checks_head: Whether maps are compared with those of a network with a random head; loads TensorFlow.
        seed: Seed of the order of equally hot pixels, the random maps and the random head.
        explainer: Which model; its method and layer are not used.
    """

    images: Path
    methods: tuple[str, ...] = (DEFAULT_METHOD, "layercam")
    layers: tuple[str, ...] = ("",)
    boxes: Path | None = None
    max_images: int | None = None
    checks_head: bool = True
    seed: int = 0
    explainer: ExplainerSettings = field(default_factory=ExplainerSettings)

    def __post_init__(self) -> None:
        if not self.methods or not self.layers:
            raise SettingError("nothing to evaluate; give a method and a layer, or neither for the default ones")
        check_number("max_images", self.max_images, 1, is_whole=True)


@dataclass(frozen=True)
class SearchSettings:
    """Settings of ``livecam search``.

    Attributes:
        least_seconds: Shortest interval that counts.
        gap_seconds: Rows in which the condition holds belong to one interval if they are at most this far apart.
        top: Number of intervals that are returned, the best ones.
    """

    least_seconds: float = 0.0
    gap_seconds: float = 1.0
    top: int = 20

    def __post_init__(self) -> None:
        check_number("least_seconds", self.least_seconds, 0)
        check_number("gap_seconds", self.gap_seconds, 0)
        check_number("top", self.top, 1, is_whole=True)


@dataclass(frozen=True)
class ServeSettings:
    """Settings of ``livecam serve``.

    Attributes:
        sources: Name and source of each camera, stream or video. Empty: visitors use their own cameras.
        explainer: Which model, and how it is explained.
        feed: How the frames of each source are explained over time and drawn.
        host: Address to listen on.
        port: Port to listen on; 0 for a free one.
        token: What clients must know. Default: a random one.
        allowed_hosts: Host names that the server is reached by, besides its address.
        certificate: TLS certificate, a PEM file. Default: none on loopback, else one that is made on first use.
        key: The certificate's private key, a PEM file.
    """

    sources: tuple[tuple[str, SourceSettings], ...] = ()
    explainer: ExplainerSettings = ExplainerSettings()
    feed: FeedSettings = FeedSettings()
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise SettingError(f"port {self.port} is out of range; give 1 to 65535, or 0 for a free one")
        if (self.certificate is None) != (self.key is None):
            raise SettingError("a certificate needs its key; give both or neither")
        for name in self.allowed_hosts:
            if not _HOST_NAME.fullmatch(name):
                raise SettingError(
                    f"{name!r} is no host name; give it without https://, port and path: cam.example.org"
                )


@dataclass(frozen=True)
class ArchiveSettings:
    """Settings of ``livecam archive``.

    Attributes:
        videos: Videos, folders, patterns, and text files with a video per line.
        output: The folder of the index.
        explainer: Which model, and how it is explained.
        target: The class to explain, as an index or a label. Default: the top class of each frame.
        maps: Whether all heatmaps are stored.
        annotate: Whether an annotated video is made of each video.
        every_seconds: Explain one frame in this time. Default: all frames.
        segment_minutes: Length of the parts that workers explain.
        workers: Number of processes. Default: one per core.
        ray: Address of a Ray cluster, "auto" or "local". Default: processes of this machine.
        retries: How often a failed part is tried again.
        stall_seconds: A worker that reads no frame for this long is ended.
    """

    videos: tuple[str, ...]
    output: Path
    explainer: ExplainerSettings = ExplainerSettings()
    target: int | str | None = None
    maps: bool = False
    annotate: bool = False
    every_seconds: float | None = None
    segment_minutes: float = 5
    workers: int | None = None
    ray: str | None = None
    retries: int = 2
    stall_seconds: float = 60

    def __post_init__(self) -> None:
        check_number("every_seconds", self.every_seconds, 0, is_above=True)
        check_number("segment_minutes", self.segment_minutes, 0, is_above=True)
        check_number("workers", self.workers, 1, is_whole=True)
        check_number("retries", self.retries, 0, is_whole=True)
        check_number("stall_seconds", self.stall_seconds, 0, is_above=True)

    @property
    def segment_seconds(self) -> float:
        """Length of a segment: a multiple of ``every_seconds``, so that the same frames are taken in segments."""
        seconds = 60 * self.segment_minutes
        return seconds if self.every_seconds is None else math.ceil(seconds / self.every_seconds) * self.every_seconds
