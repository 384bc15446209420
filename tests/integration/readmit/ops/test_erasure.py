"""After `make erase`, neither a real Postgres nor an object store has the patient's number."""

import gzip
import hashlib
import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pandas as pd
import psycopg2
import pytest
from pydantic import SecretStr

from readmit import db, storage
from readmit.batches import corrections, loading
from readmit.batches.builds import Build, BuildBusy
from readmit.intake import inbox, inbox_results, sample, sources
from readmit.intake.split import split_of
from readmit.ops import erased_objects, erased_rows, erasure
from readmit.settings import StackSettings
from stack.postgres import binary
from tests.support import accounting, kills, raw
from tests.support.services import keys_of_admin

PATIENT = "987654321"
PREDICTION = """
    insert into ops.predictions (
        request_id, predicted_at, model_name, model_version, run_id, contract_hash, features,
        probability, risk, patient_nbr, encounter_id, history
    ) values (gen_random_uuid(), now(), 'm', '1', 'r', 'c', '{}', 0.1, 'low', %s, %s, 'none')
"""
LOOKUP = """
    insert into ops.history_lookups (caller, patient_nbr, request_id, outcome)
    values ('ward', %s, gen_random_uuid(), 'found')
"""


class Erased(NamedTuple):
    settings: StackSettings
    removed: dict[str, int]
    remaining: list[str]
    batch_id: str
    encounters: list[int]
    folder: Path


def write_source(folder: Path, name: str, first: int, n_own: int) -> Path:
    """Write a part of the sample, of the patient's split; its first rows are the patient's."""
    path = folder / name
    sample.write_csv(path, n_rows=3_000)
    header, *lines = path.read_text().splitlines()
    rows = []
    for line in lines:
        row = line.split(",")
        if split_of(row[1]) == split_of(PATIENT):
            rows.append(row)
    rows = rows[first : first + 40]
    for row in rows[:n_own]:
        row[1] = PATIENT
    if n_own:
        rows[0][1] = f"0{PATIENT}"  # as another system writes it
    path.write_text("\n".join([header, *map(",".join, rows)]) + "\n")
    return path


def publish(settings: StackSettings, n_held: int) -> str:
    batch_id = raw.claim_batch("run", settings)
    assert batch_id is not None
    loading.load(batch_id, settings)
    Build.of_batch(batch_id).begin(settings)
    raw.stand_in_build(settings, batch_id, n_held=n_held)
    Build.of_batch(batch_id).publish(settings)
    return batch_id


def put(settings: StackSettings, key: str, body: bytes) -> None:
    storage.client("admin", settings).put_object(
        Bucket=settings.s3_pipeline_bucket, Key=key, Body=body
    )


def objects(settings: StackSettings) -> dict[str, bytes]:
    s3 = storage.client("admin", settings)
    content = {}
    for entry in s3.list_objects_v2(Bucket=settings.s3_pipeline_bucket)["Contents"]:
        body = s3.get_object(Bucket=settings.s3_pipeline_bucket, Key=entry["Key"])["Body"]
        content[entry["Key"]] = body.read()
    return content


def all_rows_are_counted(settings: StackSettings) -> bool:
    """Tell whether RAW has the rows of each batch, the erased ones left out."""
    rows = raw.query(settings, settings.raw_database, accounting.LEDGER)
    return all(n_rows == n_in_raw for _, _, n_rows, n_in_raw in rows)


def dump(settings: StackSettings) -> str:
    """Return both databases as text."""
    text = ""
    for name in (settings.raw_database, settings.clean_database):
        server = ["-h", settings.postgres_host, "-p", str(settings.postgres_port), "-U", "postgres"]
        text += subprocess.check_output(
            [str(binary("pg_dump")), *server, "--data-only", name],
            env=os.environ | {"PGPASSWORD": db.password("postgres", settings)},
            text=True,
        )
    return text


