"""The tables of the Model and Data pages."""

from ui import language, page_tables

ENGLISH = language.load("en")
SPANISH = language.load("es")
FIGURE = {"figure": 0.68, "low": 0.66, "high": 0.7}


def test_totals_of_the_ledger():
    def batch(status, n_rows, n_quarantined, published_at):
        return {
            "status": status,
            "n_rows": n_rows,
            "n_quarantined": n_quarantined,
            "published_at": published_at,
        }

    rows = [
        batch("published", 10, 1, "2026-01-01T00:00:00"),
        batch("published", 5, 0, "2026-01-02T00:00:00"),
        batch("rejected", 7, None, None),
    ]
    assert page_tables.totals(rows) == page_tables.Totals(2, 15, 1, "2026-01-02T00:00:00")
    assert page_tables.totals([]) == page_tables.Totals(0, 0, 0, None)


def test_metrics_come_with_or_without_an_interval():
    rows = page_tables.metric_rows({"auroc": FIGURE, "brier": 0.1})
    assert [row.as_table(ENGLISH)["95 % interval"] for row in rows] == ["0.660 to 0.700", "-"]
    assert rows[0].as_table(SPANISH)["Intervalo del 95 %"] == "de 0.660 a 0.700"


def test_realised_performance_is_shown_by_version_unless_there_is_too_little():
    metrics = dict.fromkeys(page_tables.REALISED, FIGURE)
    good = {"version": "2", "n_labels": 900, "n_readmitted": 99, "metrics": metrics}
    few = {"version": "3", "n_labels": 4, "n_readmitted": 0, "metrics": None}
    none = {"version": "4", "n_labels": 0, "n_readmitted": 0, "metrics": None}
    reports = [{"evidence": {"realised": [none, few, good]}}, {"evidence": {}}]
    rows = page_tables.realised(reports, ENGLISH)
    assert [(row["Version"], row["Ranking (AUROC)"]) for row in rows] == [
        ("3", ENGLISH.text("too_few")),
        ("2", "0.680 (0.660 to 0.700)"),
    ]
    assert page_tables.realised([], ENGLISH) == []


def test_the_ledger_is_shown_in_plain_words_and_its_reasons_as_they_are():
    batch = {
        "batch_id": "train-001",
        "status": "published",
        "n_rows": 14_721,
        "published_at": "2026-01-02T03:04:05",
        "reason": None,
    }
    refused = {**batch, "status": "refused", "reason": "the file is empty"}
    row, refused_row = page_tables.ledger([batch, refused], SPANISH)
    assert (row["Lote"], row["Estado"], row["Motivo"]) == ("train-001", "publicado", "")
    assert row["Filas"] == "14\N{NO-BREAK SPACE}721"
    assert row["Publicado (UTC)"] == "2026-01-02 03:04"
    assert refused_row["Motivo"] == "the file is empty"


def test_the_latest_decision_comes_first():
    decision = {
        "decided_at": "2026-01-02",
        "decision": "keep",
        "metric": "auroc",
        "gain": 0.01,
        "gain_low": -0.01,
        "gain_high": 0.03,
    }
    first = {**decision, "decided_at": "2026-01-01", "decision": "promote", "gain": None}
    latest, earliest = page_tables.promotions([first, decision], ENGLISH)
    assert latest["Gain"] == "0.010 (-0.010 to 0.030)"
    assert (latest["Decision"], latest["Judged by"]) == ("kept as it was", "Ranking (AUROC)")
    assert (earliest["Decision"], earliest["Gain"]) == ("put into service", "")


def test_groups_of_patients():
    group = {
        "slice": "age",
        "value": "[80-90)",
        "n": 2412,
        "observed": 0.1,
        "predicted": 0.2,
        "auroc": 0.6,
        "low": 0.5,
        "high": 0.7,
        "falls_behind": True,
    }
    [row] = page_tables.slices([group], ENGLISH)
    assert (row["Group"], row["Value"], row["Below average"]) == ("Age", "80-89", True)


def test_columns_that_are_empty_in_all_rows_of_the_quarantine_are_left_out():
    row = {
        "_batch_id": "b",
        "_source_row": 4,
        "reason": "race is not a known value",
        "raw_values": {"gender": "x"},
        "released_at": None,
    }
    assert page_tables.quarantine([row], ENGLISH) == [
        {
            "Batch": "b",
            "Row in the file": 4,
            "Reason": "race is not a known value",
            "As received": "gender: x",
        }
    ]


def test_batches_and_rows_are_counted_by_verdict():
    published = {"status": "published", "n_rows": 10, "n_quarantined": 2, "n_excluded": 1}
    rejected = {"status": "rejected", "n_rows": 9, "n_quarantined": None, "n_excluded": None}
    rows = [rejected, published, published]
    assert page_tables.batches_by_verdict(rows) == {"published": 2, "rejected": 1}
    assert page_tables.rows_by_verdict(rows) == {"valid": 14, "quarantined": 4, "excluded": 2}


def test_the_readmission_rate_follows_the_order_of_publication():
    def batch(batch_id, published_at):
        return {"batch_id": batch_id, "published_at": published_at}

    batches = [batch("b", "2026-01-02"), batch("a", "2026-01-01"), batch("c", None)]
    outcomes = [
        {"batch_id": "b", "n_stays": 100, "n_readmitted": 10},
        {"batch_id": "a", "n_stays": 50, "n_readmitted": 0},
    ]
    rates = page_tables.readmission_rates(batches, outcomes)
    assert list(rates) == ["a", "b"]
    assert rates["b"].figure == 0.1
    assert (round(rates["b"].low, 4), round(rates["b"].high, 4)) == (0.0552, 0.1744)
    assert round(rates["a"].low, 9) == 0
    assert rates["a"].high > 0


def test_realised_performance_over_time_has_a_place_for_every_report():
    newer = {
        "made_at": "2026-02-02T05:00:00",
        "evidence": {"realised": [{"version": "2", "metrics": {"auroc": FIGURE}}]},
    }
    older = {
        "made_at": "2026-02-01T05:00:00",
        "evidence": {"realised": [{"version": "2", "metrics": None}]},
    }
    days, by_version = page_tables.realised_over_time([newer, older], "auroc")
    assert days == ["2026-02-01 05:00", "2026-02-02 05:00"]
    assert by_version == {"2": [None, FIGURE]}


def test_columns_without_any_value_are_left_out():
    rows = [
        {"line": "2", "risk": "", "error": "", "n": 0},
        {"line": "3", "risk": "low", "error": "", "n": 0},
    ]
    assert page_tables.without_empty_columns(rows) == [
        {"line": "2", "risk": "", "n": 0},
        {"line": "3", "risk": "low", "n": 0},
    ]
    assert page_tables.without_empty_columns([]) == []
