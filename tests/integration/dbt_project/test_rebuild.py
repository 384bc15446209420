"""The contract changes on a published stack.

The rebuilt mart equals that of a stack built from nothing.
"""

import csv
import shutil
from pathlib import Path

import pytest

from expectations import gate
from readmit.batches import claims, corrections, loading, rebuilds
from readmit.contract.definition import PROJECT, Contract
from readmit.errors import BatchRejected
from readmit.intake import sample, sources
from readmit.ops.bootstrap import bootstrap
from readmit.settings import StackSettings
from tests.contract.dbt_project.test_new_feature import BEFORE, DERIVED, NEW, SQL, YAML, put_before
from tests.support import dbt, raw, templates
from training import snapshots
from training.training_settings import TrainingSettings

BAD_ROWS = (7, 400)
REMOVED = "prior_n_lab_procedures"  # a feature of the history
MART = "select * from marts.fct_encounter_features order by encounter_id"
PATIENTS = "select * from marts.dim_patients order by patient_nbr"
# What was held back, without the times at which it arrived and was released.
HELD = """
    select to_jsonb(h) - 'released_at' - 'raw_values', h.raw_values - '_loaded_at'
    from quarantine.encounters as h order by 1
"""
COUNTS = """
    select build_id, n_rows, n_features, n_quarantined, n_excluded
    from ops.published_batches order by 1
"""


def without_feature(path: Path, name: str) -> None:
    """Take a column out of the mart's YAML."""
    head, *columns = path.read_text(encoding="utf-8").split("      - name: ")
    others = [column for column in columns if not column.startswith(f"{name}\n")]
    assert len(others) == len(columns) - 1
    path.write_text("      - name: ".join([head, *others]), encoding="utf-8")


def copy_of_project(folder: Path) -> Path:
    copy = folder / "dbt_project"
    shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns("target", "logs"))
    return copy


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Path:
    copy = copy_of_project(tmp_path_factory.mktemp("old"))
    dbt.parse(copy / "target", project=copy)
    return copy


@pytest.fixture(scope="module")
def new(tmp_path_factory) -> Path:
    """The project with one input feature and one derived one more, and one of the history less."""
    copy = copy_of_project(tmp_path_factory.mktemp("new"))
    put_before(copy / "models/marts/fct_encounter_features.yml", BEFORE, YAML)
    for path, following, text in SQL:
        put_before(copy / path, following, text)
    without_feature(copy / "models/marts/fct_encounter_features.yml", REMOVED)
    dbt.parse(copy / "target", project=copy)
    return copy


@pytest.fixture
def use(monkeypatch):
    """Return a function that makes this code use a project."""

    def use_project(project: Path) -> Path:
        monkeypatch.setenv("DBT_TARGET_PATH", str(project / "target"))
        return project

    return use_project


def write_source(path: Path) -> None:
    sample.write_csv(path, 900)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in BAD_ROWS:
        rows[row]["age"] = "[70-75)"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)


def run_next(settings: StackSettings, project: Path, *, is_gated: bool = False) -> str | None:
    """Do what one run of `ingest_batch` does; return the kind of its build."""
    rebuilds.plan(settings)
    rebuilds.switch(settings)
    build = claims.claim_and_begin("a run", settings)
    if build is None:
        return None
    if build.kind == "batch":
        loading.load(build.batch_id, settings)
    dbt.build(settings, project / "target", project=project, suffix=build.schema_suffix)
    if is_gated:
        assert gate.check_publish(build, settings).n_expectations
    build.publish(settings)
    if build.kind == "rebuild":
        rebuilds.switch(settings)
    claims.release_claim("a run", settings)
    return build.kind


def publish_all(settings: StackSettings, project: Path) -> list[str]:
    sources.ensure_source(settings)
    kinds = []
    while kind := run_next(settings, project):
        kinds.append(kind)
    return kinds


def correct_first(settings: StackSettings, project: Path) -> None:
    held = "select _batch_id, _source_row from quarantine.encounters order by _source_row limit 1"
    [(batch_id, source_row)] = raw.query(settings, settings.clean_database, held)
    corrections.release(batch_id, source_row, {"age": "[70-80)"}, "a test", settings)
    assert run_next(settings, project) == "correction"


def clean(settings: StackSettings, statement: str, role="postgres"):
    return raw.query(settings, settings.clean_database, statement, role=role)


def columns(settings: StackSettings, table: str) -> set[str]:
    statement = (
        f"select attname from pg_attribute where attrelid = '{table}'::regclass and attnum > 0"
    )
    return {name for (name,) in clean(settings, statement)}


def stack(folder: Path, project: Path, source: Path) -> StackSettings:
    settings = raw.fresh(folder, dataset=str(source), batch_size=400)
    publish_all(settings, project)
    correct_first(settings, project)
    return settings


