"""The tasks of the DAG `train_model`: ids in, ids out. Each can be repeated safely."""

import json
import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from sklearn.pipeline import Pipeline

from readmit.errors import BadData
from training import (
    bundle_writer,
    card_page,
    evaluation,
    features,
    mlflow_tracking,
    model_metrics,
    plots,
    promotion_gate,
    promotions,
    signed_models,
    snapshots,
    time_comparison,
    training_gauges,
)
from training import candidates as known_candidates
from training.compilation import CannotCompile
from training.decision import Costs
from training.evaluation import Evaluation
from training.promotion_gate import Verdict
from training.snapshots import Snapshot
from training.time_comparison import TimeComparison
from training.training_settings import TrainingSettings

log = logging.getLogger("training")

EXPERIMENT = "readmission"
RANKED_BY = "validation_auroc"


class ModelRefused(BadData):
    """A challenger cannot be judged or served, and production stays. The message says why."""


def snapshot(settings: TrainingSettings) -> str:
    """Freeze the rows of the mart; return the id of the snapshot."""
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
    """Return the names of the candidates of a training run.

    Raises:
        KeyError: READMIT_TRAINING_CANDIDATES has a name that does not exist.
    """
    names = [name.strip() for name in settings.training_candidates.split(",") if name.strip()]
    for name in names:
        known_candidates.CANDIDATES[name]
    log.info("candidates: %s", ", ".join(names))
    return names


def fit(snapshot_id: str, candidate: str, settings: TrainingSettings) -> str:
    """Fit one candidate on the train rows, evaluate it on validation and log both.

    Returns its MLflow run id.
    """
    frozen = snapshots.load(snapshot_id, settings)
    contract = frozen.contract
    train = frozen.split("train")
    with mlflow_tracking.reaching(settings):
        mlflow_tracking.open_experiment(EXPERIMENT)
        began = time.monotonic()
        tags = {
            **mlflow_tracking.provenance(frozen.facts, contract, settings.training_seed),
            "candidate": candidate,
            "snapshot": snapshot_id,
        }
        with mlflow.start_run(run_name=candidate, tags=tags) as run:
            pipeline = _make(candidate, frozen, settings)
            mlflow.log_params(_parameters(pipeline))
            pipeline.fit(train[features.columns(contract)], features.labels(contract, train))
            evaluated = _evaluate(pipeline, frozen, settings)
            seconds = time.monotonic() - began
            example = frozen.split("validation").head(5)
            # Before the metrics: MLflow would ask for the history of each, to copy it to the model.
            model_id = mlflow_tracking.log_pipeline(pipeline, contract, example)
            mlflow.set_tag("model_id", model_id)
            _log(evaluated, frozen, model_id)
            training_gauges.candidate(candidate, evaluated, seconds, settings)
            _log_score(candidate, evaluated, frozen, seconds)
            address = mlflow_tracking.run_address(run, settings)
            log.info("metrics, figures and the fitted Pipeline: %s", address)
            return str(run.info.run_id)


def _log_score(candidate: str, evaluated: Evaluation, frozen: Snapshot, seconds: float) -> None:
    auroc = evaluated.metrics["auroc"]
    log.info(
        "%s: fitted on %d rows and evaluated on %d in %.0f s; AUROC %.4f (%.4f to %.4f)",
        candidate,
        frozen.facts.n_train,
        frozen.facts.n_validation,
        seconds,
        auroc["figure"],
        auroc["low"],
        auroc["high"],
    )


def _make(candidate: str, frozen: Snapshot, settings: TrainingSettings) -> Pipeline:
    make = known_candidates.CANDIDATES[candidate]
    return make(frozen.contract, settings.training_seed, settings.training_threads)


def _parameters(pipeline: Pipeline) -> dict[str, str | float]:
    parameters = {}
    for name, value in pipeline[-1].get_params().items():
        if isinstance(value, str | int | float | bool):
            parameters[name] = value
    return parameters


