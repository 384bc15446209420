"""The embedded sample looks like the real file where it matters, and can be learned from."""

import csv
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from readmit.intake import sample
from readmit.intake.csv_file import read_blocks
from readmit.intake.layout import COLUMNS, DRUGS

ROWS = 30_000


@pytest.fixture(scope="module")
def columns() -> dict[str, sample.Texts]:
    return sample.generate(ROWS, seed=7)


def share(values: sample.Texts, value: str) -> float:
    return float(np.mean(values == value))


def test_written_file_passes_the_check_of_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "sample.csv"
    sample.write_csv(path, n_rows=500, seed=3)
    assert sum(len(block.lines) for block in read_blocks(path, path.name)) == 500
    data = path.read_bytes()
    assert data.count(b"\r\n") == data.count(b"\n") == 501
    assert next(csv.reader([data.split(b"\r\n")[0].decode()])) == list(COLUMNS)


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path: Path) -> None:
    contents = []
    for seed in (1, 1, 2):
        sample.write_csv(tmp_path / "a.csv", n_rows=200, seed=seed)
        contents.append((tmp_path / "a.csv").read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_full_size_takes_less_than_ten_seconds_by_a_wide_margin(tmp_path: Path) -> None:
    started = time.process_time()
    sample.write_csv(tmp_path / "sample.csv")
    assert time.process_time() - started < 10


def test_encounters_are_unique_and_ordered(columns: dict[str, sample.Texts]) -> None:
    numbers = columns["encounter_id"].astype(np.int64)
    assert (np.diff(numbers) > 0).all()


def test_patients_repeat_as_in_the_real_file(columns: dict[str, sample.Texts]) -> None:
    stays = Counter(columns["patient_nbr"].tolist())
    assert 0.66 < len(stays) / ROWS < 0.75
    assert max(stays.values()) <= 40


def test_null_shares_are_near_the_facts(columns: dict[str, sample.Texts]) -> None:
    real = {
        "weight": 0.969,
        "medical_specialty": 0.491,
        "payer_code": 0.396,
        "race": 0.022,
        "diag_3": 0.014,
    }
    for name, expected in real.items():
        assert share(columns[name], "?") == pytest.approx(expected, abs=0.06), name
    for name in COLUMNS:
        assert share(columns[name], "") == 0


def test_frequencies_drift_over_the_file(columns: dict[str, sample.Texts]) -> None:
    payers = columns["payer_code"]
    sources = columns["admission_source_id"]
    early = slice(0, ROWS // 7)
    late = slice(-ROWS // 7, None)
    assert share(payers[early], "?") > share(payers[late], "?") + 0.4
    assert share(sources[late], "7") > share(sources[early], "7") + 0.05
    assert set(payers[late]) - set(payers[early])


def test_diabetes_med_is_exactly_any_drug(columns: dict[str, sample.Texts]) -> None:
    is_given = np.any([columns[drug] != "No" for drug in DRUGS], axis=0)
    assert ((columns["diabetesMed"] == "Yes") == is_given).all()


def test_change_is_set_wherever_a_drug_moves(columns: dict[str, sample.Texts]) -> None:
    is_moved = np.any([np.isin(columns[drug], ("Up", "Down")) for drug in DRUGS], axis=0)
    assert (columns["change"][is_moved] == "Ch").all()


def test_the_dead_do_not_come_back(columns: dict[str, sample.Texts]) -> None:
    is_dead = np.isin(columns["discharge_disposition_id"], ("11", "19", "20", "21"))
    assert is_dead.any()
    assert (columns["readmitted"][is_dead] == "NO").all()
    patients = columns["patient_nbr"]
    last_row = {patient: row for row, patient in enumerate(patients.tolist())}
    for row in np.flatnonzero(is_dead):
        assert last_row[patients[row]] == row


def test_label_shares_are_near_the_facts(columns: dict[str, sample.Texts]) -> None:
    for value, expected in {"NO": 0.54, ">30": 0.35, "<30": 0.112}.items():
        assert share(columns["readmitted"], value) == pytest.approx(expected, abs=0.04)


def test_label_can_be_learned_from_the_row_and_from_earlier_stays(
    columns: dict[str, sample.Texts],
) -> None:
    is_soon = columns["readmitted"] == "<30"
    often = columns["number_inpatient"].astype(int) >= 2
    assert is_soon[often].mean() > 1.4 * is_soon[~often].mean()
    readmitted: set[str] = set()
    came_back = np.zeros(ROWS, dtype=bool)
    for row, patient in enumerate(columns["patient_nbr"].tolist()):
        came_back[row] = patient in readmitted
        if is_soon[row]:
            readmitted.add(patient)
    assert is_soon[came_back].mean() > 1.5 * is_soon[~came_back].mean()


def test_one_row_can_be_made_and_none_cannot() -> None:
    assert len(sample.generate(1)["race"]) == 1
    with pytest.raises(ValueError, match="must be at least 1"):
        sample.generate(0)
