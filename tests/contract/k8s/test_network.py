"""The network policies allow exactly the arrows of the architecture picture."""

import pytest

from readmit import allowed_hosts
from readmit.allowed_hosts import AllowedHosts
from tests.support import k8s

PAGES = {
    ("ui", 8501),
    ("api", 8000),
    ("airflow-api-server", 8080),
    ("mlflow", 5000),
    ("docs", 8088),
    ("grafana", 3000),
}
# The pod of cert-manager that proves whose the names are: without it an ACME issuer gives no
# certificate.
CERTIFICATES = ("acme.cert-manager.io/http01-solver", 8089)


def test_policies_are_the_picture() -> None:
    assert k8s.allowed(k8s.everything()) == k8s.pictured()


def test_no_arrow_is_allowed_at_one_end_only() -> None:
    assert k8s.one_sided(k8s.everything()) == set()


def test_everything_else_is_denied() -> None:
    for name in k8s.OVERLAYS:
        assert k8s.denied_by_default(k8s.overlay(name))


def test_every_part_of_the_picture_exists() -> None:
    parts = {pod["metadata"]["labels"][k8s.NAME] for pod in k8s.pods(k8s.everything()).values()}
    assert {end for source, target, _ in k8s.pictured() for end in (source, target)} | {
        "node-exporter"
    } == parts


def test_the_web_form_and_the_gates_name_the_docs_site_by_the_nodes_port() -> None:
    resources = k8s.overlay("local")
    port = k8s.named(resources, "Service", "docs")["spec"]["ports"][0]["nodePort"]
    for name in ("ui-links", "airflow-settings"):
        assert k8s.named(resources, "ConfigMap", name)["data"]["DOCS_PORT"] == str(port)


def test_local_pages_are_open_to_any_address() -> None:
    assert k8s.from_outside(k8s.overlay("local")) == PAGES | {("prometheus", 9090)}


def test_production_pages_are_open_to_the_ingress_controller() -> None:
    production = k8s.overlay("production")
    others = {
        ("prometheus", 9090),
        CERTIFICATES,
    }  # prometheus-adapter; the ingress controller again
    assert k8s.from_outside(production) == PAGES | others
    for policy in k8s.of_kind(production, "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            assert not any("ipBlock" in peer for peer in rule["from"])


def test_who_leaves_the_namespace() -> None:
    assert k8s.to_outside(k8s.overlay("local")) == {
        "airflow-scheduler",
        "airflow-api-server",
        "airflow-task",
    }


def test_a_further_rule_is_seen() -> None:
    resources = k8s.everything()
    peer = {"podSelector": {"matchLabels": {k8s.NAME: "ui"}}}
    k8s.named(resources, "NetworkPolicy", "postgres")["spec"]["ingress"][0]["from"].append(peer)
    assert k8s.one_sided(resources) == {("ui", "postgres", 5432)}
    rule = {
        "to": [{"podSelector": {"matchLabels": {k8s.NAME: "postgres"}}}],
        "ports": [{"port": 5432}],
    }
    k8s.named(resources, "NetworkPolicy", "ui")["spec"]["egress"].append(rule)
    assert k8s.allowed(resources) - k8s.pictured() == {("ui", "postgres", 5432)}


def test_a_missing_policy_is_seen() -> None:
    resources = k8s.everything()
    resources.remove(k8s.named(resources, "NetworkPolicy", "ui"))
    assert k8s.pictured() - k8s.allowed(resources) == {("ui", "api", 8000)}


def test_an_open_default_is_seen() -> None:
    resources = k8s.overlay("local")
    k8s.named(resources, "NetworkPolicy", "default-deny")["spec"]["policyTypes"] = ["Ingress"]
    assert not k8s.denied_by_default(resources)


def mlflow_answers(page: str, resources: list[k8s.Resource]) -> bool:
    """Tell whether MLflow's page works at an address: it asks by POST, and browsers then name the
    page as Origin.
    """
    from mlflow.server.security_utils import is_allowed_host_header, should_block_cors_request

    data = k8s.named(resources, "ConfigMap", "settings")["data"]
    hosts = data["MLFLOW_ALLOWED_HOSTS"].split(",")
    origins = data.get("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", "").split(",")
    known = is_allowed_host_header(hosts, page.partition("//")[2])
    return known and not should_block_cors_request(page, "POST", origins)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "172.18.0.2", "192.168.49.2", "10.0.0.4"]
)
def test_mlflows_page_works_at_the_nodes_address(host: str) -> None:
    resources = k8s.overlay("local")
    port = k8s.named(resources, "Service", "mlflow")["spec"]["ports"][0]["nodePort"]
    assert mlflow_answers(f"http://{host}:{port}", resources)
    assert not mlflow_answers(f"http://evil.example.org:{port}", resources)


@pytest.mark.filterwarnings("default")
def test_mlflows_page_works_behind_the_ingress() -> None:
    resources = k8s.overlay("production")
    rules = k8s.named(resources, "Ingress", "readmit")["spec"]["rules"]
    name = next(
        r["host"] for r in rules if r["http"]["paths"][0]["backend"]["service"]["name"] == "mlflow"
    )
    assert mlflow_answers(f"https://{name}", resources)
    assert not mlflow_answers("https://evil.example.org", resources)


@pytest.mark.parametrize("part", ["api", "docs"])
@pytest.mark.parametrize("overlay", ["local", "production"])
def test_services_answer_to_their_names_and_to_those_of_the_ingress(
    part: str, overlay: str
) -> None:
    resources = k8s.overlay(overlay)
    data = k8s.named(resources, "ConfigMap", "settings")["data"]
    hosts = AllowedHosts(allowed_hosts.names(data[f"{part.upper()}_ALLOWED_HOSTS"]))
    port = k8s.named(resources, "Service", part)["spec"]["ports"][0]["port"]
    names = {part, f"{part}.readmit", f"{part}.readmit.svc.cluster.local", "10.1.2.3"}
    for ingress in (r for r in resources if r["kind"] == "Ingress"):
        for rule in ingress["spec"]["rules"]:
            if rule["http"]["paths"][0]["backend"]["service"]["name"] == part:
                names.add(rule["host"])
    assert all(hosts.permits(f"{name}:{port}".encode()) for name in names)
    assert not hosts.permits(b"evil.example.org")
