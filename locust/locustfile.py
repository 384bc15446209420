"""Users of the API: single predictions, batches, and people with the web form.

Payloads come from the served contract.

`locust -f locust/locustfile.py --host http://127.0.0.1:8000`; an answer that is not one is a
failure, whatever its status, and so is a connection error. Think times are stated per user class.
Each process reads the contract once, when the test starts. LOAD_ROWS names a JSON file with rows to
send instead (`capacity.py` samples them from the mart).
"""

import logging
import random
import sys

from load_target import confirm_target
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner
from payloads import Row, document, headers, is_prediction, rows_of

from locust import FastHttpUser, between, events, task
from readmit import open_files
from readmit.confirmation import NotConfirmed

log = logging.getLogger(__name__)
ROWS_PER_BATCH = 100
PAYLOADS: list[Row] = []  # of this process


def ask_before(environment: Environment, **_: object) -> None:
    """End before a server of another machine gets a request, unless somebody confirms it.

    The command line names the host or, later, Locust's page; a worker has its master's.
    """
    if not environment.host or isinstance(environment.runner, WorkerRunner):
        return
    try:
        confirm_target(environment.host)
    except NotConfirmed as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


events.init.add_listener(ask_before)
events.test_start.add_listener(ask_before)


def prepare(environment: Environment, **_: object) -> None:
    """Make the payloads once per process, before the first user; a master has no users."""
    if not isinstance(environment.runner, MasterRunner):
        PAYLOADS[:] = rows_of(environment.host or "")


events.test_start.add_listener(prepare)


def allow_connections(environment: Environment, **_: object) -> None:  # noqa: ARG001 (locust's)
    """Raise the limit of open files: each user has a connection."""
    limit_too_low = open_files.raise_limit()
    if limit_too_low:
        log.warning(limit_too_low)


events.init.add_listener(allow_connections)


class ApiUser(FastHttpUser):
    """The base of all users: the payloads of their process, and the check of an answer."""

    abstract = True
    wait_time = between(0.5, 1.5)
    default_headers = headers()

    def send(self, path: str, body: Row, n: int = 1) -> None:
        """Post a request; an answer that is not a prediction for `n` stays is a failure."""
        with self.client.post(path, json=body, catch_response=True) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
            elif not is_prediction(response.text, n):
                response.failure("not a prediction")


class SingleUser(ApiUser):
    """A hospital system: one stay at a time, about one a second."""

    weight = 8

    @task
    def predict(self) -> None:
        """Send one stay."""
        self.send("/predict", random.choice(PAYLOADS))  # noqa: S311


class BatchUser(ApiUser):
    """A nightly list: a hundred stays in one call."""

    weight = 1
    wait_time = between(5, 10)

    @task
    def predict(self) -> None:
        """Send a hundred stays."""
        rows = random.choices(PAYLOADS, k=ROWS_PER_BATCH)  # noqa: S311 (no secret)
        self.send("/predict/batch", {"rows": rows}, ROWS_PER_BATCH)


class FormUser(ApiUser):
    """A person with the web form: a prediction, what drives it, and some reading."""

    weight = 1
    wait_time = between(3, 8)

    @task
    def predict_and_read(self) -> None:
        """Predict, explain, read about the model."""
        row = random.choice(PAYLOADS)  # noqa: S311
        self.send("/predict", row)
        with self.client.post("/explain", json=row, catch_response=True) as response:
            if response.status_code != 200 or "contributions" not in document(response.text):
                response.failure("no explanation")
        self.client.get("/model")
