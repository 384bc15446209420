"""The object store as its pod runs it.

Its objects survive a kill, it starts again soon, and it stops within its grace period.
"""

import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError

from k8s.make_secrets import new_values
from stack.object_store import Store, identities, weed
from tests.support import k8s
from tests.support.services import S3_OFFSETS, free_port, is_free, wait_until

KEY = "key"
SECRET = "secret"
# Below the ports of outgoing connections: one of them could take a port before the second start.
PORTS = range(20_000, 22_000)
# What the kubelet and a busy node may add to the time that the program takes.
MARGIN_SECONDS = 10
# For so long a master that was there before waits for others unless it is told not to.
ELECTION_SECONDS = 10


def free_store_port() -> int:
    """Return a port of which all ports that the store derives are free, too."""
    for port in random.sample(PORTS, len(PORTS)):
        if all(is_free(port + offset) for offset in S3_OFFSETS):
            return port
    raise AssertionError("no port is free")


class Pod:
    """Runs the rendered command on folders and ports of this machine."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder, free_store_port())
        self.store.prepare(identities({"admin": (KEY, SECRET)}))
        # Mounted at /etc/seaweedfs in the pod; SeaweedFS looks in the folder that it starts in,
        # too.
        for name, text in new_values()["object-store-tls"].items():
            (folder / name).write_text(text.replace("/etc/seaweedfs", str(folder)))
        self.spec = k8s.pods(k8s.overlay("local"))["s3"]["spec"]
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        s3, master, volume, filer = self.store.ports[:4]
        options = {
            "-s3.port": s3,
            "-metricsPort": free_port(),
            "-dir": self.store.data,
            "-s3.ip.bind": "127.0.0.1",
        }
        options |= {
            "-metricsIp": "127.0.0.1",
            "-s3.config": self.store.folder / "s3-identities.json",
        }
        options["-s3.localSocket"] = self.store.data / "s3.sock"
        options["-filer.localSocket"] = self.store.data / "filer.sock"
        words = []
        for word in self.spec["containers"][0]["args"]:
            name, equals, value = word.partition("=")
            words.append(f"{name}{equals}{options.get(name, value)}")
        return [
            str(weed()),
            *words,
            f"-master.port={master}",
            f"-volume.port={volume}",
            f"-filer.port={filer}",
        ]

    def start(self) -> None:
        with (self.store.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, cwd=self.store.folder
            )
        began = time.monotonic()
        wait_until(self.store.is_ready, "the store does not answer", 60)
        self.seconds = time.monotonic() - began

    def client(self) -> Any:
        address = f"http://127.0.0.1:{self.store.port}"
        keys = {
            "aws_access_key_id": KEY,
            "aws_secret_access_key": SECRET,
            "region_name": "us-east-1",
        }
        return boto3.client("s3", endpoint_url=address, **keys)

    def size(self) -> int:
        """The size of the object; 0 while its volume is not there yet."""
        try:
            return len(self.client().get_object(Bucket="pipeline", Key="a")["Body"].read())
        except ClientError:
            return 0


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    pod = Pod(tmp_path)
    pod.start()
    yield pod
    assert pod.process
    pod.process.kill()  # the first test stops it as Kubernetes does
    pod.process.wait()
    pod.store.tidy()


def test_it_survives_a_kill_restarts_soon_and_stops_in_time(pod: Pod) -> None:
    assert pod.process
    pod.client().create_bucket(Bucket="pipeline")
    pod.client().put_object(Bucket="pipeline", Key="a", Body=b"x" * 100_000)
    pod.process.kill()
    pod.process.wait()
    pod.start()
    assert pod.seconds < ELECTION_SECONDS
    assert wait_until(pod.size, "the object is gone", 20) == 100_000
    asked_to_stop = time.monotonic()
    pod.process.terminate()
    assert pod.process.wait(timeout=60) == 0
    assert (
        time.monotonic() - asked_to_stop
        < pod.spec["terminationGracePeriodSeconds"] - MARGIN_SECONDS
    )


def test_its_internal_ports_ask_for_a_certificate_that_no_other_pod_has(pod: Pod) -> None:
    mounted = pod.spec["volumes"][0]["projected"]["sources"]
    assert {"secret": {"name": "object-store-tls"}} in mounted
    for port in pod.store.ports[1:]:
        for scheme in ("http", "https"):
            with pytest.raises((httpx.TransportError, httpx.HTTPStatusError)):
                httpx.get(
                    f"{scheme}://127.0.0.1:{port}/dir/status", verify=False, trust_env=False
                ).raise_for_status()
    pod.client().create_bucket(Bucket="pipeline")