@pytest.fixture(scope="module")
def erased(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Erased]:
    """A stack with a patient in every store, and the result of `make erase`."""
    folder = tmp_path_factory.mktemp("erasure")
    inbox_folder = folder / "dropped"
    inbox_folder.mkdir()
    bucket = f"p{os.urandom(4).hex()}"
    settings = raw.fresh(
        folder / "home",
        dataset=str(write_source(folder, "first.csv", 0, 3)),
        inbox=inbox_folder,
        s3_pipeline_bucket=bucket,
        **keys_of_admin("loader"),
    )
    storage.ensure_buckets(settings)
    raw.stand_in_tables(settings)
    sources.ensure_source(settings)
    batch_id = publish(settings, n_held=2)
    build_id = corrections.release(batch_id, 1, {"age": "[70-80)"}, "an engineer", settings)
    raw.correction(build_id).begin(settings)
    raw.stand_in_release(settings, build_id)
    raw.correction(build_id).publish(settings)
    stays = "select encounter_id::bigint, patient_nbr from landing.encounters order by _source_row"
    rows = raw.query(settings, settings.raw_database, stays)
    fill_stores(settings, rows)
    # A later export, of a known row and one with another value.
    header, unchanged, changed = (folder / "first.csv").read_text().splitlines()[:3]
    values = changed.split(",")
    if values[9] == "14":
        values[9] = "13"
    else:
        values[9] = "14"
    (folder / "changed.csv").write_text("\n".join([header, unchanged, ",".join(values)]) + "\n")
    sources.submit(str(folder / "changed.csv"), settings, is_forced=True)
    fill_inbox(settings, (folder / "first.csv").read_text())
    removed, remaining = erasure.erase(PATIENT, "an officer", settings)
    encounters = [encounter for encounter, _ in rows[:3]]
    yield Erased(settings, dict(removed), remaining, batch_id, encounters, folder)
    s3 = storage.client("admin", settings)
    for key in objects(settings):
        s3.delete_object(Bucket=bucket, Key=key)
    s3.delete_bucket(Bucket=bucket)


def fill_stores(settings: StackSettings, rows: list[tuple[int, str]]) -> None:
    """Write predictions, look-ups, a snapshot, pages, logs and a backup with the patient's rows.

    Args:
        settings: of the stack.
        rows: stay and patient of each row of RAW; the first three rows are the patient's.
    """
    clean = settings.clean_database
    encounters = [encounter for encounter, _ in rows[:3]]
    for patient, encounter in (
        (PATIENT, None),
        (None, encounters[0]),
        *[(n, e) for e, n in rows[3:5]],
    ):
        raw.query(settings, clean, PREDICTION, patient, encounter, role="serving")
    for patient in (PATIENT, PATIENT, rows[4][1]):
        raw.query(settings, clean, LOOKUP, int(patient), role="serving")
    frame = pd.DataFrame(
        {
            "encounter_id": [encounter for encounter, _ in rows],
            "patient_nbr": [int(patient) for _, patient in rows],
            "split": [split_of(PATIENT)] * len(rows),
        }
    )
    put(settings, "snapshots/abc.parquet", frame.to_parquet(index=False))
    facts = {"facts": {f"n_{split_of(PATIENT)}": len(rows)}}
    put(settings, "snapshots/abc.json", json.dumps(facts).encode())
    put(settings, "logs/a.log", f"row of {PATIENT}, stay {encounters[1]}.".encode())
    put(settings, "docs/gx/a.html", f"<td>{PATIENT}</td> {PATIENT}px".encode())
    log = settings.readmit_home / "log" / "api.log"
    log.parent.mkdir(parents=True)
    log.write_text(f"GET /patients/{PATIENT}/history\nGET /healthz\n")
    backup = settings.backup_folder() / "20261101T021700Z"
    backup.mkdir(parents=True)


