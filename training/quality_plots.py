"""Figures of `make quality`: slices in the order of time, the age of a model, calls of a ward."""

import itertools
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from training.decay import Age
from training.plots import ACCENT, INK, QUIET, axes_of
from training.rolling_report import ModelFigures, RollingReport
from training.ward_capacity import OperatingPoint

MARKERS = "os^D"


def of_report(candidate: str, report: RollingReport) -> dict[str, Figure]:
    """Return the figures of a measurement by name."""
    return {
        "rolling_slices": slices(report["rolling"]["models"], candidate),
        "rolling_decay": decay(report["decay"]["ages"]),
        "rolling_capacity": capacity(report["capacity"]["operating_points"]),
    }


def slices(models: dict[str, ModelFigures], candidate: str) -> Figure:
    """AUROC of each model on the slice after its cut."""
    figure, axes = axes_of(
        "Trained on what came before, tested on the next slice", "slice, earliest first", "AUROC"
    )
    for (name, model), marker in zip(models.items(), itertools.cycle(MARKERS), strict=False):
        auroc = [row["auroc"] for row in model["slices"]]
        colour = INK if name == candidate else QUIET
        axes.plot(range(1, len(auroc) + 1), auroc, marker=marker, color=colour, label=name)
    axes.set_xticks(range(1, len(auroc) + 1))
    axes.legend(loc="center")
    return figure


def decay(ages: Sequence[Age]) -> Figure:
    """AUROC that a model has lost against a retrained one, by its age, with the interval."""
    figure, axes = axes_of("What an older model loses", "age in slices", "AUROC lost")
    table = pd.json_normalize([dict(age) for age in ages])
    axes.axhline(0, color=QUIET, linestyle=":")
    axes.plot(table["age"], table["auroc_lost.figure"], marker="o", color=INK)
    axes.fill_between(
        table["age"], table["auroc_lost.low"], table["auroc_lost.high"], color=INK, alpha=0.2
    )
    return figure


def capacity(points: Sequence[OperatingPoint]) -> Figure:
    """Readmissions found on later slices against calls, beside the LACE-like rule."""
    figure, axes = axes_of(
        "A ward that can call some of its patients",
        "share of patients that can be called",
        "share of readmissions found",
    )
    table = pd.json_normalize([dict(point) for point in points])
    for name, label, colour in (("found", "model", INK), ("lace_found", "LACE-like rule", ACCENT)):
        axes.plot(table["share"], table[f"{name}.figure"], marker="o", color=colour, label=label)
        low, high = table[f"{name}.low"], table[f"{name}.high"]
        axes.fill_between(table["share"], low, high, color=colour, alpha=0.2)
    axes.plot([0, 0.5], [0, 0.5], color=QUIET, linestyle=":", label="by chance")
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.legend()
    return figure
