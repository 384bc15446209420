"""The docs site as a process in front of a real bucket."""

import http.client
import secrets
import socket
import time
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest

from readmit import storage
from readmit.docs_site.server import NOT_FOUND, NOT_YET, POLICY
from tests.support import docs_site
from tests.support.services import keys_of_admin

SECURE = {
    "cache-control": "no-cache",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "content-security-policy": POLICY,
}
OBJECTS = {
    "docs/index.html": ("the index", "text/html; charset=utf-8"),
    "docs/models/3/index.html": ("version 3", "text/html; charset=utf-8"),
    "docs/static/page.css": ("td {}", "text/css"),
    "docs/models/3/notes.txt": ("<script>1</script>", "text/html"),
    "docs/models/3/picture.svg": ("<svg/>", "image/svg+xml"),
    "docs/gx/b/raw.html": ("a gate", "text/html; charset=utf-8"),
    "docs/dbt/index.html": ("lineage", "text/html; charset=utf-8"),
    "source/secret.csv": ("patients", "text/csv"),
}


def with_own_bucket(s3):
    name = f"docs-{secrets.token_hex(4)}"
    return s3.model_copy(update={"s3_pipeline_bucket": name, **keys_of_admin("docs")})


@pytest.fixture(scope="module")
def bucket(s3):
    settings = with_own_bucket(s3)
    storage.ensure_buckets(settings)
    return settings


@pytest.fixture(scope="module")
def site(bucket):
    for name, (text, content_type) in OBJECTS.items():
        storage.client("admin", bucket).put_object(
            Bucket=bucket.s3_pipeline_bucket,
            Key=name,
            Body=text.encode(),
            ContentType=content_type,
        )
    with docs_site.running(bucket) as address:
        yield address


def test_an_endless_header_is_cut_off_and_nobody_waits(site):
    """100 MB in one header once blocked the process for 12 s."""
    url = httpx.URL(site)
    began = time.monotonic()
    with socket.create_connection((url.host, url.port), timeout=20) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: ")
        with suppress(ConnectionError):
            for _ in range(100):
                connection.sendall(b"y" * 1_000_000)
    assert httpx.get(f"{site}/livez", timeout=30, trust_env=False).is_success
    assert time.monotonic() - began < 5


def get(url, method="GET"):
    return httpx.request(method, url, trust_env=False, timeout=60)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "docs/index.html"),
        ("/index.html?day=1", "docs/index.html"),
        ("/models/3/", "docs/models/3/index.html"),
        ("/static/page%2Ecss", "docs/static/page.css"),
    ],
)
def test_an_object_is_served_as_it_is_stored(site, path, name):
    answer = get(site + path)
    assert answer.status_code == 200
    assert (answer.text, answer.headers["content-type"]) == OBJECTS[name]
    assert SECURE.items() <= answer.headers.items()


def test_the_type_follows_the_name_not_the_writer(site):
    answer = get(f"{site}/models/3/notes.txt")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert SECURE.items() <= answer.headers.items()


@pytest.mark.parametrize("path", ["/gx/b/raw.html", "/dbt/"])
def test_pages_with_scripts_have_no_origin_and_load_nothing_from_elsewhere(site, path):
    policy = get(site + path).headers["content-security-policy"]
    assert policy.startswith(POLICY)
    assert "sandbox allow-scripts" in policy
    assert "allow-same-origin" not in policy
    assert "http" not in policy


def test_our_own_pages_run_no_script():
    assert "script-src" not in POLICY
    assert "default-src 'none'" in POLICY


@pytest.mark.parametrize("path", ["/", "/livez", "/favicon.ico", "/nothing.html"])
def test_head_is_get_without_a_body(site, path):
    answer = get(site + path)
    head = get(site + path, "HEAD")
    assert head.status_code == answer.status_code
    assert head.content == b""
    assert head.headers["content-length"] == str(len(answer.content))
    assert SECURE.items() <= head.headers.items()


def test_the_icon_is_ours(site):
    answer = get(f"{site}/favicon.ico")
    assert answer.content.startswith(b"\x89PNG")
    assert answer.headers["content-type"] == "image/png"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_written(site, method):
    answer = get(f"{site}/index.html", method)
    assert answer.status_code == 405
    assert SECURE.items() <= answer.headers.items()
    assert get(f"{site}/index.html").text == "the index"


@pytest.mark.parametrize(
    "path",
    [
        "/../source/secret.csv",
        "/models/../../source/secret.csv",
        "/%2e%2e/source/secret.csv",
        "/..%2fsource/secret.csv",
        "/..%5csource%5csecret.csv",
        "/models/%00",
        "/models/%0a",
        "/nothing.html",
        "/models/3",
        "/models/4/",
        "/models/3/picture.svg",
    ],
)
def test_nothing_outside_its_folder_is_served(site, path):
    # http.client sends the path as it is; httpx would resolve the dots first.
    connection = http.client.HTTPConnection(urlsplit(site).netloc, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 404
    assert NOT_FOUND in text
    assert SECURE.items() <= {name.lower(): value for name, value in answer.getheaders()}.items()


def test_a_request_that_is_not_http_is_refused(site):
    address = urlsplit(site)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(b"hello\r\n\r\n")
        assert connection.recv(1024).startswith(b"HTTP/1.1 400")
    assert docs_site.is_alive(site)


def test_an_empty_bucket_says_that_nothing_is_published(s3):
    settings = with_own_bucket(s3)
    with docs_site.running(settings) as address:
        answer = get(f"{address}/")
    assert answer.status_code == 200
    assert NOT_YET in answer.text


def test_an_unreachable_store_is_reported(bucket):
    settings = bucket.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"})
    with docs_site.running(settings) as address:
        answer = get(f"{address}/")
    assert answer.status_code == 503
    assert "cannot be reached" in answer.text
