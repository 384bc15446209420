"""Users that the capacity search compares with: a static route, and `mlflow models serve` of the same model."""

import os
import random

from locustfile import ApiUser

from locust import FastHttpUser, task


class StaticUser(FastHttpUser):
    """What the generator itself can do: a route that computes nothing (LOAD_STATIC_PATH), without think time."""

    @task
    def static(self) -> None:
        """Ask whether the process lives; other answers than 2xx and 3xx are failures."""
        self.client.get(os.environ.get("LOAD_STATIC_PATH", "/livez"))


class MlflowUser(ApiUser):
    """SingleUser for `mlflow models serve`, with its think time. LOAD_ROWS holds whole requests."""

    @task
    def predict(self) -> None:
        """Ask for one stay."""
        body = random.choice(self.rows)  # noqa: S311
        with self.client.post("/invocations", json=body, catch_response=True) as response:
            if response.status_code != 200 or not response.json().get("predictions"):
                response.failure(f"status {response.status_code}")
