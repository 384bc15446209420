"""Users that the capacity search compares with.

A static route, and `mlflow models serve` of the same model.
"""

import os
import random

from locustfile import PAYLOADS, ApiUser
from payloads import document

from locust import constant, task


class StaticUser(ApiUser):
    """A route that computes nothing (LOAD_STATIC_PATH), without think time.

    What generator and HTTP path can do.
    """

    wait_time = constant(0)

    @task
    def static(self) -> None:
        """Send a stay where the route takes one, as /noop does.

        Other answers than 2xx and 3xx are failures.
        """
        path = os.environ.get("LOAD_STATIC_PATH", "/livez")
        if path == "/noop":
            self.client.post(path, json=random.choice(PAYLOADS))  # noqa: S311
        else:
            self.client.get(path)


class MlflowUser(ApiUser):
    """SingleUser for `mlflow models serve`, with its think time. LOAD_ROWS holds whole requests."""

    @task
    def predict(self) -> None:
        """Ask for one stay."""
        body = random.choice(PAYLOADS)  # noqa: S311
        with self.client.post("/invocations", json=body, catch_response=True) as response:
            if response.status_code != 200 or not document(response.text).get("predictions"):
                response.failure(f"status {response.status_code}")
