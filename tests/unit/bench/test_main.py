"""`make bench`: figures meet their goals or not, earlier figures stay, an unknown name is an error."""

import json
import sys

import pytest

from bench import __main__ as bench
from bench.figure import CannotMeasure, Figure


@pytest.mark.parametrize(
    ("figure", "goal", "holds"),
    [
        (2.5, "<= 2.5", True),
        (2.6, "<= 2.5", False),
        (0.75, ">= 0.75", True),
        (0.7, ">= 0.75", False),
    ],
)
def test_goal(figure, goal, holds):
    assert Figure("name", figure, "ratio", goal, "").holds is holds


def test_figures_of_other_names_are_kept(tmp_path):
    path = tmp_path / "build" / "bench.json"
    bench.write([Figure("a", 1, "s", "<= 2", "first"), Figure("b", 1, "s", "<= 2", "")], path)
    bench.write([Figure("a", 3, "s", "<= 2", "second")], path)
    entries = {entry["name"]: entry for entry in json.loads(path.read_text())}
    assert entries["a"] == {
        "name": "a",
        "figure": 3,
        "unit": "s",
        "goal": "<= 2",
        "holds": False,
        "detail": "second",
    }
    assert entries["b"]["holds"] is True


def measured():
    return [Figure("z", 1, "s", "<= 2", "")]


def test_a_missing_figure_is_reported_and_the_rest_is_measured():
    from rich.console import Console

    def away():
        raise CannotMeasure("the stack is not up")

    measurements = {("x", "y"): away, ("z",): measured}
    saved = []
    results = bench.run(measurements, Console(quiet=True), saved.extend)
    assert results.figures == saved
    assert [figure.name for figure in saved] == ["z"]
    assert results.missing == {"x": "the stack is not up", "y": "the stack is not up"}
    assert results.broken == []


def test_a_measurement_that_breaks_is_named_and_the_rest_is_measured():
    from rich.console import Console

    def broken():
        raise ZeroDivisionError("division by zero")

    measurements = {("x",): broken, ("z",): measured}
    results = bench.run(measurements, Console(quiet=True), lambda _: None)
    assert [figure.name for figure in results.figures] == ["z"]
    assert results.broken == ["x"]
    assert "division by zero" in results.missing["x"]


def test_names_are_measured_once_and_an_unknown_name_is_an_error(monkeypatch, capsys):
    names = [name for group in bench.all_measurements() for name in group]
    assert len(names) == len(set(names))
    assert {
        "raw_load_vs_copy",
        "dbt_airflow_vs_cli",
        "gate_seconds",
        "up_minutes",
        "api_vs_noop",
    } <= set(names)
    monkeypatch.setattr(sys, "argv", ["bench", "--only", "nothing"])
    assert bench.main() == 1
    assert "no figure nothing" in capsys.readouterr().err
