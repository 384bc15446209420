"""As much of the Kubernetes API as Airflow's KubernetesExecutor asks of it; a pod that it creates runs under podman.

Part of the rehearsal: the scheduler, the pod template and the tasks are the real ones, the cluster is not.
"""

import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Pod = dict[str, Any]
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
    """The pods, and every event since the start; `arguments` turns a pod into the words after `podman run`."""

    arguments: Callable[[str, Pod], list[str]]
    known: dict[str, Pod] = field(default_factory=dict)
    events: list[tuple[str, Pod]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def note(self, kind: str, pod: Pod) -> None:
        """Write down an event and wake whoever watches."""
        with self.changed:
            pod["metadata"]["resourceVersion"] = str(len(self.events) + 1)
            self.events.append((kind, json.loads(json.dumps(pod))))
            self.changed.notify_all()

    def create(self, pod: Pod) -> Pod:
        """Take a pod in and start it."""
        name = pod["metadata"]["name"]
        pod |= {"kind": "Pod", "apiVersion": "v1", "status": {"phase": "Pending"}}
        pod["metadata"] |= {"uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"}
        self.known[name] = pod
        self.note("ADDED", pod)
        threading.Thread(target=self._run, args=(name, pod), daemon=True).start()
        return pod

    def _run(self, name: str, pod: Pod) -> None:
        pod["status"] = {"phase": "Running"}
        self.note("MODIFIED", pod)
        words = ["podman", "run", f"--name={name}", *self.arguments(name, pod)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        pod["status"] = {"phase": "Succeeded" if done.returncode == 0 else "Failed"}
        print(
            f"{name}: {pod['status']['phase']} {'' if done.returncode == 0 else done.stderr[-800:]}",
            flush=True,
        )
        if name in self.known:
            self.note("MODIFIED", pod)

    def patch(self, name: str, change: Pod) -> Pod:
        """Merge labels and annotations."""
        pod = self.known[name]
        for key, values in change.get("metadata", {}).items():
            if isinstance(values, dict):
                pod["metadata"].setdefault(key, {}).update(values)
        self.note("MODIFIED", pod)
        return pod

    def delete(self, name: str) -> Pod:
        """End a pod and forget it."""
        pod = self.known.pop(name)
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        subprocess.run(
            ["podman", "rm", "--force", "--time=5", name], capture_output=True, check=False
        )
        self.note("DELETED", pod)
        return pod

    def watch(self, after: int, selector: str, seconds: float = 25) -> Iterator[tuple[str, Pod]]:
        """Give events after a version as they come; ends when nothing came for `seconds`, as the client expects."""
        while True:
            with self.changed:
                if len(self.events) <= after and not self.changed.wait(seconds):
                    return
                fresh, after = self.events[after:], len(self.events)
            yield from ((kind, pod) for kind, pod in fresh if matches(pod, selector))


def matches(pod: Pod, selector: str) -> bool:
    """Tell whether a pod has the labels: `a=b,c!=d`, in the forms that the executor sends."""
    labels = pod["metadata"].get("labels", {})
    for term in filter(None, re.split(r",(?![^()]*\))", selector)):
        name, operator, value = re.fullmatch(
            r"([\w./-]+)\s*(!=|==?|$)\s*(.*)", term.strip()
        ).groups()  # type: ignore[union-attr]
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
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header(
            "Content-Type", "text/plain" if isinstance(body, str) else "application/json"
        )
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _body(self) -> Pod:
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return dict(json.loads(text)) if text else {}

    def _named(self, act: Callable[[str], object]) -> None:
        match = PODS.match(urlsplit(self.path).path)
        if match is None or match[1] not in self.pods.known:
            self._answer({"kind": "Status", "code": 404, "reason": "NotFound"}, 404)
        else:
            self._answer(act(match[1]))

    def do_GET(self) -> None:
        """Discovery, one pod, its log, the list, or a watch."""
        asked = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        match, selector = PODS.match(asked.path), query.get("labelSelector", "")
        if asked.path in DISCOVERY:
            self._answer(DISCOVERY[asked.path])
        elif match and match[2]:
            self._named(_log)
        elif match and match[1]:
            self._named(lambda name: self.pods.known[name])
        elif query.get("watch") in ("True", "true", "1"):
            self._watch(int(query.get("resourceVersion") or 0), selector)
        elif match:
            version = {"resourceVersion": str(len(self.pods.events))}
            items = [pod for pod in list(self.pods.known.values()) if matches(pod, selector)]
            self._answer(
                {"kind": "PodList", "apiVersion": "v1", "metadata": version, "items": items}
            )
        else:
            self._answer({"kind": "List", "metadata": {}, "items": []})

    def _watch(self, after: int, selector: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header(
            "Transfer-Encoding", "chunked"
        )  # the client waits for a full buffer otherwise
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
    return subprocess.run(
        ["podman", "logs", name], capture_output=True, text=True, check=False
    ).stdout


def serve(
    address: str, port: int, arguments: Callable[[str, Pod], list[str]]
) -> ThreadingHTTPServer:
    """Start the API in a thread and return the server."""
    handler = type("Bound", (Handler,), {"pods": Pods(arguments)})
    server = ThreadingHTTPServer((address, port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
