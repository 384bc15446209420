"""Remove a patient from the object store, and from log files of this machine."""

import hashlib
import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from readmit import db, storage
from readmit.intake.erased_patients import normalised
from readmit.intake.source_copies import HEADER, patient_of, write_without
from readmit.intake.split import split_of
from readmit.ops import erased_rows, object_digests
from readmit.ops.erased_rows import PatientRows, SliceRest, number_pattern
from readmit.ops.prediction_archive import ARCHIVES
from readmit.settings import StackSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Pages and logs, in which the patient's number may stand.
TEXTS = ("logs/", "docs/")
SNAPSHOTS = "snapshots/"
COUNTS = {"n_train", "n_validation", "n_test"}  # rows by split in the facts of a snapshot
MISSING = ("NoSuchKey", "404")


def erase_slices(rows: PatientRows, settings: StackSettings) -> dict[str, SliceRest]:
    """Write the slices anew that hold rows of a patient.

    Returns:
        By batch what is left of them. A slice stands here too when an erasure that was killed has
        written it.
    """
    s3 = storage.client("admin", settings)
    bucket = settings.s3_pipeline_bucket
    own = set(zip(rows.batches, rows.source_rows, strict=True))
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "select batch_id, object_key, n_rows - n_erased from landing.slices where split = %s",
            (split_of(rows.patient),),
        )
        slices = cur.fetchall()
    left = {}
    for batch_id, key, n_planned in slices:
        body = _get(s3, bucket, key)
        if body is None:
            continue
        lines = []
        source_rows = []
        digest = hashlib.sha256()
        for line in body.splitlines(keepends=True):
            _, source_row, row = line.split(b",", 2)
            is_own = (batch_id, int(source_row)) in own
            if not is_own and normalised(patient_of(row)) != rows.patient.encode():
                lines.append(line)
                source_rows.append(int(source_row))
                digest.update(row)
        if len(lines) < n_planned:
            s3.put_object(Bucket=bucket, Key=key, Body=b"".join(lines), ContentType="text/csv")
            content_sha256 = digest.hexdigest() if lines else None
            left[batch_id] = SliceRest(source_rows, content_sha256)
    return left


def erase_sources(patient: str, settings: StackSettings) -> int:
    """Write the stored source files anew that hold rows of a patient; return their number."""
    s3 = storage.client("admin", settings)
    bucket = settings.s3_pipeline_bucket
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute("select name, object_key from landing.sources")
        sources = cur.fetchall()

    def is_own(number: bytes) -> bool:
        return normalised(number) == patient.encode()

    n_files = 0
    for name, key in sources:
        body = _get(s3, bucket, key)
        if body is None or body == HEADER:  # no row is left
            continue
        with TemporaryDirectory() as folder:
            path = Path(folder) / "source.csv"
            path.write_bytes(body)
            copy = path.with_name("copy.csv")
            if write_without(path, name, is_own, copy):
                s3.upload_file(str(copy), bucket, key)
                n_files += 1
    return n_files


def erase_snapshots(rows: PatientRows, settings: StackSettings) -> list[str]:
    """Write the snapshots anew that hold rows of a patient; return the ids of the snapshots.

    The counts in the facts of a snapshot follow, also after an erasure that was killed between the
    two. Its id stays: it names what the models of then were trained on.
    """
    import pandas as pd

    s3 = storage.client("admin", settings)
    bucket = settings.s3_pipeline_bucket
    changed = set()
    left: dict[str, Counter[str]] = {}
    for key in object_keys(s3, bucket, SNAPSHOTS):
        if not key.endswith(".parquet"):
            continue
        frame = pd.read_parquet(io.BytesIO(_get(s3, bucket, key) or b""))
        is_own = frame["patient_nbr"].astype(str) == rows.patient
        is_own |= frame["encounter_id"].isin(list(rows.encounters))
        snapshot_id = key.removeprefix(SNAPSHOTS).partition(".")[0]
        left.setdefault(snapshot_id, Counter()).update(frame["split"][~is_own])
        if is_own.any():
            _put_snapshot(s3, key, frame[~is_own].to_parquet(index=False), settings)
            changed.add(snapshot_id)
    for snapshot_id, n_rows in left.items():
        key = f"{SNAPSHOTS}{snapshot_id}.json"
        document = json.loads(_get(s3, bucket, key) or b'{"facts": {}}')
        counts = {}
        for name in COUNTS & document["facts"].keys():
            counts[name] = n_rows[name.removeprefix("n_")]
        if not counts.items() <= document["facts"].items():
            document["facts"].update(counts)
            _put_snapshot(s3, key, json.dumps(document).encode(), settings)
            changed.add(snapshot_id)
    return sorted(changed)


