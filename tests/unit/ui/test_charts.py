"""Charts are made of what the API answers."""

from ui import charts
from ui.charts import AxisTitles


def test_a_curve_can_be_read_as_a_table():
    curve = charts.calibration([{"predicted": 0.1, "observed": 0.2}], AxisTitles("x", "y"))
    assert len(curve.data) == 2
    assert charts.rows(curve) == [{"x": "0.1", "y": "0.2000"}]
    learned = charts.learning([{"n_rows": 1000, "auroc": 0.6}], AxisTitles("x", "y"))
    assert charts.rows(learned) == [{"x": "1000", "y": "0.6000"}]
    point = {"threshold": 0.1, "net_benefit": 0.02, "call_everybody": 0.01}
    decided = charts.decision(
        [point], 0.1, AxisTitles("x", "y"), by_model="model", for_everybody="all"
    )
    assert charts.rows(decided) == [{"x": "0.1", "y": "0.0200"}]


def test_long_captions_are_cut():
    assert charts.drivers(["a" * 60], [0.3]).data[0].y[0].endswith("…")


def test_scores_are_percentages_and_the_current_one_is_dark():
    bars = charts.scores(["a", "b"], [0.1, 0.2], 1, 0.15).data[0]
    assert bars.y == (10.0, 20.0)
    assert bars.marker.color == (charts.QUIET, charts.INK)


def test_an_interval_never_has_a_negative_length():
    group = {"auroc": 0.6, "low": 0.61, "high": 0.7}
    bars = charts.intervals(["age: 80-89"], [group], overall=0.65).data[0].error_x
    assert list(bars.arrayminus) == [0.0]
    assert abs(bars.array[0] - 0.1) < 1e-9
