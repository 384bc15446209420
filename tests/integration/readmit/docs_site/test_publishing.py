"""What is written to the docs site at each event, on a real bucket and a real ledger."""

import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from readmit import storage
from readmit.docs_site import dbt_docs, publishing
from tests.support import services
from tests.support.secret_table import in_pod_of


@pytest.fixture
def settings(tmp_path):
    return in_pod_of("docs", services.fresh(tmp_path))


@pytest.fixture
def generated(monkeypatch, dbt_manifest):
    """Count how often dbt generates its page, which takes it ten seconds."""
    calls = []

    def page(target):
        calls.append(target)
        shutil.copy(Path(os.environ["DBT_TARGET_PATH"]) / "manifest.json", target)
        return "lineage"

    monkeypatch.setattr(dbt_docs, "page", page)
    return calls


def test_dbts_page_is_generated_once_in_ten_minutes_or_for_another_project(
    settings, generated, monkeypatch
):
    """It was generated beside each training, and again after its decision, with the same content."""
    publishing.publish(settings)
    publishing.publish(settings)
    assert len(generated) == 1
    monkeypatch.setattr(dbt_docs, "project_digest", lambda: "another")
    publishing.publish(settings)
    publishing.publish(settings)
    assert len(generated) == 2
    monkeypatch.setattr(publishing, "RECENT", timedelta(0))
    publishing.publish(settings)
    assert len(generated) == 3


def test_the_index_is_written_each_time(settings, generated):
    publishing.publish(settings)
    s3 = storage.client("gates", settings)
    index = {"Bucket": settings.s3_pipeline_bucket, "Key": "docs/index.html"}
    s3.delete_object(**index)
    publishing.publish(settings)
    assert len(generated) == 1
    assert b"dictionary/" in s3.get_object(**index)["Body"].read()


def test_the_digest_of_the_project_follows_its_files_only(tmp_path, monkeypatch):
    for folder in (*dbt_docs.FOLDERS, "target", "logs"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(dbt_docs, "PROJECT", tmp_path)
    empty = dbt_docs.project_digest()
    (tmp_path / "target" / "manifest.json").write_text("{}")
    (tmp_path / "logs" / "dbt.log").write_text("a line")
    assert dbt_docs.project_digest() == empty
    model = tmp_path / "models" / "m.sql"
    model.write_text("select 1")
    first = dbt_docs.project_digest()
    model.write_text("select 2")
    assert len({empty, first, dbt_docs.project_digest()}) == 3
