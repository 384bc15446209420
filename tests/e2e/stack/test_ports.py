"""Every port of a running stack is in the table of docs/security.md, and asks a stranger for it."""

import re
from contextlib import suppress
from itertools import chain

import httpx
import psutil
import psycopg2
import pytest

from readmit.settings import ROOT
from stack import programs, sessions

# What a caller without a log-in gets at a page that holds something, by the variable of the port.
REFUSED = {
    "READMIT_S3_PORT": ("/pipeline?list-type=2", 403),
    "READMIT_S3_METRICS_PORT": ("/", 404),
    "READMIT_MLFLOW_PORT": ("/api/2.0/mlflow/experiments/search?max_results=1", 401),
    "READMIT_AIRFLOW_PORT": ("/api/v2/dags", 401),
    "READMIT_PUSHGATEWAY_PORT": ("/metrics", 401),
    "READMIT_ALERTMANAGER_PORT": ("/api/v2/alerts", 401),
    "READMIT_NODE_EXPORTER_PORT": ("/metrics", 401),
    "READMIT_POSTGRES_EXPORTER_PORT": ("/metrics", 401),
    "READMIT_BLACKBOX_EXPORTER_PORT": ("/probe?target=http://127.0.0.1", 401),
    "READMIT_GRAFANA_PORT": ("/api/datasources", 401),
    "READMIT_NOTEBOOK_PORT": ("/api/contents", 403),
}
# Asks nobody on loopback, as the table says: what is at stake is only read, or has keys of its own.
OPEN = {
    "READMIT_API_PORT",
    "READMIT_UI_PORT",
    "READMIT_DOCS_PORT",
    "READMIT_PROMETHEUS_PORT",
}


def ports_of(settings) -> dict[str, tuple[int, ...]]:
    """Return the ports of the programs that this machine runs, by their variable."""
    ports = {}
    for program in programs.all_programs(settings):
        ports.update(program.ports)
    return ports


def listening(settings) -> set[tuple[str, int]]:
    """Return address and port of every socket on which a process of the stack listens."""
    sockets = set()
    for process in sessions.processes_of(settings.readmit_home):
        # Only root may look into Airflow's task supervisors, and a process may end meanwhile.
        with suppress(psutil.AccessDenied, psutil.NoSuchProcess):
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    sockets.add((connection.laddr.ip, connection.laddr.port))
    return sockets


def test_nothing_listens_but_the_ports_of_the_table(up):
    ports = ports_of(up.settings)
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    table = text.partition("## Every port of one machine")[2].partition("\n## ")[0]
    rows = set(re.findall(r"^\| .*?`(READMIT_\w+_PORT)`", table, re.MULTILINE))
    assert ports.keys() <= rows
    assert listening(up.settings) == {("127.0.0.1", port) for port in chain(*ports.values())}


def test_every_port_refuses_a_stranger(up):
    ports = ports_of(up.settings)
    for name, (path, status) in REFUSED.items():
        if name in ports:
            url = f"http://127.0.0.1:{ports[name][0]}{path}"
            assert httpx.get(url, trust_env=False).status_code == status, name
    for port in ports["READMIT_S3_PORT"][1:]:
        with pytest.raises(httpx.TransportError, match="CERTIFICATE_REQUIRED"):
            httpx.get(f"https://127.0.0.1:{port}/", verify=False, trust_env=False)
    with pytest.raises(psycopg2.OperationalError, match="no password supplied"):
        psycopg2.connect(
            host="127.0.0.1", port=up.settings.postgres_port, user="reader", dbname="clean"
        )
    assert ports.keys() == {*REFUSED, *OPEN, "READMIT_POSTGRES_PORT"} & ports.keys()
