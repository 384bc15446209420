"""The capacity search finds the knee of a known curve, and says when the generator was the limit."""

import json
import math
import os
import sys
from collections import Counter

import pytest

from readmit.client.api_client import LOAD_TEST_STAY
from readmit.settings import ROOT
from readmit.telemetry import pushgateway
from readmit.telemetry.metrics import METRICS_BY_JOB, Job

sys.path.append(str(ROOT / "locust"))

import capacity
import capacity_report
import capacity_search
import load_step
import payloads


def curve(knee, *, generator_full_at=10**9):
    """A server that is fast up to `knee` users and slow above; a generator that fills its core at a
    number of users.
    """

    def measure(users):
        p95_ms = 20
        if users > min(knee, generator_full_at):
            p95_ms = 900
        generator_cpu = min(1, users / generator_full_at)
        return capacity_search.Step(users, users * 0.9, p95_ms, 0, generator_cpu, 0.5)

    return measure


@pytest.mark.parametrize("knee", [1, 7, 249, 250, 251, 1000, 3777])
@pytest.mark.parametrize("start", [1, 250, 5000])
def test_knee_is_found_from_below_and_from_above(knee, start):
    search = capacity_search.find(curve(knee), start=start)
    assert knee * 0.95 - 1 <= search.users <= knee
    assert search.limit == "slo"
    assert len(search.steps) < 25


def test_generator_that_is_full_gives_at_least():
    search = capacity_search.find(curve(10_000, generator_full_at=2000), start=250)
    assert 1900 <= search.users <= 2000
    assert search.limit == "generator"
    assert capacity_report.Result(1, (search,), static_rate=1e9).text.startswith("at least ")


def test_machine_that_is_full_gives_at_least():
    def measure(users):
        p95_ms = 20
        if users > 1000:
            p95_ms = 900
        return capacity_search.Step(users, users * 0.9, p95_ms, 0, 0.3, 1.7, min(1, users / 1000))

    search = capacity_search.find(measure, start=250)
    assert 950 <= search.users <= 1000
    assert search.limit == "machine"
    assert capacity_report.Result(2, (search,), static_rate=1e9).text.startswith("at least ")


def test_nothing_holds_and_everything_holds():
    assert capacity_search.find(curve(0), start=100).users == 0
    search = capacity_search.find(curve(10**9), start=100, most_users=1000)
    assert (search.users, search.limit) == (1000, "most_users")


def test_errors_break_the_slo_and_no_requests_hold_nothing():
    assert capacity_search.Step(1, 10, 250, 0.001, 0).holds
    assert not capacity_search.Step(1, 10, 251, 0, 0).holds
    assert not capacity_search.Step(1, 10, 20, 0.0011, 0).holds
    assert not capacity_search.Step(1, 0, 0, 0, 0).holds


def test_no_headroom_over_the_static_route_is_the_generators_limit():
    search = capacity_search.find(curve(1000), start=250)
    assert capacity_report.Result(1, (search,), static_rate=5000).limit == "slo"
    assert capacity_report.Result(1, (search,), static_rate=1000).limit == "generator"
    # The generator had time left on that route, so the server was the limit there too.
    assert capacity_report.Result(1, (search,), static_rate=1000, static_cpu=0.6).limit == "slo"


def test_the_pushed_metrics_are_those_of_the_list():
    search = (capacity_search.find(curve(1000), start=250),)
    pushed = capacity_report.gauges(
        [capacity_report.Result(1, search, 1e9), capacity_report.Result(2, search, 1e9)]
    )
    assert set(pushed) == {metric.name for metric in METRICS_BY_JOB[Job.LOAD_TEST]}
    registry = pushgateway.registry(Job.LOAD_TEST, pushed, {})
    assert registry.get_sample_value("readmit_capacity_users", {"workers": "2"}) > 900


@pytest.mark.parametrize(
    ("options", "is_shown"),
    [
        ([], True),
        (["--host", "http://10.0.0.1:8000"], True),
        (["--own", "--model", "folder"], True),
        (["--own"], False),  # perhaps a model of made-up rows
        (["--own", "--model", "folder", "--classes", "SingleUser"], False),
        (["--host", "http://10.0.0.1:5001", "--classes", "MlflowUser"], False),
    ],
)
def test_dashboards_show_the_default_mix_on_a_trained_model_only(options, is_shown):
    assert capacity.is_for_dashboards(capacity.arguments(options)) is is_shown


