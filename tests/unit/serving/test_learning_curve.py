"""The learning curve comes to a served model some minutes after its promotion, from a tag that
nobody signs.
"""

import json
from dataclasses import replace

import pytest

from serving.instruments import Metrics
from serving.watcher import Watcher
from tests.support.serving import FolderSource, read

POINT = {
    "n_batches": 2,
    "n_rows": 30_000,
    "auroc": 0.66,
    "low": 0.65,
    "high": 0.67,
    "average_precision": 0.2,
}


def curve_after(tag, tmp_path):
    """Serve a version without a curve, then set its tag; returns the curve of GET /model."""
    source = FolderSource()
    source.promote(1)
    watcher = Watcher(source, tmp_path, 10, Metrics(), read)
    watcher.check()
    assert json.loads(watcher.served.description)["learning_curve"] == []
    version = source.versions["production"]
    source.versions["production"] = replace(version, learning_curve=tag)
    watcher.check()
    assert watcher.served.version.version == "1"
    return json.loads(watcher.served.description)["learning_curve"]


def test_a_curve_is_shown_once_it_is_there(tmp_path):
    assert curve_after(json.dumps([POINT, POINT]), tmp_path) == [POINT, POINT]


@pytest.mark.parametrize(
    "tag",
    [
        "no JSON",
        "{}",
        "7",
        "null",
        json.dumps([{**POINT, "auroc": "<script>"}]),
        json.dumps([{"n_rows": 1}]),
        json.dumps([[1, 2]]),
    ],
)
def test_whoever_writes_the_tag_can_put_nothing_but_numbers_into_an_answer(tag, tmp_path):
    assert curve_after(tag, tmp_path) == []


def test_a_long_curve_is_cut_and_other_keys_are_left_out(tmp_path):
    points = [{**POINT, "html": "<b>"}] * 1000
    assert curve_after(json.dumps(points), tmp_path) == [POINT] * 20
