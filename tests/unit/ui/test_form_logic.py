"""The form's logic: contract to fields, words for numbers, files, problems. No Streamlit, no service."""

import re
from dataclasses import fields as members
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter

import pytest

from readmit.client.api_client import ApiDown, Problem
from training import model_metrics
from ui import (
    batch_file,
    charts,
    examples,
    explanation,
    form,
    page_tables,
    problem_messages,
    scoring,
    version_comparison,
    vocabulary,
    what_if,
    wording,
)
from ui.links import links
from ui.messages import ENGLISH, LANGUAGES, SPANISH, Messages

UI = Path(batch_file.__file__).parent
CONTRACT = {
    "version": 1,
    "hash": "abc",
    "features": [
        {
            "name": "age_band", "role": "input", "kind": "category", "data_type": "text", "description": "",
            "values": ["[0-10)", "[70-80)", "unknown"], "default": "[70-80)",
            "form": {"group": {"en": "Patient", "es": "Paciente"}, "label": {"en": "Age", "es": "Edad"}, "help": "Y"},
        },
        {
            "name": "admission_type_id", "role": "input", "kind": "category", "data_type": "integer",
            "seed": "admission_types", "default": 2, "form": {"group": "Stay", "label": {"en": "Admission"}},
        },
        {
            "name": "n_procedures", "role": "input", "kind": "number", "data_type": "integer", "min": 0, "max": 6,
            "default": 1, "form": {"group": {"en": "Stay", "es": "Ingreso"}, "label": {"en": "Procedures"}},
        },
        {"name": "is_changed", "role": "input", "kind": "flag", "data_type": "boolean", "default": False, "form": None},
        {"name": "n_prior_stays", "role": "history", "kind": "number", "data_type": "integer", "default": 0},
        {"name": "n_drugs", "role": "derived", "kind": "number", "data_type": "integer"},
    ],
}  # fmt: skip
SEEDS = {
    "admission_types": [
        {"code": "1", "description": "Emergency"},
        {"code": "2", "description": "Urgent"},
        {"code": "3", "description": "Expired", "is_excluded": "true"},
    ]
}


def made(language="en"):
    return form.fields(CONTRACT, lambda name: SEEDS[name], LANGUAGES[language][1])


def placeholders(text: str) -> set[str | None]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_both_languages_say_everything_with_the_same_placeholders():
    for member in members(Messages):
        english, spanish = getattr(ENGLISH, member.name), getattr(SPANISH, member.name)
        assert english, member.name
        assert spanish, member.name
        assert placeholders(english) == placeholders(spanish), member.name


def test_no_text_is_left_over():
    pages = "".join(path.read_text() for path in UI.rglob("*.py") if path.name != "messages.py")
    assert [
        each.name for each in members(Messages) if not re.search(rf"\b{each.name}\b", pages)
    ] == []


def test_both_languages_name_the_same_metrics_columns_and_values():
    english, spanish = (vocabulary.words(language) for language in ("en", "es"))
    assert set(english.metrics) == set(spanish.metrics)
    assert set(english.columns) == set(spanish.columns)
    assert set(english.units) == set(spanish.units)
    assert set(english.values) <= set(spanish.values)
    assert set(english.sentences) <= set(spanish.sentences)
    for words in (english, spanish):
        assert all(
            placeholders(said) <= placeholders(sentence)
            for sentence, said in words.sentences.items()
        )


def test_what_has_no_translation_is_shown_as_it_came():
    said = "age_band is not a known value; a rule of tomorrow; missing: insulin"
    assert (
        vocabulary.said(said, "es")
        == "age_band no es un valor conocido; a rule of tomorrow; faltan: insulin"
    )
    assert vocabulary.value("A code of tomorrow", "es") == "A code of tomorrow"


def test_every_metric_and_column_that_is_shown_has_a_plain_name():
    computed = model_metrics.point_figures([0, 1, 0, 1], [0.1, 0.8, 0.4, 0.3])
    columns = {
        *page_tables.PROMOTION_COLUMNS,
        *page_tables.LEDGER_COLUMNS,
        *page_tables.QUARANTINE_COLUMNS,
        *scoring.Outcome().cells(),
    }
    for language in ("en", "es"):
        assert {*computed, *page_tables.REALISED} <= set(vocabulary.words(language).metrics)
        assert columns <= set(vocabulary.words(language).columns)