def _evaluate(pipeline: Pipeline, frozen: Snapshot, settings: TrainingSettings) -> Evaluation:
    costs = Costs(settings.follow_up_cost, settings.readmission_cost, settings.follow_up_effect)
    return evaluation.evaluate(
        pipeline, frozen.contract, frozen.split("validation"), costs, _bootstrap(settings)
    )


def _bootstrap(settings: TrainingSettings) -> model_metrics.Bootstrap:
    return model_metrics.Bootstrap(settings.bootstrap_replicates, settings.training_seed)


def _log(evaluated: Evaluation, frozen: Snapshot, model_id: str) -> None:
    """Log metrics, figures, contract and origin of the data to the active run.

    The metrics are those of its model, too.
    """
    mlflow.log_metrics(evaluated.flat(), model_id=model_id)
    documents = {"data": asdict(frozen.facts), "slices": {"slices": evaluated.slices}}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "plots").mkdir()
        for name, figure in plots.of_evaluation(evaluated).items():
            figure.savefig(folder / "plots" / f"{name}.png")
        (folder / "contract.json").write_text(frozen.contract.to_json())
        for name, document in documents.items():
            (folder / f"{name}.json").write_text(json.dumps(document, indent=2))
        mlflow.log_artifacts(temporary)  # one call: each asks the tracking server for the run


def register_best(run_ids: Sequence[str], settings: TrainingSettings) -> str:
    """Register the best candidate that can be compiled, as `by_preference` orders them.

    Args:
        run_ids: the runs of the candidates, in the order of READMIT_TRAINING_CANDIDATES.
        settings: of training.

    Returns:
        Its version.

    Raises:
        ModelRefused: none can be compiled.
    """
    refusals = []
    with mlflow_tracking.reaching(settings) as client:
        runs = [client.get_run(run_id) for run_id in run_ids]
        for run in by_preference(runs, settings.promotion_margin):
            candidate = run.data.tags["candidate"]
            try:
                return _register(client, run, settings)
            except CannotCompile as error:
                log.error("%s cannot be served: %s", candidate, error)
                client.set_tag(run.info.run_id, "refused", str(error))
                refusals.append(f"{candidate}: {error}")
    raise ModelRefused("no candidate can be compiled: " + "; ".join(refusals))


def by_preference(runs: Sequence[Run], margin: float) -> list[Run]:
    """Return the runs, the one to register first.

    These are the runs whose validation AUROC is within `margin` of the best, in the order in which
    they come; then the others, the best first. Why: docs/adr/0052-which-candidate.md.
    """
    best = max(run.data.metrics[RANKED_BY] for run in runs)
    alike: list[Run] = []
    others: list[Run] = []
    for run in runs:
        if best - run.data.metrics[RANKED_BY] <= margin:
            alike.append(run)
        else:
            others.append(run)
    others.sort(key=lambda run: -run.data.metrics[RANKED_BY])
    if alike[0].data.metrics[RANKED_BY] < best:
        log.info(
            "%s is preferred: AUROC %.4f, within %.3f of the best, %.4f, and earlier in the list",
            alike[0].data.tags["candidate"],
            alike[0].data.metrics[RANKED_BY],
            margin,
            best,
        )
    return alike + others


