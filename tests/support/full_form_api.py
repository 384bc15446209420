"""The API as the form meets it in a full installation: dbt's contract, a report with every part,
and a database with batches, decisions and outcomes.

The model and the rows of the database are stand-ins; all else is the API.
`uvicorn tests.support.full_form_api:create --factory`, with FORM_API_HOME and FORM_API_CONTRACT.
"""

import math
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import orjson
from fastapi import FastAPI

from readmit.contract.definition import Contract
from serving import queries
from serving.app import create_app
from serving.queries import DataQueries, Query, QueryResult
from tests.support.serving import FolderSource, settings

OUTCOMES = {"auroc": 0.668, "average_precision": 0.214, "ece": 0.011, "brier": 0.094}


class RiskyHistory:
    """A logistic score of a few fields of the real contract."""

    def __init__(self, shift, names):
        self.shift = shift
        self.names = names

    def predict_one(self, row):
        score = self.shift + 0.35 * min(row["n_prior_stays"], 6)
        score += 0.45 * min(row["n_inpatient_visits"], 5) + 0.05 * row["length_of_stay_days"]
        score += 0.9 * (row["discharge_disposition_id"] == 22) + 0.4 * (
            row["age_band"] == "[80-90)"
        )
        score += 0.3 * (row["discharge_disposition_id"] == 3) - 0.02 * row["n_medications"]
        return 1 / (1 + math.exp(-score))

    def score(self, rows):
        return [self.predict_one(dict(zip(self.names, row, strict=True))) for row in rows]


def interval(figure, width=0.012):
    return {"figure": figure, "low": figure - width, "high": figure + width}


def report():
    """Return a report with every part, in the shape that training writes."""
    bins = []
    for predicted in (0.04, 0.07, 0.1, 0.2):
        bins.append({"predicted": predicted, "observed": predicted * 1.04 + 0.002, "n": 900})
    curve = []
    for step in range(1, 30):
        threshold = step / 100
        everybody = 0.11 - 0.89 * threshold / (1 - threshold)
        best = max(everybody, 0.0) + 0.008 * math.exp(-(((threshold - 0.12) / 0.08) ** 2))
        curve.append({"threshold": threshold, "net_benefit": best, "call_everybody": everybody})
    slices = []
    for name, value, auroc in (
        ("age", "[70-80)", 0.66),
        ("age", "[20-30)", 0.71),
        ("race", "AfricanAmerican", 0.65),
        ("gender", "Female", 0.67),
        ("stay", "repeat", 0.62),
    ):
        slices.append({"slice": name, "value": value, "n": 2100, "observed": 0.11, "predicted": 0.108,
                       "auroc": auroc, "low": auroc - 0.03, "high": auroc + 0.03, "falls_behind": False})  # fmt: skip
    learning = []
    for step in (1, 3, 6, 9):
        auroc = 0.64 + 0.01 * math.log(step + 1)
        learning.append({"n_batches": step, "n_rows": 8_000 * step, "auroc": auroc, "low": auroc - 0.01,
                         "high": auroc + 0.01, "average_precision": 0.2})  # fmt: skip
    capacity = []
    for calls in range(1, 51):
        share = 0.03 + 0.9 * (calls / 100) ** 0.7
        per_readmission = interval(2 + calls / 12)
        capacity.append({"calls_per_100": calls, "threshold": 0.4 - calls / 160, "called": interval(calls / 100),
                         "readmissions_found": interval(share), "calls_per_readmission": per_readmission})  # fmt: skip
    metrics = {name: interval(figure) for name, figure in OUTCOMES.items()}
    metrics["observed_minus_predicted"] = interval(0.0012)
    return {
        "threshold": 0.14,
        "metrics": metrics,
        "data_source": "uci",
        "calibration": bins,
        "decision_curve": curve,
        "slices": slices,
        "capacity": capacity,
        "learning_curve": learning,
    }


def write_bundle(folder, contract, shift):
    """Write a bundle with the real contract and the whole report."""
    folder.mkdir(parents=True, exist_ok=True)
    row = {}
    for feature in contract.features:
        if feature.role != "derived":
            row[feature.name] = feature.default
    score = RiskyHistory(shift, contract.base_names).predict_one(row)
    (folder / "contract.json").write_text(contract.to_json())
    (folder / "examples.json").write_bytes(orjson.dumps({"rows": [row], "probabilities": [score]}))
    (folder / "report.json").write_bytes(orjson.dumps(report()))
    (folder / "model_card.md").write_text("# Model card: readmission\n\n## Use\nFollow-up.\n")
    (folder / "shift.json").write_text(str(shift))


def read(folder):
    contract = Contract.from_json((folder / "contract.json").read_text())
    return contract, RiskyHistory(float((folder / "shift.json").read_text()), contract.base_names)


