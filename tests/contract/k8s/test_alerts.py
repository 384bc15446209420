"""Prometheus' configuration and rules: valid, on listed metrics, each alert tried and with its
runbook section.
"""

import re
import shutil
import subprocess
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
RULES = [
    rule
    for file in FILES
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
METRICS_BY_JOB = {name for metric in METRICS.values() for name in series(metric)}
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (package prometheus) is missing"
)
# What is left of an expression without strings, label names, windows and words of PromQL is names
# of metrics.
WORDS = {
    *(
        "sum",
        "max",
        "min",
        "count",
        "rate",
        "increase",
        "delta",
        "changes",
        "histogram_quantile",
        "absent",
        "time",
        "by",
    ),
    *("vector", "and", "or", "on", "unless", "avg", "without", "bool", "offset", "predict_linear"),
}


def used(expression: str) -> set[str]:
    """Return the names of metrics in an expression."""
    plain = re.sub(r'"[^"]*"', "", expression)
    plain = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|on|without)\s*\([^)]*\)", "", plain)
    return set(re.findall(r"[a-zA-Z_][a-zA-Z0-9_:]*", plain)) - WORDS


def promtool(*arguments: object) -> None:
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


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
    said = (MONITORING / "prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(
        said.replace("/etc/prometheus-rules", str(MONITORING / "rules"))
    )
    promtool("check", "config", tmp_path / "prometheus.yml")


def test_kubernetes_mounts_every_rule_file():
    made = yaml.safe_load((MONITORING / "kustomization.yaml").read_text())["configMapGenerator"]
    files = next(each["files"] for each in made if each["name"] == "prometheus-rules")
    assert sorted(files) == [f"rules/{path.name}" for path in FILES]


def test_rules_use_listed_metrics_only():
    for rule in RULES:
        unknown = used(rule["expr"]) - METRICS_BY_JOB - RECORDED
        assert not unknown, f"{rule.get('alert') or rule['record']} uses {unknown}"
    assert used('sum(rate(readmit_nonsense_total{job="api"}[5m])) > 0') == {
        "readmit_nonsense_total"
    }


def test_both_configurations_give_the_api_the_same_job():
    jobs = []
    for path in (MONITORING / "prometheus.yml", ROOT / "stack" / "prometheus.yml"):
        jobs.append({job["job_name"] for job in yaml.safe_load(path.read_text())["scrape_configs"]})
    assert {"api", "pushgateway", "node", "postgres"} <= jobs[0] & jobs[1]


def test_each_alert_says_what_to_do():
    anchors = {
        line[3:].strip().lower()
        for line in (ROOT / "docs/runbook.md").read_text().splitlines()
        if line[:3] == "## "
    }
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("page", "ticket"), name
        assert rule["annotations"]["summary"], name
        assert rule["annotations"]["description"], name
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}", name
    assert anchors == {name.lower() for name in ALERTS}


def test_each_alert_has_a_case():
    assert {case.alert for case in CASES} == set(ALERTS)


@needs_promtool
@pytest.mark.parametrize("situation", ["fires", "silent", "absent"])
def test_each_alert_fires_does_not_fire_and_bears_absence(situation, tmp_path):
    written = {
        "rule_files": list(map(str, FILES)),
        "evaluation_interval": "1m",
        "tests": [as_test(case, situation) for case in CASES],
    }
    path = tmp_path / f"{situation}.yml"
    path.write_text(yaml.safe_dump(written))
    promtool("test", "rules", path)


def as_test(case, situation):
    """Return one of promtool's tests: is this alert firing at the time of the case?"""
    found = {} if situation == "absent" else getattr(case, situation)
    fires = situation == "fires" or (situation == "absent" and case.absent)
    asked = {
        "expr": f'max(ALERTS{{alertname="{case.alert}", alertstate="firing"}})',
        "eval_time": case.after,
        "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
    }
    return {
        "name": case.alert,
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in found.items()],
        "promql_expr_test": [asked],
    }
