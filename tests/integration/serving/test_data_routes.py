"""Rows of the real tables, as the data routes answer them, against the types of the answers."""

import json

import yaml
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from readmit.client import answer_types as types
from readmit.settings import ROOT
from serving.api_settings import ServingSettings
from serving.app import create_app
from tests.support import raw
from tests.support.serving import FolderSource, read

INTERVAL = {"figure": 0.6, "low": 0.5, "high": 0.7}
SHIFT = {"name": "gender", "distance": 0.1, "by_chance": 0.02, "p": 0.5, "drifted": False}
EVIDENCE = {
    "n_reference": 9,
    "n_with_history": 1,
    "features": [SHIFT],
    "score": [SHIFT],
    "realised": [
        {
            "version": "1",
            "n_labels": 9,
            "n_readmitted": 1,
            "n_known_before": 0,
            "metrics": {"auroc": INTERVAL},
            "calibration": [{"predicted": 0.1, "observed": 0.1, "n": 9}],
        }
    ],
}
CLEAN_ROWS = """
    insert into ops.promotions (decision, model_name, metric, actor, reason)
    values ('keep', 'm', 'auroc', 'a', 'r');
    insert into ops.promotions (decision, model_name, challenger_version, production_version,
        challenger_score, production_score, gain, gain_low, gain_high, metric, data_fingerprint,
        contract_hash, git_sha, actor, reason, evidence)
    values ('promote', 'm', '2', '1', 0.7, 0.6, 0.1, 0.05, 0.15, 'auroc', 'f', 'c', 'g', 'a', 'r',
        '{"n": 1}');
    insert into ops.published_batches (build_id, batch_id, kind) values ('b', 'b', 'batch');
"""
MART_ROWS = """
    create schema if not exists marts;
    create view marts.fct_encounter_features as
    select 'b' as _batch_id, n = 1 as is_readmitted_30d from generate_series(1, 4) as n;
    grant usage on schema marts to reader;
    grant select on marts.fct_encounter_features to reader;
"""
RAW_ROWS = """
    insert into landing.batches (batch_id, split, ordinal, n_rows, source_sha256, data_source,
        status, reason, loaded_at)
    values ('r', 'none', 0, 0, 's', 'file', 'refused', 'why', now());
    insert into landing.batches (batch_id, split, ordinal, first_source_row, last_source_row,
        n_rows, source_sha256, content_sha256, data_source, status, supersedes, n_quarantined,
        n_excluded, loaded_at, published_at, dag_run_id)
    values ('b', 'train', 1, 1, 9, 9, 's', 'c', 'uci', 'published', 'a', 1, 2, now(), now(), 'd');
    insert into landing.inbox (address_sha256, version, name, file_sha256, source_sha256, reason,
        result, received_at)
    values ('a', '1', 'unread.csv', 'f', 's', null, null, '2026-01-03'),
        ('b', '1', 'bad.csv', 'g', null, 'why', null, '2026-01-02'),
        ('c', '1', 'rejected.csv', 'h', 's', null, '{"state": "rejected", "reason": "gate",
            "n_rows": 9, "n_known": 2, "n_changed": 1}', '2026-01-01');
"""


def test_rows_of_the_database_fit_their_types(tmp_path):
    stack = raw.fresh(tmp_path)
    settings = ServingSettings(**stack.model_dump(), api_allowed_hosts="testserver")
    raw.query(stack, stack.clean_database, CLEAN_ROWS)
    raw.query(stack, stack.clean_database, MART_ROWS)
    raw.query(stack, stack.raw_database, RAW_ROWS)
    raw.query(
        stack,
        stack.clean_database,
        "insert into ops.monitor_reports (model_name, model_version, n_requests, verdict, evidence)"
        " values ('m', '1', 9, 'no drift', %s)",
        json.dumps(EVIDENCE),
    )
    with TestClient(create_app(settings, source=FolderSource(), read=read)) as client:
        for path, kind, name, n_rows in (
            ("/model/history", types.PromotionHistory, "promotions", 2),
            ("/data/batches", types.Batches, "batches", 2),
            ("/data/inbox", types.Inbox, "files", 3),
            ("/data/freshness", types.Freshness, "freshness", 1),
            ("/data/monitoring", types.Monitoring, "reports", 1),
            ("/data/outcomes", types.Outcomes, "outcomes", 1),
        ):
            response = client.get(path)
            assert response.status_code == 200
            TypeAdapter(kind).validate_json(response.content, extra="forbid")
            assert len(response.json()[name]) == n_rows
        files = client.get("/data/inbox").json()["files"]
        states = [(file["name"], file["state"], file["reason"], file["n_rows"]) for file in files]
        assert states == [
            ("unread.csv", "waiting", None, None),
            ("bad.csv", "refused", "why", None),
            ("rejected.csv", "rejected", "gate", 9),
        ]


def test_a_quarantined_row_has_the_columns_of_dbts_view():
    written = ROOT / "dbt_project/models/quarantine/quarantine_encounters.yml"
    (model,) = yaml.safe_load(written.read_text())["models"]
    names = [column["name"] for column in model["columns"]]
    assert list(types.QuarantinedRow.__annotations__) == names