def _register(client: MlflowClient, run: Run, settings: TrainingSettings) -> str:
    """Write the bundle of a run's Pipeline, register it and publish its page.

    Returns its version.
    """
    run_id = run.info.run_id
    candidate = run.data.tags["candidate"]
    snapshot_id = run.data.tags["snapshot"]
    model_id = run.data.tags["model_id"]
    frozen = snapshots.load(snapshot_id, settings)
    # Evaluated again (2 s), so that the report is about the logged model, not about the one in the
    # memory of a task.
    pipeline = mlflow_tracking.load_pipeline(model_id)
    evaluated = _evaluate(pipeline, frozen, settings)
    origin = mlflow_tracking.provenance(frozen.facts, frozen.contract, settings.training_seed)
    report = bundle_writer.report(evaluated, frozen.facts, candidate, origin)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        difference = bundle_writer.write(folder, pipeline, frozen, report, evaluated.p)
        mlflow_tracking.add_files(client, model_id, folder)
    card = bundle_writer.card(report, frozen.contract)
    client.log_metric(run_id, "compiled_worst_difference", difference)
    client.log_text(run_id, card, "model_card.md")
    slices_behind = ", ".join(evaluated.behind())
    if slices_behind:
        log.warning("%s ranks these worse than all of validation: %s", candidate, slices_behind)
    tags = {
        **origin,
        "candidate": candidate,
        "snapshot": snapshot_id,
        "slices_behind": slices_behind or "none",
    }
    version = mlflow_tracking.register(client, settings.model_name, model_id, run_id, tags)
    mlflow_tracking.describe_version(client, settings.model_name, version, card)
    signed_models.sign_version(
        client, settings.model_name, version, signed_models.REGISTRATION, settings
    )
    card_page.publish_card(version, card, plots.of_evaluation(evaluated), settings)
    page = f"{settings.page('docs')}/models/{version}/"
    log.info("%s is registered as version %s; its card: %s", candidate, version, page)
    return version


def decide(version: str, settings: TrainingSettings) -> str | None:
    """Compare a version with production on the same rows; promote or keep, and record the reason.

    Repeating it repeats the effects of a decision, never the decision itself.

    Returns:
        The version when it is promoted, else None.

    Raises:
        ModelRefused: a model could not be judged; `keep` is recorded and production stays.
    """
    name = settings.model_name
    with mlflow_tracking.reaching(settings) as client:
        decision = promotions.decision_on(name, version, settings)
        if decision is None:
            verdict = _judge(client, version, settings)
            decision = _decision(verdict)
        latest = promotions.latest(name, settings)
        # A roll-back after the promotion is not undone.
        if decision == "keep" or latest is None or latest.decision != "promote":
            return None
        if latest.version != version:
            return None
        mlflow_tracking.put_in_production(client, name, version)
        if latest.decision_id is not None:
            promotions.record_outcome(latest.decision_id, settings)
        tags = client.get_model_version(name, version).tags
        training_gauges.production(tags.get("snapshot", ""), settings)
        return version


def _decision(verdict: Verdict) -> str:
    return "promote" if verdict.promote else "keep"


def _judge(client: MlflowClient, version: str, settings: TrainingSettings) -> Verdict:
    """Judge a version and record the verdict.

    A model that cannot be judged is recorded as `keep`.
    """
    challenger = client.get_model_version(settings.model_name, version)
    production = mlflow_tracking.version_at(client, settings.model_name, mlflow_tracking.PRODUCTION)
    try:
        verdict = _compare(challenger, production, settings)
    except Exception as error:
        if not mlflow_tracking.is_broken(error):
            raise
        reason = f"kept because judging failed: {type(error).__name__}: {error}"[:1000]
        _record(client, challenger, production, Verdict(False, reason), settings)
        raise ModelRefused(reason) from error
    _record(client, challenger, production, verdict, settings)
    return verdict


def _compare(
    challenger: ModelVersion, production: ModelVersion | None, settings: TrainingSettings
) -> Verdict:
    """Score both versions on the validation rows of the challenger's snapshot, and judge."""
    name = settings.model_name
    frozen = snapshots.load(challenger.tags["snapshot"], settings)
    rows = frozen.split("validation")
    challenger_scores = mlflow_tracking.checked_scores(
        name, str(challenger.version), rows, frozen.contract, settings
    )
    production_scores = None
    has_newer = True
    if production is not None:
        production_scores = mlflow_tracking.scores(name, str(production.version), rows, settings)
        fingerprint = challenger.tags["data_fingerprint"]
        has_newer = fingerprint != production.tags.get("data_fingerprint")
    verdict = promotion_gate.judge(
        features.labels(frozen.contract, rows),
        challenger_scores,
        production_scores,
        patients=rows["patient_nbr"],
        rule=promotion_gate.Rule(
            settings.promotion_floor, settings.promotion_margin, _bootstrap(settings)
        ),
        has_newer=has_newer,
    )
    if production is None:
        return verdict
    return replace(verdict, by_time=_by_time(challenger, production, frozen, settings))


