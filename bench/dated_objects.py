"""Objects whose date is the day that their key names.

The object store dates objects itself, so its lists are dated anew.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from unittest import mock

from readmit import storage
from readmit.settings import ObjectStoreSettings
from readmit.storage import Identity

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DAY = re.compile(r"/(\d{4}-\d\d-\d\d)")


@contextmanager
def dated_by_key() -> Iterator[None]:
    """Give the objects that clients of this process list the day in their key as their date."""
    make = storage.client

    def date_anew(parsed: dict[str, list[dict[str, object]]], **_: object) -> None:
        for entry in parsed.get("Contents", []):
            day = DAY.search(str(entry["Key"]))
            if day:
                entry["LastModified"] = datetime.fromisoformat(day[1]).replace(tzinfo=UTC)

    def client(identity: Identity, settings: ObjectStoreSettings) -> "S3Client":
        s3 = make(identity, settings)
        s3.meta.events.register("after-call.s3.ListObjectsV2", date_anew)
        return s3

    with mock.patch.object(storage, "client", client):
        yield


def objects_below(prefix: str, bucket: str, settings: ObjectStoreSettings) -> list[tuple[str, int]]:
    """Return key and size of the objects below a prefix."""
    s3 = storage.client("admin", settings)
    listed = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            listed.append((entry["Key"], entry["Size"]))
    return listed
