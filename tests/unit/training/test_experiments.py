"""The experiment report: each variant differs as its name says, and rates have honest intervals."""

import pandas as pd
import pytest

from tests.support.training import make_rows
from training import experiments
from training.training_settings import TrainingSettings


@pytest.fixture(scope="module")
def variants(contract):
    all_variants = experiments.variants(contract, TrainingSettings(training_threads=1))
    return {variant.name: variant for variant in all_variants}


def columns(pipeline):
    return {column for _, _, names in pipeline["encode"].transformers for column in names}


def test_a_variant_takes_one_decision_the_other_way(contract, variants):
    history = {feature.name for feature in contract.history}
    assert history <= columns(variants["as it stands"].make())
    present = columns(variants["without the history of the patient"].make())
    assert not history & present
    for feature in contract.derived:
        assert feature.name not in present or not history & set(feature.derive.sources)
    inputs = {feature.name for feature in contract.inputs}
    assert columns(variants["inputs only: no history, no derived features"].make()) == inputs
    without = variants["without target rates of pairs"].make()["encode"]
    assert "pairs" not in [name for name, *_ in without.transformers]
    assert variants["with balanced class weights"].make()["model"].class_weight == "balanced"
    assert experiments.CALENDAR in columns(variants["with `encounter_id` as a feature"].make())
    assert experiments.CALENDAR not in columns(variants["as it stands"].make())


def test_a_signal_is_found_and_a_shuffled_one_is_not(contract, variants):
    rows = make_rows(contract, 1500)

    def auroc_of(name):
        variant = variants[name]

        def make():
            return variant.make().set_params(model__n_estimators=20)

        small = experiments.Variant(name, make, variant.folds, variant.are_labels_shuffled)
        return experiments.judge(small, contract, rows, seed=1)["auroc"]

    assert auroc_of("as it stands") > 0.58
    assert abs(auroc_of("with shuffled labels") - 0.5) < 0.08


def test_rates_have_intervals_that_shrink_with_the_number_of_stays():
    rows = pd.DataFrame(
        {"y": [True, False] * 8 + [True, False] * 800, "by": ["few"] * 16 + ["many"] * 1600}
    )
    rates = experiments.rates(rows, "y", rows["by"])
    assert rates["mean"].tolist() == [0.5, 0.5]
    assert rates.loc["few", "half"] == pytest.approx(10 * rates.loc["many", "half"])
