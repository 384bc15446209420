"""The experiment report: each variant is what it says it is, and rates have honest intervals."""

import pandas as pd
import pytest

from tests.support.training import make_rows
from training import experiments
from training.training_settings import TrainingSettings


@pytest.fixture(scope="module")
def variants(contract):
    found = experiments.variants(contract, TrainingSettings(training_threads=1))
    return {variant.name: variant for variant in found}


def columns(pipeline):
    return {column for _, _, names in pipeline["encode"].transformers for column in names}


def test_a_variant_takes_one_decision_the_other_way(contract, variants):
    history = {feature.name for feature in contract.history}
    assert history <= columns(variants["as it stands"].make())
    present = columns(variants["without the history of the patient"].make())
    assert not history & present
    assert not any(history & set(f.derive.sources) for f in contract.derived if f.name in present)
    assert columns(variants["inputs only: no history, no derived features"].make()) == {
        f.name for f in contract.inputs
    }
    without = variants["without target rates of pairs"].make()["encode"]
    assert "pairs" not in [name for name, *_ in without.transformers]
    assert variants["with balanced class weights"].make()["model"].class_weight == "balanced"
    assert experiments.CALENDAR in columns(variants["with `encounter_id` as a feature"].make())
    assert experiments.CALENDAR not in columns(variants["as it stands"].make())


def test_a_signal_is_found_and_a_shuffled_one_is_not(contract, variants):
    rows = make_rows(contract, 1500)
    auroc = {}
    for name in ("as it stands", "with shuffled labels"):
        variant = variants[name]
        small = experiments.Variant(
            name,
            lambda made=variant.make: made().set_params(model__n_estimators=20),
            variant.folds,
            variant.are_labels_shuffled,
        )
        auroc[name] = experiments.judge(small, contract, rows, seed=1)["auroc"]
    assert auroc["as it stands"] > 0.58
    assert abs(auroc["with shuffled labels"] - 0.5) < 0.08


def test_rates_have_intervals_that_shrink_with_the_number_of_stays():
    rows = pd.DataFrame(
        {"y": [True, False] * 8 + [True, False] * 800, "by": ["few"] * 16 + ["many"] * 1600}
    )
    rates = experiments.rates(rows, "y", rows["by"])
    assert rates["mean"].tolist() == [0.5, 0.5]
    assert rates.loc["few", "half"] == pytest.approx(10 * rates.loc["many", "half"])
