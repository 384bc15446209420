"""Charts: data in, a plotly figure out.

Colours differ in lightness too, so that charts can be read without colour vision.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go

from readmit.client.answer_types import CalibrationBin, DecisionPoint, LearningPoint, SliceQuality

RAISES = "#b4532a"
LOWERS = "#0b6e6e"
QUIET = "#9db5b3"
INK = "#15302f"
GRID = "#e3ecec"
CLEAR = "rgba(0,0,0,0)"
CONFIG = {"displayModeBar": False, "responsive": True}
SHORT_CAPTION = 20
LONG_CAPTION = 34


class AxisTitles(NamedTuple):
    """The titles of a chart's axes."""

    x: str
    y: str


def drivers(names: Sequence[str], effects: Sequence[float]) -> go.Figure:
    """Return bars of the effects, the first one on top."""
    colours = []
    texts = []
    for effect in effects:
        colours.append(RAISES if effect > 0 else LOWERS)
        texts.append(f"{effect:+.2f}")
    bars = go.Bar(
        y=[_shortened(name, LONG_CAPTION) for name in names],
        x=list(effects),
        orientation="h",
        marker_color=colours,
        text=texts,
        textposition="outside",
        cliponaxis=False,
        hoverinfo="y+x",
    )
    figure = go.Figure(bars)
    width = 1.3 * max(map(abs, effects), default=1.0)
    left = -width if min(effects, default=0) < 0 else 0
    figure.update_xaxes(range=[left, width])
    figure.update_yaxes(autorange="reversed")  # the first on top
    _style(figure, 60 + 32 * len(names))
    figure.update_layout(bargap=0.35, margin={"r": 52})  # the longest bar has its figure outside
    return figure


def scores(
    captions: Sequence[str], probabilities: Sequence[float], current: int, threshold: float
) -> go.Figure:
    """Return the score for each value of one field, with the threshold as a line.

    Args:
        captions: of the values.
        probabilities: the score of each value, 0 to 1.
        current: the index of the value that stands in the form; its bar is dark.
        threshold: the decision threshold, 0 to 1.
    """
    colours = [QUIET] * len(captions)
    colours[current] = INK
    bars = go.Bar(
        x=[_shortened(caption, SHORT_CAPTION) for caption in captions],
        y=[100 * probability for probability in probabilities],
        marker_color=colours,
        hovertemplate="%{x}: %{y:.1f} %<extra></extra>",
    )
    figure = go.Figure(bars)
    figure.add_hline(y=100 * threshold, line={"color": RAISES, "dash": "dot", "width": 2})
    figure.update_xaxes(type="category")
    figure.update_yaxes(ticksuffix=" %", rangemode="tozero")
    _style(figure, 260)
    return figure


def calibration(bins: Sequence[CalibrationBin], titles: AxisTitles) -> go.Figure:
    """Return predicted risk against observed share, beside the diagonal of a perfect model."""
    table = pd.DataFrame(bins)
    top = max(table["predicted"].max(), table["observed"].max(), 0.01) * 1.05
    diagonal = go.Scatter(
        x=[0, top], y=[0, top], mode="lines", line={"color": QUIET, "dash": "dot"}
    )
    figure = go.Figure(diagonal)
    figure.add_scatter(
        x=table["predicted"],
        y=table["observed"],
        mode="lines+markers",
        line={"color": LOWERS, "width": 2},
        marker={"size": 8},
    )
    figure.update_xaxes(title=titles.x, tickformat=".0%")
    figure.update_yaxes(title=titles.y, tickformat=".0%")
    _style(figure, 320)
    return figure


def decision(
    points: Sequence[DecisionPoint],
    threshold: float,
    titles: AxisTitles,
    by_model: str,
    for_everybody: str,
) -> go.Figure:
    """Return net benefit by threshold (Vickers & Elkin 2006).

    Args:
        points: net benefit of following up patients at or above each threshold, and all patients.
        threshold: the one in use, drawn as a line.
        titles: of the axes.
        by_model: name of the model's curve.
        for_everybody: name of the curve of following up all patients.
    """
    table = pd.DataFrame(points)
    figure = go.Figure()
    figure.add_scatter(
        x=table["threshold"],
        y=table["call_everybody"],
        mode="lines",
        name=for_everybody,
        line={"color": QUIET, "dash": "dash"},
    )
    figure.add_scatter(
        x=table["threshold"],
        y=table["net_benefit"],
        mode="lines",
        name=by_model,
        line={"color": LOWERS, "width": 2},
    )
    figure.add_hline(y=0, line={"color": QUIET, "width": 1})
    figure.add_vline(x=threshold, line={"color": RAISES, "dash": "dot", "width": 2})
    top = max(table["net_benefit"].max(), 0.001)
    figure.update_xaxes(title=titles.x, tickformat=".0%")
    figure.update_yaxes(title=titles.y, range=[-0.25 * top, 1.15 * top])
    _style(figure, 350)
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    figure.update_layout(showlegend=True, legend=legend, margin={"t": 48})
    return figure


def learning(points: Sequence[LearningPoint], titles: AxisTitles) -> go.Figure:
    """Return AUROC by the number of training rows."""
    table = pd.DataFrame(points)
    figure = go.Figure()
    figure.add_scatter(
        x=table["n_rows"],
        y=table["auroc"],
        mode="lines+markers",
        line={"color": LOWERS, "width": 2},
    )
    figure.update_xaxes(title=titles.x)
    figure.update_yaxes(title=titles.y)
    _style(figure, 320)
    return figure


def intervals(
    names: Sequence[str], slices: Sequence[SliceQuality], overall: float | None
) -> go.Figure:
    """Return AUROC with its interval for each group of patients, the first on top.

    Args:
        names: of the groups.
        slices: their quality.
        overall: AUROC of all patients, drawn as a line.
    """
    table = pd.DataFrame(slices)
    points = go.Scatter(
        y=[_shortened(name, LONG_CAPTION) for name in names],
        x=table["auroc"],
        mode="markers",
        marker={"size": 10, "color": LOWERS},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": (table["high"] - table["auroc"]).clip(lower=0),
            "arrayminus": (table["auroc"] - table["low"]).clip(lower=0),
            "color": QUIET,
            "thickness": 3,
            "width": 0,
        },
        hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    )
    figure = go.Figure(points)
    if overall is not None:
        figure.add_vline(x=overall, line={"color": RAISES, "dash": "dot", "width": 2})
    figure.update_yaxes(autorange="reversed")
    _style(figure, 60 + 28 * len(names))
    return figure


def rows(figure: go.Figure) -> list[dict[str, str]]:
    """Return the last curve, the model's, as a table for those who cannot see a chart."""
    x_title = figure.layout.xaxis.title.text
    y_title = figure.layout.yaxis.title.text
    curve = figure.data[-1]
    table = []
    for x, y in zip(curve.x, curve.y, strict=True):
        table.append({x_title: f"{x:g}", y_title: f"{y:.4f}"})
    return table


def _shortened(name: str, limit: int) -> str:
    if len(name) <= limit:
        return name
    return name[: limit - 1] + "…"


def _style(figure: go.Figure, height: int) -> None:
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 12, "t": 8, "b": 8},
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        font={"color": INK, "size": 13},
        showlegend=False,
        dragmode=False,
    )
    figure.update_xaxes(gridcolor=GRID, zerolinecolor=QUIET, automargin=True)
    figure.update_yaxes(gridcolor=GRID, zerolinecolor=QUIET, automargin=True)
