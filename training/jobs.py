"""The tasks of the DAG `train_model`: ids in, ids out. Each is safe to repeat."""

import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from sklearn.pipeline import Pipeline

from readmit.errors import BadData
from training import (
    bundle_writer,
    evaluation,
    features,
    mlflow_tracking,
    model_metrics,
    model_page,
    plots,
    promotion_gate,
    promotions,
    snapshots,
    training_gauges,
)
from training import candidates as known_candidates
from training.compilation import CannotCompile
from training.decision import Costs
from training.evaluation import Evaluation
from training.snapshots import Snapshot
from training.training_settings import TrainingSettings

log = logging.getLogger("training")

EXPERIMENT = "readmission"
RANKED_BY = "validation_auroc"


class ModelRefused(BadData):
    """A challenger cannot be judged or served; production stays. The message says why."""


def snapshot(settings: TrainingSettings) -> str:
    """Freeze what the mart holds; returns the snapshot's id."""
    facts = snapshots.freeze(settings)
    training_gauges.snapshot(facts, settings)
    log.info(
        "snapshot %s: %d train, %d validation rows",
        facts.fingerprint,
        facts.n_train,
        facts.n_validation,
    )
    return facts.fingerprint


def candidates(settings: TrainingSettings) -> list[str]:
    """Name the candidates of a training run.

    Raises:
        KeyError: TRAINING_CANDIDATES names one that does not exist.
    """
    names = [name.strip() for name in settings.training_candidates.split(",") if name.strip()]
    for name in names:
        known_candidates.CANDIDATES[name]
    return names


def fit(snapshot_id: str, candidate: str, settings: TrainingSettings) -> str:
    """Fit one candidate on the train rows, evaluate it on validation, log both; returns its MLflow run id."""
    frozen = snapshots.load(snapshot_id, settings)
    make = partial(
        known_candidates.CANDIDATES[candidate],
        frozen.contract,
        settings.training_seed,
        settings.training_threads,
    )
    with mlflow_tracking.reaching(settings):
        mlflow.set_experiment(EXPERIMENT)
        began = time.monotonic()
        with mlflow.start_run(run_name=candidate) as run:
            mlflow.set_tags(
                mlflow_tracking.provenance(frozen.facts, frozen.contract, settings.training_seed)
            )
            mlflow.set_tags({"candidate": candidate, "snapshot": snapshot_id})
            pipeline = make()
            mlflow.log_params(_parameters(pipeline))
            train = frozen.split("train")
            pipeline.fit(
                train[features.columns(frozen.contract)], features.labels(frozen.contract, train)
            )
            evaluated = _evaluate(pipeline, frozen, settings)
            _log(evaluated, frozen)
            training_gauges.candidate(candidate, evaluated, time.monotonic() - began, settings)
            model_id = mlflow_tracking.log_pipeline(
                pipeline, frozen.contract, frozen.split("validation").head(5)
            )
            mlflow.set_tag("model_id", model_id)
            return str(run.info.run_id)


def _parameters(pipeline: Pipeline) -> dict[str, Any]:
    found = pipeline[-1].get_params()
    return {
        name: value for name, value in found.items() if isinstance(value, str | int | float | bool)
    }


def costs(settings: TrainingSettings) -> Costs:
    """Return the stated costs."""
    return Costs(settings.follow_up_cost, settings.readmission_cost, settings.follow_up_effect)


def _evaluate(pipeline: Pipeline, frozen: Snapshot, settings: TrainingSettings) -> Evaluation:
    return evaluation.evaluate(
        pipeline,
        frozen.contract,
        frozen.split("validation"),
        costs(settings),
        _bootstrap(settings),
    )


def _bootstrap(settings: TrainingSettings) -> model_metrics.Bootstrap:
    return model_metrics.Bootstrap(settings.bootstrap_replicates, settings.training_seed)


def _log(evaluated: Evaluation, frozen: Snapshot) -> None:
    """Log figures, curves, contract and origin of the data to the active run."""
    mlflow.log_metrics(evaluated.flat())
    for name, figure in plots.of_evaluation(evaluated).items():
        mlflow.log_figure(figure, f"plots/{name}.png")
    mlflow.log_text(frozen.contract.to_json(), "contract.json")
    mlflow.log_dict(asdict(frozen.facts), "data.json")
    mlflow.log_dict({"slices": evaluated.slices}, "slices.json")


