"""The S3 client of every part, made from settings alone."""

from typing import TYPE_CHECKING

from readmit.settings import ObjectStoreSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def client(settings: ObjectStoreSettings) -> "S3Client":
    """Return a boto3 client for `S3_ENDPOINT_URL` with path-style addresses.

    It connects within 5 s, reads within 60 s, and makes five attempts.
    """
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint_url,
        aws_access_key_id=settings.aws_access_key_id,
        aws_secret_access_key=settings.aws_secret_access_key.get_secret_value(),
        region_name="us-east-1",
        config=Config(
            s3={"addressing_style": "path"},
            connect_timeout=5,
            read_timeout=60,
            retries={"max_attempts": 5, "mode": "standard"},
        ),
    )


def ensure_buckets(settings: ObjectStoreSettings) -> None:
    """Create the buckets of MLflow and of the pipeline when they are missing."""
    s3 = client(settings)
    present = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for bucket in (settings.s3_mlflow_bucket, settings.s3_pipeline_bucket):
        if bucket not in present:
            s3.create_bucket(Bucket=bucket)


if __name__ == "__main__":
    ensure_buckets(ObjectStoreSettings())
    print("buckets are in place")
