"""Charts: data in, a plotly figure out. Colours differ in lightness too, so that they read without colour vision."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd  # noqa: F401 (whole before plotly looks: it takes one that another session is still importing)
import plotly.graph_objects as go

RAISES = "#b4532a"
LOWERS = "#0b6e6e"
QUIET = "#9db5b3"
INK = "#15302f"
CONFIG = {"displayModeBar": False, "responsive": True}


def _framed(figure: go.Figure, height: int, bargap: float | None = None) -> go.Figure:
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 12, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK, "size": 13},
        showlegend=False,
        dragmode=False,
        bargap=bargap,
    )
    figure.update_xaxes(gridcolor="#e3ecec", zerolinecolor="#9db5b3", automargin=True)
    figure.update_yaxes(gridcolor="#e3ecec", zerolinecolor="#9db5b3", automargin=True)
    return figure


def drivers(names: Sequence[str], effects: Sequence[float]) -> go.Figure:
    """Return bars of the effects, the strongest on top."""
    bars = go.Bar(
        y=[_short(name) for name in reversed(names)],
        x=list(reversed(effects)),
        orientation="h",
        marker_color=[RAISES if effect > 0 else LOWERS for effect in reversed(effects)],
        text=[f"{effect:+.2f}" for effect in reversed(effects)],
        textposition="outside",
        cliponaxis=False,
        hoverinfo="y+x",
    )
    figure = go.Figure(bars)
    room = 1.3 * max((abs(effect) for effect in effects), default=1.0)
    figure.update_xaxes(range=[-room if min(effects, default=0) < 0 else 0, room])
    framed = _framed(figure, 60 + 32 * len(names), bargap=0.35)
    return framed.update_layout(margin={"r": 52})  # for the figure of the longest bar


def _short(name: str, limit: int = 34) -> str:
    return name if len(name) <= limit else name[: limit - 1] + "…"


def scores(
    captions: Sequence[str], probabilities: Sequence[float], current: int, threshold: float
) -> go.Figure:
    """Return the score for each value of one field, the current one marked, with the threshold as a line."""
    figure = go.Figure(
        go.Bar(
            x=[_short(caption, 20) for caption in captions],
            y=[100 * probability for probability in probabilities],
            marker_color=[INK if index == current else QUIET for index in range(len(captions))],
            hovertemplate="%{x}: %{y:.1f} %<extra></extra>",
        )
    )
    figure.add_hline(y=100 * threshold, line={"color": RAISES, "dash": "dot", "width": 2})
    figure.update_xaxes(type="category")
    figure.update_yaxes(ticksuffix=" %", rangemode="tozero")
    return _framed(figure, 260)


def calibration(points: Sequence[Mapping[str, Any]], predicted: str, observed: str) -> go.Figure:
    """Return predicted risk against observed share, beside the diagonal of a perfect model."""
    x, y = _column(points, "predicted"), _column(points, "observed")
    top = max([*x, *y, 0.01]) * 1.05
    figure = go.Figure(
        go.Scatter(x=[0, top], y=[0, top], mode="lines", line={"color": QUIET, "dash": "dot"})
    )
    figure.add_scatter(
        x=x, y=y, mode="lines+markers", line={"color": LOWERS, "width": 2}, marker={"size": 8}
    )
    figure.update_xaxes(title=predicted, tickformat=".0%")
    figure.update_yaxes(title=observed, tickformat=".0%")
    return _framed(figure, 320)


def decision(
    points: Sequence[Mapping[str, float]], threshold: float, names: tuple[str, str, str, str]
) -> go.Figure:
    """Return net benefit by threshold: of acting on the model, on everybody, on nobody (Vickers & Elkin 2006).

    `names`: of the axes' titles (threshold, net benefit) and the two curves (model, everybody).
    """
    x, model, everybody = (
        _column(points, name) for name in ("threshold", "net_benefit", "call_everybody")
    )
    figure = go.Figure(
        go.Scatter(
            x=x, y=everybody, mode="lines", name=names[3], line={"color": QUIET, "dash": "dash"}
        )
    )
    figure.add_scatter(
        x=x, y=model, mode="lines", name=names[2], line={"color": LOWERS, "width": 2}
    )
    figure.add_hline(y=0, line={"color": QUIET, "width": 1})
    figure.add_vline(x=threshold, line={"color": RAISES, "dash": "dot", "width": 2})
    top = max([*model, 0.001])
    figure.update_xaxes(title=names[0], tickformat=".0%")
    figure.update_yaxes(title=names[1], range=[-0.25 * top, 1.15 * top])
    _framed(figure, 350)
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    return figure.update_layout(showlegend=True, legend=legend, margin={"t": 48})


def rows(figure: go.Figure) -> list[dict[str, str]]:
    """Return the model's curve, which is drawn last, as rows of a table: for those who cannot see a chart."""
    names = (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text)
    points = zip(figure.data[-1].x, figure.data[-1].y, strict=True)
    return [dict(zip(names, (f"{x:g}", f"{y:.4f}"), strict=True)) for x, y in points]


def line(points: Sequence[Mapping[str, Any]], x: str, y: str, names: tuple[str, str]) -> go.Figure:
    """Return one curve through points whose coordinates stand under the keys `x` and `y`; `names`: of the axes."""
    curve = go.Scatter(
        x=_column(points, x),
        y=_column(points, y),
        mode="lines+markers",
        line={"color": LOWERS, "width": 2},
    )
    figure = go.Figure(curve)
    figure.update_xaxes(title=names[0])
    figure.update_yaxes(title=names[1])
    return _framed(figure, 320)


def intervals(
    names: Sequence[str],
    figures: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    overall: float | None = None,
) -> go.Figure:
    """Return points with their intervals, one row each, the first on top; `overall` as a line."""
    order = list(range(len(names)))[::-1]
    points = go.Scatter(
        y=[_short(names[i]) for i in order],
        x=[figures[i] for i in order],
        mode="markers",
        marker={"size": 10, "color": LOWERS},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, high[i] - figures[i]) for i in order],
            "arrayminus": [max(0.0, figures[i] - low[i]) for i in order],
            "color": QUIET,
            "thickness": 3,
            "width": 0,
        },
        hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    )
    figure = go.Figure(points)
    if overall is not None:
        figure.add_vline(x=overall, line={"color": RAISES, "dash": "dot", "width": 2})
    return _framed(figure, 60 + 28 * len(names))


def _column(points: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [float(point[name]) for point in points]
