"""History is exact.

It equals a rebuild in pandas from the raw file, later rows do not change it, and rows that come
late give the same history.
"""

import os
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from expectations import gate
from readmit import db
from readmit.batches import claims, corrections, loading, proposals
from readmit.batches.builds import Build
from readmit.intake import sample, sources
from readmit.intake.split import split_of
from readmit.settings import ROOT, StackSettings
from tests.support import dbt, raw

SEED = 20_14
N_PATIENTS = 500
N_RELEASED = 4
REAL = Path(os.environ.get("DATASET") or ROOT.parent / "shared" / "data" / "diabetic_data.zip")


def table(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return frame.assign(encounter=frame.encounter_id.astype("int64"))


def write(frame: pd.DataFrame, path: Path) -> Path:
    frame.drop(columns="encounter").to_csv(path, index=False, lineterminator="\r\n")
    return path


def published(home: Path, source: Path, batch_size: int = 200_000) -> StackSettings:
    """Publish every batch of a file in databases of its own."""
    home.mkdir(exist_ok=True)
    settings = raw.fresh(home, dataset=str(source), batch_size=batch_size)
    sources.ensure_source(settings)
    while batch_id := raw.claim_batch("test", settings):
        loading.load(batch_id, settings)
        Build.of_batch(batch_id).begin(settings)
        dbt.build(settings, home / "target")
        Build.of_batch(batch_id).publish(settings)
    return settings


def mart(settings: StackSettings) -> pd.DataFrame:
    """Return the mart, with the names of batches without their file, which differs by world."""
    with (
        db.transaction("postgres", settings.clean_database, settings) as connection,
        connection.cursor() as cur,
    ):
        cur.execute("select * from marts.fct_encounter_features order by encounter_id")
        names = [column.name for column in cur.description or ()]
        frame = pd.DataFrame(cur.fetchall(), columns=names)
    frame["_batch_id"] = frame._batch_id.str.rsplit("-", n=1).str[0]
    return frame.set_index("encounter_id")


def patients(settings: StackSettings) -> list[tuple]:
    return raw.query(
        settings, settings.clean_database, "select * from marts.dim_patients order by patient_nbr"
    )


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> pd.DataFrame:
    """Training patients of the sample: one batch, so one build per world."""
    path = tmp_path_factory.mktemp("sample") / "sample.csv"
    sample.write_csv(path, 4000)
    frame = table(path)
    return frame[frame.patient_nbr.map(split_of) == "train"].reset_index(drop=True)


@pytest.fixture(scope="module")
def plain(rows, tmp_path_factory) -> StackSettings:
    home = tmp_path_factory.mktemp("plain")
    return published(home, write(rows, home / "source.csv"))


def icd9(code: str) -> str:
    if code == "?":
        return "unknown"
    if code.isdigit():
        return code.zfill(3)
    if code.startswith("250.") and len(code) == 5:
        return code + "0"
    return code


def history_of(stays: list[dict[str, str]]) -> dict[str, object]:
    """Return the history features of a stay from the earlier stays of its patient, oldest first.

    Written without a look at the SQL.
    """
    last: dict[str, str] = {}
    diagnosis = "none"
    if stays:
        last = stays[-1]
        diagnosis = icd9(last["diag_1"])
    inpatient = [int(stay["number_inpatient"]) for stay in stays]
    return {
        "n_prior_stays": len(stays),
        "n_prior_readmitted_30d": sum(stay["readmitted"] == "<30" for stay in stays),
        "was_prior_readmitted_30d": last.get("readmitted") == "<30",
        "prior_stay_days_total": sum(int(stay["time_in_hospital"]) for stay in stays),
        "prior_n_inpatient_visits": int(last.get("number_inpatient", 0)),
        "prior_inpatient_visits_max": max(inpatient, default=0),
        "prior_inpatient_visits_total": sum(inpatient),
        "prior_n_emergency_visits": int(last.get("number_emergency", 0)),
        "prior_n_lab_procedures": int(last.get("num_lab_procedures", 0)),
        "prior_length_of_stay_days": int(last.get("time_in_hospital", 0)),
        "n_prior_emergency_stays": sum(stay["admission_type_id"] == "1" for stay in stays),
        "prior_n_medications": int(last.get("num_medications", 0)),
        "prior_n_diagnoses": int(last.get("number_diagnoses", 0)),
        "prior_discharge_disposition_id": int(last.get("discharge_disposition_id", 0)),
        "prior_diagnosis_1": diagnosis,
    }


def check_against_the_file(rows: pd.DataFrame, features: pd.DataFrame) -> None:
    """Compare every history value of random patients; at least half of them have several stays."""
    repeated = rows.patient_nbr[rows.patient_nbr.duplicated()].unique()
    draw = random.Random(SEED)
    chosen = draw.sample(sorted(repeated), min(N_PATIENTS // 2, len(repeated)))
    others = sorted(set(rows.patient_nbr) - set(chosen))
    chosen += draw.sample(others, min(N_PATIENTS - len(chosen), len(others)))
    n_compared = 0
    rows_of_chosen = rows[rows.patient_nbr.isin(chosen)].sort_values("encounter")
    for _, stays in rows_of_chosen.groupby("patient_nbr"):
        records = stays.to_dict("records")
        for n_earlier, stay in enumerate(records):
            if stay["encounter"] in features.index:
                expected = history_of(records[:n_earlier])
                history = features.loc[stay["encounter"], list(expected)].to_dict()
                assert history == expected, stay["encounter_id"]
                n_compared += 1
    assert n_compared >= len(chosen) * 0.9
    names = {name for name in features if "prior" in name and not name.endswith("_group")}
    assert names == {*history_of([]), "n_prior_year_visits"}


def test_history_equals_a_rebuild_in_python(rows, plain):
    check_against_the_file(rows, mart(plain))


@pytest.mark.full
@pytest.mark.skipif(not REAL.is_file(), reason="DATASET does not name the real file")
def test_history_equals_a_rebuild_in_python_on_the_real_file(tmp_path):
    import zipfile

    with zipfile.ZipFile(REAL) as archive, archive.open("diabetic_data.csv") as file:
        frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    frame = frame.assign(encounter=frame.encounter_id.astype("int64"))
    check_against_the_file(frame, mart(published(tmp_path, REAL)))


def test_later_rows_change_nothing_before_them(rows, plain, tmp_path):
    ordered = rows.sort_values("encounter").reset_index(drop=True)
    first_later = len(ordered) // 2
    later = ordered.iloc[first_later:]
    values = rows.columns.difference(["encounter_id", "encounter", "patient_nbr"], sort=False)
    shuffled = later.sample(frac=1, random_state=SEED)[values].set_axis(later.index)
    changed = ordered.copy()
    changed.loc[later.index, values] = shuffled
    after = mart(published(tmp_path, write(changed, tmp_path / "source.csv")))
    before = mart(plain)
    limit = ordered.encounter[first_later]
    pd.testing.assert_frame_equal(after[after.index < limit], before[before.index < limit])
    later_history = [name for name in before if "prior" in name]
    common = before.index.intersection(after.index)
    common = common[common >= limit]
    differs = before.loc[common, later_history] != after.loc[common, later_history]
    assert differs.to_numpy().any()  # a change of history can be seen


def test_no_and_late_are_the_same_outcome_of_an_earlier_stay(rows, plain, tmp_path):
    """A patient with a later stay was readmitted: NO says that the file did not know of it yet.

    Most look-ups meet such a stay.
    """
    late = rows.assign(readmitted=rows.readmitted.replace("NO", ">30"))
    assert (late.readmitted != rows.readmitted).sum() > len(rows) / 4
    changed = published(tmp_path, write(late, tmp_path / "source.csv"))
    pd.testing.assert_frame_equal(mart(changed), mart(plain))
    assert patients(changed) == patients(plain)


def test_late_releases_in_random_order_equal_a_full_rebuild(rows, plain, tmp_path, monkeypatch):
    # The gate reads the contract from this folder.
    monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path / "target"))
    draw = np.random.default_rng(SEED)
    repeated = rows[rows.duplicated("patient_nbr", keep=False)]
    bad = draw.choice(repeated.index, N_RELEASED, replace=False)
    broken = rows.copy()
    broken.loc[bad, "age"] = "[55-60)"
    settings = published(tmp_path, write(broken, tmp_path / "source.csv"))
    assert len(mart(settings)) < len(mart(plain))
    held = raw.query(
        settings,
        settings.clean_database,
        "select _batch_id, _source_row from quarantine.encounters",
    )
    ages = {}
    for index in bad:
        for _, source_row in held:
            if is_row(settings, source_row, rows, index):
                ages[source_row] = rows.age[index]
    assert len(ages) == N_RELEASED
    for position in draw.permutation(N_RELEASED):
        batch_id, source_row = held[position]
        build_id = corrections.release(
            batch_id, source_row, {"age": ages[source_row]}, "a test", settings
        )
        build = claims.claim("a release", settings)
        assert build == raw.correction(build_id)
        build.begin(settings)
        dbt.build(settings, tmp_path / "target")
        assert gate.check_publish(build, settings).n_expectations
        build.publish(settings)
    pd.testing.assert_frame_equal(mart(settings), mart(plain))
    assert patients(settings) == patients(plain)


def test_accepted_changes_of_published_rows_equal_a_full_rebuild(rows, tmp_path, monkeypatch):
    """A later export changes a label, a stay's discharge to hospice and back, and a patient."""
    monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path / "target"))
    rows = rows.head(400).reset_index(drop=True)
    alive = rows[~rows.discharge_disposition_id.isin(["11", "13", "14", "19", "20", "21"])]
    repeated = alive[alive.duplicated("patient_nbr", keep=False)]
    single = alive[~alive.duplicated("patient_nbr", keep=False)]
    label = repeated.index[0]
    lab = repeated.index[-1]
    hospice = single.index[0]
    moved = single.index[1]
    new_label = "<30"
    if rows.readmitted[label] == "<30":
        new_label = "NO"
    later = rows.copy()
    later.loc[label, "readmitted"] = new_label
    later.loc[lab, "num_lab_procedures"] = "77"
    later.loc[hospice, "discharge_disposition_id"] = "13"
    later.loc[moved, "patient_nbr"] = rows.patient_nbr[repeated.index[0]]
    settings = published(tmp_path, write(rows, tmp_path / "first.csv"))
    accept_all(settings, later, tmp_path)
    expected = published(tmp_path / "whole", write(later, tmp_path / "whole.csv"))
    pd.testing.assert_frame_equal(mart(settings), mart(expected))
    assert patients(settings) == patients(expected)
    back = later.copy()
    back.loc[hospice, "discharge_disposition_id"] = rows.discharge_disposition_id[hospice]
    accept_all(settings, back, tmp_path)
    whole = published(tmp_path / "back", write(back, tmp_path / "back.csv"))
    pd.testing.assert_frame_equal(mart(settings), mart(whole))
    assert patients(settings) == patients(whole)
    excluded = "select n_excluded from landing.batches"
    n_excluded = raw.query(settings, settings.raw_database, excluded)
    assert n_excluded == raw.query(whole, whole.raw_database, excluded)


def accept_all(settings: StackSettings, later: pd.DataFrame, folder: Path) -> None:
    """Submit a later export, accept each of its changed rows, and publish the corrections."""
    sources.submit(str(write(later, folder / "later.csv")), settings)
    for proposal in proposals.open_proposals(settings):
        proposals.accept(proposal.proposal_id, "a test", settings)
    while build := claims.claim_and_begin("a change", settings):
        assert build.kind == "correction"
        dbt.build(settings, folder / "target")
        assert gate.check_publish(build, settings).n_expectations
        build.publish(settings)
    assert proposals.open_proposals(settings) == []


def is_row(settings: StackSettings, source_row: int, rows: pd.DataFrame, index: int) -> bool:
    statement = "select encounter_id from quarantine.encounters where _source_row = %s"
    [(encounter_id,)] = raw.query(settings, settings.clean_database, statement, source_row)
    return encounter_id == rows.encounter[index]