def fill_inbox(settings: StackSettings, first: str) -> None:
    """Put files with and without the patient into the inbox; the runs have read all but two.

    Args:
        settings: of the stack.
        first: a registered CSV, of which the first three rows are the patient's.
    """
    header, *rows = first.splitlines(keepends=True)
    put(settings, "inbox/read.csv.gz", gzip.compress(first.encode()))
    put(settings, "inbox/strangers.csv", "".join([header, *rows[5:]]).encode())
    put(settings, f"inbox/refused {PATIENT}.csv", f"a,b\n1,{PATIENT}\n".encode())
    (settings.inbox / f"without {PATIENT}.csv").write_text("".join([header, *rows[6:]]))
    inbox.submit_new_files(settings)
    assert len(inbox_results.write_results(settings)) == 4
    put(settings, "inbox/unread.csv", first.encode("utf-16"))
    put(settings, "inbox/unread.pdf", b"%PDF-1.4")


def test_no_store_has_the_number(erased: Erased) -> None:
    text = dump(erased.settings)
    for number in (PATIENT, *erased.encounters):
        assert str(number) not in text
        for key, body in objects(erased.settings).items():
            alone = body.replace(f"{number}px".encode(), b"")  # that is a length
            assert str(number).encode() not in alone, key
    frame = pd.read_parquet(io.BytesIO(objects(erased.settings)["snapshots/abc.parquet"]))
    assert len(frame) == 37
    assert not frame["encounter_id"].isin(erased.encounters).any()
    log = erased.settings.readmit_home / "log" / "api.log"
    assert log.read_text() == "GET /patients/xxxxxxxxx/history\nGET /healthz\n"


def test_removed_rows_and_files_are_counted(erased: Erased) -> None:
    assert erased.removed == {
        "rows of RAW": 3,
        "proposals": 1,
        "staged rows, those in quarantine included": 4,  # one as it came and as it was corrected
        "features": 1,  # the stand-in of dbt builds no other row of a corrected patient
        "predictions": 2,
        "archived predictions": 0,
        "corrections, their values": 1,
        "look-ups of history, pseudonymised": 2,
        "slices": 1,
        "source files": 2,
        "originals of the inbox": 5,  # two in two places each, and the one that no run had read
        "results of the inbox": 3,
        "texts of the ledger": 4,
        "snapshots": 1,
        "pages and task logs": 2,
        "log files of this machine": 1,
    }


def test_remaining_copies_are_named(erased: Erased) -> None:
    text = "\n".join(erased.remaining)
    assert "expires on 2026-11-08" in text
    assert "the file that was submitted" in text
    assert "inbox/unread.pdf is no table" in text
    assert f"files in {erased.settings.inbox}" in text


def test_files_of_strangers_stay_in_the_inbox_and_unread_rows_too(erased: Erased) -> None:
    bodies = objects(erased.settings)
    *_, strangers = (erased.folder / "first.csv").read_text().partition("\n")
    keys = {key for key in bodies if key.startswith("inbox/")}
    assert {"inbox/strangers.csv", "inbox/unread.csv"} <= keys
    assert not keys & {"inbox/read.csv.gz", f"inbox/refused {PATIENT}.csv"}
    rest = bodies["inbox/unread.csv"].decode().splitlines()
    assert rest[1:] == strangers.splitlines()[3:]
    originals = [body for key, body in bodies.items() if key.endswith("/original")]
    assert bodies["inbox/strangers.csv"] in originals


def test_later_files_of_the_inbox_are_kept_without_the_patient(erased: Erased) -> None:
    settings = erased.settings
    before = objects(settings)
    first = (erased.folder / "first.csv").read_text()
    put(settings, "inbox/tabs.csv", first.replace(",", "\t").encode())
    put(settings, "inbox/late.csv", b"a,b\n1,2\n")
    assert inbox.submit_new_files(settings)
    after = objects(settings)
    assert "inbox/tabs.csv" in after
    sources_before = {key for key in before if key.startswith("received/")}
    [original] = {key for key in after if key.startswith("received/")} - sources_before
    assert after[original] == after["inbox/unread.csv"]
    removed, remaining = erasure.erase(PATIENT, "an officer", settings)
    assert removed["originals of the inbox"] == 3  # the PDF and late.csv were refused
    assert "is no table" not in "\n".join(remaining)
    assert {"inbox/unread.csv", "inbox/strangers.csv"} <= objects(settings).keys()


