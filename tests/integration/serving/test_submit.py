"""POST /submit on a real object store: nothing comes twice, nothing is lost, nothing half stays."""

import asyncio
import hashlib

import pytest
from starlette.testclient import TestClient

from readmit import storage
from readmit.intake import inbox, inbox_files, inbox_results, sample
from readmit.settings import StackSettings
from serving import inbox_store
from serving.api_settings import ServingSettings
from serving.app import create_app
from tests.support import raw
from tests.support.serving import FolderSource, read

ROWS = 60
CSV = {"content-type": "text/csv"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> StackSettings:
    settings = raw.fresh(tmp_path_factory.mktemp("home"))
    raw.stand_in_tables(settings)
    return settings


@pytest.fixture(scope="module")
def api(stack: StackSettings) -> TestClient:
    values = stack.model_dump() | {
        "api_allowed_hosts": "testserver",
        "api_max_upload_bytes": 100_000,
    }
    app = create_app(ServingSettings(**values), source=FolderSource(), read=read)
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("export") / "export.csv"
    sample.write_csv(path, n_rows=ROWS)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def clear_inbox(stack: StackSettings) -> None:
    """The store is that of other tests too."""
    s3 = storage.client("admin", stack)
    for key in keys(stack):
        s3.delete_object(Bucket=stack.s3_pipeline_bucket, Key=key)


def keys(stack: StackSettings) -> list[str]:
    return [file.key for file in inbox_files.bucket_files(stack)]


def test_a_file_under_two_names_is_published_once_and_shown_with_its_result(
    api: TestClient, stack: StackSettings, export: bytes
) -> None:
    sha256 = hashlib.sha256(export).hexdigest()
    for name in ("ward 3.csv", "ward 3.csv", "../señas\\ward 4.csv"):
        answer = api.post("/submit", params={"name": name}, content=export, headers=CSV)
        assert answer.status_code == 202
        assert answer.json()["file_sha256"] == sha256
        assert answer.json()["n_bytes"] == len(export)
    assert sorted(keys(stack)) == [f"inbox/{sha256}/ward {number}.csv" for number in (3, 4)]
    assert inbox.submit_new_files(stack) == []
    raw.publish_all(stack)
    inbox_results.write_results(stack)
    files = api.get("/data/inbox").json()["files"]
    shown = [(file["name"], file["state"], file["n_rows"]) for file in files]
    assert sorted(shown) == [("ward 3.csv", "published", ROWS), ("ward 4.csv", "published", ROWS)]
    statement = "select count(*) from landing.encounters"
    assert raw.query(stack, stack.raw_database, statement) == [(ROWS,)]


def test_of_a_file_that_is_cut_off_nothing_stays(api: TestClient, stack: StackSettings) -> None:
    messages = iter(
        [
            {"type": "http.request", "body": b"encounter_id,", "more_body": True},
            {"type": "http.disconnect"},
        ]
    )
    sent = []

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": "/submit",
        "query_string": b"",
        "headers": [(b"host", b"testserver"), (b"content-type", b"text/csv")],
        "state": {},
    }
    asyncio.run(api.app(scope, receive, send))
    assert sent == []
    assert keys(stack) == []


def test_a_file_over_the_limit_is_refused_with_and_without_its_length(
    api: TestClient, stack: StackSettings
) -> None:
    large = b"x" * 100_001
    for content in (large, iter([large[:60_000], large[60_000:]])):
        answer = api.post("/submit", content=content, headers=CSV)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert keys(stack) == []


@pytest.mark.parametrize("media_type", ["multipart/form-data; boundary=b", "text/plain", ""])
def test_what_a_foreign_page_can_send_unasked_is_refused(
    api: TestClient, stack: StackSettings, media_type: str
) -> None:
    answer = api.post("/submit", content=b"--b", headers={"content-type": media_type})
    assert (answer.status_code, answer.json()["code"]) == (415, "wrong_media_type")
    assert "/submit" in answer.json()["detail"]
    assert keys(stack) == []


def test_another_content_below_the_hash_of_what_was_sent_is_refused(
    api: TestClient, stack: StackSettings, export: bytes
) -> None:
    sent = export + export.splitlines(keepends=True)[-1]
    api.post("/submit", params={"name": "sent.csv"}, content=sent, headers=CSV)
    [key] = keys(stack)
    storage.client("admin", stack).put_object(
        Bucket=stack.s3_pipeline_bucket, Key=key, Body=b"other"
    )
    [reason] = inbox.submit_new_files(stack)
    assert reason.startswith("sent.csv: this is not what was sent")


@pytest.mark.parametrize(
    ("name", "usable"),
    [
        ("a.csv", "a.csv"),
        ("C:\\data\\a.csv", "a.csv"),
        ("../../source/x", "x"),
        ("", "upload"),
        (".hidden", "upload"),
        ("a.csv.part", "upload"),
        ("a\0b\n.csv", "a_b_.csv"),
        ("ñ%2F?.csv", "ñ_2F_.csv"),
        ("x" * 500 + ".csv", "x" * 96 + ".csv"),
    ],
)
def test_a_name_has_no_folder_and_is_not_ignored(name: str, usable: str) -> None:
    assert inbox_store.usable_name(name) == usable
