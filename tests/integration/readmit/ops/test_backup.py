"""Backups on a real Postgres and object store: saved, everything lost, put back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from k8s.make_secrets import missing
from readmit import db, storage
from readmit.batches import loading
from readmit.intake import sources
from readmit.ops import backup
from readmit.settings import StackSettings
from stack.postgres import binary
from tests.support import k8s, raw
from tests.support.services import environment, keys_of_admin

# The foreign tables of `clean` show what is in `raw`: both must come back.
ROWS = "select count(*), md5(string_agg(t::text, ',' order by t::text)) from"


@pytest.fixture(autouse=True)
def _programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{binary('pg_dump').parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def settings(tmp_path: Path) -> StackSettings:
    """A stack with a loaded batch, a model's file and rows in MLflow's and Airflow's databases."""
    names = {
        "s3_mlflow_bucket": f"m{os.urandom(4).hex()}",
        "s3_pipeline_bucket": f"p{os.urandom(4).hex()}",
    }
    settings = raw.fresh(
        tmp_path / "home", dataset=str(sample(tmp_path)), **names, **keys_of_admin("loader")
    )
    storage.ensure_buckets(settings)
    sources.ensure_source(settings)
    batch = raw.claim_batch("run", settings)
    assert batch
    loading.load(batch, settings)
    storage.client("admin", settings).put_object(
        Bucket=settings.s3_mlflow_bucket, Key="1/models/m-1/model.onnx", Body=b"\x00" * 5000
    )
    for name in ("mlflow", "airflow"):
        raw.query(settings, name, "create table if not exists kept (n int)", role=name)
        raw.query(settings, name, "truncate kept; insert into kept values (1)", role=name)
    return settings


def sample(folder: Path) -> Path:
    from readmit.intake import sample as embedded

    path = folder / "sample.csv"
    embedded.write_csv(path)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:800]))
    return path


def state(settings: StackSettings) -> dict[str, object]:
    """What must be the same afterwards."""
    queries = {
        settings.raw_database: f"{ROWS} landing.encounters t",
        settings.clean_database: f"{ROWS} raw.encounters t",
        "mlflow": "select n from kept",
        "airflow": "select n from kept",
    }
    roles: dict[str, db.Role] = {settings.clean_database: "transformer"}
    content: dict[str, object] = {
        name: raw.query(settings, name, text, role=roles.get(name, "postgres"))
        for name, text in queries.items()
    }
    for bucket in backup.buckets(settings):
        pages = (
            storage.client("admin", settings)
            .get_paginator("list_objects_v2")
            .paginate(Bucket=bucket)
        )
        content[bucket] = sorted(
            (entry["Key"], entry["Size"]) for page in pages for entry in page.get("Contents", [])
        )
    return content


def lose_everything(settings: StackSettings) -> None:
    for name in backup.databases(settings):
        backup.drop_database(name, settings)
    for bucket in backup.buckets(settings):
        s3 = storage.client("admin", settings)
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for entry in page.get("Contents", []):
                s3.delete_object(Bucket=bucket, Key=entry["Key"])


def test_everything_comes_back(settings: StackSettings, tmp_path: Path) -> None:
    before = state(settings)
    saved = backup.save(tmp_path / "backups", settings)
    lose_everything(settings)
    backup.restore(saved, settings)
    assert state(settings) == before


def in_the_pod(
    name: str, settings: StackSettings, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run the rendered command with the settings and Secrets that its pod is given, and no
    others.
    """
    pod = k8s.pods(k8s.overlay("local"))[name]
    main = pod["spec"]["containers"][0]
    keys = {secret["metadata"]["name"]: set(secret["stringData"]) for secret in missing({})}
    granted = {
        key
        for source in main["envFrom"]
        for key in keys.get(source.get("secretRef", {}).get("name"), ())
    }
    secret = {
        key: value
        for key, value in environment(settings).items()
        if key.endswith("PASSWORD") or "SECRET" in key or "ACCESS_KEY" in key
    }
    variables = {
        key: value
        for key, value in environment(settings).items()
        if key in granted or key not in secret
    }
    words = [str(folder) if word == "/backups" else word for word in main["command"]]
    return subprocess.run(
        [sys.executable, *words[1:]],
        env=variables,
        cwd=k8s.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_pods_save_and_restore_with_what_they_are_given(
    settings: StackSettings, tmp_path: Path
) -> None:
    before, folder = state(settings), tmp_path / "backups"
    folder.mkdir()
    assert in_the_pod("backup", settings, folder).returncode == 0
    lose_everything(settings)
    process = in_the_pod("restore", settings, folder)
    assert process.returncode == 0, process.stderr
    assert state(settings) == before


def test_roles_keep_their_rights(settings: StackSettings, tmp_path: Path) -> None:
    saved = backup.save(tmp_path / "backups", settings)
    lose_everything(settings)
    backup.restore(saved, settings)
    counted = raw.query(
        settings, settings.clean_database, "select count(*) from raw.encounters", role="transformer"
    )
    assert counted[0][0] > 0  # through the foreign tables: the mapping has today's password
    with pytest.raises(Exception, match="permission denied"):
        raw.query(settings, settings.raw_database, "delete from landing.encounters", role="reader")
    with pytest.raises(Exception, match="permission denied"):
        raw.query(settings, settings.raw_database, "select 1", role="trainer")


def test_a_restore_over_a_living_stack_takes_back_later_rows(
    settings: StackSettings, tmp_path: Path
) -> None:
    before = state(settings)
    saved = backup.save(tmp_path / "backups", settings)
    raw.query(settings, "mlflow", "insert into kept values (2)", role="mlflow")
    with db.transaction("mlflow", "mlflow", settings):  # somebody is connected
        backup.restore(saved, settings)
    assert state(settings) == before


def test_the_last_ones_are_kept_and_unchanged_objects_are_stored_once(
    settings: StackSettings, tmp_path: Path
) -> None:
    folder, key = tmp_path / "backups", backup._file_name("1/models/m-1/model.onnx")
    copies = []
    for number in range(3):
        saved = folder / f"2026010{number}T000000Z"
        backup.save(folder, settings).rename(saved)
        copies.append(saved / settings.s3_mlflow_bucket / key)
    assert len({path.stat().st_ino for path in copies}) == 1
    newest = backup.save(folder, settings, keep=2)
    assert backup.saved(folder) == [folder / "20260102T000000Z", newest]


def test_a_damaged_backup_is_refused_before_anything_is_touched(
    settings: StackSettings, tmp_path: Path
) -> None:
    saved = backup.save(tmp_path / "backups", settings)
    before = state(settings)
    path = saved / settings.s3_mlflow_bucket / backup._file_name("1/models/m-1/model.onnx")
    path.write_bytes(b"\x01" * 5000)
    with pytest.raises(backup.BackupFailed, match=r"model\.onnx is missing or damaged"):
        backup.restore(saved, settings)
    (saved / "mlflow.dump").write_bytes(b"PGDMP")
    with pytest.raises(backup.BackupFailed, match="mlflow"):
        backup.restore(saved, settings)
    assert state(settings) == before


def test_an_interrupted_backup_is_none(
    settings: StackSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backups"
    (folder / "20260101T000000Z.part").mkdir(parents=True)
    assert backup.saved(folder) == []
    saved = backup.save(folder, settings)
    assert [path.name for path in folder.iterdir()] == [saved.name]
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(backup.BackupFailed, match="pg_dump is not on the PATH"):
        backup.save(folder, settings)
