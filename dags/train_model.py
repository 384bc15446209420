"""Train every candidate on one frozen snapshot, register the best, and promote it only on evidence.

Runs when all that waited is published, and at READMIT_TRAINING_SCHEDULE; never two at once.
"""

from datetime import timedelta

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag, task

from assets import DOCS_SITE, MODEL_DECISION, TRAINING_READY
from pod_kinds import pod_of
from readmit.settings import PipelineSettings
from shared import DEFAULT_ARGS, OWNER_LINKS, bad_data_is_final


@task(executor_config=pod_of("training"))
def snapshot() -> str:
    """Freeze the published rows as one Parquet snapshot, named by its fingerprint."""
    from airflow.sdk.exceptions import AirflowSkipException

    from training import jobs
    from training.snapshots import NothingToTrainOn
    from training.training_settings import TrainingSettings

    try:
        return jobs.snapshot(TrainingSettings())
    except NothingToTrainOn as nothing:  # the weekly run may come before the first batch
        raise AirflowSkipException(str(nothing)) from nothing


@task(executor_config=pod_of("training"))
def candidates() -> list[str]:
    """Name the candidates; the grid shows one mapped task for each."""
    from training import jobs
    from training.training_settings import TrainingSettings

    return jobs.candidates(TrainingSettings())


@task(
    map_index_template="{{ candidate }}",
    max_active_tis_per_dagrun=2,
    executor_config=pod_of("training"),
)
def fit(snapshot_id: str, candidate: str) -> str:
    """Fit one candidate and log it; returns its MLflow run id."""
    from airflow.sdk import get_current_context

    from training import jobs
    from training.training_settings import TrainingSettings

    get_current_context()["candidate"] = candidate  # type: ignore[typeddict-unknown-key]
    return jobs.fit(snapshot_id, candidate, TrainingSettings())


@task(executor_config=pod_of("promotion"))
@bad_data_is_final
def register_best(run_ids: list[str]) -> str:
    """Register the best candidate on the validation rows; of those alike, the first listed."""
    from training import jobs
    from training.training_settings import TrainingSettings

    return jobs.register_best(list(run_ids), TrainingSettings())


@task(outlets=[MODEL_DECISION], executor_config=pod_of("promotion"))
@bad_data_is_final
def decide(version: str) -> str | None:
    """Compare with production on the same frozen rows; promote or keep, and record why."""
    from training import jobs
    from training.training_settings import TrainingSettings

    return jobs.decide(version, TrainingSettings())


@task(executor_config=pod_of("training"))
def score_sealed(promoted: str | None) -> None:
    """Score the sealed test once per promoted version."""
    from airflow.sdk.exceptions import AirflowSkipException

    from training import jobs
    from training.training_settings import TrainingSettings

    if promoted is None:
        raise AirflowSkipException("production was kept: the sealed test stays unread")
    jobs.score_sealed(promoted, TrainingSettings())


@task(executor_config=pod_of("training"))
def draw_learning_curve(version: str) -> None:
    """Fit on growing parts of the train rows: three more fits, so after the decision."""
    from training import learning_curves
    from training.training_settings import TrainingSettings

    learning_curves.publish(version, TrainingSettings())


@dag(
    # No start_date: with one, Airflow makes up for last Sunday the moment the DAG is switched on.
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(PipelineSettings().training_schedule, timezone="UTC"),
        assets=[TRAINING_READY],
    ),
    catchup=False,
    max_active_runs=1,
    default_args={**DEFAULT_ARGS, "execution_timeout": timedelta(hours=2)},
    description="Candidates on one snapshot; the best is promoted only on evidence",
    owner_links=OWNER_LINKS,
    tags=["model"],
    doc_md=f"{__doc__}\nModel cards: {DOCS_SITE}/#models",
)
def train_model() -> None:
    run_ids = fit.partial(snapshot_id=snapshot()).expand(candidate=candidates())
    version = register_best(run_ids)
    promoted = decide(version)
    score_sealed(promoted)
    promoted >> draw_learning_curve(version)


train_model()
