"""Candidates: from contract columns to probability, the same compiled, and without leaks."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from readmit.inference.compiled_model import CompiledModel
from tests.support.training import make_rows
from training import bundle_writer, candidates, compilation, evaluation, features
from training.compilation import CannotCompile


@pytest.fixture(scope="module")
def rows(contract):
    return make_rows(contract)


def fitted(name, contract, rows):
    train = rows[rows["split"] == "train"]
    pipeline = candidates.CANDIDATES[name](contract, 1, 1)
    if name in ("random_forest", "lightgbm"):
        pipeline[-1].set_params(n_estimators=60)
    if name == "catboost":
        pipeline[-1].set_params(iterations=100)
    return pipeline.fit(train[features.columns(contract)], features.labels(contract, train))


@pytest.mark.parametrize(
    "name", ["logistic", "random_forest", "hist_boosting", "lightgbm", "catboost"]
)
def test_compiled_form_says_the_same(name, contract, rows, tmp_path):
    pipeline = fitted(name, contract, rows)
    assert compilation.write(pipeline, contract, rows, tmp_path) <= compilation.TOLERANCE
    held_out = rows[rows["split"] != "train"]
    p = evaluation.predict(pipeline, contract, held_out)
    assert roc_auc_score(features.labels(contract, held_out), p) > 0.6
    # A value that training never saw is an unknown, not an error.
    row = held_out.iloc[0][list(contract.base_names)].to_dict()
    row["medical_specialty"] = "Astrology"
    assert 0 < CompiledModel.load(tmp_path).predict_one(row) < 1


def test_a_compiled_form_that_differs_is_refused(contract, rows, tmp_path, monkeypatch):
    pipeline = fitted("logistic", contract, rows)
    whole = compilation.encoder_table

    def tampered(pipeline, contract):
        table = whole(pipeline, contract)
        table[0]["codes"] = {key: code + 1 for key, code in table[0]["codes"].items()}
        return table

    monkeypatch.setattr(compilation, "encoder_table", tampered)
    with pytest.raises(CannotCompile, match="differs by"):
        compilation.write(pipeline, contract, rows, tmp_path)


def test_derived_features_of_dbt_and_of_requests_must_agree(contract, rows, tmp_path):
    pipeline = fitted("logistic", contract, rows)
    wrong = rows.assign(n_prior_year_visits=rows["n_prior_year_visits"] + 1)
    with pytest.raises(CannotCompile, match="n_prior_year_visits"):
        compilation.write(pipeline, contract, wrong, tmp_path)


@pytest.mark.parametrize("name", ["lightgbm", "catboost"])
def test_the_same_seed_gives_the_same_model(name, contract, rows):
    one = evaluation.predict(fitted(name, contract, rows), contract, rows)
    other = evaluation.predict(fitted(name, contract, rows), contract, rows)
    assert np.abs(one - other).max() <= 1e-6


def test_a_planted_leak_is_noticed_and_shuffled_labels_teach_nothing(contract, rows):
    is_train = rows["split"].to_numpy() == "train"
    y = features.labels(contract, rows)
    leaking = rows.assign(n_lab_procedures=np.where(y == 1, 90, 10).astype("int64"))
    pipeline = candidates.lightgbm(contract, 1, 1)
    pipeline[-1].set_params(n_estimators=60)
    names = features.columns(contract)
    pipeline.fit(leaking[is_train][names], y[is_train])
    p = evaluation.predict(pipeline, contract, leaking[~is_train])
    assert roc_auc_score(y[~is_train], p) > 0.95
    shuffled = np.random.default_rng(5).permutation(y[is_train])
    pipeline.fit(rows[is_train][names], shuffled)
    p = evaluation.predict(pipeline, contract, rows[~is_train])
    # Few rows; the figure on the real file is part of `make test-full`.
    assert abs(roc_auc_score(y[~is_train], p) - 0.5) < 0.1


def test_no_patient_is_in_two_splits(rows):
    assert rows.groupby("patient_nbr")["split"].nunique().max() == 1


def test_signature_and_examples_follow_the_contract(contract, rows, tmp_path):
    assert features.signature(contract).inputs.input_names() == features.columns(contract)
    pipeline = fitted("logistic", contract, rows)
    examples = bundle_writer.examples(pipeline, contract, rows)
    assert len(examples["rows"]) == len(examples["probabilities"]) == bundle_writer.EXAMPLES
    assert examples["probabilities"] == sorted(examples["probabilities"])
    assert set(examples["rows"][0]) == {f.name for f in (*contract.inputs, *contract.history)}


def test_a_pipeline_is_compiled_to_the_same_files_each_time(contract, rows, tmp_path):
    """A repeated task writes the files of a version again, which are signed."""
    pipeline = fitted("logistic", contract, rows)
    for name in ("once", "again"):
        compilation.write(pipeline, contract, rows, tmp_path / name)
    for path in (tmp_path / "once").rglob("*"):
        if path.is_file():
            again = tmp_path / "again" / path.relative_to(tmp_path / "once")
            assert path.read_bytes() == again.read_bytes(), path.name
