"""Batches: checked a column at a time, answered as the rows alone would be."""

import csv
import io
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from starlette.testclient import TestClient

from readmit.contract.definition import Contract
from serving import batch_prediction, schema
from serving.app import create_app
from serving.problems import Problem
from tests.support.serving import ROW, FolderSource, contract, feature, read, settings

SCHEMA = schema.build(contract(feature("days", data_type="double precision", default=1.5)))
STAY = ROW | {"days": 2.5}
EXTRA_FIELDS = {
    "n_prior_stays": 3,
    "patient_nbr": 7,
    "encounter_id": 8,
    "contract_hash": SCHEMA.contract_hash,
}
VALUES = st.sampled_from(
    [None, True, 0, 1, 1.0, -1, 51, 2**63, "1", "Male", "401", "", [], {}, 1e300, float("nan")]
)
CHANGES = st.dictionaries(st.sampled_from([*STAY, *EXTRA_FIELDS, "other"]), VALUES, max_size=2)


@pytest.fixture
def api(tmp_path):
    source = FolderSource()
    source.promote(1)
    app = create_app(settings(tmp_path, registry_poll_seconds=3600), source=source, read=read)
    app.state.parts.watcher.check()
    with TestClient(app) as client:
        yield client


def verdict(found):
    """Return what can be compared to the type: 1, 1.0 and True are not the same."""
    return (str(found), found.errors) if isinstance(found, Problem) else repr(found)


def alone(row):
    try:
        return SCHEMA.from_row(row)
    except Problem as problem:
        return problem


@limits(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([STAY, STAY | EXTRA_FIELDS]), CHANGES), min_size=1, max_size=4
    ),
    st.booleans(),
)
def test_rows_together_are_what_they_are_alone(drawn, is_alike):
    rows = [(drawn[0][0] if is_alike else stay) | changes for stay, changes in drawn]
    assert list(map(verdict, SCHEMA.from_rows(rows))) == [verdict(alone(row)) for row in rows]


@pytest.mark.parametrize("odd", [5, None, "ab", [], ["n_medications"], {}, {"n_medications": 1}])
def test_what_is_no_row_hurts_no_other(odd):
    for rows in ([odd, STAY], [STAY, odd], [odd, odd]):
        assert list(map(verdict, SCHEMA.from_rows(rows))) == [verdict(alone(row)) for row in rows]


@pytest.mark.parametrize("row", [STAY, STAY | EXTRA_FIELDS, STAY | {"n_prior_stays": 0}], ids=len)
def test_alike_rows_are_checked_in_one_call(row, monkeypatch):
    expected = alone(row)
    monkeypatch.setattr(schema.RequestSchema, "from_row", None)
    assert SCHEMA.from_rows([row] * 3) == [expected] * 3


def test_each_row_of_a_batch_has_the_answer_it_has_alone(api):
    kinds = (ROW, ROW | {"n_prior_stays": 4}, ROW | {"gender": "X"}, ROW | {"encounter_id": 5}, {})
    rows = [row | {"n_medications": n % 50} for n in range(600) for row in kinds]
    said = api.post("/predict/batch", json={"rows": rows}).json()
    wrong = {each["row"] for each in said["errors"]}
    assert len(said["predictions"]) == len(rows)
    assert {row for row, each in enumerate(said["predictions"]) if each is None} == wrong
    assert wrong == {n for n in range(len(rows)) if n % 5 in (2, 4)}
    for number in range(0, len(rows), 119):
        single = api.post("/predict", json=rows[number])
        same = ("probability", "risk", "threshold", "history")
        if number not in wrong:
            assert [said["predictions"][number][name] for name in same] == [
                single.json()[name] for name in same
            ]


def test_wrong_rows_are_all_named_and_what_is_allowed_is_said_once(api):
    rows = [ROW, *[{"gender": "X", "other": 1}] * 7_000, {}]
    said = api.post("/predict/batch", json={"rows": rows}).json()
    assert [each["row"] for each in said["errors"][:5]] == [1] * 5
    assert {each["row"] for each in said["errors"]} == set(range(1, len(rows)))
    assert len(said["errors"]) < batch_prediction.MAX_ERRORS + len(rows)
    assert said["allowed"]["gender"] == ["Female", "Male", "unknown"]


def test_one_batch_at_a_time_holds_memory(api, monkeypatch):
    score, running, most = batch_prediction.score, [], []

    def slowly(*given):
        running.append(1)
        most.append(len(running))
        time.sleep(0.05)
        running.pop()
        return score(*given)

    monkeypatch.setattr(batch_prediction, "score", slowly)
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda _: api.post("/predict/batch", json={"rows": [ROW]}), range(8)))
    assert {each.status_code for each in said} == {200}
    assert most == [1] * 8