def test_rows_in_raw_and_erased_rows_are_the_rows_of_the_batch(erased: Erased) -> None:
    settings = erased.settings
    counts = "n_rows, n_erased, n_quarantined, n_excluded"
    of_batch = f"select {counts} from landing.batches where batch_id = %s"
    assert raw.query(settings, settings.raw_database, of_batch, erased.batch_id) == [(40, 3, 0, 0)]
    assert all_rows_are_counted(settings)
    of_builds = "select n_rows, n_features, n_quarantined, n_excluded from ops.published_batches"
    rows = raw.query(settings, settings.clean_database, f"{of_builds} order by published_at")
    assert rows == [(37, 37, 0, 0), (37, 37, 0, 0)]
    assert Build.of_batch(erased.batch_id).count(settings).n_rows == 37


def test_the_hash_of_the_batch_is_that_of_what_is_left(erased: Erased) -> None:
    settings = erased.settings
    statement = "select object_key, content_sha256 from landing.slices where batch_id = %s"
    [(key, content_sha256)] = raw.query(settings, settings.raw_database, statement, erased.batch_id)
    lines = objects(settings)[key].splitlines(keepends=True)
    rows = b"".join(line.split(b",", 2)[2] for line in lines)
    assert content_sha256 == hashlib.sha256(rows).hexdigest()


def test_look_ups_keep_one_pseudonym(erased: Erased) -> None:
    statement = "select patient_nbr from ops.history_lookups order by lookup_id"
    first, second, other = raw.query(erased.settings, erased.settings.clean_database, statement)
    assert first == second
    assert first[0] < 0 < other[0]


def test_later_rows_are_left_out(erased: Erased) -> None:
    later = write_source(erased.folder, "later.csv", 40, 4)
    sha256 = sources.submit(str(later), erased.settings)
    batch_id = publish(erased.settings, n_held=0)
    counts = "select n_rows, n_erased from landing.batches where batch_id = %s"
    assert raw.query(erased.settings, erased.settings.raw_database, counts, batch_id) == [(40, 4)]
    assert all_rows_are_counted(erased.settings)
    stored = objects(erased.settings)[f"source/{sha256}/source.csv"]
    assert PATIENT.encode() not in stored
    assert stored.count(b"\n") == 37
    # The first file again: it is known, and its batch is published.
    sources.submit(str(erased.folder / "first.csv"), erased.settings)
    assert raw.claim_batch("next", erased.settings) is None


def test_a_file_of_the_patient_alone_makes_no_batch(erased: Erased) -> None:
    own = write_source(erased.folder, "own.csv", 80, 40)
    sources.submit(str(own), erased.settings)
    assert raw.claim_batch("next", erased.settings) is None
    statement = "select status from landing.overview where n_rows = 40 and status = 'erased'"
    assert len(raw.query(erased.settings, erased.settings.raw_database, statement)) == 1


def test_an_erasure_may_be_repeated(erased: Erased) -> None:
    removed, _ = erasure.erase(PATIENT, "an officer again", erased.settings)
    assert sum(removed.values()) == 0
    statement = """
        select count(*) from landing.erasures
        where finished_at is not null and erased_by = 'an officer again'
    """
    assert raw.query(erased.settings, erased.settings.raw_database, statement) == [(1,)]


def test_another_key_is_refused(erased: Erased) -> None:
    update = {"erasure_key": SecretStr("another")}
    with pytest.raises(LookupError, match="another key than the one"):
        sources.submit(
            str(write_source(erased.folder, "last.csv", 120, 1)),
            erased.settings.model_copy(update=update),
        )


def test_nothing_is_erased_while_a_batch_is_built(erased: Erased) -> None:
    settings = erased.settings
    lock = "insert into ops.current_build (build_id, batch_id, kind) values ('b', 'b', 'batch')"
    raw.query(settings, settings.clean_database, lock, role="publisher")
    with pytest.raises(BuildBusy):
        erasure.erase("1", "an officer", settings)
    raw.query(settings, settings.clean_database, "delete from ops.current_build", role="publisher")


