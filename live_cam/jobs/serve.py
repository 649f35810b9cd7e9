"""Runs the web server with its sources until it is stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from live_cam.errors import LiveCamError, SettingError
from live_cam.explain.builder import method_named
from live_cam.explain.explainer import SIMILAR
from live_cam.jobs.main_loop import OutageReporter
from live_cam.jobs.outcome import JobContext
from live_cam.models.labels import imagenet_labels
from live_cam.models.reference import resolve_settings
from live_cam.pipeline.feed import target_index
from live_cam.pipeline.pipeline import Pipeline
from live_cam.predictions import class_index_of
from live_cam.render.renderer import Renderer
from live_cam.sources.open import open_as_live
from live_cam.viewers.background import started
from live_cam.viewers.explainer_switch import ExplainerLoader, ExplainerSwitch

if TYPE_CHECKING:
    from live_cam.settings import ExplainerSettings, ServeSettings

_TICK_SECONDS = 0.05


def run_server(settings: ServeSettings, context: JobContext, on_address: Callable[[str], None]) -> None:
    """Serves until ``context.stop`` is set.

    Args:
        settings: What is served, and where.
        context: How it reports and is stopped.
        on_address: Called once with the address to open, token included, when the server answers.

    Raises:
        LiveCamError: The port, the model or the class cannot be used. A source that is not there is no error.
    """
    Renderer(settings.feed.render)
    _check_names(settings.explainer, settings.feed.target)
    try:
        from live_cam.viewers.web.hub import Hub
        from live_cam.viewers.web.server import WebServer
    except ModuleNotFoundError as error:
        raise SettingError(f'the web server needs the package {error.name}: pip install ".[web]"') from None

    messages = ["preparing the model"]

    def on_build(line: str) -> None:
        messages.append(line)
        context.on_build(line)

    loader = ExplainerLoader(settings.explainer, on_build, context.on_line)
    # With a synthetic image instead of a frame: the page serves visitors' cameras, too, and no source may be there.
    preparing = started(lambda: loader.first(None), "livecam-load")
    pipeline = Pipeline(lambda frame: preparing.result())
    hub = Hub(pipeline, ExplainerSwitch(pipeline, loader.other), settings.feed)
    certificate = None
    if settings.certificate is not None and settings.key is not None:
        certificate = (settings.certificate, settings.key)
    server = WebServer(
        hub,
        settings.host,
        settings.port,
        token=settings.token,
        allowed_hosts=settings.allowed_hosts,
        certificate=certificate,
        on_error=context.on_line,
    )
    with contextlib.ExitStack() as stack:
        stack.callback(pipeline.close)
        stack.callback(server.close)
        for name, source in settings.sources:
            hub.add(name, open_as_live(source, name))
        server.start()
        on_address(server.address)
        if server.fingerprint is not None:
            context.on_line(
                "browsers warn once, because livecam made the certificate; continue if its SHA-256 fingerprint is\n"
                f"{server.fingerprint}"
            )
        outages = [OutageReporter(served.feed, context.on_line) for served in hub.sources]
        while not context.stop.wait(_TICK_SECONDS):
            hub.message = messages[-1]
            if pipeline.explainer is None and preparing.done():
                pipeline.use(preparing.result())
                # Also if there are no sources: else it would fail for each visitor.
                target_index(preparing.result(), settings.feed.target)
            hub.tick()
            for outage in outages:
                outage.report()
            for served in hub.sources:
                _raise_wrong_setting(served.feed.errors)
            if not server.is_running:
                raise LiveCamError("the web server ended unexpectedly; start livecam serve again")


def _check_names(settings: ExplainerSettings, target: int | str | None) -> None:
    """Checks the names that are known before the model is loaded, so that a wrong one is told before the address.

    Raises:
        LiveCamError: There is no such model, method or class.
    """
    method_named(settings.method)
    reference = resolve_settings(settings)
    # With other weights, a model may have other classes.
    if settings.labels is None and settings.weights is None and reference.has_imagenet_labels:
        for name in (target, settings.contrast):
            if name not in (None, SIMILAR):
                class_index_of(name, imagenet_labels())


def _raise_wrong_setting(errors: list[BaseException]) -> None:
    """Raises what is wrong for all sources, such as a class that the model does not have; a lost source is not."""
    for error in errors:
        if isinstance(error, SettingError) or not isinstance(error, LiveCamError):
            raise error
