"""Shares of values per batch: what the next batch is compared with. A small JSON per batch in S3.

The first batch is compared with the shares of the published file (`uci_shares.json`): nothing passes unseen.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from psycopg2 import sql

from readmit import db, storage
from readmit.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Profile = dict[str, dict[str, float]]

# Batches that a new one is compared with: enough to be stable, few enough that the cost never grows.
COMPARED_WITH = 5
MISSING = "(missing)"
PUBLISHED_FILE = Path(__file__).parent / "uci_shares.json"


def measure(batch_id: str, columns: Sequence[str], settings: Settings) -> Profile:
    """Return column -> value -> share of the batch's rows; `?` counts as a value of its own."""
    found: Profile = {}
    with db.transaction("publisher", settings.raw_database, settings) as raw, raw.cursor() as cur:
        for column in columns:
            name = sql.Identifier(column)
            cur.execute(
                sql.SQL(
                    "select coalesce(nullif({0}, '?'), %s), count(*)::float8 / sum(count(*)) over ()"
                    " from landing.encounters where _batch_id = %s group by 1"
                ).format(name),
                (MISSING, batch_id),
            )
            found[column] = {str(value): float(share) for value, share in cur.fetchall()}
    return found


def store(batch_id: str, profile: Profile, settings: Settings) -> None:
    """Keep the profile of a batch that passed the raw gate."""
    body = json.dumps(profile).encode()
    storage.client(settings).put_object(
        Bucket=settings.s3_pipeline_bucket, Key=_key(batch_id), Body=body
    )


def before(batch_id: str, settings: Settings) -> Profile:
    """Return the mean profile of the batches that were published last; of the published file when there is none."""
    s3 = storage.client(settings)  # one for all: making it takes longer than a read
    known = [
        found for other in _published(batch_id, settings) if (found := _load(other, s3, settings))
    ]
    if not known:
        return published_file()
    columns = known[0].keys()
    return {column: _mean([profile.get(column, {}) for profile in known]) for column in columns}


def published_file() -> Profile:
    """Return the shares of values in the file that UCI publishes."""
    found: Profile = json.loads(PUBLISHED_FILE.read_text(encoding="utf-8"))
    return found


def distance(one: dict[str, float], other: dict[str, float]) -> float:
    """Return the total variation distance of two distributions, 0 to 1; exact at a limit, so rounded."""
    return round(
        sum(abs(one.get(value, 0.0) - other.get(value, 0.0)) for value in {*one, *other}) / 2, 9
    )


def _published(batch_id: str, settings: Settings) -> list[str]:
    with db.transaction("publisher", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "select batch_id from landing.batches where status = 'published' and batch_id <> %s"
            " order by published_at desc limit %s",
            (batch_id, COMPARED_WITH),
        )
        return [str(row[0]) for row in cur.fetchall()]


def _load(batch_id: str, s3: "S3Client", settings: Settings) -> Profile | None:
    try:
        answer = s3.get_object(Bucket=settings.s3_pipeline_bucket, Key=_key(batch_id))
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None  # published before profiles were kept, or its profile was removed
        raise
    profile: Profile = json.loads(answer["Body"].read())
    return profile


def _mean(shares: Sequence[dict[str, float]]) -> dict[str, float]:
    values = sorted({value for each in shares for value in each})
    return {value: sum(each.get(value, 0.0) for each in shares) / len(shares) for value in values}


def _key(batch_id: str) -> str:
    return f"profiles/{batch_id}.json"
