"""Profiles: the share of each value of some columns in a batch, one small JSON in S3 per batch.

The raw gate compares the profile of a batch with those of earlier batches. The first batch is
compared with the file that UCI publishes (`uci_shares.json`), so that no batch goes unchecked.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from psycopg2 import sql

from readmit import db, storage
from readmit.ops import object_digests
from readmit.ops.object_digests import ObjectChanged
from readmit.settings import PipelineSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)
Profile = dict[str, dict[str, float]]

# Batches that a new one is compared with: enough to be stable, few enough that the cost never
# grows.
COMPARED_WITH = 5
MISSING = "(missing)"
PUBLISHED_FILE = Path(__file__).parent / "uci_shares.json"


def measure(batch_id: str, columns: Sequence[str], settings: PipelineSettings) -> Profile:
    """Return column -> value -> share of the rows; a missing value (`?`) counts as a value."""
    query = sql.SQL(
        "select coalesce(nullif({0}, '?'), %s), count(*)::float8 / sum(count(*)) over ()"
        " from landing.encounters where _batch_id = %s group by 1"
    )
    profile: Profile = {}
    with db.transaction("publisher", settings.raw_database, settings) as raw, raw.cursor() as cur:
        for column in columns:
            cur.execute(query.format(sql.Identifier(column)), (MISSING, batch_id))
            profile[column] = {str(value): float(share) for value, share in cur.fetchall()}
    return profile


def store(batch_id: str, profile: Profile, settings: PipelineSettings) -> None:
    """Store the profile of a batch that passed the raw gate."""
    body = json.dumps(profile).encode()
    object_digests.store(_key(batch_id), body, storage.client("gates", settings), settings)


def load(batch_id: str, s3: "S3Client", settings: PipelineSettings) -> Profile | None:
    """Return the stored profile of a batch.

    There is none if the batch was published before profiles were stored, or its profile was
    removed or changed.
    """
    try:
        body = object_digests.read(_key(batch_id), s3, settings)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise
    except ObjectChanged as error:
        log.error("%s; batches are compared without it", error)
        return None
    profile: Profile = json.loads(body)
    return profile


def before(batch_id: str, settings: PipelineSettings) -> Profile:
    """Return the mean profile of the batches that were published last.

    When there is none, return the profile of the file that UCI publishes.
    """
    with db.transaction("publisher", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "select batch_id from landing.batches where status = 'published' and batch_id <> %s"
            " order by published_at desc limit %s",
            (batch_id, COMPARED_WITH),
        )
        published_ids = [str(row[0]) for row in cur.fetchall()]
    s3 = storage.client("gates", settings)  # one client for all: making it takes longer than a read
    profiles = []
    for published_id in published_ids:
        profile = load(published_id, s3, settings)
        if profile:
            profiles.append(profile)
    if not profiles:
        return published_file()
    mean_profile: Profile = {}
    for column in profiles[0]:
        distributions = [profile.get(column, {}) for profile in profiles]
        mean_profile[column] = {}
        for value in sorted(set().union(*distributions)):
            total = sum(distribution.get(value, 0.0) for distribution in distributions)
            mean_profile[column][value] = total / len(distributions)
    return mean_profile


def published_file() -> Profile:
    """Return the profile of the file that UCI publishes."""
    profile: Profile = json.loads(PUBLISHED_FILE.read_text(encoding="utf-8"))
    return profile


def distance(one: dict[str, float], other: dict[str, float]) -> float:
    """Return the total variation distance of two distributions, 0 to 1.

    It is rounded, so that a distance at a limit is not above it.
    """
    total = sum(abs(one.get(value, 0.0) - other.get(value, 0.0)) for value in {*one, *other})
    return round(total / 2, 9)


def _key(batch_id: str) -> str:
    return f"profiles/{batch_id}.json"
