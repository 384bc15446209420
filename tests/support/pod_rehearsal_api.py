"""The part of the Kubernetes API that Airflow's KubernetesExecutor uses; its pods run under podman.

Part of the rehearsal (pod_rehearsal.py): the scheduler, the pod template and the tasks are the real
ones, the cluster is not.
"""

import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Pod = dict[str, Any]
TERM = re.compile(r"([\w./-]+)\s*(!=|==?|$)\s*(.*)")
PODS = re.compile(r"^/api/v1/namespaces/[\w-]+/pods(?:/([\w.-]+))?(/log)?$")
VERBS = ["create", "delete", "get", "list", "patch", "watch"]
DISCOVERY: dict[str, dict[str, Any]] = {
    "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {
                "name": "pods",
                "singularName": "pod",
                "namespaced": True,
                "kind": "Pod",
                "verbs": VERBS,
            }
        ],
    },
}


@dataclass
class Pods:
    """The pods, and every event since the start.

    `arguments` returns a pod's words for `podman run`.
    """

    arguments: Callable[[str, Pod], list[str]]
    by_name: dict[str, Pod] = field(default_factory=dict)
    events: list[tuple[str, Pod]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def record(self, kind: str, pod: Pod) -> None:
        """Record an event and wake the watchers."""
        with self.changed:
            pod["metadata"]["resourceVersion"] = str(len(self.events) + 1)
            self.events.append((kind, deepcopy(pod)))
            self.changed.notify_all()

    def create(self, pod: Pod) -> Pod:
        """Add a pod and start it."""
        name = pod["metadata"]["name"]
        pod |= {"kind": "Pod", "apiVersion": "v1", "status": {"phase": "Pending"}}
        pod["metadata"] |= {"uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"}
        self.by_name[name] = pod
        self.record("ADDED", pod)
        threading.Thread(target=self._run, args=(name, pod), daemon=True).start()
        return pod

    def _run(self, name: str, pod: Pod) -> None:
        pod["status"] = {"phase": "Running"}
        self.record("MODIFIED", pod)
        command = ["podman", "run", f"--name={name}", *self.arguments(name, pod)]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode == 0:
            pod["status"] = {"phase": "Succeeded"}
            print(f"{name}: Succeeded", flush=True)
        else:
            pod["status"] = {"phase": "Failed"}
            print(f"{name}: Failed {process.stderr[-800:]}", flush=True)
        if name in self.by_name:
            self.record("MODIFIED", pod)

    def patch(self, name: str, change: Pod) -> Pod:
        """Merge labels and annotations."""
        pod = self.by_name[name]
        for key, values in change.get("metadata", {}).items():
            if isinstance(values, dict):
                pod["metadata"].setdefault(key, {}).update(values)
        self.record("MODIFIED", pod)
        return pod

    def delete(self, name: str) -> Pod:
        """End a pod and forget it."""
        pod = self.by_name.pop(name)
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        command = ["podman", "rm", "--force", "--time=5", name]
        subprocess.run(command, capture_output=True, check=False)
        self.record("DELETED", pod)
        return pod

    def watch(self, after: int, selector: str, seconds: float = 25) -> Iterator[tuple[str, Pod]]:
        """Yield events after a version as they come.

        Ends when nothing came for `seconds`, as the client expects.
        """
        while True:
            with self.changed:
                if len(self.events) <= after and not self.changed.wait(seconds):
                    return
                new_events = self.events[after:]
                after = len(self.events)
            for kind, pod in new_events:
                if matches(pod, selector):
                    yield kind, pod


def matches(pod: Pod, selector: str) -> bool:
    """Tell whether a pod has the labels: `a=b,c!=d`, in the forms that the executor sends."""
    labels = pod["metadata"].get("labels", {})
    for term in re.split(r",(?![^()]*\))", selector):
        if not term.strip():
            continue
        match = TERM.fullmatch(term.strip())
        assert match, f"not a form that the executor sends: {term}"
        name, operator, value = match.groups()
        if operator == "!=" and labels.get(name) == value:
            return False
        if operator.startswith("=") and labels.get(name) != value:
            return False
    return True


class Handler(BaseHTTPRequestHandler):
    """Answers in JSON; a watch is answered line by line until the client goes."""

    pods: Pods
    protocol_version = "HTTP/1.1"

    def _answer(self, body: object, status: int = 200) -> None:
        if isinstance(body, str):
            content_type = "text/plain"
            content = body.encode()
        else:
            content_type = "application/json"
            content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> Pod:
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not text:
            return {}
        return dict(json.loads(text))

    def _named(self, act: Callable[[str], object]) -> None:
        match = PODS.match(urlsplit(self.path).path)
        if match is None or match[1] not in self.pods.by_name:
            self._answer({"kind": "Status", "code": 404, "reason": "NotFound"}, 404)
        else:
            self._answer(act(match[1]))

    def do_GET(self) -> None:
        """Answer discovery, one pod, its log, the list, or a watch."""
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        selector = query.get("labelSelector", "")
        match = PODS.match(url.path)
        if url.path in DISCOVERY:
            self._answer(DISCOVERY[url.path])
        elif match and match[2]:
            self._named(_log)
        elif match and match[1]:
            self._named(self.pods.by_name.__getitem__)
        elif query.get("watch") in ("True", "true", "1"):
            self._watch(int(query.get("resourceVersion") or 0), selector)
        elif match:
            self._answer(self._pod_list(selector))
        else:
            self._answer({"kind": "List", "metadata": {}, "items": []})

    def _pod_list(self, selector: str) -> dict[str, object]:
        pods = list(self.pods.by_name.values())
        return {
            "kind": "PodList",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": str(len(self.pods.events))},
            "items": [pod for pod in pods if matches(pod, selector)],
        }

    def _watch(self, after: int, selector: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        # The client waits for a full buffer otherwise.
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for kind, pod in self.pods.watch(after, selector):
                line = json.dumps({"type": kind, "object": pod}).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            return  # the watcher went away

    def do_POST(self) -> None:
        """Create a pod."""
        self._answer(self.pods.create(self._body()), 201)

    def do_PATCH(self) -> None:
        """Change labels or annotations."""
        change = self._body()
        self._named(lambda name: self.pods.patch(name, change))

    def do_DELETE(self) -> None:
        """Delete a pod."""
        self._body()
        self._named(self.pods.delete)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing for each request."""


def _log(name: str) -> str:
    command = ["podman", "logs", name]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def serve(
    address: str, port: int, arguments: Callable[[str, Pod], list[str]]
) -> ThreadingHTTPServer:
    """Start the API in a thread and return the server."""
    handler = type("Bound", (Handler,), {"pods": Pods(arguments)})
    server = ThreadingHTTPServer((address, port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
