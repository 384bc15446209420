"""Published approaches: rebuilt on the sample file, by their protocols and by ours."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from readmit.intake import sample
from training import published, published_report, quality_plots, rolling_origin
from training.model_metrics import Bootstrap
from training.rolling_protocol import Protocol
from training.score_store import ScoreStore

N_ROWS = 3000
SEED = 1


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "diabetic_data.csv"
    sample.write_csv(path, N_ROWS)
    return path


@pytest.fixture(scope="module")
def protocol(contract, path, tmp_path_factory):
    """Return the protocol of the file's eligible stays, as the mart has them."""
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    gone = [*published.DECEASED, *published.HOSPICE]
    stays = rows[~rows["discharge_disposition_id"].isin(gone)]
    keys = stays[["encounter_id", "patient_nbr"]].astype("int64")
    store = ScoreStore(tmp_path_factory.mktemp("scores"))
    return Protocol(contract, rolling_origin.in_order(keys), store, Bootstrap(100, 1), print)


@pytest.fixture(scope="module")
def source(path, protocol):
    return published_report.read_source(path, protocol)


@pytest.fixture(scope="module")
def results(source, protocol):
    splits = StratifiedGroupKFold(5, shuffle=True, random_state=SEED)
    # On a machine that others use, threads of a small fit wait for each other most of the time.
    with threadpool_limits(1):
        return published_report.measure(source, protocol, splits, SEED)


def test_the_picture_has_each_figure_of_each_approach(results):
    ours = {"figure": 0.695, "low": 0.689, "high": 0.701}
    (axes,) = quality_plots.published(results, "catboost", ours, ours).axes
    names = [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]
    assert names[0] == "random forest after SMOTE"
    assert names[-1] == "the model here (CatBoost)"
    drawn = [float(line.get_xdata()[0]) for line in axes.lines if len(line.get_xdata()) == 1]
    for result in results.values():
        assert result["by_patient"]["figure"] in drawn
        assert result["rolling_origin"]["figure"] in drawn
        assert result["by_their_protocol"][published.AS_PUBLISHED]["auroc"] in drawn
        assert result["published"].get("auroc", 0.695) in drawn
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert len(labels) == len(set(labels)) == 4


def test_each_approach_has_its_source_licence_and_figures(results):
    assert results.keys() == published.APPROACHES.keys()
    for result in results.values():
        assert result["source"]
        assert result["licence"]
        assert result["published"]
        assert published.AS_PUBLISHED in result["by_their_protocol"]
        for estimate in (result["by_patient"], result["rolling_origin"]):
            assert estimate["low"] < estimate["figure"] < estimate["high"]
    json.dumps(results, allow_nan=False)


def test_oversampling_before_the_split_flatters_and_after_it_does_not(results):
    result = results["forest_after_smote"]
    steps = result["by_their_protocol"]
    assert steps[published.AS_PUBLISHED]["auroc"] > 0.85
    assert steps["oversampled after the split"]["auroc"] < 0.75
    assert result["by_patient"]["figure"] < 0.75


def test_the_deceased_are_tested_by_their_protocol_only(results, protocol):
    steps = results["boosting_on_rows"]["by_their_protocol"]
    n_alive = steps["tested without the deceased"]["n"]
    assert n_alive < steps[published.AS_PUBLISHED]["n"] == N_ROWS / 5
    parts = ("of these, patients of the training rows", "of these, other patients")
    assert sum(steps[part]["n"] for part in parts) == n_alive


def test_positions_are_those_of_the_stays(source, protocol):
    stays = source.rows.iloc[source.positions]
    assert (stays["encounter_id"].to_numpy() == protocol.rows["encounter_id"].to_numpy()).all()
    assert len(source.rows) == N_ROWS


def test_a_file_without_the_stays_is_no_source(path, protocol, tmp_path):
    half = pd.read_csv(path, dtype=str, keep_default_na=False).head(100)
    other = tmp_path / "half.csv"
    half.to_csv(other, index=False)
    assert published_report.read_source(other, protocol) is None
    half.drop(columns="insulin").to_csv(other, index=False)
    assert published_report.read_source(other, protocol) is None


def test_the_newest_unpacked_file_is_the_source(tmp_path):
    assert published_report.find_source(tmp_path) is None
    unpacked = tmp_path / "sources" / "0123"
    unpacked.mkdir(parents=True)
    (unpacked / "diabetic_data.csv").touch()
    assert published_report.find_source(tmp_path) == unpacked / "diabetic_data.csv"


def test_made_up_rows_lie_between_readmissions():
    rng = np.random.default_rng(0)
    x = rng.random((200, 3))
    y = (rng.random(200) < 0.1).astype(float)
    balanced, outcomes = published.oversample(x, y, seed=1)
    assert (balanced[:200] == x).all()
    assert (outcomes == 1).sum() == (outcomes == 0).sum()
    positive = x[y == 1]
    made_up = balanced[200:]
    assert (made_up >= positive.min(axis=0)).all()
    assert (made_up <= positive.max(axis=0)).all()
