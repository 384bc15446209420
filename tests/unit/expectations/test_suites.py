"""The suites: every expectation passes on good rows and has a frame that makes it red."""

import csv
import json
import re
from html.parser import HTMLParser

import great_expectations as gx
import pandas as pd
import pytest
from great_expectations.data_context.types.base import ProgressBarsConfig

from expectations import gate, gate_queries, pages, profiles, publish_suite, raw_suite
from readmit.contract.definition import Contract
from readmit.intake import sample
from readmit.intake.layout import LANDING_COLUMNS
from readmit.settings import StackSettings
from tests.support.training import make_rows

N = 400


@pytest.fixture(scope="module")
def context():
    ephemeral = gx.get_context(mode="ephemeral")
    ephemeral.variables.progress_bars = ProgressBarsConfig(globally=False)
    return ephemeral


@pytest.fixture(scope="module")
def validate(context):
    """Evaluate expectations on a frame, with the real Great Expectations."""
    source = context.data_sources.add_pandas("frames")
    definition = source.add_dataframe_asset("frame").add_batch_definition_whole_dataframe("whole")

    def run(frame, expectations):
        batch = definition.get_batch(batch_parameters={"dataframe": frame})
        return batch.validate(gx.ExpectationSuite(name="tried", expectations=expectations))

    return run


def raw_rows(tmp_path):
    path = tmp_path / "sample.csv"
    sample.write_csv(path, N)
    with path.open(newline="") as file:
        rows = [list(row.values()) for row in csv.DictReader(file)]
    frame = pd.DataFrame(rows, columns=list(LANDING_COLUMNS), dtype=object).replace({"?": None})
    return frame.assign(
        _batch_id="train-001-aaaaaaaa",
        _source_row=range(1, N + 1),
        _loaded_at=pd.Timestamp.now("UTC"),
    )