def test_rebuilt_mart_equals_one_built_from_nothing(tmp_path, old, new, use):
    source = tmp_path / "source.csv"
    write_source(source)
    settings = stack(tmp_path, use(old), source)
    before = clean(settings, MART)
    n_builds = len(clean(settings, COUNTS))
    assert n_builds == 5
    assert rebuilds.hold_reason(settings) == ""

    use(new)
    assert rebuilds.plan(settings) == n_builds
    training = TrainingSettings(**settings.model_dump(include=set(TrainingSettings.model_fields)))
    for position in range(n_builds):
        assert clean(settings, MART) == before, "the live mart stays until the last build"
        reason = f"{position} of {n_builds} builds are verified"
        with pytest.raises(snapshots.NothingToTrainOn, match=reason):
            snapshots.freeze(training)
        assert run_next(settings, new, is_gated=True) == "rebuild"
    assert rebuilds.hold_reason(settings) == ""
    assert run_next(settings, new) is None

    from_nothing = stack(tmp_path, new, source)
    assert {NEW, DERIVED} <= columns(settings, "marts.fct_encounter_features")
    assert REMOVED not in columns(settings, "marts.fct_encounter_features")
    for statement in (MART, PATIENTS, HELD, COUNTS):
        assert clean(settings, statement) == clean(from_nothing, statement)
    # The model in production still reads the feature that its contract has.
    assert REMOVED in columns(settings, "marts.dim_patients")
    assert clean(settings, PATIENTS, role="serving")
    assert clean(settings, MART, role="trainer")
    assert clean(settings, HELD, role="reader")
    left = "select count(*) from pg_class where relnamespace::regnamespace::text like '%%\\_next'"
    assert clean(settings, left) == [(0,)]

    # The stack goes on: a correction is built into the tables that were switched in.
    correct_last = (
        "select _batch_id, _source_row from quarantine.encounters where released_at is null"
    )
    [(batch_id, source_row)] = clean(settings, correct_last)
    corrections.release(batch_id, source_row, {"age": "[70-80)"}, "a test", settings)
    assert run_next(settings, new, is_gated=True) == "correction"
    assert len(clean(settings, MART)) == len(before) + 1
    bootstrap(settings)


@pytest.fixture(scope="module")
def half_template(tmp_path_factory, old, new) -> StackSettings:
    """A published stack with a waiting batch and a rebuild: one of its two builds is verified."""
    folder = tmp_path_factory.mktemp("half")
    sample.write_csv(folder / "source.csv", 300)
    settings = raw.fresh(folder, dataset=str(folder / "source.csv"), batch_size=400)
    sources.ensure_source(settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DBT_TARGET_PATH", str(old / "target"))
        for _ in range(2):
            assert run_next(settings, old) == "batch"
        patch.setenv("DBT_TARGET_PATH", str(new / "target"))
        assert run_next(settings, new) == "rebuild"
    templates.keep(settings)
    return settings


@pytest.fixture
def half(half_template, new, use) -> StackSettings:
    """That stack as it was left, with the new contract."""
    templates.put_back(half_template)
    use(new)
    return half_template


def test_new_batches_wait_for_the_rebuild(half, new):
    assert [build.kind for build in claims.waiting(half)] == ["rebuild", "batch"]
    assert [run_next(half, new) for _ in range(3)] == ["rebuild", "batch", None]


def test_reverted_contract_ends_the_rebuild(half, old, use):
    before = clean(half, MART)
    use(old)
    assert rebuilds.plan(half) == 0
    assert clean(half, "select count(*) from ops.rebuilds") == [(0,)]
    assert clean(half, MART) == before
    assert run_next(half, old) == "batch"


def test_third_contract_starts_anew(half, tmp_path, use):
    third = copy_of_project(tmp_path / "third")
    without_feature(third / "models/marts/fct_encounter_features.yml", REMOVED)
    dbt.parse(third / "target", project=third)
    use(third)
    assert rebuilds.plan(half) == 2
    assert [run_next(half, third) for _ in range(4)] == ["rebuild", "rebuild", "batch", None]
    assert NEW not in columns(half, "marts.fct_encounter_features")


def test_rejected_rebuild_keeps_the_old_mart(half, new):
    before = clean(half, MART)
    build = claims.claim_and_begin("a run", half)
    dbt.build(half, new / "target", project=new, suffix=build.schema_suffix)
    build.reject("a gate says no", half)
    claims.release_claim("a run", half)
    with pytest.raises(BatchRejected, match=r"stopped at .*, the old mart stays: a gate says no"):
        claims.claim("another run", half)
    assert clean(half, MART) == before
    assert set(raw.ledger_rows(half).values()) == {"published"}
    left = "select count(*) from staging_next.stg_uci__encounters where _build_id = %s"
    assert raw.query(half, half.clean_database, left, build.build_id) == [(0,)]


def test_killed_before_the_switch_is_switched_by_the_next_run(half, new):
    build = claims.claim_and_begin("a run", half)
    dbt.build(half, new / "target", project=new, suffix=build.schema_suffix)
    build.publish(half)
    assert NEW not in columns(half, "marts.fct_encounter_features")
    assert run_next(half, new) == "batch"
    assert NEW in columns(half, "marts.fct_encounter_features")


def test_dbts_role_cannot_switch_what_is_not_verified(half):
    with pytest.raises(Exception, match="not verified under the new contract"):
        clean(half, "select ops.finish_rebuild()", role="transformer")


def test_contract_of_an_installation_without_a_record_is_that_of_its_last_model(
    half, old, new, use
):
    clean(half, "delete from ops.rebuilds; delete from ops.mart_contract")
    statement = """
        insert into ops.promotions (decision, model_name, metric, contract_hash, actor, reason)
        values
    """
    contract = Contract.from_manifest(old / "target" / "manifest.json")
    clean(half, f"{statement} ('promote', 'm', 'x', '{contract.hash}', 'a', 'b')")
    assert rebuilds.plan(half) == 2
    use(old)
    assert rebuilds.plan(half) == 0