def test_spanish_pages_hold_no_english_connecting_words():
    rows = [*page_tables.metric_rows({"auroc": {"figure": 0.68, "low": 0.66, "high": 0.7}})]
    assert rows[0].as_table(SPANISH)["Intervalo del 95 %"] == "de 0.660 a 0.700"
    assert wording.whole(99_343, SPANISH) == "99\N{NO-BREAK SPACE}343"
    words = {
        word
        for member in members(Messages)
        for word in getattr(SPANISH, member.name).lower().split()
    }
    assert not words & {"to", "the", "of", "and", "with", "for", "is", "at", "by"}


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("[70-80)", "70-79"),
        ("AfricanAmerican", "African American"),
        ("AllergyandImmunology", "Allergy and Immunology"),
        ("PlasticwithinHeadandNeck", "Plastic within Head and Neck"),
        ("DCPTEAM", "DCPTEAM"),
        (True, "Yes"),
        ("Norm", "Normal"),
    ],
)
def test_values_are_shown_in_plain_words(raw, shown):
    assert vocabulary.value(raw, "en") == shown


def test_the_form_asks_for_inputs_only_in_the_order_of_the_contract():
    assert [field.name for field in made()] == [
        "age_band",
        "admission_type_id",
        "n_procedures",
        "is_changed",
    ]


def test_fields_follow_the_language_and_fall_back_to_english():
    age, admission, *_ = made("es")
    assert (age.label, age.group, age.caption("unknown")) == ("Edad", "Paciente", "Desconocido")
    assert admission.label == "Admission"


def test_seed_codes_get_the_type_of_the_contract_and_their_description():
    admission = made()[1]
    assert admission.options == (1, 2)
    assert (admission.caption(2), made("es")[1].caption(2)) == ("2 · Urgent", "2 · Urgente")
    assert admission.default == 2


def test_a_field_without_a_form_still_has_a_label_and_a_group():
    flag = made()[3]
    assert (flag.label, flag.group, flag.default) == ("Is changed", "Other", False)
    assert list(form.groups(made())) == ["Patient", "Stay", "Other"]


@pytest.mark.parametrize(
    ("probability", "said"),
    [
        (0.0, "Fewer than 1 in 200"),
        (0.112, "1 in 9"),
        (0.3, "1 in 3"),
        (0.35, "4 in 10"),
        (0.94, "9 in 10"),
        (0.99, "More than 19 in 20"),
    ],
)
def test_a_probability_is_said_as_a_natural_frequency(probability, said):
    assert said in wording.in_plain_words(probability, ENGLISH)


def test_the_words_never_stray_far_from_the_number():
    for probability in (permille / 1000 for permille in range(1001)):
        words = wording.in_plain_words(probability, ENGLISH).split()
        part, whole = [int(word) for word in words if word.isdigit()][:2]
        assert abs(part / whole - probability) <= 0.051, probability


def test_threshold_and_history_in_words():
    assert "At or above" in wording.against_threshold(
        {"probability": 0.2, "threshold": 0.2}, ENGLISH
    )
    assert "Below" in wording.against_threshold({"probability": 0.19, "threshold": 0.2}, ENGLISH)
    assert wording.history("looked_up", ENGLISH) == ENGLISH.history_looked_up
    assert wording.history("assumed_first_stay", ENGLISH) == ENGLISH.history_first_stay
    assert wording.band("very_high", ENGLISH) == "very_high"


def test_age_of_data():
    now = datetime(2026, 1, 3, 12, tzinfo=UTC)
    assert wording.age("2026-01-03T11:30:00+00:00", ENGLISH, now) == "30 min ago"
    assert wording.age("2026-01-03T02:00:00", ENGLISH, now) == "10 h ago"
    assert wording.age("2026-01-01T11:00:00Z", ENGLISH, now) == "2 days ago"
    assert wording.age(None, ENGLISH, now) == "-"


def test_variations_are_legal_and_always_the_same():
    rows = examples.variations(made(), 40)
    assert rows == examples.variations(made(), 40)
    assert all(
        row["age_band"] in made()[0].options and 0 <= row["n_procedures"] <= 6 for row in rows
    )


