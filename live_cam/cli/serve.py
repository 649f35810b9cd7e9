"""``livecam serve``."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from live_cam.cli import options
from live_cam.cli.shared_options import SHARED_OPTIONS, with_settings
from live_cam.errors import SettingError
from live_cam.settings import (
    CameraSettings,
    ExplainerSettings,
    FeedSettings,
    LimitSettings,
    RetrySettings,
    ServeSettings,
    SourceSettings,
)

_SERVER = "Server"
_NAMED = re.compile(r"([^=/:?.]*)=(.*)")

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME=]SOURCE...",
        help="Camera indices, rtsp:// or http(s):// URLs, videos, or demo. Default: each visitor's own camera.",
    ),
]
Host = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        help="Address to listen on; 0.0.0.0 for the whole network, with TLS.",
        rich_help_panel=_SERVER,
    ),
]
Port = Annotated[int, typer.Option(metavar="N", help="Port to listen on; 0 for a free one.", rich_help_panel=_SERVER)]
Token = Annotated[
    str | None,
    typer.Option(
        metavar="TOKEN",
        envvar="LIVECAM_TOKEN",
        show_envvar=False,
        help="What visitors must know; or set LIVECAM_TOKEN. Default: a random one.",
        rich_help_panel=_SERVER,
    ),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="A host name that the server is reached by. May be given several times. Default: its address only.",
        rich_help_panel=_SERVER,
    ),
]
Certificate = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="TLS certificate (PEM). Default: one that is made on first use, unless the host is this machine.",
        rich_help_panel=_SERVER,
    ),
]
Key = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The certificate's key (PEM). Default: none.", rich_help_panel=_SERVER),
]


@with_settings(*SHARED_OPTIONS)
def serve(
    *,
    sources: Sources = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token: Token = None,
    allow_host: AllowHost = None,
    certificate: Certificate = None,
    key: Key = None,
    camera_size: options.CameraSize = None,
    camera_fps: options.CameraFps = None,
    explainer: ExplainerSettings,
    feed: FeedSettings,
    retry: options.Retry = None,
    max_cpu: options.MaxCpu = None,
    fps: options.Fps = None,
    quiet: options.Quiet = False,
) -> None:
    """Shows cameras, streams and videos live on a web page; visitors can use their own cameras, too."""
    import sys

    from live_cam.cli.console import Console
    from live_cam.cli.interrupts import Interrupts
    from live_cam.jobs.outcome import JobContext
    from live_cam.jobs.serve import run_server

    settings = ServeSettings(
        sources=tuple(
            named_source(word, CameraSettings.parse(camera_size, camera_fps), RetrySettings.parse(retry))
            for word in sources or ()
        ),
        explainer=explainer,
        feed=replace(feed, limits=LimitSettings(max_cpu, fps)),
        host=host,
        port=port,
        token=token,
        allowed_hosts=tuple(allow_host or ()),
        certificate=certificate,
        key=key,
    )
    console = Console(quiet)
    interrupts = Interrupts(sys.stderr)
    interrupts.install()
    context = JobContext(console.line, console.building, stop=interrupts.stop, environment=os.environ)
    # Also if quiet: without the address, the server is of no use.
    run_server(settings, context, lambda address: print(address, flush=True))


def named_source(word: str, camera: CameraSettings, retry: RetrySettings) -> tuple[str, SourceSettings]:
    """Returns the name and the source that ``NAME=SOURCE`` or ``SOURCE`` stands for.

    Args:
        word: As it was given.
        camera: What cameras of this machine are asked for.
        retry: How often a lost source is tried again.

    Raises:
        SettingError: It is an image or a folder, or the name or the source is empty.
        SourceError: There is no permission to look whether there is such a file, or its name is too long.
    """
    from live_cam.sources.address import check_permission, display_name, path_of
    from live_cam.sources.open import kind_of

    # Unlike Path.exists, this is False where a folder cannot be entered.
    match = None if os.path.exists(word) else _NAMED.fullmatch(word)  # noqa: PTH110
    name, address = (match[1].strip(), match[2]) if match else ("", word)
    if not address or (match and not name):
        raise SettingError(f"{word!r} lacks a name or a source; give NAME=SOURCE or SOURCE")
    check_permission(address)
    if address == "demo":
        return name or "demo", SourceSettings(retry=retry)
    kind = kind_of(address)
    if kind == "images":
        raise SettingError(f"{address} is an image or a folder; serve shows cameras, streams and videos")
    if kind == "webcam":
        return name or f"camera {address}", SourceSettings(webcam=int(address), camera=camera, retry=retry)
    path = path_of(address)
    return name or (display_name(address) if path is None else path.name), SourceSettings(video=address, retry=retry)
