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


def comparable(encounter_or_problem):
    """Return a text that tells 1, 1.0 and True apart."""
    if isinstance(encounter_or_problem, Problem):
        return (str(encounter_or_problem), encounter_or_problem.errors)
    return repr(encounter_or_problem)


def alone(row):
    try:
        return SCHEMA.from_row(row)
    except Problem as problem:
        return problem


def assert_rows_together_are_what_they_are_alone(rows):
    for row, result in zip(rows, SCHEMA.from_rows(rows), strict=True):
        assert comparable(result) == comparable(alone(row))


@limits(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([STAY, STAY | EXTRA_FIELDS]), CHANGES), min_size=1, max_size=4
    ),
    st.booleans(),
)
def test_rows_of_a_batch_are_read_like_single_rows(drawn, is_alike):
    rows = []
    for stay, changes in drawn:
        if is_alike:
            first_stay, _ = drawn[0]
            rows.append(first_stay | changes)
        else:
            rows.append(stay | changes)
    assert_rows_together_are_what_they_are_alone(rows)


@pytest.mark.parametrize("odd", [5, None, "ab", [], ["n_medications"], {}, {"n_medications": 1}])
def test_an_entry_that_is_no_row_changes_no_other(odd):
    for rows in ([odd, STAY], [STAY, odd], [odd, odd]):
        assert_rows_together_are_what_they_are_alone(rows)


@pytest.mark.parametrize("row", [STAY, STAY | EXTRA_FIELDS, STAY | {"n_prior_stays": 0}], ids=len)
def test_alike_rows_are_checked_in_one_call(row, monkeypatch):
    expected = alone(row)
    monkeypatch.setattr(schema.RequestSchema, "from_row", None)
    assert SCHEMA.from_rows([row] * 3) == [expected] * 3


def test_each_row_of_a_batch_has_the_answer_it_has_alone(api):
    kinds = (ROW, ROW | {"n_prior_stays": 4}, ROW | {"gender": "X"}, ROW | {"encounter_id": 5}, {})
    rows = []
    for n in range(600):
        rows += [row | {"n_medications": n % 50} for row in kinds]
    answer = api.post("/predict/batch", json={"rows": rows}).json()
    wrong = {error["row"] for error in answer["errors"]}
    assert wrong == {number for number in range(len(rows)) if number % 5 in (2, 4)}
    assert len(answer["predictions"]) == len(rows)
    for number, prediction in enumerate(answer["predictions"]):
        assert (prediction is None) == (number in wrong)
    for number in range(0, len(rows), 119):
        single = api.post("/predict", json=rows[number]).json()
        if number not in wrong:
            for name in ("probability", "risk", "threshold", "history"):
                assert answer["predictions"][number][name] == single[name]


def test_all_wrong_rows_are_named_and_allowed_values_are_listed_once(api):
    rows = [ROW, *[{"gender": "X", "other": 1}] * 7_000, {}]
    answer = api.post("/predict/batch", json={"rows": rows}).json()
    row_numbers = [error["row"] for error in answer["errors"]]
    assert row_numbers[:5] == [1] * 5
    assert set(row_numbers) == set(range(1, len(rows)))
    assert len(answer["errors"]) < batch_prediction.MAX_ERRORS + len(rows)
    assert answer["allowed"]["gender"] == ["Female", "Male", "unknown"]


def test_one_batch_at_a_time_holds_memory(api, monkeypatch):
    score = batch_prediction.score
    running = []
    n_running = []

    def slow_score(*arguments):
        running.append(1)
        n_running.append(len(running))
        time.sleep(0.05)
        running.pop()
        return score(*arguments)

    def post_batch(_):
        return api.post("/predict/batch", json={"rows": [ROW]})

    monkeypatch.setattr(batch_prediction, "score", slow_score)
    with ThreadPoolExecutor(4) as pool:
        responses = list(pool.map(post_batch, range(8)))
    assert {response.status_code for response in responses} == {200}
    assert n_running == [1] * 8


def test_a_prediction_has_the_id_of_its_batch_and_its_row(api):
    request_ids = set()
    for _ in range(2):
        response = api.post("/predict/batch", json={"rows": [ROW, {}, ROW] * 200})
        answer = response.json()
        assert answer["request_id"][:24] == response.headers["x-request-id"][:24]
        for row, prediction in enumerate(answer["predictions"]):
            if prediction:
                request_id = prediction["request_id"]
                assert uuid.UUID(request_id).fields[-1] == row
                assert request_id[:24] == answer["request_id"][:24]
                request_ids.add(request_id)
    assert len(request_ids) == 800


def test_csv_has_the_contracts_types(api):
    sent = []
    for n, text in enumerate(("true", "0", "FALSE")):
        sent.append({**ROW, "is_medication_changed": text, "n_prior_stays": n})
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
    [error] = refused.json()["errors"]
    assert error["field"] == "gender"


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
    answer = post_csv(api, f"{NAMES}\n{number},Male,401,true\n20,Male,401,true\n").json()
    [error] = answer["errors"]
    assert error["field"] == "n_medications"
    wrong, right = answer["predictions"]
    assert wrong is None
    assert right is not None


