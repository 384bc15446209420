"""Charts are made of the answers of the API."""

import tomllib

from readmit.settings import ROOT
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


def test_long_captions_are_shown_whole_in_lines():
    caption = "22 · Discharged/transferred to another rehabilitation facility or unit"
    short = charts.drivers(["Age: 70-79"], [0.3])
    long = charts.drivers([caption], [0.3])
    lines = long.data[0].y[0].split("<br>")
    assert " ".join(lines) == caption
    assert len(lines) > 1
    assert max(map(len, lines)) <= charts.LINE_CHARACTERS
    assert long.layout.height > short.layout.height


def test_scores_are_percentages_and_the_current_one_is_dark():
    bars = charts.scores(["a", "b"], [0.1, 0.2], 1, 0.15).data[0]
    assert bars.x == (10.0, 20.0)
    assert bars.marker.color == (charts.QUIET, charts.LOWERS)


def test_a_score_near_the_threshold_does_not_look_like_it():
    bars = charts.scores(["a", "b", "c"], [0.13196, 0.132, 0.2], 2, 0.132).data[0]
    assert bars.text == ("13.196 %", "13.2 %", "20.0 %")


def luminance(colour):
    channels = []
    for start in (1, 3, 5):
        share = int(colour[start : start + 2], 16) / 255
        if share <= 0.03928:
            channels.append(share / 12.92)
        else:
            channels.append(((share + 0.055) / 1.055) ** 2.4)
    return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]


def contrast(first, second):
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_colours_contrast_with_both_backgrounds():
    config = tomllib.loads((ROOT / "ui/.streamlit/config.toml").read_text())["theme"]
    for theme, colours in (("light", charts.LIGHT), ("dark", charts.DARK)):
        background = config[theme]["backgroundColor"]
        assert contrast(colours.text, background) >= 4.5
        for colour in (charts.RAISES, charts.LOWERS):
            assert contrast(colour, background) >= 3


def test_performance_over_time_stands_over_the_promise():
    metric = {"figure": 0.65, "low": 0.6, "high": 0.7}
    figure = charts.over_time(["2026-02-01", "2026-02-02"], {"2": [None, metric]}, metric, "AUROC")
    assert list(figure.data[0].x) == ["2026-02-02"]
    line, band = figure.layout.shapes
    assert line.y0 == 0.65
    assert (band.y0, band.y1) == (0.6, 0.7)


def test_an_interval_never_has_a_negative_length():
    group = {"auroc": 0.6, "low": 0.61, "high": 0.7}
    bars = charts.intervals(["age: 80-89"], [group], overall=0.65).data[0].error_x
    assert list(bars.arrayminus) == [0.0]
    assert abs(bars.array[0] - 0.1) < 1e-9
