"""Objects that are verified when they are read: their sha256 stands in Postgres.

The object store asks who writes and not what is written, and more programs hold keys of it than a
log-in of `publisher`: the notebook, and whoever runs the store. So what training learns from, and
what a gate compares with, are the bytes that the pipeline has stored. The digest is written before
the object: after a run that was killed between the two, the next run stores the object again.
"""

import hashlib
from typing import TYPE_CHECKING

from psycopg2.extensions import cursor

from readmit import db
from readmit.errors import BadData
from readmit.settings import JobSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# The key of the rows that say since when every object has a digest.
SINCE = ""
INSERT = "insert into ops.object_digests (object_key, sha256) values (%s, %s)"
LAST = """
    select
        (
            select sha256 from ops.object_digests where object_key = %s
            order by digest_id desc limit 1
        ),
        (select max(recorded_at) from ops.object_digests where object_key = %s)
"""


class ObjectChanged(BadData):
    """The object store has other bytes than were stored; the message names the object."""


def record(key: str, body: bytes, cur: cursor) -> None:
    """Write down the digest of the bytes that are about to be stored under a key."""
    cur.execute(INSERT, (key, hashlib.sha256(body).hexdigest()))


def trust_what_is_there(cur: cursor) -> None:
    """Have objects without a digest read as they are: a backup of an earlier release has them."""
    cur.execute(INSERT, (SINCE, ""))


def store(key: str, body: bytes, s3: "S3Client", settings: JobSettings) -> None:
    """Store an object in the bucket of the pipeline, and its digest."""
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        record(key, body, cur)
    s3.put_object(Bucket=settings.s3_pipeline_bucket, Key=key, Body=body)


def read(key: str, s3: "S3Client", settings: JobSettings) -> bytes:
    """Return the bytes of an object of the pipeline's bucket.

    Raises:
        ObjectChanged: they are not those that were stored, or nothing of ours has stored them.
    """
    response = s3.get_object(Bucket=settings.s3_pipeline_bucket, Key=key)
    body = response["Body"].read()
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(LAST, (key, SINCE))
        [(sha256, since)] = cur.fetchall()
    if sha256 is None and response["LastModified"] < since:
        return body
    if sha256 != hashlib.sha256(body).hexdigest():
        raise ObjectChanged(
            f"{key} in the object store is not what the pipeline has stored there: somebody with"
            " keys of the store has changed it (docs/security.md)"
        )
    return body
