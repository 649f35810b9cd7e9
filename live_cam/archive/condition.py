"""Parses conditions of ``livecam search``, such as ``zebra > 0.5 and not area < 0.2``, and writes them as SQL.

    condition   = every ("or" every)*
    every       = one ("and" one)*
    one         = "not" one | "(" condition ")" | comparison
    comparison  = class OPERATOR number | ("area" | "peak") OPERATOR number | "explained" ("=" | "!=") class
    class       = a word, a text in quotation marks, or an index

No text of the user gets into the SQL: classes become indices, and all values are parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from live_cam.archive.dataset import TOP_COUNT, ScoreName
from live_cam.errors import SettingError
from live_cam.predictions import class_index_of, is_same_label

_EXAMPLE = 'zebra > 0.5 and not "tiger cat" > 0.1'
_LONGEST = 2000
_DEEPEST = 40
_LARGEST = 1e30
_OPERATORS = (">=", "<=", "!=", ">", "<", "=")
_COLUMNS = {"area": "area_above_half", "peak": "peak"}
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.-]))
        | (?P<word>[\w-]+)
        | (?P<quoted>"[^"]*"|'[^']*')
        | (?P<operator>>=|<=|!=|[><=])
        | (?P<bracket>[()])
        | (?P<end>$)
        | (?P<other>.)
    )""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class ScoreIs:
    """The score of a class is above, below or at a number; it is 0 where the class is not among the stored ones."""

    class_index: int
    operator: str
    number: float


@dataclass(frozen=True)
class ExplainedIs:
    """The explained class is this one, or with the operator ``!=`` another one."""

    class_index: int
    operator: str


@dataclass(frozen=True)
class FigureIs:
    """A figure of the heatmap, the column ``area_above_half`` or ``peak``, is above, below or at a number."""

    column: str
    operator: str
    number: float


@dataclass(frozen=True)
class Not:
    """The part does not hold."""

    part: Condition


@dataclass(frozen=True)
class AllOf:
    """All parts hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class AnyOf:
    """One of the parts holds, or several."""

    parts: tuple[Condition, ...]


Condition: TypeAlias = ScoreIs | ExplainedIs | FigureIs | Not | AllOf | AnyOf


def parse_condition(text: str, labels: Sequence[str], score: ScoreName) -> Condition:
    """Reads a condition.

    Args:
        text: The condition, as this module describes it.
        labels: The names of all classes.
        score: What the classes have. Probabilities are compared with numbers from 0 to 1 only, as areas are.

    Raises:
        SettingError: It is none, names an unknown class or has an impossible number; the message says what is right.
    """
    if len(text) > _LONGEST:
        raise SettingError(f"the condition has {len(text)} characters; give one of at most {_LONGEST}")
    return _Parser(text, labels, score).whole()


