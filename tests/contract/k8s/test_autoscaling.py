"""The figure of the autoscaler: promtool evaluates the query of prometheus-adapter's rule."""

import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import k8s

RULES = k8s.K8S / "components" / "autoscaling" / "adapter-rules.yaml"
METRIC = "readmit_requests_in_flight"


def query() -> str:
    """Return the query as the adapter fills in its template; the HPA selects by no label."""
    [rule] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["rules"]["external"]
    template = str(rule["metricsQuery"])
    assert f'__name__="{METRIC}"' in rule["seriesQuery"]
    return template.replace("<<.Series>>", METRIC).replace("<<.LabelMatchers>>", "")


def wanted_pods(in_flight: float) -> int:
    """Return how many pods the HPA asks for: the value by the target for each pod."""
    spec = k8s.named(k8s.overlay("production"), "HorizontalPodAutoscaler", "api")["spec"]
    [metric] = [metric for metric in spec["metrics"] if metric["type"] == "External"]
    n_pods = math.ceil(in_flight / float(metric["external"]["target"]["averageValue"]))
    return int(min(max(n_pods, spec["minReplicas"]), spec["maxReplicas"]))


def document(values: dict[str, str], expected: float) -> dict[str, Any]:
    series = []
    for pod, steps in values.items():
        series.append({"series": f'{METRIC}{{job="api",instance="{pod}"}}', "values": steps})
    sample = {"labels": "{}", "value": expected}
    check = {"expr": query(), "eval_time": "10m", "exp_samples": [sample]}
    return {
        "evaluation_interval": "15s",
        "tests": [{"interval": "15s", "input_series": series, "promql_expr_test": [check]}],
    }


@pytest.mark.parametrize(
    ("values", "in_flight", "n_pods"),
    [
        ({"a:8000": "2x60", "b:8000": "1x60"}, 3, 2),
        ({"a:8000": "20x60", "b:8000": "20x60"}, 40, 5),
        ({"a:8000": "500x60"}, 500, 20),
    ],
)
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing")
def test_the_figure_of_all_pods_together_decides_how_many_there_are(
    tmp_path: Path, values: dict[str, str], in_flight: float, n_pods: int
) -> None:
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump(document(values, in_flight)), encoding="utf-8")
    command = ["promtool", "test", "rules", str(file)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    assert wanted_pods(in_flight) == n_pods


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing")
def test_another_figure_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump(document({"a:8000": "2x60"}, 3)), encoding="utf-8")
    command = ["promtool", "test", "rules", str(file)]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
