"""Conditions: what a text means, and where it is wrong."""

from __future__ import annotations

import pytest
from archive_index import LABELS

from live_cam.archive.condition import (
    AllOf,
    AnyOf,
    Condition,
    ExplainedIs,
    FigureIs,
    Not,
    ScoreIs,
    named_classes,
    parse_condition,
)
from live_cam.errors import SettingError

ZEBRA, CAT, HORSE = ScoreIs(0, ">", 0.5), ScoreIs(1, ">", 0.5), ScoreIs(2, ">", 0.5)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("zebra > 0.5", ZEBRA),
        ("  zebra>.5\n", ZEBRA),
        ("ZEBRA > +5e-1", ZEBRA),
        ("0 > 0.5", ZEBRA),
        ("'tiger cat' > 0.5", CAT),
        ('"Tiger_Cat" > 0.5', CAT),
        ("tiger_cat > 0.5", CAT),
        ("zebra <= 1", ScoreIs(0, "<=", 1.0)),
        ("zebra != 0", ScoreIs(0, "!=", 0.0)),
        ("area > 0.2", FigureIs("area_above_half", ">", 0.2)),
        ('"area" > 0.2', ScoreIs(3, ">", 0.2)),
        ("peak >= 1", FigureIs("peak", ">=", 1.0)),
        ("explained = zebra", ExplainedIs(0, "=")),
        ("explained != 'tiger cat'", ExplainedIs(1, "!=")),
        # A class is called 7, another one has that index.
        ("5 = 1", ScoreIs(5, "=", 1.0)),
        ('"7" = 1', ScoreIs(4, "=", 1.0)),
    ],
)
def test_comparisons(text: str, condition: Condition):
    assert parse_condition(text, LABELS, "probability") == condition


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("zebra > .5 or horse > .5 and 1 > .5", AnyOf((ZEBRA, AllOf((HORSE, CAT))))),
        ("(zebra > .5 or horse > .5) and 1 > .5", AllOf((AnyOf((ZEBRA, HORSE)), CAT))),
        ("not zebra > .5 and horse > .5", AllOf((Not(ZEBRA), HORSE))),
        ("not (zebra > .5 and horse > .5)", Not(AllOf((ZEBRA, HORSE)))),
        ("NOT not zebra > .5", Not(Not(ZEBRA))),
        ("zebra > .5 Or horse > .5 OR 1 > .5", AnyOf((ZEBRA, HORSE, CAT))),
        ("((zebra > .5))", ZEBRA),
    ],
)
def test_not_binds_before_and_and_and_before_or(text: str, condition: Condition):
    assert parse_condition(text, LABELS, "probability") == condition


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a class at character 1, but it ends; an example: zebra > 0.5"),
        ("zebra", "expected >= <= != > < = at character 6, but it ends"),
        ("zebra >> 0.5", "expected a number at character 8, found '> 0.5'"),
        ("zebra > lots", "expected a number at character 9, found 'lots'"),
        ("zebra > 1e400", "expected a number at character 9, found '1e400'"),
        ("zebra > 0.5 horse > 0.5", "expected 'and', 'or' or the end at character 13, found 'horse > 0.5'"),
        ("zebra > 0.5; drop", "expected 'and', 'or' or the end at character 12, found '; drop'"),
        ("tiger cat > 0.5", "needs quotation marks\\) at character 7, found 'cat > 0.5'"),
        ("(zebra > 0.5", r"expected '\)' at character 13, but it ends"),
        ("zebra > 0.5)", "'or' or the end at character 12"),
        ("explained > zebra", "expected = != at character 11"),
        ("explained = 0.5", "expected a class at character 13"),
        ("1.5 > 0.5", "expected a class at character 1"),
        ("area = and", "expected a number at character 8"),
        ("and > 0.5", "expected a class at character 1"),
        ('"zebra > 0.5', "expected a class at character 1"),
        ("foo bar", "expected >= <= != > < = .* at character 5, found 'bar'"),
        ("zebra > 0,2", "expected a decimal point at character 10, found ',2'"),
        ("zebra > 50", r"probabilities go from 0 to 1; did you mean 0\.5\?"),
        ("zebra > 50%", r"probabilities go from 0 to 1; did you mean 0\.5\?"),
        ("zebra > 0.5 %", r"probabilities go from 0 to 1; did you mean 0\.005\?"),
        ("zebra > -1", "probabilities go from 0 to 1; give a number in between"),
        ("area > 20", r"areas go from 0 to 1; did you mean 0\.2\?"),
        ("peak > 50%", "expected 'and', 'or' or the end at character 10, found '%'"),
        ("zebro > 0.5", "unknown class 'zebro'; did you mean zebra"),
        ("99 > 0.5", "no class 99: the model has 7 classes, 0 to 6"),
    ],
)
def test_an_error_says_where_it_is_and_shows_what_is_right(text: str, message: str):
    with pytest.raises(SettingError, match=message) as raised:
        parse_condition(text, LABELS, "probability")
    assert "\n" not in str(raised.value)


def test_values_and_peaks_may_be_any_number():
    assert parse_condition("zebra <= -12.5", LABELS, "value") == ScoreIs(0, "<=", -12.5)
    assert parse_condition("peak > 50", LABELS, "probability") == FigureIs("peak", ">", 50.0)
    with pytest.raises(SettingError, match="areas go from 0 to 1"):
        parse_condition("area > 1.5", LABELS, "value")


def test_a_hostile_condition_is_refused():
    with pytest.raises(SettingError, match="nested more than 40 levels"):
        parse_condition("(" * 1999, LABELS, "probability")
    with pytest.raises(SettingError, match="nested more than 40 levels"):
        parse_condition("not " * 499, LABELS, "probability")
    with pytest.raises(SettingError, match="has 3300 characters; give one of at most 2000"):
        parse_condition("zebra > 0.5" * 300, LABELS, "probability")


@pytest.mark.parametrize(
    ("text", "indices"),
    [
        ("zebra > 0.5 and (horse < 0.1 or zebra < 1)", (0, 2)),
        ("horse > 0.5 and not zebra > 0.5", (2,)),
        ("explained = zebra and area > 0.1", (0,)),
        ("explained != zebra", ()),
        ("peak > 0.5 or not not zebra > 0.5", ()),
    ],
)
def test_classes_are_named_outside_of_not(text: str, indices: tuple[int, ...]):
    assert named_classes(parse_condition(text, LABELS, "probability")) == indices
