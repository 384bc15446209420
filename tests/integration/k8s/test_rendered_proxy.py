"""nginx itself with the log-in proxy's rendered ConfigMap and generated Secret; also the real form.

Only addresses, ports and paths are others than in the pod.
"""

import base64
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, expect

from k8s.make_secrets import missing
from readmit.contract.definition import Contract
from stack import login_proxy
from stack.machine import find_program
from stack.postgres import as_ordinary_user, give_to_ordinary_user, reachable
from tests.support import browser as chromium
from tests.support import full_form, k8s
from tests.support import login_proxy as proxies
from tests.support.services import end, free_port, wait_until

ASKING = ("ui", "docs", "airflow", "prometheus")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
LINE = b"over the web socket"


@dataclass(frozen=True)
class Rendered:
    """A proxy that answers: the port of each page, and its user."""

    ports: dict[str, int]
    login: tuple[str, str]
    log: Path

    def address(self, part: str) -> str:
        return f"http://127.0.0.1:{self.ports[part]}"

    def request(
        self,
        part: str,
        path: str = "/",
        *,
        login: tuple[str, str] | None = None,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        content: bytes = b"",
    ) -> httpx.Response:
        with httpx.Client(base_url=self.address(part), trust_env=False, timeout=60) as client:
            return client.request(
                method, path, auth=login or self.login, headers=headers, content=content
            )


@contextmanager
def running(
    folder: Path, upstreams: dict[str, int], changed: tuple[str, str] = ("", "")
) -> Iterator[Rendered]:
    """Run the pod's command.

    Args:
        folder: for its files.
        upstreams: the port of each part that there is.
        changed: a directive of the configuration, and the one in its place.
    """
    home = reachable(folder)
    resources = k8s.overlay("production")  # behind an ingress
    [container] = k8s.pods(resources)["login-proxy"]["spec"]["containers"]
    files = dict(k8s.named(resources, "ConfigMap", "login-proxy")["data"])
    secret = k8s.named(missing({}), "Secret", "login-proxy")["stringData"]
    ports = {page.part: free_port() for page in login_proxy.PAGES}
    health_port = free_port()
    text = files["nginx.conf"]
    text = text.replace("listen 8081;", f"listen 127.0.0.1:{health_port};")
    for page in login_proxy.PAGES:
        upstream = upstreams.get(page.part, health_port)
        text = text.replace(f"listen {page.port};", f"listen 127.0.0.1:{ports[page.part]};")
        text = text.replace(f"http://{page.part}:{page.port};", f"http://127.0.0.1:{upstream};")
    files["nginx.conf"] = text
    files["auth.conf"] = files["auth.conf"].replace("/etc/login-proxy-users/", f"{home}/")
    files["htpasswd"] = secret["htpasswd"]
    directive, replacement = changed
    assert directive in "".join(files.values())
    for name, text in files.items():
        (home / name).write_text(text.replace(directive, replacement) if directive else text)
        give_to_ordinary_user(home / name)
    give_to_ordinary_user(home)
    words = []
    for word in container["command"][1:]:
        words.append(word.replace("/tmp/", f"{home}/").replace("/etc/login-proxy", str(home)))
    command = [*as_ordinary_user(), find_program("nginx") or "nginx", *words]
    log = home / "log"
    with log.open("wb") as file:
        give_to_ordinary_user(log)
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        health = f"http://127.0.0.1:{health_port}/livez"
        wait_until(lambda: proxies.is_success(health), "nginx does not answer", seconds=20)
        yield Rendered(ports, ("readmit", secret["PROXY_PASSWORD"]), log)
    finally:
        end(process)


@pytest.fixture(scope="module")
def echoes() -> Iterator[dict[str, int]]:
    with proxies.echoes() as ports:
        yield {name.removesuffix("_port"): port for name, port in ports.items()}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, echoes: dict[str, int]) -> Iterator[Rendered]:
    with running(tmp_path_factory.mktemp("rendered"), echoes) as rendered:
        yield rendered


@pytest.mark.parametrize("part", ASKING)
def test_the_generated_password_passes_and_another_does_not(proxy: Rendered, part: str) -> None:
    answer = proxy.request(part, "/page?day=1")
    assert answer.json()["path"] == "/page?day=1"
    assert "authorization" not in answer.json()["headers"]
    for login in (("readmit", "wrong"), ("admin", proxy.login[1]), ("", "")):
        assert proxy.request(part, login=login).status_code == 401


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ("api", "/metrics"),
        ("api", "/data/quarantine"),
        ("airflow", "/execution/x"),
        ("prometheus", "/-/quit"),
        ("mlflow", "/metrics"),
        ("grafana", "/metrics"),
    ],
)
def test_what_is_for_inside_only_is_not_routed(proxy: Rendered, part: str, path: str) -> None:
    assert proxy.request(part, path, method="POST").status_code == 404


