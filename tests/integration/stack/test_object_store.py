"""Clients reach the object store by its S3 gateway with access keys, and by no other port."""

import hashlib
import itertools
import os
import subprocess
from collections.abc import Iterator
from functools import partial

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from readmit.storage import IDENTITIES
from stack.object_store import Store, identities, weed
from tests.support.services import S3_OFFSETS, end, free_port

BUCKET = "pipeline"
KEY = "source/patients.csv"
CONTENT = b"encounter_id,patient_nbr\n1,2\n"
# Requests that succeeded before the internal ports required a client certificate.
PATHS = (
    ("GET", f"/buckets/{BUCKET}/{KEY}"),
    ("GET", f"/buckets/{BUCKET}/source/"),
    ("PUT", f"/buckets/{BUCKET}/planted"),
    ("POST", f"/buckets/{BUCKET}/planted"),
    ("DELETE", f"/buckets/{BUCKET}/{KEY}"),
    ("GET", "/dir/assign"),
    ("GET", "/dir/status"),
    ("POST", "/vol/grow?count=1"),
    ("GET", "/status"),
    ("GET", "/"),
)
KEYS = {identity: (identity, "secret") for identity in IDENTITIES}
# One key per prefix that a part uses, and neighbours of them.
EXISTING = (
    ("mlflow", "1/models/m-1/artifacts/MLmodel"),
    (BUCKET, KEY),
    (BUCKET, "inbox/ward-3.csv"),
    (BUCKET, "received/c1d2/original"),
    (BUCKET, "docs/index.html"),
    (BUCKET, "docs-private/page.html"),
    (BUCKET, "profiles/b-1.json"),
    (BUCKET, "snapshots/s-1.parquet"),
    (BUCKET, "logs/dag_id=a/1.log"),
)
READS = {
    "loader": {KEY, "inbox/ward-3.csv", "received/c1d2/original"},
    "gates": {"docs/index.html", "profiles/b-1.json"},
    "docs": {"docs/index.html"},
    "trainer": {"1/models/m-1/artifacts/MLmodel", "snapshots/s-1.parquet"},
    "api": {"1/models/m-1/artifacts/MLmodel"},
    "mlflow": {"1/models/m-1/artifacts/MLmodel"},
    "logs": {"logs/dag_id=a/1.log"},
    "backup": {key for _, key in EXISTING},
}
WRITES = READS | {"loader": {KEY, "received/c1d2/original"}}
READ_ONLY = {"docs", "api", "mlflow", "backup"}
LISTS = {
    "loader": {"inbox/"},
    "gates": {"docs/", "profiles/"},
    "docs": set(),
    "trainer": {"1/", "snapshots/"},
    "api": {"1/"},
    "mlflow": {"1/"},
    "logs": {"logs/"},
    "backup": {f"{key.partition('/')[0]}/" for _, key in EXISTING},
}
SHELL = "s3.configure -user=eve -access_key=eve -secret_key=evesecret -actions=Admin -apply\nexit\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Iterator[Store]:
    port = free_port(S3_OFFSETS)
    running = Store(tmp_path_factory.mktemp("store"), port)
    process = running.start(identities(KEYS))
    s3 = client(running)
    for bucket in ("mlflow", BUCKET):
        s3.create_bucket(Bucket=bucket)
    for bucket, key in EXISTING:
        s3.put_object(Bucket=bucket, Key=key, Body=CONTENT)
    yield running
    end(process)
    running.tidy()


def client(store: Store, **options: object):
    options = {"aws_access_key_id": "admin", "aws_secret_access_key": "secret"} | options
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{store.port}",
        region_name="us-east-1",
        config=Config(retries={"max_attempts": 1}),
        **options,
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_internal_port_answers_without_a_certificate(store, scheme):
    with httpx.Client(verify=False, timeout=5, trust_env=False) as stranger:
        for port, (method, path) in itertools.product(store.ports[1:], PATHS):
            with pytest.raises((httpx.TransportError, httpx.HTTPStatusError)):
                stranger.request(
                    method, f"{scheme}://127.0.0.1:{port}{path}", content=b"x"
                ).raise_for_status()
    assert client(store).get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == CONTENT


def keys_in(bucket: str) -> set[str]:
    return {key for name, key in EXISTING if name == bucket}


def test_the_gateway_refuses_requests_without_a_signature(store):
    with httpx.Client(timeout=5, trust_env=False) as stranger:
        for method, path in itertools.product(
            ("GET", "PUT", "POST", "DELETE"), (f"/{BUCKET}/{KEY}", f"/{BUCKET}/", f"/{BUCKET}/new")
        ):
            answer = stranger.request(method, f"http://127.0.0.1:{store.port}{path}", content=b"x")
            assert answer.status_code in (403, 405), (method, path, answer.status_code)
    listed = client(store).list_objects_v2(Bucket=BUCKET)["Contents"]
    assert {entry["Key"] for entry in listed} == keys_in(BUCKET)


def test_no_page_of_another_site_may_read_an_answer(store):
    origin = "https://elsewhere.example"
    answer = httpx.get(
        f"http://127.0.0.1:{store.port}/{BUCKET}/{KEY}", headers={"Origin": origin}, trust_env=False
    )
    assert answer.headers.get("access-control-allow-origin") not in ("*", origin)


