"""The table of keys: one for the window, the help card and the README."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from live_cam.commands import KEY_ROWS, Action, Command, command_of_key
from live_cam.render.help_card import draw_help_card, shown_rows
from live_cam.render.hud import hud_text_size_px

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
# As X11 numbers them.
LEFT_ARROW, SHIFT, CAPS_LOCK, F1 = 0xFF51, 0xFFE1, 0xFFE5, 0xFFBE


@pytest.mark.parametrize(
    ("code", "action", "step"),
    [
        (ord("q"), Action.QUIT, 1),
        (ord("Q"), Action.QUIT, 1),
        (27, Action.QUIT, 1),
        (ord("n"), Action.CLASS, 1),
        (ord("p"), Action.CLASS, -1),
        (ord("["), Action.LAYER, -1),
        (ord("+"), Action.OPACITY, 1),
        (ord("="), Action.OPACITY, 1),  # + without Shift
        (ord("-"), Action.OPACITY, -1),
        (ord("z"), Action.NOTHING, 1),
        (F1, Action.NOTHING, 1),
    ],
)
def test_keys_mean_what_the_help_says(code: int, action: Action, step: int):
    assert command_of_key(code) == Command(action, step)


def test_the_left_arrow_is_no_q():
    assert ord("Q") == LEFT_ARROW & 0xFF  # which is how it used to end the program
    assert command_of_key(LEFT_ARROW) == Command(Action.NOTHING)


@pytest.mark.parametrize("code", [-1, SHIFT, CAPS_LOCK])
def test_no_key_and_keys_that_change_others_mean_nothing(code: int):
    assert command_of_key(code) is None


def test_no_key_has_two_meanings_and_every_action_has_a_key():
    keys = [key for row in KEY_ROWS for key in row.commands]
    assert len(keys) == len(set(keys))
    actions = {command.action for row in KEY_ROWS for command in row.commands.values()}
    assert set(Action) - actions == {Action.SPOT, Action.NOTHING}  # a click, and any other key


def test_the_readme_has_the_same_table():
    table = re.findall(r"^\| `(.+)` \| (.+) \|$", README, flags=re.MULTILINE)
    rows = dict(pair for line in table for pair in [line])
    assert {keys.replace("` `", " "): does for keys, does in rows.items()} == {row.shown: row.does for row in KEY_ROWS}


@pytest.mark.parametrize("size_wh", [(320, 240), (640, 480), (1920, 1080), (720, 1280)])
def test_the_help_card_has_a_line_for_every_row(size_wh: tuple[int, int]):
    image = np.full((size_wh[1], size_wh[0], 3), 128, np.uint8)
    draw_help_card(image, hud_text_size_px(image.shape))
    assert len(shown_rows(size_wh[1])) >= len(KEY_ROWS) - (1 if size_wh[1] <= 240 else 0)
    is_amber = (image[..., 2].astype(int) - image[..., 0] > 90).any(axis=1)
    inked = np.flatnonzero(is_amber)
    pitch = (inked[-1] - inked[0]) / (len(shown_rows(size_wh[1])) - 1)
    # A gap is between two lines if it is no i's dot.
    assert 1 + np.count_nonzero(np.diff(inked) > 0.15 * pitch) == len(shown_rows(size_wh[1]))


def test_the_help_card_is_dark_enough_to_be_read_on_white():
    white = np.full((480, 640, 3), 255, np.uint8)
    draw_help_card(white, 15)
    assert cv2.cvtColor(white, cv2.COLOR_BGR2GRAY)[240, 320:400].min() < 60