def batch(number, status, split="train", **changed):
    row = {
        "batch_id": f"uci-{split}-{number:04}", "split": split, "ordinal": number,
        "first_source_row": None, "last_source_row": None, "n_rows": 9_000 + 40 * number,
        "source_sha256": "c1d2", "content_sha256": "e3f4", "data_source": "uci", "status": status,
        "supersedes": None, "n_quarantined": 7 * number, "n_excluded": 200 + number,
        "n_erased": 0, "reason": None,
        "loaded_at": f"2026-01-{number + 1:02}T04:00:12+00:00", "published_at": None, "dag_run_id": None,
    }  # fmt: skip
    if status == "published":
        row["published_at"] = f"2026-01-{number + 1:02}T04:01:03+00:00"
    return row | changed


def rows_of(query: Query):
    """Return what the database of this stand-in holds for a query."""
    if query is queries.BATCHES:
        batches = [batch(number, "published") for number in range(1, 9)]
        batches += [
            batch(9, "rejected", reason="raw gate: age has values that the code list lacks")
        ]
        batches += [
            batch(10, "loaded"),
            batch(1, "published", "validation"),
            batch(1, "published", "test"),
        ]
        return batches[::-1]
    if query is queries.INBOX:
        return [
            {"name": "ward-3.csv", "file_sha256": "0689", "received_at": "2026-01-09T04:00:02+00:00",
             "state": state, "reason": reason, "n_rows": 840, "n_known": 600, "n_changed": 2}
            for state, reason in (("published", None), ("rejected", "raw gate: age has values that the code list lacks"))
        ]  # fmt: skip
    if query is queries.QUARANTINE:
        return [
            {"_batch_id": "uci-train-0003", "_source_row": 4711 + number, "_build_id": "uci-train-0003",
             "encounter_id": 2278392 + number, "patient_nbr": 8222157, "reason": "age is not a known value",
             "raw_values": {"age": "[100-110)"}, "released_at": None, "released_by": None, "corrected": None}
            for number in range(3)
        ]  # fmt: skip
    if query is queries.PROMOTIONS:
        return [
            {"promotion_id": number, "decided_at": f"2026-01-{10 + number}T06:20:11+00:00",
             "decision": "promote", "model_name": "readmission", "challenger_version": str(number),
             "production_version": str(number - 1), "challenger_score": 0.672, "production_score": 0.664,
             "gain": 0.008, "gain_low": 0.002, "gain_high": 0.014, "metric": "auroc", "data_fingerprint": "ab",
             "contract_hash": "9b", "git_sha": "4f", "actor": "train_model",
             "reason": "better: the gain in AUROC is 0.008, its lower bound 0.002 is above 0", "evidence": {}}
            for number in (2, 3)
        ]  # fmt: skip
    if query is queries.MONITORING:
        return [monitor_report(number) for number in range(8, 0, -1)]
    if query is queries.OUTCOMES:
        return [
            {"batch_id": row["batch_id"], "n_stays": row["n_rows"] - 300, "n_readmitted": 950 + 13 * row["ordinal"]}
            for row in rows_of(queries.BATCHES) if row["status"] == "published"
        ]  # fmt: skip
    return []


def monitor_report(number):
    realised = {
        "version": "1", "n_labels": 400 * number, "n_readmitted": 45 * number, "n_known_before": 0,
        "metrics": {name: interval(figure - 0.004 * number, 0.06 / number) for name, figure in OUTCOMES.items()},
        "calibration": [],
    }  # fmt: skip
    if number < 2:
        realised["metrics"] = None
    return {
        "report_id": number, "made_at": f"2026-02-{number:02}T05:00:09+00:00", "model_name": "readmission",
        "model_version": "1", "n_requests": 812, "verdict": "no drift",
        "evidence": {"n_reference": 5000, "features": [], "realised": [realised]},
    }  # fmt: skip


class StandInData(DataQueries):
    """The queries of the data without a database."""

    def _read(self, query: Query) -> QueryResult:
        return QueryResult(orjson.dumps({query.name: rows_of(query)}), time.monotonic())


class RealContractSource(FolderSource):
    """Version 2 in production, version 1 before it, both with dbt's contract."""

    def __init__(self, contract):
        super().__init__()
        for number, alias in (("1", "previous"), ("2", "production")):
            self.promote(number, alias)
            shift = -2.4 - 0.1 * int(number)
            self.makers[number] = partial(write_bundle, contract=contract, shift=shift)


def create() -> FastAPI:
    """Return the app."""
    home = Path(os.environ["FORM_API_HOME"])
    contract = Contract.from_json(Path(os.environ["FORM_API_CONTRACT"]).read_text())
    app = create_app(settings(home), source=RealContractSource(contract), read=read)
    app.state.parts.data.stop()
    app.state.parts = replace(app.state.parts, data=StandInData(app.state.parts.settings))
    return app