def some(frame):
    return frame.index[: max(2, len(frame) // 20)]


def set_column(value, rows=None):
    """Return a spoiler that puts a value into the expectation's column, in all or in some rows."""

    def run(bad, expectation):
        bad[expectation.column] = bad[expectation.column].astype(object)
        spoiled = value(bad, expectation) if callable(value) else value
        bad.loc[rows(bad) if rows else bad.index, expectation.column] = spoiled
        return bad

    return run


def first(bad, expectation):
    return bad[expectation.column].iloc[0]


def unequal(bad, expectation):
    return bad.assign(**{expectation.column_A: bad[expectation.column_A] + 1})


# What each kind of expectation must not let pass.
SPOILERS = {
    "ExpectTableColumnsToMatchOrderedList": lambda bad, _: bad[
        [bad.columns[1], bad.columns[0], *bad.columns[2:]]
    ],
    "ExpectTableRowCountToEqual": lambda bad, _: pd.concat([bad, bad.tail(1)]),
    "ExpectColumnValuesToBeUnique": set_column(first),
    "ExpectColumnProportionOfUniqueValuesToBeBetween": set_column(first),
    "ExpectColumnValuesToNotBeInSet": set_column(lambda _, expectation: expectation.value_set[0]),
    "ExpectColumnValuesToBeInSet": set_column("nonsense"),
    "ExpectColumnDistinctValuesToContainSet": set_column("nonsense"),
    "ExpectColumnValuesToMatchRegex": set_column("x'y", some),
    "ExpectColumnValuesToNotBeNull": set_column(None, some),
    "ExpectColumnValuesToBeBetween": set_column(lambda _, expectation: expectation.max_value + 1),
    "ExpectColumnMaxToBeBetween": set_column(lambda _, expectation: expectation.max_value + 1),
    "ExpectColumnPairValuesToBeEqual": unequal,
}


def spoil(frame, expectation):
    return SPOILERS[type(expectation).__name__](frame.copy(), expectation)


def each_can_fail(validate, frame, suite):
    assert suite.expectations
    good = validate(frame, suite.expectations)
    assert good.success, [gate.describe(outcome) for outcome in good.results if not outcome.success]
    for expectation in suite.expectations:
        result = validate(spoil(frame, expectation), [expectation])
        assert not result.success, expectation
        assert gate.describe(result.results[0])


def test_raw_suite(validate, tmp_path):
    each_can_fail(validate, raw_rows(tmp_path), raw_suite.build(N))


def test_drift_suite(validate):
    distances = pd.DataFrame([dict.fromkeys(raw_suite.WATCHED, 0.1)])
    each_can_fail(validate, distances, raw_suite.drift())


def test_feature_suite_is_the_contract(validate, dbt_manifest, tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps(dbt_manifest))
    contract = Contract.from_manifest(tmp_path / "manifest.json")
    rows = make_rows(contract, n=200)
    suite = publish_suite.features(contract, len(rows))
    each_can_fail(validate, rows, suite)
    looked_at = {getattr(expectation, "column", None) for expectation in suite.expectations}
    assert {feature.name for feature in contract.features} <= looked_at


def test_accounting_suite(validate):
    counts = {"n_raw": 100, "n_staging": 100, "n_accounted": 100, "share_quarantined": 0.005}
    each_can_fail(validate, pd.DataFrame([counts]), publish_suite.accounting())


def test_a_gate_that_evaluates_nothing_does_not_pass():
    with pytest.raises(gate.BatchRejected, match="nothing was evaluated"):
        gate.judge("train-001-aaaaaaaa", "raw", [], "page")


def test_a_warning_is_counted_and_stops_nothing(validate):
    distances = dict.fromkeys(raw_suite.WATCHED, 0.1)
    warned = validate(
        pd.DataFrame([{**distances, "race": 0.3}]), raw_suite.drift().expectations
    ).results
    assert pages.tally(warned) == {
        "success": True,
        "n_expectations": len(warned),
        "n_failed": 0,
        "n_warned": 1,
    }
    assert len(gate.judge("b", "raw", warned, "page").warnings) == 1
    fatal = validate(
        pd.DataFrame([{**distances, "race": 0.9}]), raw_suite.drift().expectations
    ).results
    assert pages.tally(fatal) == {
        "success": False,
        "n_expectations": len(fatal),
        "n_failed": 1,
        "n_warned": 1,
    }
    assert not pages.tally([])["success"]


def test_figures_reach_the_gate_to_the_last_digit():
    assert gate_queries.one_row({"n_raw": 10_000_001, "share": 0.0100001}) == (
        "select 10000001.0::float8 as n_raw, 0.0100001::float8 as share"
    )


def test_distance_of_distributions():
    assert profiles.distance({"a": 0.5, "b": 0.5}, {"a": 0.5, "b": 0.5}) == 0
    assert profiles.distance({"a": 1.0}, {"b": 1.0}) == 1
    assert (
        profiles.distance({"a": 0.7, "b": 0.3}, {"a": 0.5, "b": 0.5}) == 0.2
    )  # at the limit, not above it


def test_a_page_loads_nothing_from_elsewhere(validate, tmp_path):
    result = validate(raw_rows(tmp_path), raw_suite.build(N).expectations)
    page = pages.render("train-001-aaaaaaaa", "raw", result.results)
    for tag in (
        '<script src="http',
        '<link rel="stylesheet" href="http',
        'src="https://',
        "@import",
    ):
        assert tag not in page
    assert "/expectations/" not in page
    copies = re.findall(r'(?:src|href)="\.\./\.\./static/([^"]+)"', page)
    assert len(copies) == 7
    for copy in copies:
        assert (pages.STATIC / copy).is_file()
    assert "newsletter" not in page.split("<body")[1].lower()


class Shown(HTMLParser):
    """What a browser makes of a page: its text, and the tags with what they are told to do."""

    def __init__(self, page):
        super().__init__()
        self.text, self.tags = [], []
        self.feed(page)

    def handle_data(self, data):
        self.text.append(data)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize(
    "value",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        '"><b id=x>',
        "&lt;b&gt;",
        "$x ${y} {{ z }} %s",
    ],
)
def test_a_value_of_the_file_is_text_on_the_page(validate, tmp_path, value):
    rows = raw_rows(tmp_path)
    plain = Shown(
        pages.render(
            "b", "raw", validate(rows.assign(gender="x"), raw_suite.build(N).expectations).results
        )
    )
    bad = validate(rows.assign(gender=value), raw_suite.build(N).expectations).results
    shown = Shown(pages.render("b", "raw", bad))
    assert value in "".join(shown.text)
    assert [tag for tag, _ in shown.tags] == [tag for tag, _ in plain.tags]
    assert not any("onerror" in attributes for _, attributes in shown.tags)


def test_a_gate_names_its_page_as_browsers_reach_it(monkeypatch, tmp_path):
    monkeypatch.setenv("READMIT_ENV_FILE", str(tmp_path / "none"))
    public = StackSettings(public_url="https://{part}.ward.example/")
    assert (
        pages.address("train-001", "raw", public)
        == "https://docs.ward.example/gx/train-001/raw.html"
    )
    local = StackSettings(docs_port=9000)
    assert pages.address("train-001", "raw", local) == "http://127.0.0.1:9000/gx/train-001/raw.html"


@pytest.mark.parametrize("n_rows", [2, 3, 49, 99, 120, 200])
def test_one_bad_row_does_not_reject_a_small_batch_and_two_do(validate, tmp_path, n_rows):
    rows = raw_rows(tmp_path).head(n_rows).copy()
    suite = [
        expectation
        for expectation in raw_suite.build(n_rows).expectations
        if getattr(expectation, "column", None) == "time_in_hospital"
    ]
    number = rows.columns.get_loc("time_in_hospital")
    rows.iloc[0, number] = "three"
    assert validate(rows, suite).success
    rows.iloc[1, number] = "four"
    assert validate(rows, suite).success == (n_rows >= 200)


@pytest.mark.parametrize("n_rows", [2, 49, 150])
def test_one_repeated_stay_does_not_reject_a_small_batch_and_two_do(validate, tmp_path, n_rows):
    rows = raw_rows(tmp_path).head(n_rows).copy()
    suite = [
        expectation
        for expectation in raw_suite.build(n_rows).expectations
        if getattr(expectation, "column", None) == "encounter_id"
    ]
    number = rows.columns.get_loc("encounter_id")
    rows.iloc[1, number] = rows.iloc[0, number]
    assert validate(rows, suite).success
    if n_rows > 2:
        rows.iloc[3, number] = rows.iloc[2, number]
        assert not validate(rows, suite).success


def test_one_quarantined_row_does_not_reject_a_small_batch_and_two_do():
    assert publish_suite.max_quarantined(40) == 1 / 40
    assert publish_suite.max_quarantined(100) == publish_suite.MAX_QUARANTINED
    assert publish_suite.max_quarantined(15_000) == publish_suite.MAX_QUARANTINED