def test_the_error_of_a_nameless_column_has_an_empty_name(api):
    answer = post_csv(api, f"{NAMES},\n20,Male,401,true,1\n").json()
    [error] = answer["errors"]
    assert error["field"] == ""


def test_a_contract_without_history_takes_batches():
    document = json.loads(contract().to_json()) | {"hash": None}
    document["features"] = [
        described for described in document["features"] if described["role"] != "history"
    ]
    requests = schema.build(Contract.from_json(json.dumps(document)))
    encounters = requests.from_rows([ROW] * 2)
    assert [encounter.history for encounter in encounters] == ["assumed_first_stay"] * 2


@pytest.mark.parametrize("number", ["5", "5.0", "5.", "+5", " 5 ", "005"])
def test_a_whole_number_may_be_written_as_tools_do(api, number):
    answer = post_csv(api, f"{NAMES}\n{number},Male,401,true\n5,Male,401,true\n").json()
    first, second = answer["predictions"]
    assert first["probability"] == second["probability"]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("first_line", ["", "sep={}\r\n"])
def test_a_csv_may_come_in_any_dialect(api, delimiter, encoding, first_line):
    table = f"{NAMES}\r\n20,Male,401,true\r\n".replace(",", delimiter)
    text = first_line.format(delimiter) + table
    answer = post_csv(api, text.encode(encoding)).json()
    plain = post_csv(api, f"{NAMES}\n20,Male,401,true\n").json()
    assert answer["predictions"][0]["probability"] == plain["predictions"][0]["probability"]


@pytest.mark.parametrize("history", ["", ",2"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_row_with_another_number_of_cells_is_an_error_of_that_row(api, history, end):
    """A short row lacked its last cells, which were taken as those of a first stay."""
    right = f"20,Male,401,true{history}"
    rows = [NAMES + (",n_prior_stays" if history else ""), right]
    rows += [right.removesuffix(",2").removesuffix(",true"), f"{right},1", "", right, "20"]
    answer = post_csv(api, end.join(rows)).json()
    first, short, long, last, cut_off = answer["predictions"]
    assert first["probability"] == last["probability"]
    assert short is long is cut_off is None
    n_columns = rows[0].count(",") + 1
    errors = []
    for error in answer["errors"]:
        assert (error["field"], error["code"]) == ("row", "wrong_number_of_cells")
        assert error["params"]["columns"] == n_columns
        errors.append((error["row"], error["params"]["cells"]))
    assert errors == [(1, 3), (2, n_columns + 1), (4, 1)]


@pytest.mark.parametrize("query", ["trial=True", "trial=", "certainty=1", "certainty=yes"])
def test_a_word_that_may_mean_true_is_refused(api, query):
    """Schemathesis: the document lists true and false, and a trial of Python's True was counted."""
    refused = api.post(f"/predict/batch?{query}", json={"rows": [ROW]})
    assert refused.status_code == 422
    [error] = refused.json()["errors"]
    assert (error["field"], error["code"]) == (query.partition("=")[0], "not_allowed")
    assert error["allowed"] == ["true", "false"]


def test_rows_of_empty_cells_are_errors_between_others_and_none_at_the_end(api):
    """They were a row with an error for each field, also at the end, where a spreadsheet leaves them."""
    rows = [NAMES, "20,Male,401,true", ",,,", " ,,", "", "20,Male,401,true", ",,,", ",", ",,,"]
    answer = post_csv(api, "\n".join(rows)).json()
    first, *empty, last = answer["predictions"]
    assert first["probability"] == last["probability"]
    assert empty == [None, None]
    errors = [(error["row"], error["field"], error["code"]) for error in answer["errors"]]
    assert errors == [(1, "row", "empty_row"), (2, "row", "empty_row")]
    assert post_csv(api, f"{NAMES}\n,,,\n,,,\n").json()["predictions"] == []


def test_names_may_have_another_case_and_separator_and_row_numbers_in_front(api):
    """What pandas, R and people write."""
    plain = post_csv(api, f"{NAMES}\n20,Male,401,true\n").json()["predictions"]
    for header, row in (
        (f",{NAMES}", "0,20,Male,401,true"),
        (f"Unnamed: 0,{NAMES}", "0,20,Male,401,true"),
        ("N.Medications, Gender ,diagnosis-1,Is Medication Changed", "20,Male,401,true"),
        (f"{NAMES.upper()},", "20,Male,401,true,"),
    ):
        [answer] = post_csv(api, f"{header}\n{row}\n").json()["predictions"]
        assert answer["probability"] == plain[0]["probability"], header
    assert post_csv(api, f"{NAMES},GENDER\n20,Male,401,true,Male\n").status_code == 422


def test_a_file_of_an_old_mac_may_be_long(api):
    answer = post_csv(api, "\r".join([NAMES, *["20,Male,401,true"] * 9_000]))
    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == 9_000


def test_a_workbook_is_called_one(api):
    answer = api.post(
        "/predict/batch",
        content=b"\xd0\xcf\x11\xe0" + b"x" * 100,
        headers={"content-type": "application/vnd.ms-excel"},
    )
    assert answer.status_code == 422
    assert "Excel workbook" in answer.json()["detail"]
