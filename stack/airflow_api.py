"""A client for the part of Airflow's REST API that the stack uses."""

import time
from collections.abc import Sequence
from typing import Any

import httpx

from readmit.settings import StackSettings
from stack.programs import reveal

ACTIVE = ("queued", "running")
# A list of tasks costs the api-server 25 ms of a core, which the tasks themselves could use.
SECONDS_BETWEEN_LISTS = 2.0

Task = dict[str, Any]  # a task of a run, as the API has it


class AirflowFailed(Exception):
    """Airflow refused a request, or a run failed; the message says which and why."""


class Airflow:
    """A client that logs in as `admin` and renews its token."""

    def __init__(self, settings: StackSettings) -> None:
        """Create a client.

        Args:
            settings: the port, the password of `admin`, and the number of retries, one second
                apart, while Airflow does not answer (READMIT_PATIENCE_SECONDS).
        """
        self._patience = settings.patience_seconds
        self._url = f"http://127.0.0.1:{settings.airflow_port}"
        self._password = reveal(settings.airflow_admin_password)
        self._http = httpx.Client(base_url=f"{self._url}/api/v2", timeout=30, trust_env=False)
        self._progress = ""
        self._progress_of: tuple[str, str] | None = None
        self._listed_at = 0.0

    def dag_ids(self) -> set[str]:
        """Return the ids of the DAGs that Airflow has read."""
        dags = self._request("GET", "/dags", params={"limit": 100})["dags"]
        return {str(dag["dag_id"]) for dag in dags}

    def import_errors(self) -> list[str]:
        """Return one line per DAG file that cannot be read."""
        lines = []
        for error in self._request("GET", "/importErrors")["import_errors"]:
            last_line = error["stack_trace"].strip().splitlines()[-1]
            lines.append(f"{error['filename']}: {last_line}")
        return lines

    def pause(self, dag_id: str, *, is_paused: bool = True) -> None:
        """Pause a DAG, so that neither its schedule nor an Asset starts a run, or unpause it."""
        self._request("PATCH", f"/dags/{dag_id}", json={"is_paused": is_paused})

    def trigger(self, dag_id: str) -> str:
        """Start a run and return its id."""
        run = self._request("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None})
        return str(run["dag_run_id"])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the latest runs, newest first."""
        order = {"order_by": "-run_after", "limit": 50}
        return list(self._request("GET", f"/dags/{dag_id}/dagRuns", params=order)["dag_runs"])

    def active(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the runs that are queued or running."""
        return [run for run in self.runs(dag_id) if run["state"] in ACTIVE]

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return one run."""
        return dict(self._request("GET", f"/dags/{dag_id}/dagRuns/{run_id}"))

    def tasks(self, dag_id: str, run_id: str) -> list[Task]:
        """Return the task instances of a run."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return list(self._request("GET", path, params={"limit": 200})["task_instances"])

    def task_progress(self, dag_id: str, run_id: str) -> str:
        """Return how many tasks of a run have finished, and the first one that runs now.

        The answer may be two seconds old: callers ask more often, for the end of the run.
        """
        is_old = time.monotonic() - self._listed_at > SECONDS_BETWEEN_LISTS
        if is_old or self._progress_of != (dag_id, run_id):
            self._progress = progress_of(self.tasks(dag_id, run_id))
            self._progress_of = (dag_id, run_id)
            self._listed_at = time.monotonic()
        return self._progress

    def task_state(self, dag_id: str, run_id: str, task_id: str) -> str:
        """Return the state of a task of a run; an empty text before it has one."""
        return state_of(task_id, self.tasks(dag_id, run_id))

    def failed_task(self, dag_id: str, run_id: str) -> str:
        """Return the task that failed first in a run, or an empty text."""
        failed = [task for task in self.tasks(dag_id, run_id) if task["state"] == "failed"]
        if not failed:
            return ""
        first = min(failed, key=lambda task: task["end_date"] or "")
        return str(first["task_id"])

    def _request(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401 (JSON)
        """Send a request, and retry while there is no response.

        The supervisor restarts a dead api-server within about ten seconds; on a cluster a new pod
        takes minutes on a busy node, and the forwarded port is made again.
        """
        for attempt in range(self._patience + 1):
            try:
                response = self._http.request(method, path, **options)
                if response.status_code == httpx.codes.UNAUTHORIZED:
                    self._log_in()
                    continue
                if response.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                    break
            except httpx.TransportError as error:
                if attempt == self._patience:
                    raise AirflowFailed(
                        f"Airflow does not answer at {self._url}: {error}"
                    ) from error
            time.sleep(1)
        if response.is_error:
            raise AirflowFailed(
                f"Airflow refused {method} {path}: {response.status_code} {response.text[:300]}"
            )
        return response.json()

    def _log_in(self) -> None:
        credentials = {"username": "admin", "password": self._password}
        url = f"{self._url}/auth/token"
        response = httpx.post(url, json=credentials, timeout=30, trust_env=False)
        if response.is_server_error:
            raise httpx.RemoteProtocolError(f"the log-in answers {response.status_code}")
        if response.is_error:
            raise AirflowFailed(
                "Airflow refuses the password of .env (on a cluster: of the Secret airflow-admin):"
                f" {response.status_code} {response.text[:200]}"
            )
        self._http.headers["Authorization"] = f"Bearer {response.json()['access_token']}"


def state_of(task_id: str, tasks: Sequence[Task]) -> str:
    """Return the state of one of the tasks of a run; an empty text before it has one."""
    for task in tasks:
        if task["task_id"] == task_id:
            return str(task["state"] or "")
    return ""


def progress_of(tasks: Sequence[Task]) -> str:
    """Return how many of the tasks have finished, and the first one that runs now."""
    running = ""
    n_finished = 0
    for task in tasks:
        if task["state"] in ("success", "skipped"):
            n_finished += 1
        elif task["state"] in ("running", "deferred") and not running:
            running = f", {task['task_id']}"
    return f"{n_finished}/{len(tasks)} tasks{running}"
