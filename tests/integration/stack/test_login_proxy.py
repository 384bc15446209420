"""The real nginx with the proxy's configuration: which requests pass, where to, and their limits."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright

from readmit.settings import ROOT, StackSettings
from stack import login_proxy, programs, up
from stack.machine import find_program
from stack.progress import Progress
from stack.supervisor import Supervisor
from tests.support import login_proxy as proxies
from tests.support import stack
from tests.support.services import end, free_port, wait_until

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
PAGES = [page.part for page in login_proxy.PAGES]
ASKING = ["ui", "docs", "airflow", "prometheus"]  # by the proxy's own log-in
OWN_LOGIN = ["api", "mlflow", "grafana"]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    with (
        proxies.echoes() as ports,
        proxies.running(tmp_path_factory.mktemp("proxy"), **ports) as running,
    ):
        yield running


def get(proxy, part, path="/", **options):
    with proxy.client(part) as client:
        return client.get(path, **options)


@pytest.mark.parametrize("part", ASKING)
@pytest.mark.parametrize("path", ["/", "/index.html", "/_stcore/stream", "/a/%2e%2e/x", "//"])
def test_an_anonymous_request_is_asked_to_log_in(proxy, part, path):
    answer = get(proxy, part, path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Basic realm="readmit"'


@pytest.mark.parametrize("part", ASKING)
@pytest.mark.parametrize(
    "login", [("readmit", "wrong"), ("admin", proxies.PASSWORD), ("readmit", ""), ("", "")]
)
def test_a_wrong_log_in_does_not_pass(proxy, part, login):
    assert get(proxy, part, auth=login).status_code == 401


@pytest.mark.parametrize("part", ASKING)
def test_the_log_in_passes_and_stays_with_the_proxy(proxy, part):
    answer = get(proxy, part, "/page?day=1", auth=proxies.LOGIN)
    assert answer.status_code == 200
    arrived = answer.json()
    assert arrived["path"] == "/page?day=1"
    assert "authorization" not in arrived["headers"]


@pytest.mark.parametrize("part", OWN_LOGIN)
def test_a_page_with_a_log_in_of_its_own_gets_what_the_caller_sends(proxy, part):
    headers = {"Authorization": "Bearer token", "X-API-Key": "key"}
    arrived = get(proxy, part, headers=headers).json()
    assert arrived["headers"]["authorization"] == "Bearer token"
    assert arrived["headers"]["x-api-key"] == "key"


@pytest.mark.parametrize("part", PAGES)
def test_headers_that_claim_an_identity_are_replaced(proxy, part):
    claims = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example.org",
        "X-Real-IP": "203.0.113.9",
        "Forwarded": "for=203.0.113.9",
    }
    headers = get(proxy, part, headers=claims, auth=proxies.LOGIN).json()["headers"]
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-host"] == urlsplit(proxy.address(part)).netloc
    assert "x-real-ip" not in headers
    assert "forwarded" not in headers


INSIDE_ONLY = [
    ("api", "/metrics"),
    ("api", "/readyz"),
    ("api", "/data"),
    ("api", "/data/quarantine"),
    ("api", "/data/batches?limit=1"),
    ("api", "//data/batches"),
    ("api", "/%64ata/batches"),
    ("api", "/x/../data/batches"),
    ("api", "/./metrics"),
    ("api", "/metrics/"),
    ("airflow", "/execution"),
    ("airflow", "/execution/"),
    ("airflow", "/%65xecution/task-instances/x/run"),
    ("airflow", "/api/../execution/x"),
    ("prometheus", "/-/quit"),
    ("prometheus", "/-/reload"),
    ("prometheus", "/api/v1/admin/tsdb/snapshot"),
    ("prometheus", "/metrics"),
    ("mlflow", "/metrics"),
    ("grafana", "/metrics"),
]


@pytest.mark.parametrize(("part", "path"), INSIDE_ONLY)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_internal_routes_are_not_routed(proxy, part, path, method):
    """Sent as it is written: httpx would resolve the dots first."""
    assert raw(proxy, part, f"{method} {path} HTTP/1.1", body="").startswith("HTTP/1.1 404")


def raw(proxy, part, request_line, body=None, seconds=20, **headers):
    """Send a request by hand, with the log-in; returns the answer's first bytes."""
    import base64

    token = base64.b64encode(":".join(proxies.LOGIN).encode()).decode()
    lines = [request_line, "Host: x", f"Authorization: Basic {token}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    with connection(proxy, part) as stream:
        stream.settimeout(seconds)
        stream.sendall(("\r\n".join(lines) + "\r\n\r\n" + (body or "")).encode())
        return stream.recv(4096).decode()


def connection(proxy, part):
    context = ssl.create_default_context(
        cafile=str(login_proxy.folder(proxy.settings) / "certificate.pem")
    )
    port = login_proxy.ports(proxy.settings)[part]
    plain = socket.create_connection(("127.0.0.1", port), timeout=20)
    return context.wrap_socket(plain, server_hostname="localhost")


FOREIGN = ["https://evil.example.org", "null", "http://127.0.0.1", "http://127.0.0.1:1"]


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("part", ["ui", "airflow", "prometheus"])
def test_a_page_of_another_site_cannot_use_the_readers_log_in(proxy, part, origin):
    answer = get(proxy, part, headers={"Origin": origin}, auth=proxies.LOGIN)
    assert answer.status_code == 403


@pytest.mark.parametrize("part", PAGES)
def test_our_own_origin_is_not_passed_on_and_a_foreign_one_is(proxy, part):
    own = {"Origin": proxy.address(part)}
    headers = get(proxy, part, headers=own, auth=proxies.LOGIN).json()["headers"]
    assert "origin" not in headers
    if part in OWN_LOGIN:
        headers = get(proxy, part, headers={"Origin": FOREIGN[0]}).json()["headers"]
        assert headers["origin"] == FOREIGN[0]


@pytest.mark.parametrize(
    ("part", "n_bytes", "status"),
    [
        ("api", 16_000_000, 200),
        ("api", 17_000_000, 413),
        ("ui", 20_000_000, 200),
        ("ui", 23_000_000, 413),
        ("docs", 2_000_000, 413),
        ("airflow", 2_000_000, 413),
        ("mlflow", 2_000_000, 413),
    ],
)
def test_a_body_has_a_limit_by_page(proxy, part, n_bytes, status):
    with proxy.client(part, timeout=60) as client:
        answer = client.post("/upload", content=bytes(n_bytes), auth=proxies.LOGIN)
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["n_bytes"] == n_bytes


def test_a_body_that_stalls_loses_its_connection_and_never_reaches_the_api(proxy):
    with connection(proxy, "api") as stream:
        head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
        stream.sendall(head.encode() + bytes(100_000))
        stream.settimeout(30)
        started = time.monotonic()
        answer = received(stream)
        assert time.monotonic() - started < 20
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408")
    assert get(proxy, "api").status_code == 200


def test_a_head_that_stalls_loses_its_connection(proxy):
    with connection(proxy, "ui") as stream:
        stream.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        stream.settimeout(30)
        started = time.monotonic()
        received(stream)
        assert time.monotonic() - started < 20


def received(stream):
    try:
        return stream.recv(4096)
    except ConnectionResetError:
        return b""


def test_connections_of_one_address_are_limited(proxy):
    """Each holds a request whose body has not arrived."""
    streams = []
    try:
        for _ in range(70):
            stream = connection(proxy, "api")
            streams.append(stream)
            stream.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n1")
        wait_until(lambda: get(proxy, "api").status_code == 429, "connections are not limited", 10)
    finally:
        for stream in streams:
            stream.close()
    wait_until(lambda: get(proxy, "api").status_code == 200, "connections are not given back", 10)


@pytest.mark.parametrize("part", PAGES)
def test_a_request_without_tls_is_redirected_to_it(proxy, part):
    address = proxy.address(part).replace("https:", "http:")
    answer = httpx.get(f"{address}/page?a=1", trust_env=False)
    assert answer.status_code == 301
    assert answer.headers["location"] == f"{proxy.address(part)}/page?a=1"


def test_old_tls_is_refused(proxy):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    port = login_proxy.ports(proxy.settings)["ui"]
    with socket.create_connection(("127.0.0.1", port)) as plain, pytest.raises(OSError):
        context.wrap_socket(plain, server_hostname="localhost")


def test_the_log_has_no_query_string_and_no_password(proxy):
    get(proxy, "docs", "/seen?patient_nbr=8222157", auth=proxies.LOGIN)
    get(proxy, "docs", "/refused?patient_nbr=8222157", auth=("readmit", "guess-1"))
    with proxy.client("docs", timeout=60) as client:
        client.post("/large?patient_nbr=8222157", content=bytes(2_000_000), auth=proxies.LOGIN)
    wait_until(lambda: "/large" in proxy.output.read_text(), "nothing is logged", 10)
    text = proxy.output.read_text()
    assert "8222157" not in text
    assert "guess-1" not in text
    assert proxies.PASSWORD not in text
    entries = [line for line in text.splitlines() if '"path":"/seen"' in line]
    entry = json.loads(entries[0])
    assert entry["status"] == 200
    assert entry["user"] == "readmit"


def test_the_health_page_is_on_loopback_and_says_nothing_else(proxy):
    port = login_proxy.health_port(proxy.settings)
    assert httpx.get(f"http://127.0.0.1:{port}/livez", trust_env=False).text == "alive\n"
    assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code == 404
    others = login_proxy.machine_addresses()
    if not others:
        pytest.skip("this machine has loopback only")
    with pytest.raises(OSError), socket.create_connection((others[0], port), timeout=5):
        pass


def test_a_page_that_is_away_is_a_502(proxy, tmp_path):
    with (
        proxies.running(tmp_path, docs_port=free_port()) as other,
        other.client("docs", auth=proxies.LOGIN) as client,
    ):
        answer = client.get("/")
    assert answer.status_code == 502
    assert "nginx/" not in answer.text


def test_mlflow_behind_the_proxy_asks_for_a_log_in_itself(tmp_path):
    """What it answers without one: tests/integration/training/test_mlflow_login.py."""
    mlflow = programs.find("mlflow", StackSettings(readmit_home=tmp_path))
    assert "basic-auth" in mlflow.command


@pytest.fixture(scope="module")
def form(tmp_path_factory):
    """A real Streamlit behind the proxy."""
    home = tmp_path_factory.mktemp("form")
    script = home / "page.py"
    script.write_text("import streamlit as st\n\nst.write('hello')\n")
    port = free_port()
    options = [
        "--server.headless=true",
        "--server.address=127.0.0.1",
        f"--server.port={port}",
        "--browser.serverAddress=127.0.0.1",
        "--browser.gatherUsageStats=false",
        "--server.fileWatcherType=none",
    ]
    command = [sys.executable, "-m", "streamlit", "run", str(script), *options]
    process = subprocess.Popen(command, cwd=home)
    try:
        health = f"http://127.0.0.1:{port}/_stcore/health"
        wait_until(lambda: proxies.is_success(health), "Streamlit does not answer")
        with proxies.running(home, ui_port=port) as running:
            yield running
    finally:
        end(process)


def upgraded(proxy, **headers):
    """Ask for the form's web socket; returns the status line."""
    key = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec_WebSocket_Version": "13",
    }
    return raw(proxy, "ui", "GET /_stcore/stream HTTP/1.1", **key, **headers).partition("\r\n")[0]