def test_examples_are_picked_by_the_score_of_the_model():
    rows = [{"n": index} for index in range(101)]
    picked = examples.pick(rows, [index / 100 for index in range(101)])
    assert [picked[band]["n"] for band in ("low", "medium", "high")] == [5, 50, 98]
    assert examples.pick([], []) == {}


def test_an_example_that_is_no_longer_legal_shows_the_default():
    assert (
        examples.inputs_of({"age_band": "gone", "n_procedures": 3}, made())["age_band"] == "[70-80)"
    )


def test_scores_that_are_missing_are_an_error():
    with pytest.raises(ValueError, match="2 rows were sent, 1 scores"):
        examples.probabilities({"predictions": [{"probability": 0.1}]}, 2)


def test_what_if_offers_legal_values_and_marks_the_current_one():
    age, admission, procedures, flag = made()
    assert what_if.alternatives(age, "unknown") == (["[0-10)", "[70-80)", "unknown"], 2)
    assert what_if.alternatives(admission, 1) == ([1, 2], 0)
    assert what_if.alternatives(procedures, 4) == ([0, 1, 2, 3, 4, 5, 6], 4)
    assert what_if.alternatives(flag, True) == ([False, True], 1)


def test_what_if_keeps_long_lists_readable():
    codes = tuple(str(code) for code in range(900))
    field = form.Field("d", "category", "D", "", "G", "5", options=codes, captions=codes)
    values, place = what_if.alternatives(field, "600")
    assert len(values) == what_if.MOST
    assert values[place] == "600"
    wide = form.Field("n", "number", "N", "", "G", 5, low=0, high=132)
    values, place = what_if.alternatives(wide, 44)
    assert values[place] == 44
    assert values == sorted(values)
    assert len(values) <= what_if.MOST + 1


def test_drivers_speak_the_words_of_the_contract_strongest_first():
    explained = {
        "contributions": [
            {"feature": "age_band", "value": "[0-10)", "contribution": -0.2},
            {"feature": "n_drugs", "value": 3, "contribution": 0.5},
            {"feature": "is_changed", "value": False, "contribution": 0.0},
        ]
    }
    found = explanation.contributions(explained, made(), "en")
    said = [(each.label, each.value, each.effect) for each in found]
    assert said == [("N drugs", "3", 0.5), ("Age", "0-9", -0.2)]


def test_a_problem_is_sorted_by_field():
    errors = [
        {
            "field": "age_band",
            "detail": "is not one of the allowed values",
            "allowed": ["[0-10)", "b"],
        },
        {"field": "n_procedures", "detail": "must be at most 6"},
        {"detail": "and more"},
    ]
    found = problem_messages.notice(Problem(422, "Invalid input", "Two fields.", errors), ENGLISH)
    assert found.by_field == {
        "age_band": "is not one of the allowed values (0-9, b)",
        "n_procedures": "must be at most 6",
    }
    assert found.summary == "Two fields. and more"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            Problem(429, "Too many requests", "at most 5 requests per second and caller"),
            "5 solicitudes por segundo",
        ),
        (Problem(415, "Unsupported media type"), "Tipo de contenido no admitido"),
        (
            Problem(502, "Bad Gateway", "<html>Bad gateway</html>"),
            "Respuesta no válida de un servicio intermedio",
        ),
        (
            Problem(503, "Unavailable", "the database does not answer (OperationalError)"),
            "la base de datos no responde",
        ),
        (ApiDown("http://127.0.0.1:8000: refused"), SPANISH.api_down),
        (
            ValueError("2 rows were sent, 1 scores came back"),
            "se enviaron 2 filas y volvieron 1 resultados",
        ),
    ],
)
def test_a_refusal_is_said_in_the_language_of_the_page(error, said):
    assert said in problem_messages.said(error, SPANISH)


def test_the_template_can_be_read_back_and_is_typed():
    found = batch_file.read(batch_file.template(made()).encode(), made())
    assert found.missing == ()
    expected = {
        "age_band": "[70-80)",
        "admission_type_id": 2,
        "n_procedures": 1,
        "is_changed": False,
    }
    assert batch_file.typed(found.rows[0], made()) == expected


