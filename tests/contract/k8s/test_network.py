"""The network policies allow exactly the arrows of the architecture picture."""

import pytest

from readmit import allowed_hosts
from readmit.allowed_hosts import AllowedHosts
from readmit.settings import variable
from tests.support import k8s

# Nobody reaches a page from outside but through the log-in proxy.
DOORS = {("login-proxy", port) for port in (8501, 8000, 8080, 5000, 8088, 3000, 9090)}
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
    pictured = {"node-exporter"}
    for source, target, _ in k8s.pictured():
        pictured |= {source, target}
    assert pictured == parts


def test_the_web_form_and_the_gates_name_the_docs_site_by_the_nodes_port() -> None:
    resources = k8s.overlay("local")
    ports = k8s.named(resources, "Service", "login-proxy")["spec"]["ports"]
    [node_port] = [port["nodePort"] for port in ports if port["name"] == "docs"]
    for name in ("ui-links", "airflow-settings"):
        data = k8s.named(resources, "ConfigMap", name)["data"]
        assert data["READMIT_DOCS_PORT"] == str(node_port)


def test_the_local_log_in_proxy_is_open_to_any_address_and_nothing_else_is() -> None:
    assert k8s.from_outside(k8s.overlay("local")) == DOORS


def test_the_log_in_proxy_of_production_is_open_to_the_ingress_controller() -> None:
    production = k8s.overlay("production")
    others = {
        ("prometheus", 9090),  # prometheus-adapter
        CERTIFICATES,  # the ingress controller again
    }
    assert k8s.from_outside(production) == DOORS | others
    for policy in k8s.of_kind(production, "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            for peer in rule["from"]:
                assert "ipBlock" not in peer


def test_who_leaves_the_namespace() -> None:
    assert k8s.to_outside(k8s.overlay("local")) == {
        "airflow-scheduler",
        "airflow-api-server",
        "airflow-task",
        "alertmanager",
    }


def test_a_further_rule_is_noticed() -> None:
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


def test_a_missing_policy_is_noticed() -> None:
    resources = k8s.everything()
    resources.remove(k8s.named(resources, "NetworkPolicy", "ui"))
    assert k8s.pictured() - k8s.allowed(resources) == {("ui", "api", 8000)}


def test_an_open_default_is_noticed() -> None:
    resources = k8s.overlay("local")
    k8s.named(resources, "NetworkPolicy", "default-deny")["spec"]["policyTypes"] = ["Ingress"]
    assert not k8s.denied_by_default(resources)


def mlflow_answers(host: str, origin: str | None, resources: list[k8s.Resource]) -> bool:
    """Tell whether MLflow's page works: it sends POSTs, and browsers name the page as Origin."""
    from mlflow.environment_variables import MLFLOW_SERVER_ALLOWED_HOSTS
    from mlflow.server.security_utils import is_allowed_host_header, should_block_cors_request

    data = k8s.named(resources, "ConfigMap", "settings")["data"]
    [container] = k8s.pods(resources)["mlflow"]["spec"]["containers"]
    variables = {variable["name"]: variable for variable in container["env"]}
    source = variables[MLFLOW_SERVER_ALLOWED_HOSTS.name]["valueFrom"]["configMapKeyRef"]
    hosts = data[source["key"]].split(",")
    origins = data.get("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", "").split(",")
    is_known = is_allowed_host_header(hosts, host)
    return is_known and not should_block_cors_request(origin, "POST", origins)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", k8s.OVERLAYS)
def test_mlflow_answers_the_log_in_proxy_and_no_other_page(name: str) -> None:
    """The proxy uses MLflow's inner address, and passes on a foreign Origin only."""
    resources = k8s.overlay(name)
    assert mlflow_answers("mlflow:5000", None, resources)
    assert not mlflow_answers("mlflow:5000", "https://evil.example.org", resources)
    assert not mlflow_answers("evil.example.org", None, resources)


@pytest.mark.parametrize("part", ["api", "docs"])
@pytest.mark.parametrize("overlay", ["local", "production"])
def test_services_answer_to_their_names(part: str, overlay: str) -> None:
    resources = k8s.overlay(overlay)
    data = k8s.named(resources, "ConfigMap", "settings")["data"]
    hosts = AllowedHosts(allowed_hosts.names(data[variable(f"{part}_allowed_hosts")]))
    port = k8s.named(resources, "Service", part)["spec"]["ports"][0]["port"]
    names = {part, f"{part}.readmit", f"{part}.readmit.svc.cluster.local", "10.1.2.3"}
    # The log-in proxy always uses the first of them.
    for name in names:
        assert hosts.permits(f"{name}:{port}".encode())
    assert not hosts.permits(b"evil.example.org")
