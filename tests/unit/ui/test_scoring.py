"""The scoring of many rows: every row keeps its outcome."""

from readmit.contract.definition import Feature
from tests.support import form
from ui import batch_file, language, scoring
from ui import form as ui_form

ENGLISH = language.load("en")
SPANISH = language.load("es")
BAND = {"calls_per_100": 10, "threshold": 0.18, "risk": "high"}
STAY = {
    "probability": 0.2,
    "risk": "low",
    "threshold": 0.2004,
    "history": "given",
    "capacity": BAND,
}
CERTAINTY = {
    "observed": {"figure": 0.18, "low": 0.15, "high": 0.21},
    "n_stays": 744,
    "is_unlike_training": True,
    "unusual_fields": [],
}
ERROR = {"row": 1, "field": "age_band", "code": "required", "params": {}, "detail": "is missing"}


def test_every_row_has_an_outcome_at_its_index():
    answer = {"predictions": [STAY, None, STAY], "errors": [ERROR], "model": {"version": "3"}}
    first, second, third = scoring.outcomes(answer, 3)
    assert first == third
    assert first.cells() == {
        "probability": 0.2,
        "risk": "low",
        "history": "given",
        "model_version": "3",
        "error": "",
        "capacity_risk": "high",
        "observed_rate": "",
        "is_unlike_training": "",
    }
    assert second.cells()["probability"] is None
    assert second.cells()["error"] == "age_band: is missing"
    assert second.error_text(SPANISH) == "age_band: falta"


def test_with_fewer_answers_than_rows_no_answer_is_assigned_to_a_row():
    answer = {"predictions": [STAY, STAY], "errors": [ERROR], "model": {"version": "3"}}
    outcomes = scoring.outcomes(answer, 3)
    errors = []
    for outcome in outcomes:
        assert not outcome.is_scored
        errors.append(outcome.cells()["error"])
    assert errors == ["no answer", "age_band: is missing", "no answer"]
    assert outcomes[0].shown(SPANISH)["Problema"] == "sin respuesta"


def test_an_outcome_is_shown_in_the_language_of_the_page():
    assert list(scoring.Outcome(STAY, (), "3").shown(SPANISH).values()) == [
        "20.00 %", "Riesgo bajo (< 20.04 %)", "los indicados", "3", "sí (10 de cada 100)", "", "", "",
    ]  # fmt: skip


def test_an_outcome_says_how_sure_it_is():
    outcome = scoring.Outcome({**STAY, "certainty": CERTAINTY}, (), "3")
    cells = outcome.cells()
    assert (cells["observed_rate"], cells["is_unlike_training"]) == (0.18, True)
    shown = outcome.shown(ENGLISH)
    assert shown["Readmitted of such scores"] == "18.0 % (15.0 % to 21.0 %)"
    assert shown["Unlike the training data"] == "Yes"
    older = scoring.Outcome({**STAY, "certainty": None}, (), "3").shown(ENGLISH)
    assert older["Unlike the training data"] == older["Readmitted of such scores"] == ""


def test_scoring_goes_in_chunks_and_keeps_the_order():
    def scorer(rows):
        stays = [{**STAY, "probability": row["n_procedures"]} for row in rows]
        return {"predictions": stays, "errors": [], "model": {"version": "3"}}

    text = "n_procedures\n" + "".join(f"{row}\n" for row in range(1201))
    upload = batch_file.Upload(text.encode(), 1201, [], ())
    n_rows = [scored.n_rows for scored in scoring.score(upload, form.fields(), scorer)]
    assert n_rows == [500, 1000, 1201]
    *_, scored = scoring.score(upload, form.fields(), scorer)
    header, *lines = scored.text.splitlines()
    assert header == (
        "n_procedures,probability,risk,history,model_version,error,capacity_risk,"
        "observed_rate,is_unlike_training"
    )
    assert lines == [f"{row},{row},low,given,3,,high,," for row in range(1201)]
    assert (scored.n_errors, len(scored.first), scored.errors) == (0, scoring.MAX_SHOWN, {})


def test_of_a_file_full_of_errors_the_page_has_the_first_and_the_download_all():
    def scorer(rows):
        errors = []
        for row in range(len(rows)):
            errors += [{**ERROR, "row": row}] * 40
        stays = [None] * len(rows)
        return {"predictions": stays, "errors": errors, "model": {"version": "3"}}

    upload = batch_file.Upload(b"age_band\n" + b"x\n" * 3000, 3000, [], ())
    *_, scored = scoring.score(upload, form.fields(), scorer)
    assert (scored.n_rows, scored.n_errors) == (3000, 3000)
    assert list(scored.errors) == list(range(2, 2 + scoring.MAX_ERRORS_SHOWN))
    lines = scored.text.splitlines()
    assert len(lines) == 3001
    assert lines[-1].endswith("and 30 more,,,")


