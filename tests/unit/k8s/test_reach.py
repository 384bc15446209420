"""Commands on a cluster: kubectl is a script, what it forwards to is a small server that may go
away.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from k8s import reach
from k8s.cluster import Cluster, ClusterFailed
from tests.support import k8s
from tests.support.services import is_free, wait_until

# It listens, answers twice with its own number and ends, as kubectl does when the pod behind it is
# gone.
KUBECTL = """#!{python}
import os, socket, sys
if "port-forward" not in sys.argv:
    what = sys.argv[sys.argv.index("get") + 1 :]
    print(open("{answers}/" + "".join(word for word in what if word[0] != "-")).read())
    sys.exit()
if "service/gone" in sys.argv:
    sys.exit("services gone not found")
with socket.create_server(("127.0.0.1", int(sys.argv[-1].split(":")[0]))) as server:
    for _ in range(2):
        client, _ = server.accept()
        client.sendall(str(os.getpid()).encode())
        client.close()
"""


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in k8s.OVERLAYS:
        k8s.overlay(name)  # kept: the real kubectl renders them
    script = tmp_path / "kubectl"
    script.write_text(KUBECTL.format(python=sys.executable, answers=tmp_path))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def ask(port: int) -> str:
    deadline = time.monotonic() + 20
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                return client.recv(20).decode()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_port_stays_when_the_pod_behind_it_goes(answers: Path) -> None:
    with Cluster("mine").forwarded("mlflow", 5000) as port:
        # The stand-in's first answer was to the check whether it listens.
        assert ask(port) != ask(port)
    wait_until(lambda: is_free(port), "the forwarded port is still taken", 5)


HOLD = """
from k8s.cluster import Cluster
with Cluster("mine").forwarded("mlflow", 5000) as port:
    print(port, flush=True)
    input()
"""


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGKILL])
def test_a_port_is_free_again_when_its_command_is_killed(
    answers: Path, signal_number: signal.Signals
) -> None:
    words = [sys.executable, "-c", HOLD]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout
        port = int(command.stdout.readline())
        command.send_signal(signal_number)
    wait_until(lambda: is_free(port), "the forwarded port is still taken", 5)


def test_a_service_that_is_not_there_is_named(
    answers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k8s.cluster.SECONDS_FOR_PORT", 2.0)
    with pytest.raises(ClusterFailed, match="no port to gone: services gone not found"):
        Cluster("mine").forwarded("gone", 1).__enter__()


def authority(resources: list[k8s.Resource]) -> str:
    """Return the ConfigMap with the authority of an external Postgres, or an empty text."""
    for config_map in k8s.of_kind(resources, "ConfigMap"):
        if k8s.name_of(config_map) == "postgres-ca":
            return json.dumps(config_map)
    return ""


def installed(answers: Path, overlay: str, **more_settings: str) -> None:
    """Have kubectl answer as with this overlay, and more settings, on a cluster."""
    resources = k8s.overlay(overlay)
    k8s.named(resources, "ConfigMap", "settings")["data"].update(more_settings)
    (answers / "configmapsettings").write_text(
        json.dumps(k8s.named(resources, "ConfigMap", "settings"))
    )
    (answers / "configmappostgres-ca").write_text(authority(resources))
    (answers / "configmapinstallation").write_text(
        json.dumps({"data": {"DATASET": "upload://mine.zip", "PYTHONPATH": "/tmp/evil"}})
    )
    (answers / "services").write_text(json.dumps({"items": k8s.of_kind(resources, "Service")}))
    secret = {
        "metadata": {"name": "role-reader"},
        "data": {"READER_PASSWORD": "cmVhZA==", "passwords.json": "e30="},
    }
    foreign = {
        "metadata": {"name": "somebody-elses"},
        "data": {"PYTHONPATH": "L3RtcC9ldmls", "READER_PASSWORD": "ZXZpbA==", "BINARY": "/w=="},
    }
    secret["data"]["LD_PRELOAD"] = "L3RtcC9ldmls"
    (answers / "secrets").write_text(json.dumps({"items": [secret, foreign]}))


def test_parts_are_reached_with_their_own_settings(
    answers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(answers, "local")
    monkeypatch.setenv("READMIT_BATCH_SIZE", "7")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=x")
    with reach.reached(Cluster("mine")) as settings:
        assert settings.reader_password
        assert settings.reader_password.get_secret_value() == "read"
        assert settings.batch_size == 15_000  # the pods', or the two would cut a file differently
        assert settings.postgres_host == "127.0.0.1"
        assert settings.s3_endpoint_url == os.environ["MLFLOW_S3_ENDPOINT_URL"] != "http://s3:8333"
        assert ask(settings.postgres_port)
        assert settings.dataset == "upload://mine.zip"
        assert settings.patience_seconds == 300  # a pod takes longer than a process
        assert str(settings.readmit_home) != "/var/lib/readmit"
        # A Secret of somebody else, and a variable that we did not put into ours.
        assert os.environ.get("PYTHONPATH") != "/tmp/evil"
        assert os.environ.get("LD_PRELOAD") != "/tmp/evil"
        assert "PGOPTIONS" not in os.environ
    assert os.environ["READMIT_BATCH_SIZE"] == "7"
    assert "READMIT_READER_PASSWORD" not in os.environ


def test_a_service_outside_of_the_cluster_keeps_its_address(answers: Path) -> None:
    in_pods = "/etc/postgres-ca/ca.crt"
    installed(answers, "production", READMIT_S3_CA_FILE=in_pods, AWS_CA_BUNDLE=in_pods)
    with reach.reached(Cluster("mine")) as settings:
        assert settings.postgres_host == "postgres.example.org"
        assert settings.s3_endpoint_url == "https://s3.example.org"
        assert settings.s3_pipeline_bucket == "example-readmit-pipeline"
        assert settings.mlflow_tracking_uri.startswith("http://127.0.0.1:")
        assert settings.pgsslmode == "verify-full"
        authority_file = settings.pgsslrootcert
        assert "PEM" in authority_file.read_text()
        # The same file verifies a store with a certificate of that authority.
        assert settings.s3_ca_file == authority_file
        assert "AWS_CA_BUNDLE" not in os.environ
    assert not authority_file.exists()
