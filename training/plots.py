"""Figures of a run. Each function returns a matplotlib figure; who logs it closes it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from sklearn.metrics import precision_recall_curve, roc_curve

from training.evaluation import Evaluation
from training.model_metrics import Bin

INK, QUIET, ACCENT = "#12706a", "#9db5b3", "#c8553d"


def _axes(title: str, x: str, y: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(5.6, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e3ecec")
    return figure, axes


def of_evaluation(evaluated: Evaluation) -> dict[str, Figure]:
    """Return the figures of an evaluation by name."""
    metrics = {name: figure["figure"] for name, figure in evaluated.metrics.items()}
    return {
        "roc": roc(evaluated.y, evaluated.p, metrics["auroc"]),
        "precision_recall": precision_recall(
            evaluated.y, evaluated.p, metrics["average_precision"]
        ),
        "calibration": calibration(evaluated.calibration, metrics["ece"]),
        "decision_curve": decision(
            evaluated.decision_curve, evaluated.operating_point["threshold"]
        ),
    }


def roc(y: ArrayLike, p: ArrayLike, auroc: float) -> Figure:
    """Sensitivity against false alarms."""
    figure, axes = _axes(
        f"ROC on validation, AUROC {auroc:.3f}", "false positive rate", "sensitivity"
    )
    false, true, _ = roc_curve(y, p)
    axes.plot([0, 1], [0, 1], color=QUIET, linestyle=":")
    axes.plot(false, true, color=INK)
    return figure


def precision_recall(y: ArrayLike, p: ArrayLike, average_precision: float) -> Figure:
    """Precision against sensitivity, beside the prevalence."""
    title = f"Precision and recall on validation, AP {average_precision:.3f}"
    figure, axes = _axes(title, "sensitivity (recall)", "precision")
    precision, recall, _ = precision_recall_curve(y, p)
    axes.axhline(float(np.mean(np.asarray(y))), color=QUIET, linestyle=":", label="prevalence")
    axes.plot(recall[1:], precision[1:], color=INK)
    axes.set_ylim(0, min(1.0, float(precision[recall > 0.01].max()) * 1.1))
    axes.legend()
    return figure


def calibration(table: Sequence[Bin], ece: float) -> Figure:
    """Predicted against observed risk in ten bins of equal size."""
    figure, axes = _axes(
        f"Calibration on validation, ECE {ece:.4f}", "predicted risk", "observed rate"
    )
    predicted, observed = [row["predicted"] for row in table], [row["observed"] for row in table]
    top = max(predicted + observed) * 1.05
    axes.plot([0, top], [0, top], color=QUIET, linestyle=":")
    axes.plot(predicted, observed, marker="o", color=INK)
    return figure


def decision(curve: Sequence[dict[str, float]], threshold: float) -> Figure:
    """Net benefit of calling by the model, everybody and nobody (Vickers and Elkin 2006)."""
    figure, axes = _axes("Decision curve on validation", "threshold", "net benefit per stay")
    x = [row["threshold"] for row in curve]
    axes.plot(x, [row["net_benefit"] for row in curve], color=INK, label="call by the model")
    everybody = [row["call_everybody"] for row in curve]
    axes.plot(x, everybody, color=ACCENT, label="call everybody")
    axes.axhline(0, color=QUIET, label="call nobody")
    axes.axvline(threshold, color="black", linestyle=":", label=f"chosen: {threshold:.3f}")
    axes.set_ylim(-0.02, max(row["net_benefit"] for row in curve) * 1.2 + 0.005)
    axes.legend()
    return figure


def learning_curve(points: Sequence[dict[str, float]]) -> Figure:
    """AUROC on validation against the number of training rows, with intervals."""
    figure, axes = _axes("What more data brought", "training rows", "AUROC on validation")
    x, y = [row["n_rows"] for row in points], np.array([row["auroc"] for row in points])
    error = [y - [row["low"] for row in points], np.array([row["high"] for row in points]) - y]
    axes.errorbar(x, y, yerr=np.maximum(0, error), color=INK, marker="o", capsize=3)
    return figure