@pytest.mark.parametrize(
    "statement",
    [
        "delete from landing.encounters",
        "update landing.erasures set removed = null",
        "delete from landing.erasures",
        "set role eraser",
    ],
)
@pytest.mark.parametrize("role", ["loader", "publisher"])
def test_no_role_of_a_program_may_erase(erased: Erased, role: db.Role, statement: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        raw.query(erased.settings, erased.settings.raw_database, statement, role=role)


def test_a_word_is_not_a_patient_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert erasure.main(["--", "everybody"]) == 1
    assert "PATIENT is not a patient number" in capsys.readouterr().err


STAGES = (
    (erased_rows, "begin"),
    (erased_rows, "rows_of"),
    (erased_rows, "erase_from_clean"),
    (erased_objects, "erase_sources"),
    (erased_objects, "erase_archives"),
    (erased_objects, "erase_snapshots"),
    (json, "dumps"),  # between a snapshot and its counts
    (erased_objects, "redact_texts"),
    (erased_objects, "redact_files"),
    (erased_objects, "erase_slices"),
    (erased_rows, "erase_from_raw"),
    (erased_rows, "vacuum"),
    (erased_rows, "end"),
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackSettings]:
    """A stack with a published batch and every store filled, for one patient a test."""
    folder = tmp_path_factory.mktemp("killed")
    settings = raw.fresh(
        folder / "home",
        dataset=str(write_source(folder, "first.csv", 0, 0)),
        s3_pipeline_bucket=f"p{os.urandom(4).hex()}",
        **keys_of_admin("loader"),
    )
    storage.ensure_buckets(settings)
    raw.stand_in_tables(settings)
    sources.ensure_source(settings)
    publish(settings, n_held=2)
    yield settings
    s3 = storage.client("admin", settings)
    for key in objects(settings):
        s3.delete_object(Bucket=settings.s3_pipeline_bucket, Key=key)
    s3.delete_bucket(Bucket=settings.s3_pipeline_bucket)


@pytest.mark.parametrize(("module", "stage"), STAGES, ids=[stage for _, stage in STAGES])
def test_an_erasure_that_was_killed_is_completed_by_the_next(
    module: ModuleType, stage: str, published: StackSettings
) -> None:
    settings = published
    query = "select patient_nbr, encounter_id from landing.encounters order by _source_row limit 1"
    [(patient, stay)] = raw.query(settings, settings.raw_database, query)
    raw.query(settings, settings.clean_database, PREDICTION, patient, None, role="serving")
    frame = pd.DataFrame({"encounter_id": [int(stay), 1], "patient_nbr": [int(patient), 1]})
    frame["split"] = split_of(patient)
    put(settings, f"snapshots/{stage}.parquet", frame.to_parquet(index=False))
    facts = {"facts": {f"n_{split_of(patient)}": 2}}
    put(settings, f"snapshots/{stage}.json", json.dumps(facts).encode())
    put(settings, f"logs/{stage}.log", f"patient {patient}".encode())
    log = settings.readmit_home / "log" / f"{stage}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(f"patient {patient}")

    kills.run_until(module, stage, lambda: erasure.erase(patient, "an officer", settings))
    erasure.erase(patient, "an officer", settings)

    assert patient not in dump(settings)
    assert patient not in log.read_text()
    for key, body in objects(settings).items():
        if key.endswith(".parquet"):
            assert int(patient) not in set(pd.read_parquet(io.BytesIO(body))["patient_nbr"]), key
        else:
            assert patient.encode() not in body, key
    counts = json.loads(objects(settings)[f"snapshots/{stage}.json"])
    assert counts == {"facts": {f"n_{split_of(patient)}": 1}}
    assert all_rows_are_counted(settings)
    lock = "select count(*) from ops.current_build"
    assert raw.query(settings, settings.clean_database, lock) == [(0,)]
    finished = (
        "select finished_at is not null from landing.erasures order by erasure_id desc limit 1"
    )
    assert raw.query(settings, settings.raw_database, finished) == [(True,)]