def register_best(run_ids: Sequence[str], settings: TrainingSettings) -> str:
    """Register the candidate with the best validation AUROC that can be compiled; returns its version.

    Raises:
        ModelRefused: none can be compiled.
    """
    refused = []
    with mlflow_tracking.reaching(settings) as client:
        runs = sorted(
            (client.get_run(run_id) for run_id in run_ids),
            key=lambda run: -run.data.metrics[RANKED_BY],
        )
        for run in runs:
            try:
                return _register(client, run, settings)
            except CannotCompile as error:
                log.error("%s cannot be served: %s", run.data.tags["candidate"], error)
                client.set_tag(run.info.run_id, "refused", str(error))
                refused.append(f"{run.data.tags['candidate']}: {error}")
    raise ModelRefused("no candidate can be compiled: " + "; ".join(refused))


def _register(client: MlflowClient, run: Run, settings: TrainingSettings) -> str:
    tags, model_id = run.data.tags, run.data.tags["model_id"]
    frozen = snapshots.load(tags["snapshot"], settings)
    # Evaluated anew (2 s): what is registered is what was logged, not what was in the memory of the task that fitted.
    pipeline = mlflow_tracking.load_pipeline(model_id)
    evaluated = _evaluate(pipeline, frozen, settings)
    curve = _learning_curve(tags["candidate"], frozen, evaluated, settings)
    origin = mlflow_tracking.provenance(frozen.facts, frozen.contract, settings.training_seed)
    said = bundle_writer.report(evaluated, frozen.facts, tags["candidate"], origin, curve)
    with tempfile.TemporaryDirectory() as folder:
        worst = bundle_writer.write(
            Path(folder), pipeline, frozen.contract, frozen.split("validation"), said
        )
        mlflow_tracking.add_files(client, model_id, Path(folder))
    client.log_metric(run.info.run_id, "compiled_worst_difference", worst)
    client.log_text(run.info.run_id, bundle_writer.card(said, frozen.contract), "model_card.md")
    drawn = {**plots.of_evaluation(evaluated), "learning_curve": plots.learning_curve(curve)}
    client.log_figure(run.info.run_id, drawn["learning_curve"], "plots/learning_curve.png")
    behind = ", ".join(evaluated.behind())
    if behind:
        log.warning("%s ranks these worse than all of validation: %s", tags["candidate"], behind)
    kept = {
        **origin,
        "candidate": tags["candidate"],
        "snapshot": tags["snapshot"],
        "slices_behind": behind or "none",
    }
    version = mlflow_tracking.register(client, settings.model_name, model_id, run.info.run_id, kept)
    model_page.publish_card(version, bundle_writer.card(said, frozen.contract), drawn, settings)
    return version


def _learning_curve(
    candidate: str, frozen: Snapshot, evaluated: Evaluation, settings: TrainingSettings
) -> list[dict[str, float]]:
    seed, threads = settings.training_seed, settings.training_threads
    make = partial(known_candidates.CANDIDATES[candidate], frozen.contract, seed, threads)
    train, validation = frozen.split("train"), frozen.split("validation")
    points = evaluation.learning_curve(make, frozen.contract, train, validation, seed)
    samples, n_batches = evaluation.curve_samples(validation, seed), train["_batch_id"].nunique()
    return [
        *points,
        evaluation.curve_point(evaluated.y, evaluated.p, samples, n_batches, len(train)),
    ]


def decide(version: str, settings: TrainingSettings) -> str | None:
    """Compare a version with production on the same rows; promote or keep, and write down why.

    Returns the version when it is promoted, else None. Repeating it repeats the effects, never the decision.

    Raises:
        ModelRefused: a model could not be judged; `keep` is recorded and production stays.
    """
    name = settings.model_name
    with mlflow_tracking.reaching(settings) as client:
        taken = promotions.decision_on(name, version, settings)
        if taken is None:
            verdict = _judge(client, version, settings)
            taken = "promote" if verdict.promote else "keep"
        if taken == "promote" and promotions.latest(name, settings) == ("promote", version):
            mlflow_tracking.put_in_production(client, name, version)
            training_gauges.production(
                client.get_model_version(name, version).tags.get("snapshot", ""), settings
            )
            return version
        return None


