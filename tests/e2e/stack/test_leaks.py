"""No secret stands where somebody may read it who does not hold it: outputs, logs, commands, pages.

A fault that prints its settings, an address with a password in it, or a statement that a server
logs would show one.
"""

import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
from pydantic import SecretStr

from readmit import storage
from stack import login_proxy, sessions
from stack.postgres import reachable
from tests.support import stack

# Files of the state folder that hold secrets for a program. Nobody but their owner may read them.
HOLDERS = {
    "alertmanager.yml",
    "fingerprint-key",
    "passwords.json",  # of Airflow
    "prometheus.yml",
    "s3-identities.json",
    "s3-key.pem",
}
HOLDING_FOLDERS = {"web-logins", "postgres", "s3", "grafana", login_proxy.FOLDER}
# What a caller without a log-in may see.
PAGES = ("/livez", "/readyz", "/metrics", "/openapi.json", "/model", "/data/batches")


def secrets_of(up) -> dict[str, bytes]:
    """Return the value of each secret setting, by name."""
    values = {}
    for name in type(up.settings).model_fields:
        value = getattr(up.settings, name)
        if isinstance(value, SecretStr) and len(value.get_secret_value()) >= 12:
            values[name] = value.get_secret_value().encode()
    assert {"postgres_password", "model_signing_key", "proxy_password"} <= values.keys()
    return values


def leaks(text: bytes, up) -> list[str]:
    """Return the names of the secrets in a text."""
    return [name for name, value in secrets_of(up).items() if value in text]


def files_of(up) -> Iterator[Path]:
    """Yield the files that the stack wrote, but for those that hold secrets."""
    home = up.settings.readmit_home
    for folder in {home, reachable(home)}:
        for path in folder.rglob("*"):
            parts = path.relative_to(folder).parts
            if parts[0] not in HOLDING_FOLDERS and path.name not in HOLDERS and path.is_file():
                yield path


def test_no_output_of_a_command_has_a_secret(up):
    texts = {"up": up.output}
    for module, *options in (
        ("stack.status",),
        ("stack.status", "--json"),
        ("stack.doctor",),
        ("stack.logs", "--id", "e"),  # every line with this letter
        ("stack.pipeline", "--help"),
    ):
        completed = stack.run(module, *options, seconds=300)
        texts[module] = completed.stdout + completed.stderr
        assert texts[module]
    for name, text in texts.items():
        assert leaks(text.encode(), up) == [], name


def test_no_command_line_has_a_secret(up):
    n_seen = 0
    for process in sessions.processes_of(up.settings.readmit_home):
        with suppress(psutil.NoSuchProcess):
            assert leaks(" ".join(process.cmdline()).encode(), up) == [], process.name()
            n_seen += 1
    assert n_seen > 8


def test_no_log_has_a_secret(up):
    n_files = 0
    for path in files_of(up):
        with suppress(FileNotFoundError):  # rotated meanwhile
            assert leaks(path.read_bytes(), up) == [], path
            n_files += 1
    assert n_files > 20
    s3 = storage.client("admin", up.settings)
    bucket = up.settings.s3_pipeline_bucket
    logs = s3.list_objects_v2(Bucket=bucket, Prefix="logs/").get("Contents", [])
    for entry in logs:
        text = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
        assert leaks(text, up) == [], entry["Key"]
    assert logs


def test_no_page_has_a_secret(up):
    settings = up.settings
    urls = [f"{settings.api_url}{path}" for path in PAGES]
    urls.append(f"http://127.0.0.1:{settings.docs_port}/")
    urls += [
        f"http://127.0.0.1:{settings.prometheus_port}/api/v1/status/{name}"
        for name in ("config", "flags")
    ]
    for url in urls:
        with suppress(httpx.ConnectError):  # Prometheus is not on every machine
            assert leaks(httpx.get(url, trust_env=False).content, up) == [], url


def test_who_holds_a_secret_in_a_file_lets_nobody_read_it(up):
    home = up.settings.readmit_home
    for path in home.rglob("*"):
        with suppress(FileNotFoundError):
            is_open = path.is_file() and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
            if is_open and all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents):
                assert leaks(path.read_bytes(), up) == [], path