def test_the_stores_own_shell_gets_no_access(store):
    _, master, _, filer = store.ports[:4]
    command = [
        str(weed()),
        "shell",
        f"-master=127.0.0.1:{master}.{master + 10_000}",
        f"-filer=127.0.0.1:{filer}.{filer + 10_000}",
    ]
    stranger = {name: os.environ[name] for name in ("PATH", "HOME")}
    # It tries for ever; a shell that got in needs a second.
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(
            command,
            check=False,
            input=SHELL,
            text=True,
            env=stranger,
            capture_output=True,
            timeout=8,
        )
    with pytest.raises(Exception, match="InvalidAccessKeyId"):
        client(store, aws_access_key_id="eve", aws_secret_access_key="evesecret").list_buckets()


def test_keys_and_certificate_are_readable_by_their_owner_only(store):
    private = [store.folder / "s3-identities.json", store.folder / "s3-key.pem"]
    assert [path.stat().st_mode & 0o777 for path in private] == [0o600, 0o600]


def is_allowed(request) -> bool:
    """Return whether the store does what a request asks for; raise when it fails otherwise."""
    try:
        request()
    except ClientError as error:
        if error.response["Error"]["Code"] == "AccessDenied":
            return False
        raise
    return True


@pytest.mark.parametrize("identity", READS)
def test_an_identity_reads_its_own_prefixes_only(store, identity):
    s3 = client(store, aws_access_key_id=identity)
    readable = set()
    for bucket, key in EXISTING:
        if is_allowed(partial(s3.get_object, Bucket=bucket, Key=key)):
            readable.add(key)
    assert readable == READS[identity]


@pytest.mark.parametrize("identity", READS)
def test_an_identity_writes_and_deletes_in_its_own_prefixes_only(store, identity):
    s3 = client(store, aws_access_key_id=identity)
    writable = set()
    for bucket, key in EXISTING:
        new_key = f"{key}.new"
        if is_allowed(partial(s3.put_object, Bucket=bucket, Key=new_key, Body=CONTENT)):
            writable.add(key)
            s3.delete_object(Bucket=bucket, Key=new_key)
        else:
            assert not is_allowed(partial(s3.delete_object, Bucket=bucket, Key=key))
    if identity in READ_ONLY:
        assert writable == set()
    else:
        assert writable == WRITES[identity]
    stored = client(store).list_objects_v2(Bucket=BUCKET)["Contents"]
    assert {entry["Key"] for entry in stored} == keys_in(BUCKET)


def test_the_api_creates_files_in_the_inbox_and_does_nothing_else_there(store):
    s3 = client(store, aws_access_key_id="api")
    folder = f"inbox/{hashlib.sha256(CONTENT).hexdigest()}"
    key = f"{folder}/ward 3 ñ.csv"
    for _ in range(2):  # the same content again changes nothing
        s3.put_object(Bucket=BUCKET, Key=key, Body=CONTENT)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=CONTENT, IfNoneMatch="*")
    copied = {"Bucket": BUCKET, "Key": key}
    for request in (
        partial(s3.put_object, Key=key, Body=b"other"),
        partial(s3.put_object, Key="inbox/ward-3.csv", Body=CONTENT),
        partial(s3.put_object, Key=f"{folder.replace('inbox', 'source')}/a.csv", Body=CONTENT),
        partial(s3.put_object, Key=f"{folder.replace('inbox', 'received')}/original", Body=CONTENT),
        partial(s3.create_multipart_upload, Key=key),
        partial(s3.copy_object, Key=f"{folder}/b.csv", CopySource=copied),
        partial(s3.get_object, Key=key),
        partial(s3.delete_object, Key=key),
        partial(s3.list_objects_v2, Prefix="inbox/"),
        partial(s3.put_object_tagging, Key=key, Tagging={"TagSet": []}),
    ):
        assert not is_allowed(partial(request, Bucket=BUCKET)), request
    deleted = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key}]})
    assert [error["Code"] for error in deleted["Errors"]] == ["AccessDenied"]
    admin = client(store)
    assert admin.get_object(Bucket=BUCKET, Key=key)["Body"].read() == CONTENT
    admin.delete_object(Bucket=BUCKET, Key=key)


@pytest.mark.parametrize("identity", LISTS)
def test_an_identity_lists_its_own_prefixes_only(store, identity):
    s3 = client(store, aws_access_key_id=identity)
    listable = set()
    for bucket, key in EXISTING:
        prefix = f"{key.partition('/')[0]}/"
        if is_allowed(partial(s3.list_objects_v2, Bucket=bucket, Prefix=prefix)):
            listable.add(prefix)
    assert listable == LISTS[identity]
    if identity != "backup":
        assert not is_allowed(partial(s3.list_objects_v2, Bucket=BUCKET))


@pytest.mark.parametrize("identity", READS)
def test_no_part_but_the_set_up_creates_or_deletes_a_bucket(store, identity):
    s3 = client(store, aws_access_key_id=identity)
    assert not is_allowed(partial(s3.create_bucket, Bucket="new"))
    assert not is_allowed(partial(s3.delete_bucket, Bucket=BUCKET))


def test_mlflow_and_its_clients_ask_for_a_missing_object_as_before(store):
    """A missing key is reported as missing, not as forbidden, to an identity that may read it."""
    for identity, bucket, key in (
        ("gates", BUCKET, "profiles/none.json"),
        ("loader", BUCKET, "source/none.csv"),
        ("api", "mlflow", "1/none"),
        ("docs", BUCKET, "docs/none.html"),
        ("logs", BUCKET, "logs/none"),
    ):
        with pytest.raises(ClientError, match="NoSuchKey"):
            client(store, aws_access_key_id=identity).get_object(Bucket=bucket, Key=key)