def test_an_answer_is_found_by_the_id_of_its_batch_and_its_row(api):
    said = [api.post("/predict/batch", json={"rows": [ROW, {}, ROW] * 200}) for _ in range(2)]
    ids = [
        {row: each["request_id"] for row, each in enumerate(one.json()["predictions"]) if each}
        for one in said
    ]
    assert len({found for one in ids for found in one.values()}) == 800
    for one, answer in zip(ids, said, strict=True):
        for row, found in one.items():
            assert uuid.UUID(found).fields[-1] == row
            assert (
                found[:24]
                == answer.json()["request_id"][:24]
                == answer.headers["x-request-id"][:24]
            )


def test_csv_has_the_contracts_types(api):
    sent = [
        {**ROW, "is_medication_changed": text, "n_prior_stays": n}
        for n, text in enumerate(("true", "0", "FALSE"))
    ]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(sent[0]))
    writer.writeheader()
    writer.writerows(sent)
    answer = api.post(
        "/predict/batch", content=out.getvalue(), headers={"content-type": "text/csv"}
    )
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    for line, row, flag in zip(lines, sent, (True, False, False), strict=True):
        single = api.post("/predict", json=row | {"is_medication_changed": flag}).json()
        assert (float(line["probability"]), line["history"]) == (single["probability"], "given")


def post_csv(api, text):
    return api.post(
        "/predict/batch",
        content=text,
        headers={"content-type": "text/csv", "accept": "application/json"},
    )


NAMES = "n_medications,gender,diagnosis_1,is_medication_changed"


@pytest.mark.parametrize(
    "text", ["", "\n", json.dumps({"rows": [ROW]}), NAMES.replace(",", "#") + "\n20#Male#401#1\n"]
)
def test_a_csv_that_names_no_field_is_refused_as_a_whole(api, text):
    refused = post_csv(api, text)
    assert refused.status_code == 422
    (wrong,) = refused.json()["errors"]
    assert (wrong["field"], wrong["allowed"][:2]) == ("header", ["n_medications", "gender"])


def test_a_csv_with_two_columns_of_a_name_is_refused(api):
    refused = post_csv(api, f"{NAMES},gender\n20,Male,401,true,Female\n")
    assert refused.status_code == 422
    assert [each["field"] for each in refused.json()["errors"]] == ["gender"]


@pytest.mark.parametrize(
    "number",
    [
        "1_0",
        "\u0663",
        "\u00a05",
        "0x5",
        "5.5",
        "9" * 5000,
        "nan",
        "true",
        "inf",
        "1e999",
        "1e1",
        "\uff15",
    ],
)
def test_a_cell_that_is_no_plain_number_is_refused(api, number):
    said = post_csv(api, f"{NAMES}\n{number},Male,401,true\n20,Male,401,true\n").json()
    assert [each["field"] for each in said["errors"]] == ["n_medications"]
    assert [each is None for each in said["predictions"]] == [True, False]


def test_a_nameless_column_is_named_as_it_is(api):
    said = post_csv(api, f"{NAMES},\n20,Male,401,true,1\n").json()
    assert [each["field"] for each in said["errors"]] == [""]


def test_a_contract_without_history_takes_batches():
    plain = json.loads(contract().to_json()) | {"hash": None}
    plain["features"] = [each for each in plain["features"] if each["role"] != "history"]
    assert [
        each.history
        for each in schema.build(Contract.from_json(json.dumps(plain))).from_rows([ROW] * 2)
    ] == ["assumed_first_stay"] * 2


@pytest.mark.parametrize("number", ["5", "5.0", "5.", "+5", " 5 ", "005"])
def test_a_whole_number_may_be_written_as_tools_do(api, number):
    said = post_csv(api, f"{NAMES}\n{number},Male,401,true\n5,Male,401,true\n").json()
    first, second = said["predictions"]
    assert first["probability"] == second["probability"]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("first_line", ["", "sep={}\r\n"])
def test_a_csv_may_come_in_any_dialect(api, delimiter, encoding, first_line):
    table = f"{NAMES}\r\n20,Male,401,true\r\n".replace(",", delimiter)
    text = first_line.format(delimiter) + table
    said = api.post(
        "/predict/batch",
        content=text.encode(encoding),
        headers={"content-type": "text/csv", "accept": "application/json"},
    ).json()
    plain = post_csv(api, f"{NAMES}\n20,Male,401,true\n").json()
    assert said["predictions"][0]["probability"] == plain["predictions"][0]["probability"]


def test_a_workbook_is_called_one(api):
    answer = api.post(
        "/predict/batch",
        content=b"\xd0\xcf\x11\xe0" + b"x" * 100,
        headers={"content-type": "application/vnd.ms-excel"},
    )
    assert answer.status_code == 422
    assert "Excel workbook" in answer.json()["detail"]
