"""Remove a patient from the originals and the results of the inbox."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory

from readmit import db, storage
from readmit.intake.erased_patients import normalised
from readmit.intake.inbox import RECEIVED, address_sha256
from readmit.intake.inbox_files import open_plain
from readmit.intake.inbox_names import PREFIX
from readmit.intake.source_copies import unpack_without
from readmit.intake.source_file import Fetched, sha256_of
from readmit.ops.erased_objects import object_keys
from readmit.ops.erased_rows import PatientRows, number_pattern
from readmit.settings import StackSettings


def erase(
    rows: PatientRows, removed: Counter[str], settings: StackSettings, *, is_cluster: bool
) -> list[str]:
    """Remove a patient.

    Args:
        rows: of the patient.
        removed: what was removed is added to it, by kind.
        settings: where Postgres, S3 and the folder READMIT_INBOX are.
        is_cluster: the settings are a cluster's, which has no such folder.

    Returns:
        A line for each file that was not searched.
    """
    removed["originals of the inbox"], remaining = erase_originals(rows.patient, settings)
    removed["results of the inbox"] = erase_results(rows.numbers, settings)
    if settings.inbox and not is_cluster:
        n_files, not_searched = erase_results_of_folder(rows.numbers, settings.inbox)
        removed["results of the inbox"] += n_files
        remaining += not_searched
    return remaining


def erase_originals(patient: str, settings: StackSettings) -> tuple[int, list[str]]:
    """Delete the originals that have rows of a patient; what is left of them lies in `source/`.

    A file that no run has read is written anew without the rows instead. A file that cannot be read
    as a table cannot be searched: it is deleted too, once a run has refused it.

    Returns:
        How many were deleted or written anew; a line for each that was not searched.
    """
    s3 = storage.client("admin", settings)
    bucket = settings.s3_pipeline_bucket
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute("select address_sha256, version from landing.inbox")
        versions_read = {*cur.fetchall()}

    def is_own(number: bytes) -> bool:
        return normalised(number) == patient.encode()

    n_files = 0
    remaining = []
    for key in [*object_keys(s3, bucket, RECEIVED), *object_keys(s3, bucket, PREFIX)]:
        if key.startswith(RECEIVED) and not key.endswith("/original"):
            continue
        with TemporaryDirectory() as folder:
            path = Path(folder) / "original"
            stored = s3.get_object(Bucket=bucket, Key=key)
            with path.open("wb") as file:
                copyfileobj(stored["Body"], file)
            rest = path.with_name("rest.csv")
            n_own = unpack_without(Fetched(path, key, "file", sha256_of(path)), is_own, rest)
            if n_own == 0:
                continue
            version = (address_sha256(f"s3://{bucket}/{key}"), stored["ETag"])
            if key.startswith(RECEIVED) or version in versions_read:
                s3.delete_object(Bucket=bucket, Key=key)
            elif n_own:
                s3.upload_file(str(rest), bucket, key)
            else:
                remaining.append(f"{key} is no table: erase again when a run has refused it")
                continue
            n_files += 1
    return n_files, remaining


def erase_results(numbers: Sequence[str], settings: StackSettings) -> int:
    """Delete results in which a number stands; the next run writes them without it."""
    s3 = storage.client("admin", settings)
    bucket = settings.s3_pipeline_bucket
    pattern = re.compile(number_pattern(numbers).encode())
    n_files = 0
    for key in object_keys(s3, bucket, RECEIVED):
        if not key.endswith("/result.json"):
            continue
        if pattern.search(s3.get_object(Bucket=bucket, Key=key)["Body"].read()):
            s3.delete_object(Bucket=bucket, Key=key)
            n_files += 1
    return n_files


def erase_results_of_folder(numbers: Sequence[str], inbox: Path) -> tuple[int, list[str]]:
    """Do what `erase_results` does in the folder READMIT_INBOX, into which others may write.

    Returns:
        How many were deleted; a line for each that could not be searched or deleted.
    """
    pattern = re.compile(number_pattern(numbers).encode())
    n_files = 0
    remaining = []
    for path in inbox.glob("*.result.json"):
        try:
            with open_plain(path) as file:
                has_number = pattern.search(file.read()) is not None
            if has_number:
                path.unlink()
                n_files += 1
        except OSError as error:  # a link, a folder, or a file of another user
            remaining.append(f"{path.name} in the folder of the inbox: {error.strerror}")
    return n_files, remaining