@pytest.mark.parametrize(
    ("part", "n_bytes", "status"),
    [
        ("api", 16_000_000, 200),
        ("api", 17_000_000, 413),
        ("ui", 20_000_000, 200),
        ("ui", 23_000_000, 413),
        ("docs", 2_000_000, 413),
    ],
)
def test_a_body_has_a_limit_by_page(proxy: Rendered, part: str, n_bytes: int, status: int) -> None:
    answer = proxy.request(part, "/upload", method="POST", content=bytes(n_bytes))
    assert answer.status_code == status


def test_the_caller_is_who_connects_unless_an_ingress_stands_before(
    proxy: Rendered, echoes: dict[str, int], tmp_path: Path
) -> None:
    claims = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    arrived = proxy.request("api", headers=claims).json()["headers"]
    assert arrived["x-forwarded-for"] == "127.0.0.1"
    # This machine as an address of the cluster, from which an ingress controller connects.
    of_cluster = ("set_real_ip_from 10.0.0.0/8;", "set_real_ip_from 127.0.0.0/8;")
    with running(tmp_path, echoes, of_cluster) as behind:
        arrived = behind.request("api", headers=claims).json()["headers"]
    assert arrived["x-forwarded-for"] == "203.0.113.9"
    assert arrived["x-forwarded-proto"] == "https"


@contextmanager
def silent_server() -> Iterator[int]:
    """Serve a part that opens a web socket and says something once it is spoken to, or nothing."""

    def answer(connection: socket.socket) -> None:
        with connection:
            if b"Upgrade: websocket" in connection.recv(8192):
                connection.sendall(SWITCH)
            while connection.recv(8192):
                connection.sendall(LINE)

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_a_page_has_a_time_limit_and_an_open_web_socket_has_not(tmp_path: Path) -> None:
    """The limit of pages is a second here; only `/_stcore/stream` has one of its own, of a day."""
    a_second = ("proxy_read_timeout 120s;", "proxy_read_timeout 1s;")
    with silent_server() as port, running(tmp_path, {"ui": port}, a_second) as rendered:
        assert rendered.request("ui", "/page").status_code == 504
        token = base64.b64encode(":".join(rendered.login).encode()).decode()
        head = (
            "GET /_stcore/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nAuthorization: Basic {token}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", rendered.ports["ui"]), 20) as stream:
            stream.sendall(head.encode())
            assert stream.recv(4096).startswith(b"HTTP/1.1 101")
            stream.settimeout(3)
            with pytest.raises(TimeoutError):
                stream.recv(1)
            stream.sendall(b"?")
            assert stream.recv(4096) == LINE


@pytest.fixture(scope="module")
def form_port(tmp_path_factory: pytest.TempPathFactory, contract: Contract) -> Iterator[int]:
    with full_form.running(tmp_path_factory.mktemp("form"), contract) as url:
        yield urlsplit(url).port or 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.running() as started:
        yield started


def use_the_form(browser: Browser, address: str, login: tuple[str, str], file: Path) -> None:
    """Open the real form with its web socket, and upload a file that waits in the proxy."""
    user, password = login
    page = browser.new_page(
        ignore_https_errors=True,
        http_credentials={"username": user, "password": password},
        reduced_motion="reduce",
    )
    expect.set_options(timeout=30_000)
    page.goto(f"{address}/batch")
    chromium.wait_until_drawn(page)
    page.locator("input[type=file]").first.set_input_files(file)
    expect(page.get_by_text(file.name)).to_be_visible()
    chromium.wait_until_drawn(page)
    page.close()


@pytest.fixture
def large_file(tmp_path: Path) -> Path:
    """A file of 5 MB, which is more than nginx takes unless it is told to."""
    file = tmp_path / "patients.csv"
    file.write_text("race,gender\n" + "Other,Female\n" * 400_000)
    return file


def test_the_real_form_works_through_the_proxy_of_kubernetes(
    browser: Browser, form_port: int, tmp_path: Path, large_file: Path
) -> None:
    with running(tmp_path, {"ui": form_port}) as rendered:
        use_the_form(browser, rendered.address("ui"), rendered.login, large_file)


def test_the_real_form_works_through_the_proxy_of_one_machine(
    browser: Browser, form_port: int, tmp_path: Path, large_file: Path
) -> None:
    with proxies.running(tmp_path, ui_port=form_port) as running_proxy:
        use_the_form(browser, running_proxy.address("ui"), proxies.LOGIN, large_file)
