"""Who is unlike the training data: the limit holds on unseen stays, and odd patients are above it."""

import json

import numpy as np
import pytest

from readmit.inference.typicality import RARE, Typicality
from tests.support.training import make_rows
from training import typical_values

N = 9_000


@pytest.fixture(scope="module")
def rows(contract):
    return make_rows(contract, N, seed=5)


@pytest.fixture(scope="module")
def document(contract, rows):
    fitted = typical_values.fit(contract, rows.iloc[:3000], rows.iloc[3000:6000])
    return json.loads(json.dumps(fitted, allow_nan=False))  # as a bundle keeps it


@pytest.fixture(scope="module")
def typicality(document):
    return Typicality(document)


def test_one_in_a_hundred_unseen_stays_is_above_the_limit(contract, rows, typicality):
    sums = typical_values.distances(typicality, contract, rows.iloc[6000:])
    share = (sums > typicality.limit).mean()
    assert 0.004 <= share <= 0.018  # 3 standard errors, of the limit and of the share


def test_a_patient_with_values_that_nobody_had_is_unlike(contract, rows, typicality):
    row = list(rows[list(contract.base_names)].iloc[6000])
    assert typicality.distance(tuple(row)) <= typicality.limit
    names = list(contract.base_names)
    changed = {"diagnosis_1": "E999", "diagnosis_2": "V99", "n_medications": 81}
    changed |= {"n_lab_procedures": 400, "n_emergency_visits": 75, "payer_code": "??"}
    for name, value in changed.items():
        row[names.index(name)] = value
    assert typicality.distance(tuple(row)) > typicality.limit
    rarest = typicality.rarest(tuple(row), frozenset(changed))
    assert len(rarest) == 3
    assert typicality.rarest(tuple(row), frozenset()) == []


def test_surprises_are_shares_of_stays_as_rare_or_as_extreme(document):
    for field in document["fields"]:
        assert field["other"] == pytest.approx(np.log(6000))
        assert all(0 <= surprise < field["other"] for surprise in field["surprises"])
    numbers = next(field for field in document["fields"] if "numbers" in field)
    assert numbers["numbers"] == sorted(numbers["numbers"])


def test_numbers_between_and_beyond_those_of_training():
    field = {"name": "n", "numbers": [1, 2, 5], "surprises": [4.0, 0.0, 3.0], "other": 9.0}
    text = {"name": "c", "texts": ["a", "True"], "surprises": [0.0, 5.0], "other": 9.0}
    typicality = Typicality({"format": 1, "limit": 8.0, "fields": [field, text]})
    for number, surprise in ((1, 4), (2, 0), (2.0, 0), (3, 3), (1.5, 4), (0, 9), (6, 9)):
        assert typicality.distance((number, "a")) == surprise
    assert typicality.distance((2, "b")) == 9
    assert typicality.distance((2, True)) == 5
    assert typicality.rarest((0, "b"), ["n", "c"]) == ["c", "n"]
    assert 4 < RARE < 5


def test_requests_cannot_fill_the_memory(monkeypatch):
    from readmit.inference import typicality as module

    monkeypatch.setattr(module, "MAX_REMEMBERED", 10)
    field = {"name": "c", "texts": ["a"], "surprises": [0.0], "other": 9.0}
    typicality = Typicality({"format": 1, "limit": 8.0, "fields": [field]})
    for number in range(100):
        assert typicality.distance((f"x{number}",)) == 9
    assert len(typicality._tables[0]) == 10


def test_a_file_of_another_format_is_refused(tmp_path):
    assert Typicality.load(tmp_path) is None
    (tmp_path / "typicality.json").write_text('{"format": 2}')
    with pytest.raises(ValueError, match="format 2"):
        Typicality.load(tmp_path)
