"""Figures of `make quality`: slices in the order of time, the age of a model, calls of a ward, and
published approaches by the same protocols.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from training.decay import Age, Retraining
from training.model_metrics import Estimate
from training.plots import ACCENT, INK, QUIET, axes_of
from training.published import AS_PUBLISHED
from training.published_report import PublishedResult
from training.rolling_report import ModelFigures, RollingReport
from training.ward_capacity import NetBenefit, OperatingPoint

MARKERS = "osD"
PRIOR = "prior"  # the same score for all: 0.5 on each slice
NAMES = {
    "catboost": "CatBoost",
    "lightgbm": "LightGBM",
    "hist_gradient_boosting": "histogram gradient boosting, inputs only",
    "logistic_raw": "logistic regression, inputs only",
    "forest_after_smote": "random forest\nafter SMOTE",
    "boosting_on_rows": "gradient boosting\non rows",
    "logistic_of_first_stays": "logistic regression\non first stays",
}
Style = tuple[str, str, str]  # marker, colour and label of a figure of a published approach
PUBLISHED = ("D", ACCENT, "published")
BY_THEIRS = ("o", ACCENT, "rebuilt here, by their protocol")
BY_PATIENT = ("s", INK, "by ours: patients apart")
BY_TIME = ("^", INK, "by ours: rolling origin")


def of_report(candidate: str, report: RollingReport) -> dict[str, Figure]:
    """Return the figures by rolling origin by name."""
    return {
        "rolling_slices": slices(report["rolling"]["models"], candidate),
        "rolling_decay": decay(report["decay"]["ages"]),
        "rolling_retraining": retraining(report["decay"]["retraining"]),
        "rolling_capacity": capacity(report["capacity"]["operating_points"]),
        "rolling_net_benefit": net_benefit(report["capacity"]["net_benefit"]),
    }


def slices(models: dict[str, ModelFigures], candidate: str) -> Figure:
    """AUROC of each model on the slice after its cut."""
    figure, axes = axes_of(
        "Trained on what came before, tested on the next slice", "slice, earliest first", "AUROC"
    )
    ranking = {name: model for name, model in models.items() if name != PRIOR}
    for (name, model), marker in zip(ranking.items(), itertools.cycle(MARKERS), strict=False):
        auroc = [row["auroc"] for row in model["slices"]]
        colour = INK if name == candidate else QUIET
        label = NAMES.get(name, name)
        axes.plot(range(1, len(auroc) + 1), auroc, marker=marker, color=colour, label=label)
    axes.set_xticks(range(1, len(auroc) + 1))
    axes.legend(loc="upper left")
    axes.margins(y=0.25)
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


def retraining(trainings: Sequence[Retraining]) -> Figure:
    """AUROC that each training gained over the model before it, on all later stays."""
    figure, axes = axes_of(
        "What each training brought", "cut, earliest first", "AUROC gained on all later stays"
    )
    axes.axhline(0, color=QUIET, linestyle=":")
    table = pd.json_normalize([dict(training) for training in trainings])
    cuts = table["cut"] + 1
    gain = table["gain.figure"]
    errors = [gain - table["gain.low"], table["gain.high"] - gain]
    axes.errorbar(cuts, gain, yerr=np.maximum(0, errors), fmt="o", color=INK, capsize=3)
    axes.set_xticks(cuts)
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


def net_benefit(points: Sequence[NetBenefit]) -> Figure:
    """Net benefit per 1,000 later stays of model, LACE-like rule, everybody and nobody."""
    figure, axes = axes_of(
        "What the model adds to what wards have",
        "a call is worth it from a risk of",
        "net benefit per 1,000 stays",
    )
    table = pd.json_normalize([dict(point) for point in points])
    for name, label, colour, style in (
        ("model", "model", INK, "-"),
        ("lace", "LACE-like rule", ACCENT, "-"),
        ("everybody", "call everybody", QUIET, "--"),
    ):
        benefits = 1000 * table[f"{name}.figure"]
        axes.plot(table["risk"], benefits, color=colour, linestyle=style, marker="o", label=label)
        low = 1000 * table[f"{name}.low"]
        high = 1000 * table[f"{name}.high"]
        axes.fill_between(table["risk"], low, high, color=colour, alpha=0.2)
    axes.axhline(0, color="black", linewidth=1, label="call nobody")
    axes.set_ylim(bottom=-300 * table["model.figure"].max())
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.legend()
    return figure


def published(
    results: Mapping[str, PublishedResult], candidate: str, by_patient: Estimate, by_time: Estimate
) -> Figure:
    """AUROC of published approaches by their protocol and by ours, and of the candidate by ours.

    Args:
        results: by approach.
        candidate: the name of the model here.
        by_patient: its AUROC by folds of patients.
        by_time: its AUROC by rolling origin.
    """
    figure, axes = axes_of("Published approaches by the same protocols", "AUROC", "")
    figure.set_size_inches(8, 4.6)
    for y, result in enumerate(results.values()):
        theirs = result["by_their_protocol"][AS_PUBLISHED]["auroc"]
        if "auroc" in result["published"]:
            _point(axes, result["published"]["auroc"], y + 0.15, PUBLISHED)
        _point(axes, theirs, y + 0.15, BY_THEIRS)
        axes.plot([theirs, result["by_patient"]["figure"]], [y + 0.15, y], color=QUIET)
        _estimate(axes, result["by_patient"], y, BY_PATIENT)
        _estimate(axes, result["rolling_origin"], y - 0.15, BY_TIME)
    _estimate(axes, by_patient, len(results), BY_PATIENT)
    _estimate(axes, by_time, len(results) - 0.15, BY_TIME)
    axes.axvline(0.5, color=QUIET, linestyle=":")
    names = [NAMES.get(name, name) for name in results]
    names.append(f"the model here\n({NAMES.get(candidate, candidate)})")
    axes.set_yticks(range(len(names)), names)
    labelled = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(labelled.values(), labelled.keys(), loc="upper right")
    return figure


def _point(axes: Axes, auroc: float, y: float, style: Style) -> None:
    marker, colour, label = style
    face = "white" if style == PUBLISHED else colour
    axes.plot(auroc, y, marker, color=colour, markerfacecolor=face, label=label)


def _estimate(axes: Axes, estimate: Estimate, y: float, style: Style) -> None:
    axes.plot([estimate["low"], estimate["high"]], [y, y], color=style[1])
    _point(axes, estimate["figure"], y, style)
