"""Drift is found in 20 of 20 seeded samples that have it, and in none of 20 that do not."""

import itertools

import numpy as np
import pandas as pd
import pytest

from readmit.intake import sample
from training import drift

RULE = drift.Rule(threshold=0.1, alpha=0.01, least_rows=200, replicates=400, seed=1)
SEEDS = range(20)
NUMBERS = (
    "time_in_hospital",
    "num_lab_procedures",
    "num_medications",
    "number_inpatient",
    "number_diagnoses",
)
CATEGORIES = (
    "race",
    "gender",
    "age",
    "payer_code",
    "medical_specialty",
    "diag_1",
    "insulin",
    "change",
)
COLUMNS = [*NUMBERS, *CATEGORIES]


@pytest.fixture(scope="module")
def stays():
    """The embedded sample: patients with several stays, frequent and rare values."""
    frame = pd.DataFrame(sample.generate(12_000))
    return frame.astype(dict.fromkeys(NUMBERS, "int64") | {"patient_nbr": "int64"})


def parted(stays, seed, n=600):
    """Return reference and requests of different patients, without drift."""
    rng = np.random.default_rng(seed)
    patients = stays["patient_nbr"].unique()
    chosen = rng.choice(patients, round(0.7 * len(patients)), replace=False)
    is_chosen = stays["patient_nbr"].isin(chosen)
    requests = stays[~is_chosen].sample(n, random_state=seed).reset_index(drop=True)
    return stays[is_chosen], requests


def compared(reference, requests):
    patients = reference["patient_nbr"]
    return drift.compare(reference[COLUMNS], requests[COLUMNS], patients, frozenset(NUMBERS), RULE)


def named(name, shifts):
    return next(shift for shift in shifts if shift.name == name)


def new_value(requests, chosen):
    requests.loc[chosen, "payer_code"] = "XX"


def more_of_one_value(requests, chosen):
    requests.loc[chosen, "insulin"] = "Up"


def higher_number(requests, chosen):
    requests.loc[chosen, "num_medications"] += 12


def one_number_only(requests, chosen):
    requests.loc[chosen, "number_inpatient"] = 4


def missing(requests, chosen):
    requests["age"] = requests["age"].where(~chosen, None)


DRIFTS = {
    new_value: "payer_code",
    more_of_one_value: "insulin",
    higher_number: "num_medications",
    one_number_only: "number_inpatient",
    missing: "age",
}


@pytest.mark.parametrize(
    ("seed", "change"), list(zip(SEEDS, itertools.cycle(DRIFTS), strict=False))
)
def test_seeded_drift_is_found_and_named(stays, seed, change):
    reference, requests = parted(stays, seed)
    change(requests, np.random.default_rng(seed).random(len(requests)) < 0.4)
    shifts = compared(reference, requests)
    assert [shift.name for shift in shifts if shift.drifted] == [DRIFTS[change]]
    assert shifts[0].name == DRIFTS[change]


@pytest.mark.parametrize("seed", SEEDS)
def test_without_drift_it_is_silent(stays, seed):
    reference, requests = parted(stays, 100 + seed)
    for shift in compared(reference, requests):
        assert not shift.drifted


def test_the_test_alone_makes_few_false_alarms(stays):
    """Without the effect size: at 10 % for all columns together, 20 samples make 2 alarms on
    average.
    """
    alarms = 0
    for seed in SEEDS:
        reference, requests = parted(stays, 200 + seed)
        alarms += min(shift.p for shift in compared(reference, requests)) <= 0.1
    assert alarms <= 5  # the chance of more is 1 %


def test_a_certain_but_small_change_is_silent(stays):
    """Thousands of rows make any difference significant; a difference that does not matter is no
    drift.
    """
    reference, requests = parted(stays, 1, n=3000)
    more_of_one_value(requests, np.random.default_rng(1).random(len(requests)) < 0.06)
    shift = named("insulin", compared(reference, requests))
    assert shift.p <= RULE.alpha
    assert 0 < shift.distance < RULE.threshold
    assert not shift.drifted


def test_chance_alone_is_subtracted(stays):
    """Fewer requests are further away by chance, not by drift."""
    reference, few = parted(stays, 3, n=200)
    _, many = parted(stays, 3, n=2000)
    shifts_of_few = compared(reference, few)
    shifts_of_many = compared(reference, many)
    diagnosis_of_few = named("diag_1", shifts_of_few)
    assert diagnosis_of_few.by_chance > 2 * named("diag_1", shifts_of_many).by_chance
    for shift in shifts_of_few:
        assert shift.distance < RULE.threshold


def test_too_few_requests_say_nothing(stays):
    reference, requests = parted(stays, 4, n=RULE.least_rows - 1)
    new_value(requests, np.ones(len(requests), dtype=bool))
    assert compared(reference, requests) is None


def test_types_of_requests_are_those_of_the_snapshot():
    """A snapshot has columns of numpy's types, requests come from JSON."""
    reference = pd.DataFrame(
        {"flag": [True, False] * 300, "code": [1, 2, 3] * 200, "number": range(600)}
    )
    requests = pd.DataFrame(reference.to_dict("list"), dtype=object)
    shifts = drift.compare(reference, requests, range(600), frozenset({"number"}), RULE)
    assert len(shifts) == 3
    for shift in shifts:
        assert shift.distance == 0
        assert shift.current.get(drift.NEW, 0) == 0
