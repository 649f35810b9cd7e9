"""The options that several commands share: the command gets the settings that they make."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from live_cam.cli.shared_options import SHARED_OPTIONS, with_settings
from live_cam.settings import ExplainerSettings, FeedSettings, RenderSettings

Method = Annotated[str | None, typer.Option()]


def called_with(command, *arguments: str) -> None:
    app = typer.Typer(add_completion=False)
    app.command()(command)
    CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_without_options_the_settings_are_the_default_ones():
    calls = []

    @with_settings(*SHARED_OPTIONS)
    def command(*, explainer: ExplainerSettings, feed: FeedSettings) -> None:
        calls.append((explainer, feed))

    called_with(command)
    command()
    assert calls == [(ExplainerSettings(), FeedSettings())] * 2


def test_each_value_reaches_its_setting():
    calls = []

    @with_settings(*SHARED_OPTIONS)
    def command(*, explainer: ExplainerSettings, feed: FeedSettings) -> None:
        calls.append((explainer, feed))

    called_with(
        command,
        *("--model", "a.keras", "--unsafe-model", "--import", "a.py", "--top-k", "5", "--contrast", "similar"),
        *("--target", "cat", "--smooth", "0", "--view", "grid", "--opacity", "1"),
    )
    explainer = ExplainerSettings("a.keras", unsafe=True, custom_objects="a.py", top_k=5, contrast="similar")
    assert calls == [(explainer, FeedSettings("cat", 0, RenderSettings(view="grid", opacity=1)))]


def test_a_parameter_of_the_command_itself_is_no_setting():
    calls = []

    @with_settings("layer")
    def command(*, method: Method = None, explainer: ExplainerSettings) -> None:
        calls.append((method, explainer))

    called_with(command, "--method", "all", "--layer", "conv")
    assert calls == [("all", ExplainerSettings(layer="conv"))]


def test_options_stand_where_the_settings_stood():
    @with_settings("layer", "score")
    def command(*, first: int = 1, explainer: ExplainerSettings, last: int = 2) -> None:
        pass

    app = typer.Typer(add_completion=False)
    app.command()(command)
    names = [parameter.name for parameter in typer.main.get_command(app).params]
    assert names == ["first", "layer", "score", "last"]


def test_an_unknown_name_is_an_error_when_the_command_is_defined():
    with pytest.raises(KeyError, match="colour"):

        @with_settings("colour")
        def command(*, explainer: ExplainerSettings) -> None:
            pass


def test_every_explainer_setting_has_an_option():
    assert {field.name for field in fields(ExplainerSettings)} <= SHARED_OPTIONS.keys()
