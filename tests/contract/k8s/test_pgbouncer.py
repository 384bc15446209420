"""Who comes through PgBouncer, and that its pools fit what Postgres gives to each role."""

import configparser
import io
import re

import pytest

from readmit.ops.bootstrap import MAX_CONNECTIONS
from tests.support import k8s

POOLED = {
    "api",
    "airflow-api-server",
    "airflow-dag-processor",
    "airflow-scheduler",
    "airflow-triggerer",
}
CLIENTS = "pgbouncer-clients"
# The connections that Postgres keeps for the parts that do not come through PgBouncer.
FOR_OTHERS = 120
FOR_MONITORING = 10  # Grafana and the exporter log in as `reader` as well


def resources() -> list[k8s.Resource]:
    return k8s.combined(("pgbouncer",))


def settings_of(container: k8s.Resource, all_resources: list[k8s.Resource]) -> dict[str, str]:
    """Return the variables of a container out of ConfigMaps; the last source wins."""
    values: dict[str, str] = {}
    for source in container.get("envFrom", []):
        name = source.get("configMapRef", {}).get("name")
        if name:
            values |= k8s.named(all_resources, "ConfigMap", name)["data"]
    for variable in container.get("env", []):
        reference = variable.get("valueFrom", {}).get("configMapKeyRef")
        if reference and not reference.get("optional"):
            data = k8s.named(all_resources, "ConfigMap", reference["name"])["data"]
            values[variable["name"]] = data[reference["key"]]
    return values


def options() -> configparser.SectionProxy:
    """Return the section [pgbouncer] of the configuration that is rendered."""
    text = k8s.named(resources(), "ConfigMap", "pgbouncer")["data"]["pgbouncer.ini"]
    parser = configparser.ConfigParser(comment_prefixes=(";", "%"))
    parser.read_file(io.StringIO(text))
    return parser["pgbouncer"]


@pytest.mark.parametrize("on", ["base", "local", "production"])
def test_only_parts_without_a_session_come_through_pgbouncer(on: str) -> None:
    rendered = k8s.combined(("pgbouncer",), on)
    servers: dict[str, str] = {}
    for where, container, _ in k8s.every_container(rendered):
        values = settings_of(container, rendered)
        hosts = {values[name] for name in ("READMIT_POSTGRES_HOST", "PGHOST") if name in values}
        if hosts:
            [host] = hosts
            servers[where] = host
        if "PGHOST" in values:
            assert values["PGPORT"] == values["READMIT_POSTGRES_PORT"], where
    pooled = {where.partition("/")[0] for where, host in servers.items() if host == "pgbouncer"}
    direct = {where.partition("/")[0] for where, host in servers.items() if host != "pgbouncer"}
    assert pooled == POOLED
    assert {"set-up", "backup", "mlflow", "airflow-task", "pgbouncer"} <= direct - pooled


def test_tls_reaches_to_postgres_and_not_to_pgbouncer() -> None:
    production = k8s.combined(("pgbouncer",), on="production")
    containers = k8s.pods(production)
    api = settings_of(containers["api"]["spec"]["containers"][0], production)
    bouncer = settings_of(containers["pgbouncer"]["spec"]["containers"][0], production)
    assert (api["READMIT_PGSSLMODE"], api["PGSSLMODE"]) == ("disable", "disable")
    assert bouncer["READMIT_PGSSLMODE"] == "verify-full"
    assert bouncer["READMIT_POSTGRES_HOST"].endswith(".example.org")


def test_the_pools_of_all_pods_fit_what_a_role_may_have() -> None:
    n_pods = k8s.named(resources(), "Deployment", "pgbouncer")["spec"]["replicas"]
    pool = n_pods * int(options()["default_pool_size"])
    n_connections = {"airflow": pool, "reader": 2 * pool, "serving": pool}  # `clean` and `raw`
    assert n_connections["reader"] + FOR_MONITORING <= MAX_CONNECTIONS["reader"]
    assert n_connections["serving"] <= MAX_CONNECTIONS["serving"]
    postgres = k8s.named(resources(), "StatefulSet", "postgres")
    arguments = " ".join(postgres["spec"]["template"]["spec"]["containers"][0]["args"])
    [limit] = re.findall(r"max_connections=(\d+)", arguments)
    assert sum(n_connections.values()) + FOR_OTHERS <= int(limit)


def test_a_connection_is_lent_for_one_transaction() -> None:
    assert options()["pool_mode"] == "transaction"
    assert "server_reset_query" not in options()


def test_the_port_is_that_of_the_service() -> None:
    service = k8s.named(resources(), "Service", "pgbouncer")["spec"]["ports"][0]
    clients = k8s.named(resources(), "ConfigMap", CLIENTS)["data"]
    container = k8s.pods(resources())["pgbouncer"]["spec"]["containers"][0]
    ports = {int(options()["listen_port"]), container["ports"][0]["containerPort"]}
    assert ports == {service["port"]} == {int(clients["READMIT_POSTGRES_PORT"])}
