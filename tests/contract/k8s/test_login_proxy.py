"""Production is closed by default: requests from outside pass the log-in proxy, which authenticates.

Each rule is also shown to fail when a part of the proxy is taken away.
"""

import re
from collections.abc import Callable

import pytest

from k8s.make_secrets import missing
from tests.support import k8s

PAGES = {
    "ui": 8501,
    "api": 8000,
    "airflow": 8080,
    "mlflow": 5000,
    "docs": 8088,
    "grafana": 3000,
    "prometheus": 9090,
}
# Pages that anybody may open who reaches them, and Airflow, whose own log-in is for development.
WITHOUT_A_LOGIN = {"ui", "docs", "prometheus", "airflow"}
INSIDE_ONLY = {
    "api": ("/metrics", "/data", "/data/quarantine", "/readyz"),
    "airflow": ("/execution/", "/execution/task-instances/x/run"),
    "prometheus": ("/-/quit", "/-/reload", "/api/v1/admin/tsdb/snapshot", "/api/v1/write"),
    "mlflow": ("/metrics",),
    "grafana": ("/metrics",),
}
Rule = Callable[[list[k8s.Resource]], list[str]]
Break = Callable[[list[k8s.Resource]], object]


def servers(resources: list[k8s.Resource]) -> dict[int, str]:
    """Return the server blocks of nginx' configuration by their port."""
    text = k8s.named(resources, "ConfigMap", "login-proxy")["data"]["nginx.conf"]
    blocks = re.findall(r"(?ms)^    server \{$(.*?)^    \}$", text)
    by_port = {}
    for block in blocks:
        port = int(re.search(r"listen (\d+)", block)[1])
        by_port[port] = block
    return by_port


def locations(block: str) -> dict[str, str]:
    return dict(re.findall(r"(?ms)^        location ([^{]*) \{$(.*?)^        \}$", block))


def routed_elsewhere(resources: list[k8s.Resource]) -> list[str]:
    """Return everything that is open to the outside and is not the log-in proxy."""
    problems = [f"Ingress to {name}" for name in behind_an_ingress(resources)]
    for service in k8s.of_kind(resources, "Service"):
        if service["spec"].get("type", "ClusterIP") != "ClusterIP":
            problems.append(f"Service {k8s.name_of(service)}")
    for resource in resources:
        if resource["kind"].endswith(("Route", "Gateway")):
            problems.append(f"{resource['kind']} {k8s.name_of(resource)}")
    adapter = ("prometheus", 9090)  # from prometheus-adapter's namespace
    for part, port in k8s.from_outside(resources) - {adapter}:
        problems.append(f"NetworkPolicy to {part}:{port}")
    doors = ("login-proxy", "login-proxy:", "acme.cert-manager.io/http01-solver:")
    return [
        problem for problem in problems if problem.split()[-1].rstrip("0123456789") not in doors
    ]


