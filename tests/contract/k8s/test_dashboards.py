"""Grafana's dashboards agree with their description, are complete and show metrics that exist."""

import itertools
import json
import re
from operator import attrgetter

import pytest
import yaml

from k8s import dashboards
from readmit.settings import StackSettings
from readmit.telemetry.metrics import METRICS_BY_JOB
from stack import programs

BOARDS = dashboards.read()
PANELS = [panel for board in BOARDS for panel in board.panels]
KNOWN = {metric.name for metrics in METRICS_BY_JOB.values() for metric in metrics}
RULES = dashboards.FOLDER.parents[1] / "monitoring" / "rules"
# Words of PromQL, and labels, that look like names of metrics.
NAMES = re.compile(
    r"\b((?:readmit|node|pg|SeaweedFS|probe|process|push|scrape)_\w+|up|ALERTS)\b(?!=)"
)
RECORDED = re.compile(r"\b[a-z]+:[a-z_]+(?::\w+)?\b")


def named(query: str) -> set[str]:
    """Return the metrics of a query; a histogram's series count as the histogram."""
    metrics = set()
    for name in NAMES.findall(RECORDED.sub("", query)):
        if name in KNOWN:
            metrics.add(name)
        else:
            metrics.add(re.sub("_(bucket|sum|count)$", "", name))
    return metrics


def recorded() -> set[str]:
    names = set()
    for path in RULES.glob("*.yml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            names |= {rule["record"] for rule in group["rules"] if "record" in rule}
    return names


def test_the_files_are_those_of_the_description():
    names = {path.name for path in dashboards.FOLDER.glob("*.json")}
    assert names == {f"{board.uid}.json" for board in BOARDS}
    for board in BOARDS:
        path = dashboards.FOLDER / f"{board.uid}.json"
        assert path.read_text(encoding="utf-8") == dashboards.file_text(board)


def test_every_file_reaches_grafana():
    kustomization = yaml.safe_load((dashboards.FOLDER.parent / "kustomization.yaml").read_text())
    [files] = [
        config_map["files"]
        for config_map in kustomization["configMapGenerator"]
        if config_map["name"] == "grafana-dashboards"
    ]
    assert len(files) == len(BOARDS)
    for board in BOARDS:
        assert f"dashboards/{board.uid}.json" in files


@pytest.mark.parametrize("board", BOARDS, ids=attrgetter("uid"))
def test_panels_do_not_overlap_and_fill_the_width(board):
    panels = dashboards.document(board)["panels"]
    cells = []
    for panel in panels:
        grid = panel["gridPos"]
        columns = range(grid["x"], grid["x"] + grid["w"])
        rows = range(grid["y"], grid["y"] + grid["h"])
        cells += itertools.product(columns, rows)
        assert columns.stop <= dashboards.WIDTH
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.parametrize("panel", PANELS, ids=attrgetter("title"))
def test_a_panel_says_what_it_shows_and_queries_only_metrics_that_exist(panel):
    assert panel.title
    assert panel.meaning.endswith(".")
    units = {"short", "none", "s", "percentunit", "reqps", "bytes", "locale"}
    assert panel.unit in units or panel.unit.startswith("suffix:")
    assert len(panel.title) <= 32, "Grafana cuts longer titles off"
    for query in panel.queries.values():
        if not panel.is_sql:
            assert named(query) <= KNOWN, query
            assert set(RECORDED.findall(query)) <= recorded(), query
            assert named(query) or RECORDED.search(query), query


def test_a_name_that_does_not_exist_is_noticed():
    assert named("sum(rate(readmit_nonsense_total[5m])) / node_cpu_seconds_total") - KNOWN == {
        "readmit_nonsense_total"
    }
    assert named('histogram_quantile(0.9, rate(readmit_score_bucket{job="api"}[1h]))') == {
        "readmit_score"
    }


def choice(board):
    """Return the data source that the variable $datasource has when the dashboard is opened."""
    [variable] = [
        variable
        for variable in dashboards.document(board)["templating"]["list"]
        if variable["name"] == "datasource"
    ]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    return variable["current"]["value"]


def test_a_reader_chooses_the_prometheus_of_every_panel_and_variable():
    for board in BOARDS:
        document = json.dumps(dashboards.document(board))
        fixed = re.findall(r'{"type": "prometheus", "uid": "([^"]+)"}', document)
        assert set(fixed) == {"${datasource}"}


def test_data_sources_are_those_that_panels_query():
    path = dashboards.FOLDER.parent / "provisioning" / "datasources" / "datasources.yaml"
    provisioned = set()
    for source in yaml.safe_load(path.read_text())["datasources"]:
        provisioned.add((source["uid"], source["type"]))
    [chosen] = {choice(board) for board in BOARDS}
    queried = set()
    for board in BOARDS:
        for panel in dashboards.document(board)["panels"]:
            if panel["type"] != "row":
                source = panel["datasource"]
                queried.add((source["uid"].replace("${datasource}", chosen), source["type"]))
    assert queried == provisioned
    assert json.loads(dashboards.file_text(BOARDS[0]))["schemaVersion"] >= 39


def test_variables_of_the_data_sources_are_given_on_one_machine_and_on_kubernetes():
    folder = dashboards.FOLDER.parent
    required = set()
    for path in folder.glob("provisioning/*/*.yaml"):
        required.update(re.findall(r"\$(\w+)", path.read_text()))
    settings = StackSettings(reader_password="p")
    on_one_machine = programs.environment_of(
        programs.grafana(settings, "/usr/bin/grafana"), settings
    )
    assert required <= set(on_one_machine)
    lines = (folder.parents[1] / "base" / "settings.env").read_text().splitlines()
    on_kubernetes = {line.partition("=")[0] for line in lines}
    manifest = (folder / "grafana.yaml").read_text()
    on_kubernetes.update(re.findall(r"\{name: (\w+), value", manifest))
    assert required <= on_kubernetes


def test_grafana_finds_its_own_files_beside_an_unpacked_archive(tmp_path):
    for file in ("bin/grafana", "conf/defaults.ini"):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).touch()
    assert programs.grafana_home(str(tmp_path / "bin" / "grafana")) == tmp_path
    assert str(programs.grafana_home("/nowhere/bin/grafana")) == "/usr/share/grafana"


