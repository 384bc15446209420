"""`rebuild_vs_first_build`: all batches under another contract, over their first build.

Batches of the embedded sample, or of the file in DATASET, go through what runs of `ingest_batch`
do, without Airflow. Then the contract loses a feature of the history, and each is built again
beside the live tables, until all are switched in. Both times are those of dbt, publish gate and
publication: a rebuild loads nothing.
"""

import json
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from bench import private_services
from bench.figure import Figure
from expectations import gate
from readmit.batches import claims, loading, rebuilds
from readmit.batches.builds import Build
from readmit.contract.definition import PROJECT
from readmit.settings import StackSettings

N_BATCHES = 1  # at least, of the train split; with the other splits there are four
RUN = "bench"
MART = Path("models/marts/fct_encounter_features.yml")
COLUMN = "      - name: "
REMOVED = "prior_n_lab_procedures"


def measure() -> list[Figure]:
    """Build all batches, change the contract, and build them again."""
    dataset = StackSettings().dataset
    with (
        TemporaryDirectory() as folder,
        private_services.databases(N_BATCHES, dataset=dataset) as settings,
    ):
        project = Path(folder) / "dbt_project"
        shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
        with mock.patch.dict(os.environ, DBT_TARGET_PATH=str(project / "target")):
            first = _build_all(project, settings)
            mart = (project / MART).read_text(encoding="utf-8")
            head, *columns = mart.split(COLUMN)
            others = [column for column in columns if not column.startswith(f"{REMOVED}\n")]
            (project / MART).write_text(COLUMN.join([head, *others]), encoding="utf-8")
            again = _build_all(project, settings)
    if len(first) != len(again):
        raise ValueError(f"{len(first)} batches were built, and {len(again)} rebuilt")
    source = "the file in DATASET" if dataset else "the sample"
    detail = f"{len(first)} batches of {source}, {settings.batch_size:,} rows at most: first"
    detail += f" {sum(first):.0f} s, again {sum(again):.0f} s"
    return [Figure("rebuild_vs_first_build", sum(again) / sum(first), "ratio", "<= 2", detail)]


def _build_all(project: Path, settings: StackSettings) -> list[float]:
    """Build until nothing waits, and return the seconds of each build."""
    private_services.dbt(settings, "parse", project=project)
    rebuilds.plan(settings)
    seconds = []
    while build := claims.claim_and_begin(RUN, settings):
        if build.kind == "batch":
            loading.load(build.batch_id, settings)
            gate.check_raw(build.batch_id, settings)
        seconds.append(private_services.seconds(_build, build, project, settings))
        claims.release_claim(RUN, settings)
    return seconds


def _build(build: Build, project: Path, settings: StackSettings) -> None:
    variables = json.dumps({"schema_suffix": build.schema_suffix})
    command = ["build", "--exclude-resource-type", "unit_test", "--vars", variables]
    private_services.dbt(settings, *command, project=project)
    gate.check_publish(build, settings)
    build.publish(settings)
    if build.kind == "rebuild":
        rebuilds.switch(settings)


MEASURES = {("rebuild_vs_first_build",): measure}