def behind_an_ingress(resources: list[k8s.Resource]) -> set[str]:
    names = set()
    for ingress in k8s.of_kind(resources, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                names.add(path["backend"]["service"]["name"])
    return names


def not_running(resources: list[k8s.Resource]) -> list[str]:
    """Return what keeps the proxy from running: it needs a pod, a configuration and users."""
    if "login-proxy" not in k8s.pods(resources):
        return ["no log-in proxy"]
    pod = k8s.pods(resources)["login-proxy"]["spec"]
    [container] = pod["containers"]
    problems = []
    if container["command"][-2:] != ["-c", "/etc/login-proxy/nginx.conf"]:
        problems.append("nginx reads another file")
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    configuration = volumes[mounted["/etc/login-proxy"]].get("configMap", {})
    users = volumes[mounted["/etc/login-proxy-users"]].get("secret", {})
    if (configuration.get("name"), users.get("secretName")) != ("login-proxy", "login-proxy"):
        problems.append("its files come from elsewhere")
    if volumes[mounted["/tmp"]]["emptyDir"].get("medium") != "Memory":
        problems.append("bodies of requests lie on a disk")
    return problems


def without_a_login(resources: list[k8s.Resource]) -> list[str]:
    """Return the pages that the proxy would show to anybody."""
    data = k8s.named(resources, "ConfigMap", "login-proxy")["data"]
    problems = []
    if not re.search(r'(?m)^auth_basic "', data["auth.conf"]):
        problems.append("auth.conf requires no password")
    if not re.search(
        r"(?m)^auth_basic_user_file /etc/login-proxy-users/htpasswd;", data["auth.conf"]
    ):
        problems.append("auth.conf names no file of users")
    for page in WITHOUT_A_LOGIN:
        block = servers(resources).get(PAGES[page], "")
        if not re.search(r"(?m)^        include auth\.conf;", block):
            problems.append(f"{page}: no log-in")
    for text in [*servers(resources).values(), data["edge.conf"]]:
        if re.search(r"auth_(basic|request) off|satisfy any", text):
            problems.append("a way around the log-in")
    return problems


def routed_to_the_outside(resources: list[k8s.Resource]) -> list[str]:
    """Return the paths that are for inside only, and the pages that lead somewhere else."""
    problems = []
    for page, port in PAGES.items():
        block = servers(resources).get(port, "")
        upstreams = set(re.findall(r"proxy_pass (\S+);", block))
        if upstreams != {f"http://{page}:{port}"}:
            problems.append(f"{page} leads to {upstreams}")
        blocked = []
        for pattern, body in locations(block).items():
            if pattern.startswith("~ ") and body.split() == ["return", "404;"]:
                blocked.append(pattern.removeprefix("~ "))
        for path in INSIDE_ONLY.get(page, ()):
            if not any(re.search(pattern, path) for pattern in blocked):
                problems.append(f"{page}{path} is routed")
    return problems


def api_without_keys(resources: list[k8s.Resource]) -> list[str]:
    """Return the parts without a key: the API requires keys, and the web form has one."""
    problems = []
    for part, name in (("api", "API_KEYS"), ("ui", "API_KEY")):
        [container] = k8s.pods(resources)[part]["spec"]["containers"]
        if ("secret", "api-keys", name) not in k8s.read_by(container):
            problems.append(f"{part}: no {name}")
    return problems


def believing_callers(resources: list[k8s.Resource]) -> list[str]:
    """Return why a caller could choose the address in the log and in the limit of connections."""
    service = k8s.named(resources, "Service", "login-proxy")
    edge = k8s.named(resources, "ConfigMap", "login-proxy")["data"]["edge.conf"]
    is_direct = service["spec"].get("type", "ClusterIP") != "ClusterIP"
    if is_direct and re.search(r"(?m)^[^#]*(real_ip|\$http_x_)", edge):
        return ["a node's port believes X-Forwarded-*"]
    return []


RULES: dict[str, Rule] = {
    "routed elsewhere": routed_elsewhere,
    "not running": not_running,
    "without a log-in": without_a_login,
    "routed to the outside": routed_to_the_outside,
    "API without keys": api_without_keys,
    "believing callers": believing_callers,
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", k8s.OVERLAYS)
def test_the_overlay_is_closed(name: str, rule: str) -> None:
    assert RULES[rule](k8s.overlay(name)) == []


def edited(file: str, old: str, new: str) -> Break:
    def change(resources: list[k8s.Resource]) -> None:
        data = k8s.named(resources, "ConfigMap", "login-proxy")["data"]
        assert old in data[file]
        data[file] = data[file].replace(old, new)

    return change


def led_to(service: str, port: int) -> Break:
    def change(resources: list[k8s.Resource]) -> None:
        rule = k8s.named(resources, "Ingress", "readmit")["spec"]["rules"][0]
        backend = {"service": {"name": service, "port": {"number": port}}}
        rule["http"]["paths"][0]["backend"] = backend

    return change


def opened(part: str, port: int) -> Break:
    policy = {
        "kind": "NetworkPolicy",
        "metadata": {"name": "x"},
        "spec": {
            "podSelector": {"matchLabels": {k8s.NAME: part}},
            "ingress": [{"ports": [{"port": port}]}],
        },
    }

    def change(resources: list[k8s.Resource]) -> None:
        resources.append(policy)

    return change


def without_proxy(resources: list[k8s.Resource]) -> None:
    resources.remove(k8s.named(resources, "Deployment", "login-proxy"))


def with_a_node_port(resources: list[k8s.Resource]) -> None:
    k8s.named(resources, "Service", "prometheus")["spec"]["type"] = "NodePort"


def with_a_node_port_of_the_proxy(resources: list[k8s.Resource]) -> None:
    k8s.named(resources, "Service", "login-proxy")["spec"]["type"] = "NodePort"


def with_a_route(resources: list[k8s.Resource]) -> None:
    resources.append({"kind": "HTTPRoute", "metadata": {"name": "x"}})


def with_bodies_on_a_disk(resources: list[k8s.Resource]) -> None:
    k8s.pods(resources)["login-proxy"]["spec"]["volumes"][0]["emptyDir"] = {}


def with_another_configuration(resources: list[k8s.Resource]) -> None:
    [container] = k8s.pods(resources)["login-proxy"]["spec"]["containers"]
    container["command"] = ["nginx", "-c", "/etc/nginx/nginx.conf"]


def without_key(part: str) -> Break:
    def change(resources: list[k8s.Resource]) -> None:
        [container] = k8s.pods(resources)[part]["spec"]["containers"]
        for variable in list(container["env"]):
            if "API_KEY" in variable["name"]:
                container["env"].remove(variable)

    return change


BROKEN: dict[str, tuple[str, Break]] = {
    "the proxy is gone": ("not running", without_proxy),
    "the form has an Ingress of its own": ("routed elsewhere", led_to("ui", 8501)),
    "the docs site has an Ingress of its own": ("routed elsewhere", led_to("docs", 8088)),
    "a page has a node port": ("routed elsewhere", with_a_node_port),
    "a route of a Gateway": ("routed elsewhere", with_a_route),
    "a page is open to the network": ("routed elsewhere", opened("docs", 8088)),
    "metrics are open to the network": ("routed elsewhere", opened("api", 8000)),
    "bodies on a disk": ("not running", with_bodies_on_a_disk),
    "another configuration": ("not running", with_another_configuration),
    "no password": (
        "without a log-in",
        edited("auth.conf", 'auth_basic "readmit"', "auth_basic off"),
    ),
    "no users": ("without a log-in", edited("auth.conf", "auth_basic_user_file", "# ")),
    "no log-in before a page": (
        "without a log-in",
        edited("nginx.conf", "listen 8088;\n        include auth.conf;", "listen 8088;"),
    ),
    "a hole in the log-in": (
        "without a log-in",
        edited("nginx.conf", "proxy_read_timeout 1d;", "auth_basic off;"),
    ),
    "metrics are routed": ("routed to the outside", edited("nginx.conf", "metrics|readyz|", "")),
    "data is routed": ("routed to the outside", edited("nginx.conf", "|data)", ")")),
    "tasks' reports are routed": (
        "routed to the outside",
        edited("nginx.conf", "^/execution(/|$)", "^/executions(/|$)"),
    ),
    "Prometheus can be ended": ("routed to the outside", edited("nginx.conf", "^/(-|", "^/(")),
    "a page leads elsewhere": (
        "routed to the outside",
        edited("nginx.conf", "http://docs:8088", "http://s3:8333"),
    ),
    "the API has no keys": ("API without keys", without_key("api")),
    "a port that believes callers": ("believing callers", with_a_node_port_of_the_proxy),
    "the form has no key": ("API without keys", without_key("ui")),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_rule_can_fail(name: str) -> None:
    rule, change = BROKEN[name]
    resources = k8s.overlay("production")
    change(resources)
    assert RULES[rule](resources)


def test_no_page_reads_a_secret_of_the_proxy() -> None:
    for where, container, pod in k8s.every_container(k8s.everything()):
        if where.startswith("login-proxy/"):
            continue
        for kind, name, _ in [*k8s.read_by(container), *k8s.mounted_by(pod)]:
            assert (kind, name) != ("secret", "login-proxy"), where


def test_the_generated_users_file_holds_no_password() -> None:
    values = k8s.named(missing({}), "Secret", "login-proxy")["stringData"]
    user, _, digest = values["htpasswd"].strip().partition(":")
    assert user == "readmit"
    assert digest.startswith("$2b$")
    assert values["PROXY_PASSWORD"] not in values["htpasswd"]
