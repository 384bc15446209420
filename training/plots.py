"""Figures of a run. Each function returns a matplotlib figure."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from sklearn.metrics import precision_recall_curve, roc_curve

from training.call_list import CapacityPoint
from training.evaluation import Evaluation
from training.model_metrics import Bin

INK = "#12706a"
QUIET = "#9db5b3"
ACCENT = "#c8553d"


def axes_of(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes in the style of all figures."""
    figure = Figure(figsize=(5.6, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e3ecec")
    return figure, axes


def of_evaluation(evaluated: Evaluation) -> dict[str, Figure]:
    """Return the figures of an evaluation by name."""
    y = evaluated.y
    p = evaluated.p
    metrics = evaluated.metrics
    threshold = evaluated.operating_point["threshold"]
    return {
        "roc": roc(y, p, metrics["auroc"]["figure"]),
        "precision_recall": precision_recall(y, p, metrics["average_precision"]["figure"]),
        "calibration": calibration(evaluated.calibration, metrics["ece"]["figure"]),
        "decision_curve": decision(evaluated.decision_curve, threshold),
        "capacity": capacity(evaluated.capacity),
    }


def roc(y: ArrayLike, p: ArrayLike, auroc: float) -> Figure:
    """Sensitivity against false positive rate."""
    figure, axes = axes_of(
        f"ROC on validation, AUROC {auroc:.3f}", "false positive rate", "sensitivity"
    )
    false, true, _ = roc_curve(y, p)
    axes.plot([0, 1], [0, 1], color=QUIET, linestyle=":")
    axes.plot(false, true, color=INK)
    return figure


def precision_recall(y: ArrayLike, p: ArrayLike, average_precision: float) -> Figure:
    """Precision against sensitivity, with the prevalence as a line."""
    title = f"Precision and recall on validation, AP {average_precision:.3f}"
    figure, axes = axes_of(title, "sensitivity (recall)", "precision")
    precision, recall, _ = precision_recall_curve(y, p)
    axes.axhline(float(np.mean(np.asarray(y))), color=QUIET, linestyle=":", label="prevalence")
    axes.plot(recall[1:], precision[1:], color=INK)
    axes.set_ylim(0, min(1.0, float(precision[recall > 0.01].max()) * 1.1))
    axes.legend()
    return figure


def calibration(bins: Sequence[Bin], ece: float) -> Figure:
    """Predicted against observed risk in ten bins of equal size."""
    figure, axes = axes_of(
        f"Calibration on validation, ECE {ece:.4f}", "predicted risk", "observed rate"
    )
    predicted = [row["predicted"] for row in bins]
    observed = [row["observed"] for row in bins]
    top = max(predicted + observed) * 1.05
    axes.plot([0, top], [0, top], color=QUIET, linestyle=":")
    axes.plot(predicted, observed, marker="o", color=INK)
    return figure


def decision(curve: Sequence[dict[str, float]], threshold: float) -> Figure:
    """Net benefit of calling by the model, everybody and nobody (Vickers and Elkin 2006)."""
    figure, axes = axes_of("Decision curve on validation", "threshold", "net benefit per stay")
    table = pd.DataFrame(curve)
    x = table["threshold"]
    axes.plot(x, table["net_benefit"], color=INK, label="call by the model")
    axes.plot(x, table["call_everybody"], color=ACCENT, label="call everybody")
    axes.axhline(0, color=QUIET, label="call nobody")
    axes.axvline(threshold, color="black", linestyle=":", label=f"chosen: {threshold:.3f}")
    axes.set_ylim(-0.02, table["net_benefit"].max() * 1.2 + 0.005)
    axes.legend()
    return figure


def capacity(points: Sequence[CapacityPoint]) -> Figure:
    """Readmissions found against the calls that a ward can make, with the interval."""
    figure, axes = axes_of(
        "A ward that can call some of its patients", "calls per 100 patients", "readmissions found"
    )
    table = pd.json_normalize([dict(point) for point in points])
    x = table["calls_per_100"]
    axes.plot([0, x.max()], [0, x.max() / 100], color=QUIET, linestyle=":", label="by chance")
    axes.plot(x, table["readmissions_found.figure"], color=INK, label="by the model")
    axes.fill_between(
        x, table["readmissions_found.low"], table["readmissions_found.high"], color=INK, alpha=0.2
    )
    axes.legend()
    return figure


def learning_curve(points: Sequence[dict[str, float]]) -> Figure:
    """AUROC on validation against the number of training rows, with intervals."""
    figure, axes = axes_of("What more data brought", "training rows", "AUROC on validation")
    table = pd.DataFrame(points)
    errors = [table["auroc"] - table["low"], table["high"] - table["auroc"]]
    axes.errorbar(
        table["n_rows"],
        table["auroc"],
        yerr=np.maximum(0, errors),
        color=INK,
        marker="o",
        capsize=3,
    )
    return figure