def test_the_forms_web_socket_opens_for_its_own_page_only(form):
    assert upgraded(form, Origin="https://x").startswith("HTTP/1.1 101")
    assert upgraded(form, Origin="https://evil.example.org").startswith("HTTP/1.1 403")
    anonymous = get(form, "ui", "/_stcore/stream", headers={"Upgrade": "websocket"})
    assert anonymous.status_code == 401


def test_the_forms_pages_come_through_and_cannot_be_framed(form):
    answer = get(form, "ui", auth=proxies.LOGIN)
    assert answer.status_code == 200
    assert "streamlit" in answer.text.lower()
    assert answer.headers["x-frame-options"] == "DENY"


def test_a_browser_shows_the_form_through_the_proxy(form):
    """It sends the log-in with the web socket as well, over which the page comes."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        user, password = proxies.LOGIN
        page = browser.new_page(
            ignore_https_errors=True, http_credentials={"username": user, "password": password}
        )
        page.goto(form.address("ui"))
        expect(page.get_by_text("hello")).to_be_visible(timeout=30_000)
        browser.close()


def test_the_supervisor_runs_it_as_make_up_does(tmp_path):
    port = free_port(tuple(range(len(PAGES) + 1)))
    env = stack.write_env(tmp_path, READMIT_LISTEN_ADDRESS="0.0.0.0", READMIT_PROXY_PORT=port)
    with stack.environment(env) as settings:
        listed = programs.all_programs(settings)
        proxy = programs.find("login-proxy", settings)
        supervisor = Supervisor(settings)
        up.start_supervisor(settings, listed, supervisor)
        up._start([proxy], settings, supervisor, Progress(), "storage")
        with proxies.Proxy(settings, tmp_path).client("docs") as client:
            assert client.get("/").status_code == 401
        log = settings.readmit_home / "log" / "login-proxy.log"
        wait_until(lambda: '"status":401' in log.read_text(), "nothing is logged", 10)


@pytest.mark.parametrize("name", ["auth.conf", "login-proxy-oidc.conf"])
def test_nginx_takes_the_configuration_of_kubernetes(tmp_path, name):
    """The host names are replaced by some that resolve here.

    The documented file for single sign-on replaces auth.conf.
    """
    for path in login_proxy.COMPONENT.glob("*.conf"):
        shutil.copy(path, tmp_path)
    if name != "auth.conf":
        shutil.copy(ROOT / "k8s" / "examples" / name, tmp_path / "auth.conf")
    for path in (tmp_path / "nginx.conf", tmp_path / "auth.conf"):
        text = path.read_text()
        for part in (*PAGES, "oauth2-proxy"):
            text = text.replace(f"http://{part}:", "http://127.0.0.1:")
        path.write_text(text)
    command = [
        find_program("nginx"),
        "-t",
        "-e",
        "stderr",
        "-p",
        str(tmp_path),
        "-c",
        str(tmp_path / "nginx.conf"),
    ]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
