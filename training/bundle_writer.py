"""What stands beside a registered Pipeline: contract, compiled form, report, examples and model card."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from sklearn.pipeline import Pipeline

from readmit.contract.definition import Contract
from training import compilation, evaluation
from training.evaluation import Evaluation
from training.snapshots import Facts

TEMPLATES = Path(__file__).parent / "templates"
EXAMPLES = 60


def report(
    evaluated: Evaluation,
    facts: Facts,
    candidate: str,
    provenance: dict[str, str],
    curve: list[dict[str, float]],
) -> dict[str, Any]:
    """Return `report.json`: what `GET /model` says about the model."""
    return {
        "candidate": candidate,
        "metrics": evaluated.metrics,
        "threshold": evaluated.operating_point["threshold"],
        "operating_point": evaluated.operating_point,
        "calibration": evaluated.calibration,
        "slices": evaluated.slices,
        "decision_curve": evaluated.decision_curve,
        "learning_curve": curve,
        **provenance,
        **{key: value for key, value in asdict(facts).items() if key != "fingerprint"},
    }


def examples(pipeline: Pipeline, contract: Contract, frame: pd.DataFrame) -> dict[str, Any]:
    """Return inputs and history of rows from lowest to highest risk, with the Pipeline's probabilities."""
    risk = evaluation.predict(pipeline, contract, frame)
    places = [round(i * (len(frame) - 1) / (EXAMPLES - 1)) for i in range(EXAMPLES)]
    chosen = frame.iloc[risk.argsort(kind="stable")[places]]
    rows = json.loads(chosen[list(contract.base_names)].to_json(orient="records"))
    return {"rows": rows, "probabilities": evaluation.predict(pipeline, contract, chosen).tolist()}


def markdown(name: str) -> Template:
    """Return a template of a Markdown page."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 (Markdown from our own figures)
    )
    return environment.get_template(name)


def card(said: dict[str, Any], contract: Contract) -> str:
    """Return the model card (Mitchell et al. 2019) as Markdown."""
    roles = {"inputs": contract.inputs, "history": contract.history, "derived": contract.derived}
    counts = {name: len(found) for name, found in roles.items()}
    return markdown("model_card.md.j2").render(**said, n_features=counts, label=contract.label)


def write(
    folder: Path,
    pipeline: Pipeline,
    contract: Contract,
    validation: pd.DataFrame,
    said: dict[str, Any],
) -> float:
    """Write the whole bundle; return the largest difference between Pipeline and compiled form.

    Raises:
        CannotCompile: the Pipeline has no hot-path form that agrees with it to 1e-6.
    """
    worst = compilation.write(pipeline, contract, validation, folder)
    (folder / "report.json").write_text(json.dumps(said, indent=1))
    (folder / "examples.json").write_text(json.dumps(examples(pipeline, contract, validation)))
    (folder / "model_card.md").write_text(card(said, contract))
    return worst