class _Parser:
    """Reads a condition from left to right; ``_next`` is the token that is not used up yet."""

    def __init__(self, text: str, labels: Sequence[str], score: ScoreName) -> None:
        self._text, self._labels, self._score = text, labels, score
        self._tokens = _TOKEN.finditer(text)
        self._next = next(self._tokens)

    def whole(self) -> Condition:
        condition = self._any(0)
        if self._next["end"] is None:
            raise self._error("expected 'and', 'or' or the end")
        return condition

    def _any(self, depth: int) -> Condition:
        parts = [self._all(depth)]
        while self._takes_word("or"):
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _all(self, depth: int) -> Condition:
        parts = [self._one(depth)]
        while self._takes_word("and"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _one(self, depth: int) -> Condition:
        if depth > _DEEPEST:
            raise SettingError(f"the condition is nested more than {_DEEPEST} levels deep; give a simpler one")
        if self._takes_word("not"):
            return Not(self._one(depth + 1))
        if self._next["bracket"] == "(":
            self._advance()
            condition = self._any(depth + 1)
            if self._next["bracket"] != ")":
                raise self._error("expected ')'")
            self._advance()
            return condition
        return self._comparison()

    def _comparison(self) -> Condition:
        if self._takes_word("explained"):
            operator = self._operator(("=", "!="))
            return ExplainedIs(self._index_of(self._class()), operator)
        for name, column in _COLUMNS.items():
            if self._takes_word(name):
                return FigureIs(column, self._operator(), self._number("areas" if name == "area" else None))
        token, operator = self._class(), self._operator()
        # Only now: of two words without a comparison, that is what is wrong.
        index = self._index_of(token)
        return ScoreIs(index, operator, self._number("probabilities" if self._score == "probability" else None))

    def _class(self) -> re.Match[str]:
        word, quoted, number = self._next["word"], self._next["quoted"], self._next["number"]
        is_keyword = word is not None and word.lower() in ("and", "or", "not", "explained", *_COLUMNS)
        if is_keyword or (word is None and quoted is None and not (number or "").isdecimal()):
            raise self._error("expected a class")
        token = self._next
        self._advance()
        return token

    def _index_of(self, token: re.Match[str]) -> int:
        quoted = token["quoted"]
        name = quoted[1:-1] if quoted else token["word"] or token["number"]
        same = (index for index, label in enumerate(self._labels) if quoted and is_same_label(label, name))
        index = next(same, None)  # A text in quotation marks is a label before it is an index.
        return class_index_of(name, self._labels) if index is None else index

    def _operator(self, allowed: Sequence[str] = _OPERATORS) -> str:
        operator = self._next["operator"]
        if operator not in allowed:
            hint = "" if self._next["word"] is None else " (a label with spaces needs quotation marks)"
            raise self._error(f"expected {' '.join(allowed)}{hint}")
        self._advance()
        return operator

    def _number(self, shares: str | None) -> float:
        """Reads a number; ``shares`` is what it is compared with if that goes from 0 to 1."""
        if self._next["number"] is None or abs(float(self._next["number"])) > _LARGEST:
            raise self._error("expected a number")
        number = float(self._next["number"])
        self._advance()
        if self._next["other"] == ",":
            raise self._error("expected a decimal point")
        is_percent = self._next["other"] == "%"
        if shares and (is_percent or not 0 <= number <= 1):
            meant = f"did you mean {number / 100:g}?" if 0 <= number <= 100 else "give a number in between"
            raise SettingError(f"{shares} go from 0 to 1; {meant}")
        return number

    def _takes_word(self, word: str) -> bool:
        is_next = (self._next["word"] or "").lower() == word
        if is_next:
            self._advance()
        return is_next

    def _advance(self) -> None:
        self._next = next(self._tokens)

    def _error(self, expected: str) -> SettingError:
        place = self._next.start(self._next.lastgroup or 0)
        found = f"found {self._text[place:]!r:.30}" if self._text[place:] else "but it ends"
        return SettingError(
            f"cannot read the condition: {expected} at character {place + 1}, {found}; an example: {_EXAMPLE}"
        )


def named_classes(condition: Condition | None) -> tuple[int, ...]:
    """Returns the indices of the classes that a condition names outside of ``not``, without repetitions."""
    return tuple(dict.fromkeys(_named(condition)))


def _named(condition: Condition | None) -> Iterator[int]:
    if isinstance(condition, ScoreIs) or (isinstance(condition, ExplainedIs) and condition.operator == "="):
        yield condition.class_index
    elif isinstance(condition, AllOf | AnyOf):
        for part in condition.parts:
            yield from _named(part)


class ConditionSql:
    """SQL about the rows of ``frames``; collects the values of its parameters.

    Args:
        score: What the classes of the index have.

    Attributes:
        parameters: Value of each parameter by its name.
    """

    def __init__(self, score: ScoreName) -> None:
        self._score = score
        self.parameters: dict[str, Any] = {}

    def condition(self, condition: Condition | None) -> str:
        """Returns the expression that is true where a condition holds; without a condition, everywhere."""
        if condition is None:
            return "true"
        if isinstance(condition, Not):
            return f"NOT ({self.condition(condition.part)})"
        if isinstance(condition, AllOf | AnyOf):
            word = " AND " if isinstance(condition, AllOf) else " OR "
            return word.join(f"({self.condition(part)})" for part in condition.parts)
        if isinstance(condition, ExplainedIs):
            return f"explained_index {condition.operator} {self._bound(condition.class_index)}"
        value = condition.column if isinstance(condition, FigureIs) else self._score_of(condition.class_index)
        # Both in the precision of the columns: 0.9 as a float32 is less than 0.9.
        return f"{value} {condition.operator} {self._bound(condition.number)}::FLOAT"

    def highest_score(self, class_indices: Sequence[int]) -> str:
        """Returns the expression for the highest score among some classes; of none, that of the explained class."""
        if not class_indices:
            return f"explained_{self._score}"
        return f"greatest({', '.join(map(self._score_of, class_indices))})"

    def _score_of(self, class_index: int) -> str:
        name = self._bound(class_index)
        cases = (f"WHEN class_index_{rank} = {name} THEN {self._score}_{rank}" for rank in range(1, TOP_COUNT + 1))
        return f"CASE {' '.join(cases)} ELSE 0::FLOAT END"

    def _bound(self, value: float) -> str:
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"