def test_a_row_with_another_number_of_cells_is_an_error_of_that_row():
    """One such row refused the whole file."""
    n_sent = []

    def scorer(rows):
        n_sent.append(len(rows))
        stays = [{**STAY, "probability": row["n_procedures"]} for row in rows]
        return {"predictions": stays, "errors": [], "model": {"version": "3"}}

    text = "n_procedures,note\n1,a\n2\n3,c,d\n4,e\n"
    upload = batch_file.read(text.encode(), form.fields())
    assert upload.n_rows == 4
    *_, scored = scoring.score(upload, form.fields(), scorer)
    assert n_sent == [2]
    assert (scored.n_rows, list(scored.errors)) == (4, [3, 4])
    assert scored.errors[4].error_text(SPANISH) == "row: tiene 3 celdas y la cabecera 2"
    header, *lines = scored.text.splitlines()
    assert header.startswith("n_procedures,note,extra_cells,probability,")
    assert lines[0].startswith("1,a,,1,low")
    assert lines[1] == '2,,,,,,,"row: has 1 cells, but the header has 2",,,'
    assert lines[2] == '3,c,d,,,,,"row: has 3 cells, but the header has 2",,,'
    assert lines[3].startswith("4,e,,4,low")
    only_short = batch_file.Upload(b"n_procedures,note\n1\n", 1, [], ())
    *_, scored = scoring.score(only_short, form.fields(), scorer)
    assert (scored.n_errors, n_sent) == (1, [2])


def test_the_download_has_every_cell_of_the_upload():
    """Cells behind the last column, and columns without a name, were lost."""

    def scorer(rows):
        stays = [STAY] * len(rows)
        return {"predictions": stays, "errors": [], "model": {"version": "3"}}

    text = ';n_procedures;;\n1;5;x;y\n2;5;;;"a;b";c\n;;;\n3;5;;z\n;;;\n'
    inputs = form.fields()
    upload = batch_file.read(text.encode(), inputs)
    assert upload.n_rows == 4
    *_, scored = scoring.score(upload, inputs, scorer)
    table = [line.split(",") for line in scored.text.splitlines()]
    names = ["", "n_procedures", "Unnamed: 2", "Unnamed: 3", "extra_cells"]
    assert [row[:5] for row in table] == [
        names,
        ["1", "5", "x", "y", ""],
        ["2", "5", "", "", '"""a;b"";c"'],
        ["", "", "", "", ""],
        ["3", "5", "", "z", ""],
    ]
    assert [scored.first[line].is_scored for line in (2, 3, 4, 5)] == [True, False, False, True]


def test_an_error_names_the_line_of_its_row_in_the_file():
    """Empty lines, rows of empty cells and cells of two lines do not shift what follows."""

    def scorer(rows):
        errors = [{**ERROR, "row": row} for row in range(len(rows))]
        stays = [None] * len(rows)
        return {"predictions": stays, "errors": errors, "model": {"version": "3"}}

    text = 'age_band;note\n\nx;first\n;\ny;"two\nlines"\nz;last\n;\n;\n'
    upload = batch_file.read(text.encode(), form.fields())
    assert upload.n_rows == 4
    *_, scored = scoring.score(upload, form.fields(), scorer)
    assert list(scored.errors) == list(scored.first) == [3, 4, 6, 7]
    assert (scored.n_rows, scored.n_errors) == (4, 4)
    assert scored.errors[4].error_text(ENGLISH) == "row: has no value in any cell"


def test_an_error_names_the_column_of_the_file():
    """A file with the columns of the source has other names than the form."""

    def scorer(rows):
        error = {**ERROR, "row": 0, "field": "length_of_stay_days"}
        return {"predictions": [None], "errors": [error], "model": {"version": "3"}}

    feature = form.FEATURES[2] | {
        "name": "length_of_stay_days",
        "source": {"column": "time_in_hospital", "reads": "text"},
    }
    inputs = ui_form.fields([Feature.model_validate(feature)], form.SEEDS.__getitem__, ENGLISH)
    upload = batch_file.read(b"time_in_hospital\nmany\n", inputs)
    *_, scored = scoring.score(upload, inputs, scorer)
    assert scored.errors[2].error_text(ENGLISH) == "time_in_hospital: is missing"
    assert "time_in_hospital: is missing" in scored.text