def test_the_exit_code_tells_whether_every_configuration_holds_so_many_users():
    def result(knee):
        search = capacity_search.find(curve(knee), start=100, most_users=1000)
        return capacity_report.Result(1, (search,), static_rate=1e9)

    enough = result(10**9)
    assert capacity.exit_code([enough, enough], 1000) == 0
    assert capacity.exit_code([enough, enough], 1001) == 1
    assert capacity.exit_code([enough, result(0)], 1) == 1
    disagreeing = capacity_report.Result(1, enough.searches + result(100).searches, 1e9)
    assert capacity.exit_code([disagreeing], 1) == 1


def test_a_line_has_a_cell_for_each_heading():
    search = (capacity_search.find(curve(1000), start=250),)
    nothing = (
        capacity_search.SearchResult(None, "slo", (capacity_search.Step(1, 0, math.inf, 1, 0),)),
    )
    (line, empty) = capacity_report.lines(
        [capacity_report.Result(1, search, 1e9), capacity_report.Result(None, nothing, 1e9)]
    )
    assert len(line) == len(empty) == len(capacity_report.HEADINGS)
    assert dict(zip(capacity_report.HEADINGS, line, strict=True))["p95, ms"] == "20"
    assert dict(zip(capacity_report.HEADINGS, empty, strict=True))["p95, ms"] == "-"


def refused(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_a_step_without_answers_is_null_in_the_report(tmp_path):
    mute = load_step.summary(500, [], [], processes=1, window=10)
    assert math.isinf(mute.p95_ms)
    result = capacity_report.Result(1, (capacity_search.SearchResult(None, "slo", (mute,)),), 1e9)
    capacity_report.write(tmp_path, {}, [result])
    report = json.loads((tmp_path / "capacity.json").read_text(), parse_constant=refused)
    assert report["results"][0]["steps"][0][0]["p95_ms"] is None


def test_searches_must_agree():
    first = capacity_search.find(curve(1000), start=250)
    near = capacity_search.find(curve(1020), start=250)
    far = capacity_search.find(curve(1300), start=250)
    assert capacity_report.Result(1, (first, near), 1e9).agree
    assert not capacity_report.Result(1, (first, far), 1e9).agree


def entry(start, last, times, failures=0):
    return {"start_time": start, "last_request_timestamp": last, "response_times": times,
            "num_requests": sum(times.values()), "num_failures": failures}  # fmt: skip


def test_summary_counts_over_all_routes_and_the_time_without_answers():
    samples = []
    for i in range(11):
        machine_seconds = 0.9 * os.cpu_count() * i
        samples.append(load_step.Sample(100 + i, 0.5 * i, 10 + 0.25 * i, machine_seconds))
    step = load_step.summary(
        9,
        [entry(100, 105, {"10": 90}), entry(100, 104, {"500": 10}, 1)],
        samples,
        processes=1,
        window=10,
    )
    assert (step.rate, step.p95_ms, step.error_share) == (10, 500, 0.01)
    assert (step.generator_cpu, step.api_cpu) == (0.5, 0.25)
    assert step.machine_cpu == pytest.approx(0.9)
    search = capacity_search.SearchResult(step, "slo", (step,))
    assert capacity_report.Result(1, (search,), 1e9).cpu_per_request_ms == 25
    assert not load_step.summary(9, [], samples, 1, 10).holds


def test_percentile():
    assert load_step.percentile(Counter({10.0: 95, 900.0: 5}), 0.95) == 10
    assert load_step.percentile(Counter({10.0: 94, 900.0: 6}), 0.95) == 900


def test_several_processes_are_a_master_and_workers(tmp_path):
    line = load_step.Generator("http://x", processes=2).command(100, tmp_path / "o")
    assert line[line.index("--processes") + 1] == "2"


def test_a_step_that_is_measured_again_lasts_longer(tmp_path):
    generator = load_step.Generator("http://x")
    for margin, duration in ((0, "14s"), (8, "22s")):
        line = generator.command(100, tmp_path / "o", margin)
        assert line[line.index("-t") + 1] == duration


def test_rows_carry_the_stay_of_a_load_test():
    feature = {
        "name": "n",
        "role": "input",
        "kind": "number",
        "min": 0,
        "max": 9,
        "data_type": "integer",
    }
    rows = payloads.payloads({"features": [feature]}, {}, seed=1)
    assert {row["encounter_id"] for row in rows} == {LOAD_TEST_STAY}


def test_users_send_the_key_that_the_api_requires(monkeypatch):
    assert payloads.headers() == {}
    monkeypatch.setenv("READMIT_API_KEY", "a key")
    assert payloads.headers() == {"X-API-Key": "a key"}