def _put_snapshot(s3: "S3Client", key: str, body: bytes, settings: StackSettings) -> None:
    """Store a part of a snapshot, and its digest first: training verifies what it reads."""
    with erased_rows.eraser(settings.clean_database, settings) as cur:
        object_digests.record(key, body, cur)
    s3.put_object(Bucket=settings.s3_pipeline_bucket, Key=key, Body=body)


def erase_archives(rows: PatientRows, settings: StackSettings) -> int:
    """Write the archives of predictions anew that hold some of a patient; count these predictions.

    An archive is read by parts, since a month may be larger than the memory.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    s3 = storage.client("admin", settings)
    bucket = settings.s3_pipeline_bucket
    n_erased = 0
    for key in object_keys(s3, bucket, ARCHIVES):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "month.parquet"
            copy = path.with_name("copy.parquet")
            s3.download_file(bucket, key, str(path))
            archive = pq.ParquetFile(path)
            n_left = 0
            with pq.ParquetWriter(copy, archive.schema_arrow) as writer:
                for number in range(archive.num_row_groups):
                    part = archive.read_row_group(number)
                    patients = pc.utf8_ltrim(pc.utf8_trim_whitespace(part["patient_nbr"]), "0")
                    is_own = pc.equal(patients, rows.patient)
                    is_own_stay = pc.is_in(
                        part["encounter_id"], pa.array(rows.encounters, pa.int64())
                    )
                    is_kept = pc.invert(pc.or_kleene(pc.fill_null(is_own, False), is_own_stay))
                    part = part.filter(is_kept)
                    writer.write_table(part)
                    n_left += part.num_rows
            if n_left < archive.metadata.num_rows:
                s3.upload_file(str(copy), bucket, key)
                n_erased += archive.metadata.num_rows - n_left
            erased_rows.count_archive(key, n_left, settings)
    return n_erased


def redact_texts(numbers: Sequence[str], settings: StackSettings) -> int:
    """Overwrite numbers in pages and task logs of the object store; count the changed ones."""
    s3 = storage.client("admin", settings)
    bucket = settings.s3_pipeline_bucket
    pattern = re.compile(number_pattern(numbers).encode())
    n_changed = 0
    for prefix in TEXTS:
        for key in object_keys(s3, bucket, prefix):
            stored = s3.get_object(Bucket=bucket, Key=key)
            text = stored["Body"].read()
            redacted = pattern.sub(_crossed_out, text)
            if redacted != text:
                media_type = stored["ContentType"]
                s3.put_object(Bucket=bucket, Key=key, Body=redacted, ContentType=media_type)
                n_changed += 1
    return n_changed


def erase_from_machine(home: Path, numbers: Sequence[str]) -> int:
    """Overwrite numbers in this machine's logs, and delete downloaded source files, which are
    fetched again when they are needed; return how many logs were changed.
    """
    n_changed = 0
    for name in ("log", "airflow/logs"):
        n_changed += redact_files(home / name, numbers)
    downloads = home / "sources"
    if downloads.exists():
        shutil.rmtree(downloads)
    return n_changed


def redact_files(folder: Path, numbers: Sequence[str]) -> int:
    """Overwrite numbers in log files below a folder; return how many files were changed.

    Bytes are overwritten in place: programs go on writing at the end of their files.
    """
    pattern = re.compile(number_pattern(numbers).encode())
    n_changed = 0
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("r+b") as file:
            matches = list(pattern.finditer(file.read()))
            for match in matches:
                file.seek(match.start())
                file.write(_crossed_out(match))
        n_changed += bool(matches)
    return n_changed


def _crossed_out(match: re.Match[bytes]) -> bytes:
    return b"x" * len(match.group())


def object_keys(s3: "S3Client", bucket: str, prefix: str) -> Iterator[str]:
    """Yield the keys below a prefix."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            yield entry["Key"]


def _get(s3: "S3Client", bucket: str, key: str) -> bytes | None:
    """Return the bytes of an object, or None when there is none."""
    try:
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in MISSING:
            return None
        raise
