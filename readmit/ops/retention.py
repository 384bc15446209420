"""Delete task logs and pages from the object store when they are older than the settings say."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from readmit import storage
from readmit.settings import RetentionSettings
from readmit.storage import Identity

LOGS = "logs/"
# The gates' pages of each batch, and the pages of drift. dbt's pages are overwritten.
PAGES = ("docs/gx/", "docs/drift/")


def expire_objects(settings: RetentionSettings, now: datetime | None = None) -> Mapping[str, int]:
    """Delete what is too old, and return the number of objects by the prefix of their keys.

    Args:
        settings: how long logs and pages are kept.
        now: the time; the present when it is None.
    """
    now = now or datetime.now(UTC)
    log_age = timedelta(days=settings.readmit_log_retention_days)
    page_age = timedelta(days=settings.readmit_page_retention_days)
    deleted = {LOGS: _expire("logs", LOGS, now - log_age, settings)}
    for prefix in PAGES:
        deleted[prefix] = _expire("gates", prefix, now - page_age, settings)
    return deleted


def _expire(identity: Identity, prefix: str, before: datetime, settings: RetentionSettings) -> int:
    """Delete the objects below a prefix that were last written before a time; count them."""
    s3 = storage.client(identity, settings)
    bucket = settings.s3_pipeline_bucket
    count = 0
    pages = s3.get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=bucket, Prefix=prefix):
        expired = [
            entry["Key"] for entry in page.get("Contents", []) if entry["LastModified"] < before
        ]
        for key in expired:
            s3.delete_object(Bucket=bucket, Key=key)
        count += len(expired)
    return count
