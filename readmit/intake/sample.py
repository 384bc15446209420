"""The embedded sample: made-up encounters in the layout and with the frequencies of the real file.

The stack uses it when the real data cannot be reached, and tests use it. Patients repeat, missing
values are `?`, frequencies drift from the first rows to the last, and the label can be learned from
the stay and from the patient's earlier stays. No row is taken from the real file; only frequencies
are (data card in docs/).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from readmit.intake import sample_frequencies as frequencies
from readmit.intake.layout import COLUMNS, DRUGS

REAL_ROWS = 101_766
SEED = 20_140_101

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Texts = NDArray[np.str_]


def write_csv(path: Path, n_rows: int = REAL_ROWS, seed: int = SEED) -> None:
    """Write the sample in the format of the real file: header, commas, CR LF, no quotes.

    The same arguments give the same bytes.
    """
    columns = generate(n_rows, seed)
    rows = zip(*(columns[name].tolist() for name in COLUMNS), strict=True)
    text = "\r\n".join([",".join(COLUMNS), *map(",".join, rows), ""])
    part = path.with_suffix(".part")
    part.write_bytes(text.encode("ascii"))
    part.replace(path)


def generate(n_rows: int = REAL_ROWS, seed: int = SEED) -> dict[str, Texts]:
    """Generate `n_rows` encounters in order of `encounter_id`.

    Args:
        n_rows: at least 1.
        seed: same seed and size, same values.

    Returns:
        The 50 columns by name, each `n_rows` texts.
    """
    if n_rows < 1:
        raise ValueError(f"n_rows is {n_rows}; it must be at least 1")
    rng = np.random.default_rng(seed)
    patient, stay, n_stays = _stays(rng, n_rows)
    late = np.linspace(0.0, 1.0, n_rows)
    # One number per patient with a mean of about 0; patients with many stays are frailer.
    patient_frailty = rng.normal(0.0, 0.75, len(n_stays)) + 0.35 * np.log(n_stays) - 0.1
    frailty = patient_frailty[patient]
    columns = {"encounter_id": _texts(12_522 + np.cumsum(rng.integers(1, 8_722, n_rows)))}
    numbers = 135 + rng.choice(189_000_000, len(n_stays), replace=False)
    decade = _pick(rng, frequencies.AGE, len(n_stays)).astype(np.int64)
    columns |= {
        "patient_nbr": _texts(numbers[patient]),
        "race": _pick(rng, frequencies.RACE, len(n_stays))[patient],
        "gender": _pick(rng, frequencies.GENDER, len(n_stays))[patient],
        "age": np.array(frequencies.AGES)[decade[patient]],
        "weight": _pick(rng, frequencies.WEIGHT, n_rows),
    }
    columns |= _admission_columns(rng, late)
    columns |= _utilisation_columns(rng, stay, frailty, late)
    columns |= _drug_columns(rng, late)
    is_last = stay == n_stays[patient] - 1
    # Only the last stay of a patient can end in death or hospice; from the others they went home.
    disposition = columns["discharge_disposition_id"]
    is_impossible = np.isin(disposition, frequencies.DEATH_OR_HOSPICE) & ~is_last
    columns["discharge_disposition_id"] = np.where(is_impossible, np.array("1"), disposition)
    columns["readmitted"] = _label(rng, columns, stay, frailty, is_last)
    return {name: columns[name] for name in COLUMNS}


def _stays(rng: np.random.Generator, n_rows: int) -> tuple[Ints, Ints, Ints]:
    """Spread patients over the rows.

    Returns:
        For each row the index of its patient, for each row the number of the stay (from 0), and
        for each patient the number of stays.
    """
    drawn = _pick(rng, frequencies.STAYS, n_rows).astype(np.int64)
    n_patients = int(np.searchsorted(np.cumsum(drawn), n_rows)) + 1
    patient = rng.permutation(np.repeat(np.arange(n_patients), drawn[:n_patients])[:n_rows])
    n_stays = np.bincount(patient, minlength=n_patients)
    by_patient = np.argsort(patient, kind="stable")
    first_of = np.cumsum(n_stays) - n_stays
    stay = np.empty(n_rows, dtype=np.int64)
    stay[by_patient] = np.arange(n_rows) - first_of[patient[by_patient]]
    return patient, stay, n_stays


def _admission_columns(rng: np.random.Generator, late: Floats) -> dict[str, Texts]:
    return {
        "admission_type_id": _drift(
            rng, frequencies.ADMISSION_TYPE, frequencies.ADMISSION_TYPE_LATE, late
        ),
        "discharge_disposition_id": _drift(
            rng, frequencies.DISPOSITION, frequencies.DISPOSITION_LATE, late
        ),
        "admission_source_id": _drift(
            rng, frequencies.ADMISSION_SOURCE, frequencies.ADMISSION_SOURCE_LATE, late
        ),
        "payer_code": _drift(rng, frequencies.PAYER, frequencies.PAYER_LATE, late**0.6),
        "medical_specialty": _drift(rng, frequencies.SPECIALTY, frequencies.SPECIALTY_LATE, late),
        "diag_1": _pick(rng, frequencies.DIAG_1, len(late)),
        "diag_2": _pick(rng, frequencies.DIAG_2, len(late)),
        "diag_3": _pick(rng, frequencies.DIAG_3, len(late)),
        "number_diagnoses": _drift(rng, frequencies.DIAGNOSES, frequencies.DIAGNOSES_LATE, late),
        "max_glu_serum": _pick(rng, frequencies.GLUCOSE, len(late)),
        "A1Cresult": _pick(rng, frequencies.A1C, len(late)),
    }


def _utilisation_columns(
    rng: np.random.Generator, stay: Ints, frailty: Floats, late: Floats
) -> dict[str, Texts]:
    n = len(stay)
    days = _pick(rng, frequencies.DAYS, n).astype(np.int64)
    days = np.clip(days + rng.poisson(np.exp(frailty - 1.2)), 1, 14)
    strain = np.exp(frailty)
    return {
        "time_in_hospital": _texts(days),
        "num_lab_procedures": _texts(
            np.clip(rng.normal(38 + 1.2 * days, 18.5), 1, 132).astype(np.int64)
        ),
        "num_procedures": _pick(rng, frequencies.PROCEDURES, n),
        "num_medications": _texts(
            np.clip(rng.gamma(3.6, (3.0 + 0.3 * days), n), 1, 81).astype(np.int64)
        ),
        "number_outpatient": _texts(np.clip(rng.poisson(rng.gamma(0.18, 1.5 + late, n)), 0, 42)),
        "number_emergency": _texts(np.clip(rng.poisson(rng.gamma(0.16, 1.0, n) * strain), 0, 76)),
        "number_inpatient": _texts(
            np.clip(rng.poisson(0.3 * strain + 0.35 * np.minimum(stay, 6)), 0, 21)
        ),
    }


def _drug_columns(rng: np.random.Generator, late: Floats) -> dict[str, Texts]:
    """Return 23 drugs, and the two columns that follow from them.

    `diabetesMed` follows exactly, `change` as often as in the real file.
    """
    n = len(late)
    drugs = {name: np.full(n, "No", dtype="U6") for name in DRUGS}
    drugs["insulin"] = _drift(rng, frequencies.INSULIN, frequencies.INSULIN_LATE, late)
    for name, (steady, up, down) in frequencies.ORAL_DRUGS.items():
        no = 100_000 - steady - up - down
        drugs[name] = _pick(rng, f"No:{no} Steady:{steady} Up:{up} Down:{down}", n)
    table = np.stack(list(drugs.values()))
    is_given = (table != "No").any(axis=0)
    is_dose_changed = ((table == "Up") | (table == "Down")).any(axis=0)
    is_changed = is_dose_changed | (is_given & (rng.random(n) < 0.38))
    return drugs | {
        "change": np.where(is_changed, "Ch", "No"),
        "diabetesMed": np.where(is_given, "Yes", "No"),
    }


def _label(
    rng: np.random.Generator,
    columns: Mapping[str, Texts],
    stay: Ints,
    frailty: Floats,
    is_last: NDArray[np.bool_],
) -> Texts:
    """Draw `<30`, `>30` or `NO` by frailty, by the row, and by whether a later stay follows."""
    log_odds = (
        0.9 * frailty
        + 0.16 * np.minimum(columns["number_inpatient"].astype(np.int64), 6)
        + 0.08 * np.minimum(columns["number_emergency"].astype(np.int64), 6)
        + 0.12 * np.minimum(stay, 5)
        + 0.02 * columns["time_in_hospital"].astype(np.int64)
        + _effect(columns["discharge_disposition_id"], frequencies.DISPOSITION_EFFECT)
        + _effect(columns["diag_1"], frequencies.DIAGNOSIS_EFFECT)
    )
    log_odds = log_odds - np.where(is_last, 3.35, 2.1)
    is_soon = rng.random(len(stay)) < 1 / (1 + np.exp(-log_odds))
    is_later = rng.random(len(stay)) < np.where(is_last, 0.19, 0.98)
    label = np.where(is_soon, "<30", np.where(is_later, ">30", "NO"))
    is_dead = np.isin(columns["discharge_disposition_id"], ("11", "19", "20", "21"))
    return cast(Texts, np.where(is_dead, "NO", label))


def _effect(values: Texts, effects: Mapping[str, float]) -> Floats:
    total = np.zeros(len(values))
    for value, effect in effects.items():
        total[values == value] = effect
    return total


def _pick(rng: np.random.Generator, table: str, n: int) -> Texts:
    """Draw `n` values from a table of frequencies."""
    values = []
    weights = []
    for entry in table.split():
        value, _, weight = entry.rpartition(":")
        values.append(value)
        weights.append(float(weight))
    cumulated = np.cumsum(np.array(weights) / sum(weights))
    drawn = np.searchsorted(cumulated, rng.random(n), side="right")
    return cast(Texts, np.array(values)[np.minimum(drawn, len(values) - 1)])


def _drift(rng: np.random.Generator, early_table: str, late_table: str, late: Floats) -> Texts:
    """Draw each row from one of two tables; `late` is the probability that it is the late one."""
    n = len(late)
    is_late = rng.random(n) < late
    late_values = _pick(rng, late_table, n)
    early_values = _pick(rng, early_table, n)
    return cast(Texts, np.where(is_late, late_values, early_values))


def _texts(numbers: NDArray[np.integer]) -> Texts:
    return numbers.astype(np.str_)
