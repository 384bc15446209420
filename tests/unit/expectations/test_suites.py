"""The suites: every expectation passes on good rows and has a frame that makes it red."""

import csv
import json
import re
from collections import Counter
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
        _, *rows = csv.reader(file)
    frame = pd.DataFrame(rows, columns=list(LANDING_COLUMNS), dtype=object).replace({"?": None})
    return frame.assign(
        _batch_id="train-001-aaaaaaaa",
        _source_row=range(1, N + 1),
        _loaded_at=pd.Timestamp.now("UTC"),
    )


def some(frame):
    return frame.index[: max(2, len(frame) // 20)]


def filled(bad, expectation, value):
    """Put a value into every row of the expectation's column."""
    return bad.assign(
        **{expectation.column: pd.Series([value] * len(bad), bad.index, dtype=object)}
    )


def with_columns_in_another_order(bad, _):
    return bad[[bad.columns[1], bad.columns[0], *bad.columns[2:]]]


def with_a_row_too_many(bad, _):
    return pd.concat([bad, bad.tail(1)])


def with_repeated_values(bad, expectation):
    return filled(bad, expectation, bad[expectation.column].iloc[0])


def with_a_forbidden_value(bad, expectation):
    return filled(bad, expectation, expectation.value_set[0])


def with_nonsense(bad, expectation):
    return filled(bad, expectation, "nonsense")


def with_too_large_values(bad, expectation):
    return filled(bad, expectation, expectation.max_value + 1)


def with_some_quotes(bad, expectation):
    bad[expectation.column] = bad[expectation.column].astype(object)
    bad.loc[some(bad), expectation.column] = "x'y"
    return bad


def with_some_missing(bad, expectation):
    bad[expectation.column] = bad[expectation.column].astype(object)
    bad.loc[some(bad), expectation.column] = None
    return bad


def with_an_unequal_pair(bad, expectation):
    return bad.assign(**{expectation.column_A: bad[expectation.column_A] + 1})


# A frame that each kind of expectation must not let pass.
SPOILERS = {
    "ExpectTableColumnsToMatchOrderedList": with_columns_in_another_order,
    "ExpectTableRowCountToEqual": with_a_row_too_many,
    "ExpectColumnValuesToBeUnique": with_repeated_values,
    "ExpectColumnProportionOfUniqueValuesToBeBetween": with_repeated_values,
    "ExpectColumnValuesToNotBeInSet": with_a_forbidden_value,
    "ExpectColumnValuesToBeInSet": with_nonsense,
    "ExpectColumnDistinctValuesToContainSet": with_nonsense,
    "ExpectColumnValuesToMatchRegex": with_some_quotes,
    "ExpectColumnValuesToNotBeNull": with_some_missing,
    "ExpectColumnValuesToBeBetween": with_too_large_values,
    "ExpectColumnMaxToBeBetween": with_too_large_values,
    "ExpectColumnPairValuesToBeEqual": with_an_unequal_pair,
}


def spoil(frame, expectation):
    return SPOILERS[type(expectation).__name__](frame.copy(), expectation)


def groups(expectations):
    """Return the expectations in groups that can be spoiled together: no column stands twice."""
    of_columns, others = [], []
    seen = Counter()
    for expectation in expectations:
        column = getattr(expectation, "column", None)
        if column is None:
            others.append([expectation])
            continue
        if seen[column] == len(of_columns):
            of_columns.append([])
        of_columns[seen[column]].append(expectation)
        seen[column] += 1
    return [*of_columns, *others]


def assert_each_can_fail(validate, frame, suite):
    assert suite.expectations
    good = validate(frame, suite.expectations)
    assert good.success, [gate.describe(outcome) for outcome in good.results if not outcome.success]
    for group in groups(suite.expectations):
        bad = frame
        for expectation in group:
            bad = spoil(bad, expectation)
        outcomes = validate(bad, group).results
        assert len(outcomes) == len(group)
        assert [outcome.expectation_config for outcome in outcomes if outcome.success] == []
        assert all(map(gate.describe, outcomes))


def test_raw_suite(validate, tmp_path):
    assert_each_can_fail(validate, raw_rows(tmp_path), raw_suite.build(N))


def test_drift_suite(validate):
    distances = pd.DataFrame([dict.fromkeys(raw_suite.WATCHED, 0.1)])
    assert_each_can_fail(validate, distances, raw_suite.drift())


def test_feature_suite_is_the_contract(validate, dbt_manifest, tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps(dbt_manifest))
    contract = Contract.from_manifest(tmp_path / "manifest.json")
    rows = make_rows(contract, n=200)
    suite = publish_suite.features(contract, len(rows))
    assert_each_can_fail(validate, rows, suite)
    checked = {getattr(expectation, "column", None) for expectation in suite.expectations}
    assert {feature.name for feature in contract.features} <= checked


def test_accounting_suite(validate):
    counts = {"n_raw": 100, "n_staging": 100, "n_accounted": 100, "share_quarantined": 0.005}
    assert_each_can_fail(validate, pd.DataFrame([counts]), publish_suite.accounting())


def test_a_gate_that_evaluates_nothing_does_not_pass():
    with pytest.raises(gate.BatchRejected, match="nothing was evaluated"):
        gate.judge("train-001-aaaaaaaa", "raw", [], "page")


def test_a_warning_is_counted_and_stops_nothing(validate):
    distances = dict.fromkeys(raw_suite.WATCHED, 0.1)
    expectations = raw_suite.drift().expectations
    warned = validate(pd.DataFrame([{**distances, "race": 0.3}]), expectations).results
    assert pages.tally(warned) == {
        "success": True,
        "n_expectations": len(warned),
        "n_failed": 0,
        "n_warned": 1,
    }
    assert len(gate.judge("b", "raw", warned, "page").warnings) == 1
    fatal = validate(pd.DataFrame([{**distances, "race": 0.9}]), expectations).results
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
    # At the limit, not above it.
    assert profiles.distance({"a": 0.7, "b": 0.3}, {"a": 0.5, "b": 0.5}) == 0.2


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
    """What a browser makes of a page: its text, and the tags with their attributes."""

    def __init__(self, page):
        super().__init__()
        self.text = []
        self.tags = []
        self.attributes = set()
        self.feed(page)

    def handle_data(self, data):
        self.text.append(data)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.update(name for name, _ in attrs)


MARKUP = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><b id=x>',
    "&lt;b&gt;",
    "$x ${y} {{ z }} %s",
)


def test_a_value_of_the_file_is_text_on_the_page(validate, tmp_path):
    rows = raw_rows(tmp_path)
    expectations = raw_suite.build(N).expectations

    def page_with(values):
        genders = [values[number % len(values)] for number in range(len(rows))]
        results = validate(rows.assign(gender=genders), expectations).results
        return Shown(pages.render("b", "raw", results))

    plain = page_with([f"x{number}" for number in range(len(MARKUP))])
    shown = page_with(MARKUP)
    for value in MARKUP:
        assert value in "".join(shown.text)
    assert shown.tags == plain.tags
    assert "onerror" not in shown.attributes


def test_a_gate_names_its_page_as_browsers_reach_it(monkeypatch, tmp_path):
    monkeypatch.setenv("READMIT_ENV_FILE", str(tmp_path / "none"))
    public = StackSettings(public_url="https://{part}.ward.example/")
    assert (
        pages.address("train-001", "raw", public)
        == "https://docs.ward.example/gx/train-001/raw.html"
    )
    local = StackSettings(docs_port=9000)
    assert pages.address("train-001", "raw", local) == "http://127.0.0.1:9000/gx/train-001/raw.html"


def raw_expectations_of(column, n_rows):
    expectations = raw_suite.build(n_rows).expectations
    return [
        expectation
        for expectation in expectations
        if getattr(expectation, "column", None) == column
    ]


@pytest.mark.parametrize("n_rows", [2, 3, 49, 99, 120, 200])
def test_one_bad_row_does_not_reject_a_small_batch_and_two_do(validate, tmp_path, n_rows):
    rows = raw_rows(tmp_path).head(n_rows).copy()
    suite = raw_expectations_of("time_in_hospital", n_rows)
    number = rows.columns.get_loc("time_in_hospital")
    rows.iloc[0, number] = "three"
    assert validate(rows, suite).success
    rows.iloc[1, number] = "four"
    assert validate(rows, suite).success == (n_rows >= 200)


@pytest.mark.parametrize("n_rows", [2, 49, 150])
def test_one_repeated_stay_does_not_reject_a_small_batch_and_two_do(validate, tmp_path, n_rows):
    rows = raw_rows(tmp_path).head(n_rows).copy()
    suite = raw_expectations_of("encounter_id", n_rows)
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
