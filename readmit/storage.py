"""Clients of the object store by identity, as `readmit.db` has connections by role."""

from typing import TYPE_CHECKING, Literal, get_args

from pydantic import SecretStr

from readmit.settings import AdminStore, ObjectStoreSettings, variable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


Identity = Literal["admin", "loader", "gates", "docs", "trainer", "api", "mlflow", "logs", "backup"]
IDENTITIES: tuple[Identity, ...] = get_args(Identity)
REGION = "us-east-1"  # clients must name one; SeaweedFS ignores it


def variables(identity: Identity) -> tuple[str, str]:
    """Return the names of an identity's two keys, as the Secrets of Kubernetes have them."""
    prefix = "AWS" if identity == "admin" else f"S3_{identity.upper()}"
    return f"{prefix}_ACCESS_KEY_ID", f"{prefix}_SECRET_ACCESS_KEY"


def keys(identity: Identity, settings: ObjectStoreSettings) -> tuple[str, str]:
    """Return the access key and the secret key of an identity, from the environment or `.env`.

    Raises:
        LookupError: a variable is not set, or this program does not use the identity; the message
            names the variable.
    """
    values = []
    for name in variables(identity):
        if name.lower() not in type(settings).model_fields:
            raise LookupError(
                f"{variable(name)} is not among the settings of this program:"
                f" {type(settings).__name__}"
            )
        value = getattr(settings, name.lower())
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if not value:
            raise LookupError(
                f"{variable(name)} is not set: `make up` writes it into .env, "
                "`make k8s-up` into a Secret"
            )
        values.append(str(value))
    access_key, secret_key = values
    return access_key, secret_key


def client(identity: Identity, settings: ObjectStoreSettings) -> "S3Client":
    """Return a boto3 client for `READMIT_S3_ENDPOINT_URL` with path-style addresses.

    It connects within 5 s, reads within 60 s, and makes five attempts.

    Raises:
        LookupError: this program has no keys of the identity.
    """
    import boto3
    from botocore.config import Config

    access_key, secret_key = keys(identity, settings)
    authority = settings.s3_ca_file
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint_url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=REGION,
        verify=str(authority) if authority else None,
        config=Config(
            s3={"addressing_style": "path"},
            connect_timeout=5,
            read_timeout=60,
            retries={"max_attempts": 5, "mode": "standard"},
        ),
    )


def library_environment(settings: ObjectStoreSettings) -> dict[str, str]:
    """Return the variables by which the clients of MLflow and Airflow reach the object store."""
    variables = {"MLFLOW_S3_ENDPOINT_URL": settings.s3_endpoint_url}
    if settings.s3_ca_file is not None:
        variables["AWS_CA_BUNDLE"] = str(settings.s3_ca_file)
    return variables


def ensure_buckets(settings: AdminStore) -> None:
    """Create the buckets of MLflow and of the pipeline when they are missing."""
    s3 = client("admin", settings)
    present = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for bucket in (settings.s3_mlflow_bucket, settings.s3_pipeline_bucket):
        if bucket not in present:
            s3.create_bucket(Bucket=bucket)


if __name__ == "__main__":
    ensure_buckets(AdminStore())
    print("buckets are in place")
