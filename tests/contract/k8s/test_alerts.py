"""Prometheus' configuration and rules are valid; each alert has a test and a runbook section."""

import dataclasses
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from readmit.settings import StackSettings
from readmit.telemetry.metrics import METRICS, series
from stack import configuration
from tests.support.alerts import CASES

ROOT = Path(__file__).resolve().parents[3]
MONITORING = ROOT / "k8s" / "components" / "monitoring"
FILES = sorted((MONITORING / "rules").glob("*.yml"))
RULES = []
for file in FILES:
    for group in yaml.safe_load(file.read_text())["groups"]:
        RULES += group["rules"]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
SERIES = {name for metric in METRICS.values() for name in series(metric)}
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (package prometheus) is missing"
)
# An expression holds names of metrics, strings, label names, windows and these words of PromQL.
WORDS = {
    *("sum", "max", "min", "count", "avg", "rate", "increase", "delta", "changes"),
    *("histogram_quantile", "predict_linear", "absent", "time", "vector", "offset", "bool"),
    *("and", "or", "unless", "on", "by", "without"),
}


def used(expression: str) -> set[str]:
    """Return the names of metrics in an expression."""
    plain = re.sub(r'"[^"]*"', "", expression)
    plain = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|on|without)\s*\([^)]*\)", "", plain)
    return set(re.findall(r"[a-zA-Z_][a-zA-Z0-9_:]*", plain)) - WORDS


def promtool(*arguments: object) -> None:
    completed = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr


@needs_promtool
def test_rules_are_valid():
    promtool("check", "rules", *FILES)


@needs_promtool
def test_configuration_of_one_machine_is_valid(tmp_path):
    path = tmp_path / "prometheus.yml"
    path.write_text(
        configuration.prometheus_configuration(StackSettings(readmit_home=tmp_path), [])
    )
    promtool("check", "config", path)
    assert yaml.safe_load(path.read_text())["rule_files"] == [str(MONITORING / "rules" / "*.yml")]


@needs_promtool
def test_configuration_of_kubernetes_is_valid(tmp_path):
    path = tmp_path / "prometheus.yml"
    configuration_text = (MONITORING / "prometheus.yml").read_text()
    path.write_text(configuration_text.replace("/etc/prometheus-rules", str(MONITORING / "rules")))
    promtool("check", "config", path)


def test_kubernetes_mounts_every_rule_file():
    kustomization = yaml.safe_load((MONITORING / "kustomization.yaml").read_text())
    files_by_map = {}
    for config_map in kustomization["configMapGenerator"]:
        files_by_map[config_map["name"]] = config_map["files"]
    assert sorted(files_by_map["prometheus-rules"]) == [f"rules/{path.name}" for path in FILES]


def test_rules_use_listed_metrics_only():
    for rule in RULES:
        unknown = used(rule["expr"]) - SERIES - RECORDED
        assert not unknown, f"{rule.get('alert') or rule['record']} uses {unknown}"
    assert used('sum(rate(readmit_nonsense_total{job="api"}[5m])) > 0') == {
        "readmit_nonsense_total"
    }


def test_both_configurations_give_the_api_the_same_job():
    for path in (MONITORING / "prometheus.yml", ROOT / "stack" / "prometheus.yml"):
        scrapes = yaml.safe_load(path.read_text())["scrape_configs"]
        jobs = {scrape["job_name"] for scrape in scrapes}
        assert {"api", "pushgateway", "node", "postgres"} <= jobs


def test_each_alert_says_what_to_do():
    headings = re.findall(r"(?m)^## (.*)$", (ROOT / "docs/runbook.md").read_text())
    anchors = {heading.strip().lower() for heading in headings}
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("page", "ticket"), name
        assert rule["annotations"]["summary"], name
        assert rule["annotations"]["description"], name
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}", name
    assert anchors == {name.lower() for name in ALERTS}


def test_each_alert_has_a_case():
    cases = {case.alert for case in CASES}
    assert cases == set(ALERTS)


@needs_promtool
@pytest.mark.parametrize("situation", ["fires", "silent", "absent"])
def test_each_alert_fires_does_not_fire_and_bears_absence(situation, tmp_path):
    cases_by_file = defaultdict(list)
    for case in CASES:
        cases_by_file[file_of(case.alert), pause_of(case)].append(case)
    written = []
    for (rules, pause), cases in cases_by_file.items():
        document = {
            "rule_files": [str(MONITORING / "rules" / "recording.yml"), str(rules)],
            "evaluation_interval": pause,
            "tests": as_tests(cases, situation),
        }
        written.append(tmp_path / f"{rules.stem}-{pause}.yml")
        written[-1].write_text(yaml.safe_dump(document))
    promtool("test", "rules", *written)


@needs_promtool
def test_an_alert_that_does_not_fire_is_noticed(tmp_path):
    path = tmp_path / "wrong.yml"
    [wrong] = as_tests([dataclasses.replace(CASES[0], fires=CASES[0].silent)], "fires")
    path.write_text(yaml.safe_dump({"rule_files": list(map(str, FILES)), "tests": [wrong]}))
    with pytest.raises(AssertionError, match="FAILED"):
        promtool("test", "rules", path)


def file_of(alert):
    """Return the rules of an alert: with all the others its tests take twice as long."""
    [file] = [file for file in FILES if f"alert: {alert}\n" in file.read_text()]
    return file


def pause_of(case):
    """Return the time between two evaluations: every minute of eight hours would take seconds."""
    amount, unit = int(case.after[:-1]), case.after[-1]
    return "5m" if unit == "h" or amount > 60 else "1m"


def as_tests(cases, situation):
    """Return promtool's tests: is each alert firing at the time of its case?

    Where there are no series at all, the alerts share one test.
    """
    if situation == "absent":
        checks = [check_of(case, case.absent) for case in cases]
        return [{"interval": "1m", "promql_expr_test": checks}]
    tests = []
    for case in cases:
        series = []
        for name, values in getattr(case, situation).items():
            series.append({"series": name, "values": values})
        test = {"name": case.alert, "interval": "1m", "input_series": series}
        tests.append(test | {"promql_expr_test": [check_of(case, situation == "fires")]})
    return tests


def check_of(case, is_firing):
    return {
        "expr": f'max(ALERTS{{alertname="{case.alert}", alertstate="firing"}})',
        "eval_time": case.after,
        "exp_samples": [{"labels": "{}", "value": 1}] if is_firing else [],
    }
