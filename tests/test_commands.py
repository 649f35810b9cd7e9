"""The table of keys: one for the window, the help card and the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from live_cam.viewers.commands import HELP_GROUPS, KEY_ROWS, Action, Command, command_of_key

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
    assert command_of_key(LEFT_ARROW) == Command(Action.JUMP, -1)


@pytest.mark.parametrize("code", [-1, SHIFT, CAPS_LOCK])
def test_no_key_and_keys_that_change_others_mean_nothing(code: int):
    assert command_of_key(code) is None


def test_no_key_has_two_meanings_and_every_action_has_a_key():
    keys = [key for row in KEY_ROWS for key in row.commands]
    assert len(keys) == len(set(keys))
    actions = {command.action for row in KEY_ROWS for command in row.commands.values()}
    assert set(Action) - actions == {Action.SPOT, Action.POSITION, Action.NOTHING}  # clicks, and any other key


def test_the_readme_has_the_same_table():
    table = re.findall(r"^\| `(.+)` \| (.+) \|$", README, flags=re.MULTILINE)
    rows = [row for _, group_rows in HELP_GROUPS for row in group_rows]
    assert [(keys.replace("` `", " "), description) for keys, description in table] == rows


def test_help_is_grouped_and_has_every_key():
    assert [heading for heading, _ in HELP_GROUPS] == ["See", "Explain", "Save"]
    assert sum(len(rows) for _, rows in HELP_GROUPS) == len(KEY_ROWS)
