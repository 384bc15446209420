"""The scoring of many rows: every row keeps its outcome."""

from ui import language, scoring

ENGLISH, SPANISH = language.load("en"), language.load("es")
STAY = {"probability": 0.2, "risk": "low", "history": "given"}
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
    }
    assert second.cells()["probability"] is None
    assert second.cells()["error"] == "age_band: is missing"
    assert second.error_text(SPANISH) == "age_band: falta"


def test_with_fewer_answers_than_rows_nobody_guesses_whose_they_are():
    answer = {"predictions": [STAY, STAY], "errors": [ERROR], "model": {"version": "3"}}
    outcomes = scoring.outcomes(answer, 3)
    assert not any(outcome.is_scored for outcome in outcomes)
    errors = [outcome.cells()["error"] for outcome in outcomes]
    assert errors == ["no answer", "age_band: is missing", "no answer"]
    assert outcomes[0].shown(SPANISH)["Problema"] == "sin respuesta"


def test_an_outcome_is_shown_in_the_language_of_the_page():
    assert list(scoring.Outcome(STAY, (), "3").shown(SPANISH).values()) == [
        "20.0 %", "Riesgo bajo", "los indicados", "3", ""
    ]  # fmt: skip


def test_scoring_goes_in_chunks_and_keeps_the_order():
    def scorer(rows):
        stays = [{**STAY, "probability": row["n"]} for row in rows]
        return {"predictions": stays, "errors": [], "model": {"version": "3"}}

    rows = [{"n": index / 2000} for index in range(1201)]
    chunks = list(scoring.score(rows, scorer))
    assert [len(chunk) for chunk in chunks] == [500, 500, 201]
    probabilities = [outcome.cells()["probability"] for chunk in chunks for outcome in chunk]
    assert probabilities == [row["n"] for row in rows]