def test_keys_for_late_labels_are_sent_and_other_columns_are_not():
    row = {"age_band": "x", "patient_nbr": "12", "encounter_id": "", "note": "hello"}
    assert batch_file.typed(row, made()) == {"age_band": "x", "patient_nbr": 12}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"a,b\n1,2,3\n", "line 2 has 3 fields, the header 2"),
        (b"a\n\xff\n", "byte 2 is not UTF-8"),
        (b'a\n"open', "unexpected end"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(content, said):
    with pytest.raises(batch_file.UnreadableFile, match=said):
        batch_file.read(content, made())


def test_missing_columns_are_named():
    assert batch_file.read(b"age_band\nx\n", made()).missing == (
        "admission_type_id",
        "n_procedures",
        "is_changed",
    )


def test_a_scored_file_runs_no_formula():
    assert batch_file.write([{"a": "=1+1", "b": 0.5}]) == "a,b\n'=1+1,0.5\n"


def test_every_row_has_an_outcome_in_its_place():
    good = {"probability": 0.2, "risk": "low", "history": "given"}
    errors = [{"row": 1, "field": "age_band", "detail": "unknown value"}]
    said = {"predictions": [good, None, good], "errors": errors, "model": {"version": "3"}}
    found = scoring.outcomes(said, 3)
    assert [each.probability for each in found] == [0.2, None, 0.2]
    assert found[1].error == "age_band: unknown value"
    assert found[0].model_version == "3"
    # Fewer answers than rows: whose they are is not guessed.
    found = scoring.outcomes(said | {"predictions": [good, good]}, 3)
    assert [(each.probability, each.error) for each in found] == [
        (None, "no answer"), (None, "age_band: unknown value"), (None, "no answer"),
    ]  # fmt: skip


def test_scoring_goes_in_pieces_and_keeps_the_order():
    def ask(rows):
        return {"predictions": [{"probability": row["n"]} for row in rows]}

    rows = [{"n": index / 2000} for index in range(1201)]
    pieces = list(scoring.score(rows, ask))
    assert [len(piece) for piece in pieces] == [500, 500, 201]
    assert [each.probability for piece in pieces for each in piece] == [row["n"] for row in rows]


def test_totals_of_the_ledger():
    rows = [
        {
            "status": "published",
            "n_rows": 10,
            "n_quarantined": 1,
            "published_at": "2026-01-01T00:00:00",
        },
        {
            "status": "published",
            "n_rows": 5,
            "n_quarantined": 0,
            "published_at": "2026-01-02T00:00:00",
        },
        {"status": "rejected", "n_rows": 7, "published_at": None},
    ]
    assert page_tables.totals(rows) == page_tables.Totals(2, 15, 1, "2026-01-02T00:00:00")
    assert page_tables.totals([]) == page_tables.Totals(0, 0, 0, None)


def test_metrics_come_with_or_without_an_interval():
    rows = page_tables.metric_rows(
        {"auroc": {"figure": 0.68, "low": 0.66, "high": 0.7}, "brier": 0.1, "note": "x"}
    )
    assert [row.as_table(ENGLISH)["95 % interval"] for row in rows] == ["0.660 to 0.700", "-"]


def test_realised_performance_is_shown_by_version_or_said_to_be_too_little():
    figure = {"figure": 0.68, "low": 0.66, "high": 0.7}
    names = ("auroc", "average_precision", "ece", "observed_minus_predicted")
    good = {
        "version": "2",
        "n_labels": 900,
        "n_readmitted": 99,
        "metrics": dict.fromkeys(names, figure),
    }
    few = {"version": "3", "n_labels": 4, "n_readmitted": 0, "metrics": None}
    none = {"version": "4", "n_labels": 0, "n_readmitted": 0, "metrics": None}
    rows = page_tables.realised(
        [{"evidence": {"realised": [none, few, good]}}, {"evidence": {}}], ENGLISH
    )
    assert [(row["Version"], row["Ranking (AUROC)"]) for row in rows] == [
        ("3", ENGLISH.too_few),
        ("2", "0.680 (0.660 to 0.700)"),
    ]
    assert page_tables.realised([], ENGLISH) == []


def test_tables_of_the_pages_speak_plainly():
    batch = {
        "batch_id": "train-001",
        "status": "published",
        "n_rows": 14_721,
        "published_at": "2026-01-02T03:04:05",
    }
    [row] = page_tables.ledger([batch], SPANISH)
    assert (row["Lote"], row["Estado"], row["Filas"], row["Motivo"]) == (
        "train-001", "publicado", "14\N{NO-BREAK SPACE}721", ""
    )  # fmt: skip
    decided = {
        "decided_at": "2026-01-02",
        "decision": "keep",
        "metric": "auroc",
        "gain": 0.01,
        "gain_low": -0.01,
    }
    [row] = page_tables.promotions([decided | {"gain_high": 0.03}], ENGLISH)
    assert row["Gain"] == "0.010 (-0.010 to 0.030)"
    assert (row["Decision"], row["Judged by"]) == ("kept as it was", "Ranking (AUROC)")
    part = {
        "slice": "age",
        "value": "[80-90)",
        "n": 2412,
        "observed": 0.1,
        "predicted": 0.2,
        "auroc": 0.6,
    }
    [row] = page_tables.slices([part | {"low": 0.5, "high": 0.7, "falls_behind": True}], ENGLISH)
    assert (row["Group"], row["Value"], row["Below average"]) == ("Age", "80-89", True)
    held = {
        "_batch_id": "b",
        "_source_row": 4,
        "reason": "r",
        "raw_values": {"gender": "x"},
        "released_at": None,
    }
    assert page_tables.quarantine([held | {"reason": "race is not a known value"}], SPANISH)[0][
        "Motivo"
    ] == ("race no es un valor conocido")
    assert page_tables.quarantine([held], ENGLISH) == [
        {"Batch": "b", "Row of the file": 4, "Reason": "r", "As received": "gender: x"}
    ]


def test_two_versions_are_set_side_by_side_and_their_difference_is_said():
    def one(alias, version, **more):
        return {"alias": alias, "model": {"version": version}, **more}

    now = one("production", "3", probability=0.25, risk="high")
    same, other = (
        one("previous", "2", probability=p, risk=risk) for p, risk in ((0.22, "high"), (0.1, "low"))
    )
    assert list(version_comparison.side_by_side([now, same], ENGLISH)) == [
        "In service, version 3",
        "Before it, version 2",
    ]
    assert version_comparison.side_by_side([now, same], ENGLISH)["Before it, version 2"].startswith(
        "22.0 %"
    )
    assert "+3.0" in version_comparison.in_words([now, same], ENGLISH)
    assert ENGLISH.compare_agree in version_comparison.in_words([now, same], ENGLISH)
    assert ENGLISH.compare_disagree in version_comparison.in_words([now, other], ENGLISH)
    twin = one("previous", "2", probability=0.2499, risk="high")
    assert ENGLISH.compare_same in version_comparison.in_words([now, twin], ENGLISH)
    mute = one("previous", "1", detail="cannot be mapped")
    assert version_comparison.side_by_side([now, mute], ENGLISH)["Before it, version 1"] == "-"
    assert "Version 1" in version_comparison.in_words([now, mute], ENGLISH)


def test_charts_take_empty_and_full_data():
    curve = charts.calibration([{"predicted": 0.1, "observed": 0.2}], "x", "y")
    assert (len(curve.data), charts.rows(curve)) == (2, [{"x": "0.1", "y": "0.2000"}])
    assert charts.drivers(["a" * 60], [0.3]).data[0].y[0].endswith("…")
    assert charts.scores(["a", "b"], [0.1, 0.2], 1, 0.15).data[0].y == (10.0, 20.0)


def test_links_use_the_name_by_which_the_reader_came(monkeypatch, tmp_path):
    monkeypatch.setenv("READMIT_ENV_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    from readmit.settings import Settings

    to = links(Settings(), "http://ward-7:8501/predict")
    assert to.run("a/b", "12").startswith("http://ward-7:5000/#/experiments/12/")
    assert to.run("a/b", "12").endswith("runs/a%2Fb")
    assert (
        links(Settings(mlflow_tracking_uri="https://mlflow.example/"), None)
        .version(3)
        .startswith("https://mlflow.ex")
    )


def test_links_are_public_when_the_installation_says_how(monkeypatch, tmp_path):
    monkeypatch.setenv("READMIT_ENV_FILE", str(tmp_path / "none"))
    from readmit.settings import Settings

    assert links(
        Settings(public_url="https://{part}.ward.example/"), "http://ward-7:8501"
    ).docs == ("https://docs.ward.example")
