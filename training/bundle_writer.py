"""Write the bundle of a Pipeline: contract, compiled form, report, examples, typical values."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from sklearn.pipeline import Pipeline

from readmit.contract.definition import Contract
from readmit.inference import typicality
from training import compilation, evaluation, typical_values
from training.evaluation import Evaluation
from training.snapshots import Facts, Snapshot

TEMPLATES = Path(__file__).parent / "templates"
EXAMPLES = 60

Report = Mapping[str, object]


class Examples(TypedDict):
    """Rows of inputs and history, with the probabilities of the Pipeline."""

    rows: list[dict[str, object]]
    probabilities: list[float]


def report(
    evaluated: Evaluation,
    facts: Facts,
    candidate: str,
    provenance: Mapping[str, str],
) -> Report:
    """Return `report.json`, which `GET /model` shows."""
    origin = asdict(facts)
    del origin["fingerprint"]  # `provenance` has it
    return {
        "candidate": candidate,
        "metrics": evaluated.metrics,
        "threshold": evaluated.operating_point["threshold"],
        "operating_point": evaluated.operating_point,
        "calibration": evaluated.calibration,
        "slices": evaluated.slices,
        "capacity": evaluated.capacity,
        "score_bins": evaluated.score_bins,
        "decision_curve": evaluated.decision_curve,
        **provenance,
        **origin,
    }


def examples(pipeline: Pipeline, contract: Contract, frame: pd.DataFrame) -> Examples:
    """Return inputs and history of rows from lowest to highest risk, with their probabilities."""
    return scored_examples(contract, frame, evaluation.predict(pipeline, contract, frame))


def scored_examples(contract: Contract, frame: pd.DataFrame, p: np.ndarray) -> Examples:
    """Return the examples of a frame whose rows have the probabilities `p`, shape (n,)."""
    by_risk = p.argsort(kind="stable")
    ranks = [round(i * (len(frame) - 1) / (EXAMPLES - 1)) for i in range(EXAMPLES)]
    chosen = frame.iloc[by_risk[ranks]]
    rows = json.loads(chosen[list(contract.base_names)].to_json(orient="records"))
    return {"rows": rows, "probabilities": p[by_risk[ranks]].tolist()}


def markdown(name: str) -> Template:
    """Return a template of a Markdown page."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 (Markdown from our own numbers)
    )
    return environment.get_template(name)


def card(report: Report, contract: Contract) -> str:
    """Return the model card (Mitchell et al. 2019) as Markdown."""
    n_features = {
        "inputs": len(contract.inputs),
        "history": len(contract.history),
        "derived": len(contract.derived),
    }
    template = markdown("model_card.md.j2")
    return template.render(**report, n_features=n_features, label=contract.label)


def write(
    folder: Path, pipeline: Pipeline, frozen: Snapshot, report: Report, p: np.ndarray
) -> float:
    """Write the bundle; return the largest difference between Pipeline and compiled form.

    Args:
        folder: that becomes the bundle.
        pipeline: fitted on the train rows of the snapshot.
        frozen: the snapshot.
        report: about the Pipeline.
        p: (n,) its probabilities of the validation rows.

    Raises:
        CannotCompile: the Pipeline has no compiled form that agrees with it to 1e-6.
    """
    contract = frozen.contract
    validation = frozen.split("validation")
    difference = compilation.write(pipeline, contract, validation, folder)
    (folder / "report.json").write_text(json.dumps(report, indent=1))
    stays = scored_examples(contract, validation, p)
    (folder / "examples.json").write_text(json.dumps(stays))
    typical = typical_values.fit(contract, frozen.split("train"), validation)
    (folder / typicality.FILE).write_text(json.dumps(typical))
    (folder / "model_card.md").write_text(card(report, contract))
    return difference