def _judge(
    client: MlflowClient, version: str, settings: TrainingSettings
) -> promotion_gate.Verdict:
    """Judge and record; whatever makes judging impossible is recorded as `keep`."""
    found = client.get_model_version(settings.model_name, version)
    production = mlflow_tracking.version_at(client, settings.model_name, mlflow_tracking.PRODUCTION)
    try:
        verdict = _evidence(found, production, settings)
    except Exception as error:
        if not mlflow_tracking.is_broken(error):
            raise
        reason = f"kept because judging failed: {type(error).__name__}: {error}"[:1000]
        _record(client, found, production, promotion_gate.Verdict(False, reason), settings)
        raise ModelRefused(reason) from error
    _record(client, found, production, verdict, settings)
    return verdict


def _evidence(
    found: ModelVersion, production: ModelVersion | None, settings: TrainingSettings
) -> promotion_gate.Verdict:
    frozen = snapshots.load(found.tags["snapshot"], settings)
    rows, name = frozen.split("validation"), settings.model_name
    mlflow_tracking.check_bundle(name, str(found.version), frozen.contract)
    challenger = mlflow_tracking.scores(name, str(found.version), rows)
    rule = promotion_gate.Rule(
        settings.promotion_floor, settings.promotion_margin, _bootstrap(settings)
    )
    reigning = (
        mlflow_tracking.scores(name, str(production.version), rows)
        if production is not None
        else None
    )
    newer = production is None or found.tags["data_fingerprint"] != production.tags.get(
        "data_fingerprint"
    )
    y = features.labels(frozen.contract, rows)
    return promotion_gate.judge(
        y, challenger, reigning, patients=rows["patient_nbr"], rule=rule, has_newer=newer
    )


def _record(
    client: MlflowClient,
    found: ModelVersion,
    production: ModelVersion | None,
    verdict: promotion_gate.Verdict,
    settings: TrainingSettings,
) -> None:
    decision = "promote" if verdict.promote else "keep"
    row = promotions.Promotion(
        decision=decision,
        model_name=settings.model_name,
        challenger_version=str(found.version),
        production_version=str(production.version) if production is not None else None,
        metric=promotion_gate.METRIC,
        reason=verdict.reason,
        evidence=verdict.as_dict(),
        data_fingerprint=found.tags.get("data_fingerprint"),
        contract_hash=found.tags.get("contract_hash"),
        git_sha=found.tags.get("git_sha"),
    )
    promotions.record(row, settings)
    training_gauges.decision(row, settings)
    for key, value in {
        "decision": decision,
        "decision_reason": verdict.reason,
        **verdict.as_dict(),
    }.items():
        client.set_model_version_tag(
            settings.model_name, str(found.version), key, str(value)[:4000]
        )
    log.info("version %s: %s (%s)", found.version, decision, verdict.reason)


def score_sealed(version: str, settings: TrainingSettings) -> dict[str, model_metrics.Figure]:
    """Score the sealed test once per version, and count the reading; a second call reads nothing.

    Returns the figures, or an empty dict when the version was scored before or the mart has no test rows.
    """
    name = settings.model_name
    with mlflow_tracking.reaching(settings) as client:
        found = client.get_model_version(name, version)
        if "sealed_test_scored_at" in found.tags:
            return {}
        _, contract = snapshots.described(found.tags["snapshot"], settings)
        # Counted first: a crash in between counts one reading too many, never one too few.
        reads = mlflow_tracking.count_reading(client, name)
        rows = snapshots.sealed(found.tags["snapshot"], settings)
        y = features.labels(contract, rows)
        if len(set(y.tolist())) < 2:
            return {}
        p = mlflow_tracking.scores(name, version, rows)
        scored = model_metrics.with_intervals(y, p, rows["patient_nbr"], _bootstrap(settings))
        mlflow_tracking.log_sealed(client, found, scored, reads)
        training_gauges.sealed(scored, settings)
        return scored
