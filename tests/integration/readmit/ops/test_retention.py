"""Old logs and pages are deleted; young ones and other objects stay."""

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from readmit import storage
from readmit.ops import retention
from readmit.settings import ROOT, RetentionSettings, StackSettings
from stack import object_store, old_runs
from tests.support import raw
from tests.support.services import services

KEYS = {
    "logs/dag_id=ingest_batch/run_id=1/attempt=1.log",
    "docs/gx/train-001/publish.html",
    "docs/drift/2026-11-26/index.html",
    "docs/index.html",
    "source/a.csv",
    "snapshots/a.parquet",
}


@pytest.fixture
def settings() -> RetentionSettings:
    stack = StackSettings(**services())
    s3 = storage.client("admin", stack)
    for key in KEYS:
        s3.put_object(Bucket=stack.s3_pipeline_bucket, Key=key, Body=b"x")
    names = RetentionSettings.model_fields
    values = {name: value for name, value in services().items() if name in names}
    return RetentionSettings(**values)


def keys() -> set[str]:
    stack = StackSettings(**services())
    pages = storage.client("admin", stack).list_objects_v2(Bucket=stack.s3_pipeline_bucket)
    return {entry["Key"] for entry in pages["Contents"]} & KEYS


def test_each_kind_goes_after_its_own_time(settings: RetentionSettings) -> None:
    now = datetime.now(UTC)
    retention.expire_objects(settings, now + timedelta(days=89))
    assert keys() == KEYS
    assert retention.expire_objects(settings, now + timedelta(days=91))["logs/"] >= 1
    assert keys() == KEYS - {"logs/dag_id=ingest_batch/run_id=1/attempt=1.log"}
    retention.expire_objects(settings, now + timedelta(days=731))
    assert keys() == {"docs/index.html", "source/a.csv", "snapshots/a.parquet"}


def test_old_local_logs_go_with_their_folders(tmp_path: Path) -> None:
    old = tmp_path / "dag_id=a" / "old.log"
    young = tmp_path / "dag_id=b" / "young.log"
    for path in (old, young):
        path.parent.mkdir()
        path.write_text("line")
    target = tmp_path / "elsewhere"
    target.write_text("line")
    (tmp_path / "latest").symlink_to(target)
    os.utime(old, (0, 0))
    assert old_runs.delete_files(tmp_path, datetime(2020, 1, 1, tzinfo=UTC)) == 1
    assert not old.parent.exists()
    assert young.exists()
    assert target.exists()


def test_the_page_names_every_table_and_every_prefix(tmp_path: Path) -> None:
    """What grows has a row in docs/retention.md; so a new table or prefix needs one."""
    stack = raw.fresh(tmp_path)
    query = (
        "select schemaname || '.' || tablename from pg_tables"
        " where schemaname in ('landing', 'ops') and tablename <> 'alembic_version'"
    )
    names = []
    for database in (stack.raw_database, stack.clean_database):
        names += [name for (name,) in raw.query(stack, database, query)]
    assert len(names) > 20
    rights = json.dumps(object_store.RIGHTS)
    prefixes = set(re.findall(r"{pipeline}/([a-z]+)/", rights))
    assert {"source", "logs", "profiles"} <= prefixes
    page = (ROOT / "docs" / "retention.md").read_text(encoding="utf-8")
    missing = [name for name in names if f"{name}`" not in page]
    missing += [prefix for prefix in prefixes if f"`{prefix}/" not in page]
    assert missing == []
