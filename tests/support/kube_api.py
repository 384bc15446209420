"""An API server in memory, of which kubectl needs this much to create, apply and patch.

It stores objects as they come, without defaults, admission or controllers. What kubectl itself
decides is real: the three-way merge of `kubectl apply`, and whether there is anything to send.
"""

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

Resource = dict[str, Any]
CLUSTER_WIDE = ("Namespace",)
VERBS = ["create", "delete", "get", "list", "patch", "update"]


def plural(kind: str) -> str:
    """Return the name of a kind in paths."""
    kind = kind.lower()
    if kind.endswith("y"):
        return f"{kind[:-1]}ies"
    return f"{kind}s"


def merge(target: Resource, patch: Mapping[str, Any]) -> Resource:
    """Return `target` with a JSON merge patch (RFC 7396)."""
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = merge(merged.get(key) or {}, value)
        else:
            merged[key] = value
    return merged


class KubeApi:
    """The objects by path, the requests that changed one, and kubectl's configuration."""

    def __init__(self, kinds: Mapping[str, set[str]]) -> None:
        """Serve these kinds, by group and version."""
        self.kinds = kinds
        self.objects: dict[str, Resource] = {}
        self.changes: list[tuple[str, str, Any]] = []

    def discover(self, path: str) -> Resource | None:
        """Return what kubectl asks for first: which kinds there are."""
        groups = [version for version in self.kinds if "/" in version]
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            entries = []
            for version in groups:
                entry = {"groupVersion": version, "version": version.partition("/")[2]}
                name = version.partition("/")[0]
                entries.append({"name": name, "versions": [entry], "preferredVersion": entry})
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": entries}
        version = path.removeprefix("/apis/").removeprefix("/api/")
        if version not in self.kinds:
            return None
        resources = []
        for kind in sorted(self.kinds[version]):
            resources.append(
                {
                    "name": plural(kind),
                    "singularName": kind.lower(),
                    "kind": kind,
                    "namespaced": kind not in CLUSTER_WIDE,
                    "verbs": VERBS,
                }
            )
        return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}

    def listed(self, path: str) -> Resource:
        """Return the objects below a path."""
        items = []
        for key, value in self.objects.items():
            if key.rpartition("/")[0] == path:
                items.append(value)
        return {"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}

    def is_collection(self, path: str) -> bool:
        """Tell whether a path names a kind, not an object."""
        names = set()
        for kinds in self.kinds.values():
            names.update(map(plural, kinds))
        return path.rpartition("/")[2] in names


class _Handler(BaseHTTPRequestHandler):
    api: KubeApi

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        document = self.api.discover(path) or self.api.objects.get(path)
        if document is None and self.api.is_collection(path):
            document = self.api.listed(path)
        self._answer(document)

    def do_POST(self) -> None:
        resource = self._body()
        for key, value in resource.pop("stringData", {}).items():
            resource.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()
        path = f"{urlsplit(self.path).path}/{resource['metadata']['name']}"
        self._store("POST", path, resource, resource)

    def do_PATCH(self) -> None:
        path = urlsplit(self.path).path
        patch = self._body()
        if self.headers["Content-Type"].startswith("application/apply-patch"):
            self._store("APPLY", path, patch, patch)
        else:
            self._store("PATCH", path, patch, merge(self.api.objects[path], patch))

    def do_DELETE(self) -> None:
        path = urlsplit(self.path).path
        self.api.changes.append(("DELETE", path, None))
        self._answer(self.api.objects.pop(path, None))

    def _body(self) -> Resource:
        text = self.rfile.read(int(self.headers["Content-Length"]))
        return dict(yaml.load(text, Loader=yaml.CSafeLoader))

    def _store(self, verb: str, path: str, change: Resource, resource: Resource) -> None:
        # kubectl always sends the selector of a budget, which is replaced as a whole.
        if self.api.objects.get(path) != resource:
            self.api.changes.append((verb, path, change))
        self.api.objects[path] = resource
        self._answer(resource)

    def _answer(self, document: Resource | None) -> None:
        status = 200
        if document is None:
            status = 404
            document = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def served(resources: list[Resource], folder: Path) -> Iterator[tuple[KubeApi, str]]:
    """Serve the kinds of these resources; yields the server and a kubeconfig with a context `c`."""
    kinds: dict[str, set[str]] = {"v1": {"Secret", "ConfigMap", "Pod", "Namespace"}}
    for resource in resources:
        kinds.setdefault(resource["apiVersion"], set()).add(resource["kind"])
    api = KubeApi(kinds)
    handler = type("Handler", (_Handler,), {"api": api})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
        ],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config), encoding="utf-8")
    try:
        yield api, str(path)
    finally:
        server.shutdown()
        server.server_close()
