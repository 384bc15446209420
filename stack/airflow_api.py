"""Airflow's REST API, as far as the stack needs it."""

import time
from typing import Any

import httpx

from readmit.settings import StackSettings
from stack.programs import reveal

ACTIVE = ("queued", "running")


class AirflowFailed(Exception):
    """Airflow refused a request or a run ended badly; the message says which and why."""


class Airflow:
    """A client that logs in as `admin` and renews its token."""

    def __init__(self, settings: StackSettings, patience: int = 20) -> None:
        """`patience`: how often a question is asked again, a second apart, while there is no answer."""
        self._patience = patience
        self._url = f"http://127.0.0.1:{settings.airflow_port}"
        self._password = reveal(settings.airflow_admin_password)
        self._http = httpx.Client(base_url=f"{self._url}/api/v2", timeout=30)

    def dag_ids(self) -> set[str]:
        """Return the DAGs that are known."""
        return {
            str(dag["dag_id"]) for dag in self._ask("GET", "/dags", params={"limit": 100})["dags"]
        }

    def import_errors(self) -> list[str]:
        """Return one line per DAG file that cannot be read."""
        errors = self._ask("GET", "/importErrors")["import_errors"]
        return [
            f"{error['filename']}: {error['stack_trace'].strip().splitlines()[-1]}"
            for error in errors
        ]

    def pause(self, dag_id: str, *, is_paused: bool = True) -> None:
        """Stop schedule and Assets from starting runs of a DAG, or let them."""
        self._ask("PATCH", f"/dags/{dag_id}", json={"is_paused": is_paused})

    def trigger(self, dag_id: str) -> str:
        """Start a run; returns its id."""
        return str(
            self._ask("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None})["dag_run_id"]
        )

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the latest runs, newest first."""
        order = {"order_by": "-run_after", "limit": 50}
        return list(self._ask("GET", f"/dags/{dag_id}/dagRuns", params=order)["dag_runs"])

    def active(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the runs that are queued or running."""
        return [run for run in self.runs(dag_id) if run["state"] in ACTIVE]

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return one run."""
        return dict(self._ask("GET", f"/dags/{dag_id}/dagRuns/{run_id}"))

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return list(self._ask("GET", path, params={"limit": 200})["task_instances"])

    def at_work(self, dag_id: str, run_id: str) -> str:
        """Return how many tasks of a run are done and one that runs now, as a short text."""
        tasks = self.tasks(dag_id, run_id)
        running = [task["task_id"] for task in tasks if task["state"] in ("running", "deferred")]
        done = sum(task["state"] in ("success", "skipped") for task in tasks)
        return f"{done}/{len(tasks)} tasks" + (f", {running[0]}" if running else "")

    def failed_task(self, dag_id: str, run_id: str) -> str:
        """Return the task that failed first in a run, or an empty text."""
        failed = [task for task in self.tasks(dag_id, run_id) if task["state"] == "failed"]
        failed.sort(key=lambda task: task["end_date"] or "")
        return str(failed[0]["task_id"]) if failed else ""

    def _ask(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401 (JSON)
        """Ask until there is an answer: the supervisor restarts an api-server that died in about ten seconds."""
        for attempt in range(self._patience + 1):
            try:
                answer = self._http.request(method, path, **options)
                if answer.status_code == httpx.codes.UNAUTHORIZED:
                    self._log_in()
                    continue
                if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                    break
            except httpx.TransportError as error:
                if attempt == self._patience:
                    raise AirflowFailed(
                        f"Airflow does not answer at {self._url}: {error}"
                    ) from error
            time.sleep(1)
        if answer.is_error:
            raise AirflowFailed(
                f"Airflow refused {method} {path}: {answer.status_code} {answer.text[:300]}"
            )
        return answer.json()

    def _log_in(self) -> None:
        asked = {"username": "admin", "password": self._password}
        answer = httpx.post(f"{self._url}/auth/token", json=asked, timeout=30)
        if answer.is_error:
            raise AirflowFailed(
                f"Airflow refuses the password of .env: {answer.status_code} {answer.text[:200]}"
            )
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
