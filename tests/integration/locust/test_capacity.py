"""Capacity and shapes against a real API process: few users, seconds."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
from operator import itemgetter

import pytest

from bench import reference_model
from bench.made_up_rows import make_rows
from readmit.client.api_client import LOAD_TEST_STAY
from readmit.settings import ROOT, StackSettings
from tests.support import api, raw

sys.path.append(str(ROOT / "locust"))

import capacity
import load_step
import own_api
import payloads

LOCUST = ROOT / "locust"


def run(*command, **options):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        **options,
    )


@pytest.fixture(scope="session")
def model(tmp_path_factory, contract):
    """A logged model with its bundle, fitted on a few made-up rows."""
    folder = tmp_path_factory.mktemp("model") / "model"
    reference_model.fit(make_rows(contract, 400), contract, folder)
    return folder


def test_a_table_for_one_and_two_workers_by_a_distributed_generator(tmp_path, model):
    """A search that ends at four users."""
    short = ["--searches", "1", "--start", "4", "--most", "4", "--seconds", "4", "--ramp", "1"]
    own = ["--own", "--model", str(model), "--workers", "1,2", "--processes", "2"]
    process = run(str(LOCUST / "capacity.py"), *own, *short, "--output", str(tmp_path))
    assert process.returncode in (0, 1), process.stdout + process.stderr
    report = json.loads((tmp_path / "capacity.json").read_text())
    results = report["results"]
    assert [result["workers"] for result in results] == [1, 2]
    # 1: the machine was too busy for the SLO
    assert process.returncode == int(not all(result["users"] for result in results))
    steps = []
    for result in results:
        assert result["static_requests_per_second"] > 0
        assert result["steps"][0][0]["rate"] > 0
        assert result["cpu_ms_per_request"] is None or result["cpu_ms_per_request"] > 0
        steps += itertools.chain.from_iterable(result["steps"])
    n_good = 0
    for step in steps:
        assert 0 < step["machine_cpu"] <= 1.05, steps
        n_good += step["rate"] > 0 and step["error_share"] == 0 and step["api_cpu"] > 0
    assert n_good > 0, steps
    assert report["static_route"] == "/noop"
    assert report["generators"] == 2
    page = (tmp_path / "capacity.html").read_text()
    assert "How many users" in page
    assert page.count("<tr>") == 3  # headings, and a line for each number of workers
    assert (tmp_path / "capacity.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_of_a_server_are_counted(workers, model):
    with own_api.own_api(workers, model, sorted(os.sched_getaffinity(0))) as (host, pid):
        assert load_step.processes_at(host) == ([pid], workers)
    assert load_step.processes_at(host) == ([], 0)


def test_payloads_are_requested_with_the_key_of_the_api(tmp_path, monkeypatch):
    key = "a key"
    key_hash = hashlib.sha256(key.encode()).hexdigest()
    with api.running(tmp_path, 1, READMIT_API_KEY_HASHES=key_hash) as (host, _):
        monkeypatch.setenv("READMIT_API_KEY", key)
        monkeypatch.setenv("READMIT_POSTGRES_PORT", "1025")  # no mart
        arguments = capacity.arguments(["--host", host])
        with capacity.payload_file(arguments, host, StackSettings()) as (file, source):
            assert len(json.loads(file.read_text())) == payloads.N_PAYLOADS
    assert source.startswith("made from the served contract")


def test_stays_of_the_mart_are_sent_without_their_number(tmp_path):
    settings = raw.fresh(tmp_path)
    table = "marts.fct_encounter_features"
    raw.query(
        settings, settings.clean_database,
        f"create table {table} (encounter_id bigint, n int, note text);"
        f" grant select on {table} to reader;"
        f" insert into {table} values (7, 1, null), (8, 2, 'x')",
    )  # fmt: skip
    rows = sorted(capacity.mart_rows(settings, ["n", "note"]), key=itemgetter("n"))
    assert rows == [
        {"n": 1, "encounter_id": LOAD_TEST_STAY},
        {"n": 2, "note": "x", "encounter_id": LOAD_TEST_STAY},
    ]


def test_without_a_server_nothing_is_measured(tmp_path):
    process = run(
        str(LOCUST / "capacity.py"), "--host", "http://127.0.0.1:1025", "--output", str(tmp_path)
    )
    assert process.returncode == 2
    assert "cannot measure" in process.stderr