def _by_time(
    challenger: ModelVersion, production: ModelVersion, frozen: Snapshot, settings: TrainingSettings
) -> TimeComparison:
    """Compare the recipes by time. The decision stands without it, so a failure is only noted."""
    first = challenger.tags.get("candidate", "unknown")
    second = production.tags.get("candidate", "unknown")
    threads = settings.training_threads
    try:
        return time_comparison.compare(frozen, first, second, threads, _bootstrap(settings))
    except Exception as error:
        log.exception("the recipes could not be compared by time")
        return {
            "recipes": [first, second],
            "reason": f"failed: {type(error).__name__}: {error}"[:1000],
        }


def _record(
    client: MlflowClient,
    challenger: ModelVersion,
    production: ModelVersion | None,
    verdict: Verdict,
    settings: TrainingSettings,
) -> None:
    """Record a verdict in `ops.promotions`, as gauges, and as tags of the version."""
    production_version = None
    if production is not None:
        production_version = str(production.version)
    promotion = promotions.Promotion(
        decision=_decision(verdict),
        model_name=settings.model_name,
        challenger_version=str(challenger.version),
        production_version=production_version,
        metric=promotion_gate.METRIC,
        reason=verdict.reason,
        evidence=verdict.evidence(),
        data_fingerprint=challenger.tags.get("data_fingerprint"),
        contract_hash=challenger.tags.get("contract_hash"),
        git_sha=challenger.tags.get("git_sha"),
    )
    if verdict.promote:
        document = signed_models.sign_version(
            client,
            settings.model_name,
            str(challenger.version),
            promotion.decision_id,
            settings,
        )
        promotion = replace(promotion, signed_statement=document)
    promotions.record(promotion, settings)
    training_gauges.decision(promotion, settings)
    tags = {
        "decision": promotion.decision,
        "decision_reason": verdict.reason,
        **verdict.evidence(),
    }
    for key, value in tags.items():
        client.set_model_version_tag(
            settings.model_name, str(challenger.version), key, str(value)[:4000]
        )
    log.info("version %s: %s (%s)", challenger.version, promotion.decision, verdict.reason)


def score_sealed(version: str, settings: TrainingSettings) -> dict[str, model_metrics.Estimate]:
    """Score the sealed test once per version, and count the reading; a second call reads nothing.

    Returns:
        The metrics, or an empty dict when the version was scored before or the mart has no test
        rows.
    """
    name = settings.model_name
    with mlflow_tracking.reaching(settings) as client:
        model_version = client.get_model_version(name, version)
        if "sealed_test_scored_at" in model_version.tags:
            return {}
        snapshot_id = model_version.tags["snapshot"]
        _, contract = snapshots.described(snapshot_id, settings)
        # Counted first: a crash in between counts one reading too many, never one too few.
        reads = mlflow_tracking.count_reading(client, name)
        rows = snapshots.sealed(snapshot_id, settings)
        y = features.labels(contract, rows)
        if len(set(y.tolist())) < 2:
            return {}
        p = mlflow_tracking.scores(name, version, rows, settings)
        bootstrap = _bootstrap(settings)
        estimates = model_metrics.with_intervals(y, p, rows["patient_nbr"], bootstrap)
        mlflow_tracking.log_sealed(client, model_version, estimates, reads)
        training_gauges.sealed(estimates, settings)
        auroc = estimates["auroc"]
        log.info(
            "sealed test of version %s, reading %d: AUROC %.4f (%.4f to %.4f) on %d rows",
            version,
            reads,
            auroc["figure"],
            auroc["low"],
            auroc["high"],
            len(rows),
        )
        return estimates
