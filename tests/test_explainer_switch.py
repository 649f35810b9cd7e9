"""Explainers that are loaded beside the one in use, and replace it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from conftest import wait_until
from test_pipeline import MeanExplainer

from live_cam.errors import ModelError
from live_cam.gradmodel.cam_methods import CAM_METHODS
from live_cam.pipeline.pipeline import Pipeline
from live_cam.viewers.explainer_switch import ExplainerSwitch, MethodAndLayer, next_in

FIRST, SECOND, THIRD = list(CAM_METHODS)[:3]
LAYERS = ("early", "middle", "late")


class ChosenExplainer(MeanExplainer):
    layer_choices = LAYERS

    def __init__(self, choice: MethodAndLayer) -> None:
        super().__init__()
        self.method, self.layer = choice.method, choice.layer


class Switching:
    """A switch that starts with the first method and the middle layer.

    Attributes:
        loaded: The choices that were loaded, in order.
    """

    def __init__(self, before_load: Callable[[MethodAndLayer], object] = lambda choice: None) -> None:
        self.loaded: list[MethodAndLayer] = []
        self.pipeline = Pipeline(lambda frame: MeanExplainer())
        self.pipeline.use(ChosenExplainer(MethodAndLayer(FIRST, "middle")))
        self._before_load = before_load
        self.switch = ExplainerSwitch(self.pipeline, self._load)

    def _load(self, choice: MethodAndLayer) -> ChosenExplainer:
        self.loaded.append(choice)
        self._before_load(choice)
        return ChosenExplainer(choice)

    def message(self) -> str:
        """Waits until a choice was installed or has failed; returns what the user is told."""
        return wait_until(self.switch.poll, 10)

    @property
    def in_use(self) -> MethodAndLayer:
        return MethodAndLayer(self.pipeline.explainer.method, self.pipeline.explainer.layer)


def test_the_next_method_is_loaded_and_then_used():
    switching = Switching()
    assert switching.switch.step_method(1) == f"{SECOND} · middle"
    assert switching.switch.pending == MethodAndLayer(SECOND, "middle")
    assert switching.in_use.method == FIRST
    assert switching.message() == f"{SECOND} · middle"
    assert switching.in_use == MethodAndLayer(SECOND, "middle")
    assert switching.switch.pending is None
    assert switching.switch.poll() is None


def test_stepping_through_a_list_loads_only_the_last_entry():
    switching = Switching()
    for _ in range(2):
        switching.switch.step_method(1)
        switching.switch.poll()
    assert switching.message() == f"{THIRD} · middle"
    assert switching.loaded == [MethodAndLayer(THIRD, "middle")]


def test_a_choice_that_changes_while_it_is_loaded_is_not_installed():
    loads, may_end = threading.Event(), threading.Event()

    def hang(choice: MethodAndLayer) -> None:
        if choice.method == SECOND:
            loads.set()
            may_end.wait(20)

    switching = Switching(hang)
    switching.switch.step_method(1)
    wait_until(lambda: switching.switch.poll() or loads.is_set())
    switching.switch.step_method(1)
    assert switching.switch.poll() is None
    may_end.set()
    assert switching.message() == f"{THIRD} · middle"
    assert [choice.method for choice in switching.loaded] == [SECOND, THIRD]
    assert switching.in_use.method == THIRD


def test_going_back_to_the_choice_in_use_loads_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("live_cam.viewers.explainer_switch._SETTLING_SECONDS", 0.0)
    switching = Switching()
    switching.switch.step_method(1)
    switching.switch.step_method(-1)
    assert switching.switch.pending is None
    assert switching.switch.poll() is None
    assert switching.loaded == []


def test_layers_are_stepped_through_from_the_first_to_the_last():
    switching = Switching()
    assert switching.switch.step_layer(1) == f"{FIRST} · late"
    switching.message()
    assert switching.switch.step_layer(1) == "late is the last layer to choose"
    assert switching.switch.pending is None
    assert [switching.switch.step_layer(-1) for _ in range(3)] == [
        f"{FIRST} · middle",
        f"{FIRST} · early",
        "early is the first layer to choose",
    ]
    switching.message()
    assert switching.in_use == MethodAndLayer(FIRST, "early")


@pytest.mark.parametrize(("step", "layer"), [(1, "early"), (-1, "late")])
def test_from_several_layers_together_a_step_leads_to_the_first_or_the_last(step: int, layer: str):
    switching = Switching()
    switching.pipeline.use(ChosenExplainer(MethodAndLayer(FIRST, "early,late")))
    assert switching.switch.step_layer(step) == f"{FIRST} · {layer}"


def test_a_model_without_layers_to_choose_does_nothing():
    switching = Switching()
    switching.pipeline.use(MeanExplainer())
    assert switching.switch.step_layer(1) == ""
    assert switching.switch.pending is None


def test_an_error_is_one_line_and_the_next_step_continues_from_it():
    def fail(choice: MethodAndLayer) -> None:
        if choice.method == SECOND:
            raise ModelError("no layer of this model gives a map")
        if choice.method == THIRD:
            raise ValueError("first line\nsecond line")

    switching = Switching(fail)
    switching.switch.step_method(1)
    assert switching.message() == "no layer of this model gives a map"
    assert switching.switch.has_failed
    assert switching.in_use.method == FIRST
    switching.switch.step_method(1)
    assert not switching.switch.has_failed
    assert switching.message() == f"cannot load {THIRD} · middle: ValueError: first line"
    switching.switch.step_method(1)
    assert switching.message() == f"{list(CAM_METHODS)[3]} · middle"
    assert not switching.switch.has_failed


def test_nothing_waits_for_a_load():
    may_end = threading.Event()
    switching = Switching(lambda choice: may_end.wait(20))
    switching.switch.step_method(1)
    wait_until(lambda: switching.switch.poll() or switching.loaded)
    for _ in range(100):
        assert switching.switch.poll() is None
    assert switching.switch.pending == MethodAndLayer(SECOND, "middle")
    may_end.set()
    switching.message()


def test_next_in_starts_over_at_the_end_and_with_an_unknown_name():
    assert [next_in("abc", name, 1) for name in "abcx"] == ["b", "c", "a", "a"]
    assert [next_in("abc", name, -1) for name in "abcx"] == ["c", "a", "b", "a"]
