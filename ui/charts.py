"""Charts: data in, a plotly figure out.

The colours of data can be told apart from a light and from a dark page (WCAG 1.4.11); signs, dashes
and words say the same, so that charts can be read without colour vision. `in_theme` gives a figure
the colours of text and grid.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go

from readmit.client.answer_types import (
    CalibrationBin,
    DecisionPoint,
    LearningPoint,
    MetricInterval,
    SliceQuality,
)
from ui import wording

RAISES = "#c4622f"
LOWERS = "#128480"
QUIET = "#8ba6a3"
BAND = "rgba(18, 132, 128, 0.18)"
CLEAR = "rgba(0,0,0,0)"
CONFIG = {"displayModeBar": False, "responsive": True}
LINE_CHARACTERS = 22  # of a caption; more would leave no room for bars on a phone
LINE_PIXELS = 17


class Theme(NamedTuple):
    """The colours that depend on the page's background."""

    text: str
    grid: str


LIGHT = Theme("#15302f", "#dfe9e8")
DARK = Theme("#e4efee", "#2c4040")


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
    captions = list(map(_in_lines, names))
    bars = go.Bar(
        y=captions,
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
    _style(figure, _height(captions))
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
    colours[current] = LOWERS
    names = list(map(_in_lines, captions))
    percents = []
    texts = []
    for probability in probabilities:
        percents.append(100 * probability)
        texts.append(wording.percent_apart(probability, threshold))
    bars = go.Bar(
        y=names,
        x=percents,
        orientation="h",
        marker_color=colours,
        text=texts,
        textposition="outside",
        cliponaxis=False,
        hoverinfo="y+x",
    )
    figure = go.Figure(bars)
    figure.add_vline(x=100 * threshold, line={"color": RAISES, "dash": "dot", "width": 2})
    figure.update_yaxes(type="category", autorange="reversed")
    figure.update_xaxes(ticksuffix=" %", rangemode="tozero")
    _style(figure, _height(names))
    figure.update_layout(bargap=0.35, margin={"r": 52})
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
    captions = list(map(_in_lines, names))
    points = go.Scatter(
        y=captions,
        x=table["auroc"],
        mode="markers",
        marker={"size": 10, "color": LOWERS},
        error_x=_error(table["auroc"], table["low"], table["high"]),
        hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    )
    figure = go.Figure(points)
    if overall is not None:
        figure.add_vline(x=overall, line={"color": RAISES, "dash": "dot", "width": 2})
    figure.update_yaxes(autorange="reversed")
    _style(figure, _height(captions))
    return figure


def counts(names: Sequence[str], numbers: Sequence[int], texts: Sequence[str]) -> go.Figure:
    """Return a bar for each number, with its text; the first on top."""
    captions = list(map(_in_lines, names))
    bars = go.Bar(
        y=captions,
        x=list(numbers),
        orientation="h",
        marker_color=LOWERS,
        text=list(texts),
        textposition="outside",
        cliponaxis=False,
        hoverinfo="y+text",
    )
    figure = go.Figure(bars)
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(visible=False, rangemode="tozero")
    _style(figure, _height(captions))
    figure.update_layout(bargap=0.35, margin={"r": 72})
    return figure


class Share(NamedTuple):
    """A share with its 95 % interval."""

    figure: float
    low: float
    high: float


def rates(names: Sequence[str], shares: Sequence[Share], overall: float, title: str) -> go.Figure:
    """Return a share by batch, in the order of publication, with that of all batches as a line."""
    table = pd.DataFrame(shares, columns=Share._fields)
    points = go.Scatter(
        x=list(range(1, len(names) + 1)),
        y=table["figure"],
        text=list(names),
        mode="lines+markers",
        line={"color": LOWERS, "width": 2},
        marker={"size": 8},
        error_y=_error(table["figure"], table["low"], table["high"]),
        hovertemplate="%{text}: %{y:.1%}<extra></extra>",
    )
    figure = go.Figure(points)
    figure.add_hline(y=overall, line={"color": RAISES, "dash": "dot", "width": 2})
    figure.update_xaxes(title=title, dtick=max(1, len(names) // 12))
    figure.update_yaxes(tickformat=".1%")
    _style(figure, 280)
    return figure


def over_time(
    days: Sequence[str],
    metrics: Mapping[str, Sequence[MetricInterval | None]],
    promise: MetricInterval | float | None,
    title: str,
) -> go.Figure:
    """Return a metric by day, a line for each version, over the band of what was promised.

    Args:
        days: ISO days of the reports.
        metrics: by the name of the version, the metric on each day; None where there is none.
        promise: the metric that the version in service had on unseen patients.
        title: the name of the metric.
    """
    figure = go.Figure()
    for name, line in metrics.items():
        table = pd.DataFrame({"day": days, "metric": line}).dropna()
        bounds = pd.json_normalize(table["metric"])
        figure.add_scatter(
            x=table["day"],
            y=bounds["figure"],
            name=name,
            mode="lines+markers",
            marker={"size": 8},
            error_y=_error(bounds["figure"], bounds["low"], bounds["high"]),
        )
    figure.update_layout(colorway=[LOWERS, RAISES, QUIET])
    if isinstance(promise, Mapping):
        figure.add_hline(y=promise["figure"], line={"color": RAISES, "dash": "dot", "width": 2})
        if promise["low"] is not None and promise["high"] is not None:
            figure.add_hrect(y0=promise["low"], y1=promise["high"], fillcolor=BAND, line_width=0)
    elif promise is not None:
        figure.add_hline(y=promise, line={"color": RAISES, "dash": "dot", "width": 2})
    figure.update_yaxes(title=title)
    _style(figure, 320)
    figure.update_layout(
        showlegend=True, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"}
    )
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


def in_theme(figure: go.Figure, theme: Theme) -> go.Figure:
    """Return the figure with the colours of a theme."""
    figure.update_layout(font_color=theme.text)
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(gridcolor=theme.grid, tickfont_color=theme.text, title_font_color=theme.text)
    return figure


def _error(figures: pd.Series, low: pd.Series, high: pd.Series) -> dict[str, object]:
    """Return the bars of the intervals."""
    return {
        "type": "data",
        "symmetric": False,
        "array": (high - figures).clip(lower=0),
        "arrayminus": (figures - low).clip(lower=0),
        "color": QUIET,
        "thickness": 3,
        "width": 0,
    }


def _in_lines(name: str) -> str:
    return "<br>".join(textwrap.wrap(name, LINE_CHARACTERS)) or name


def _height(captions: Sequence[str]) -> int:
    """Return the height of a chart whose captions stand below each other."""
    n_breaks = "".join(captions).count("<br>")
    return 60 + 32 * len(captions) + LINE_PIXELS * n_breaks


def _style(figure: go.Figure, height: int) -> None:
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 12, "t": 8, "b": 8},
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        font={"size": 13},
        showlegend=False,
        dragmode=False,
    )
    figure.update_xaxes(zerolinecolor=QUIET, automargin=True)
    figure.update_yaxes(zerolinecolor=QUIET, automargin=True)