def test_the_page_is_that_of_the_description():
    assert dashboards.PAGE.read_text(encoding="utf-8") == dashboards.page()


def test_a_tile_without_data_does_not_look_good():
    """Without any API the tiles of the promise once were green: 0 % of no requests failed."""
    for panel in PANELS:
        if panel.kind != "stat":
            continue
        assert "vector(0)" not in "".join(panel.queries.values()), panel.title
        if panel.red is None and panel.orange is None:
            [step] = dashboards.thresholds(panel)["steps"]
            assert step["color"] == "text", panel.title


def test_a_value_that_means_a_state_is_shown_as_a_word():
    """The list of metrics says which of them are zero or one."""
    states = set()
    for metrics in METRICS_BY_JOB.values():
        states |= {metric.name for metric in metrics if metric.unit == "0 or 1"}
    for panel in PANELS:
        if panel.kind not in ("stat", "state-timeline"):
            continue
        for query in panel.queries.values():
            if named(query) & states and not query.startswith(("count", "sum")):
                assert panel.values or panel.shows_name, panel.title


def test_dashboards_link_to_each_other_and_mark_promotions():
    for board in BOARDS:
        document = dashboards.document(board)
        [link] = document["links"]
        assert link["type"] == "dashboards"
        assert link["tags"] == document["tags"]
        assert link["keepTime"]
        [annotation] = document["annotations"]["list"]
        assert "ops.promotions" in annotation["target"]["rawSql"]
