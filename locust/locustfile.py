"""Users of the API: single predictions, batches, and people with the web form. Payloads come from the served contract.

`locust -f locust/locustfile.py --host http://127.0.0.1:8000`; an answer that is not one is a failure, whatever its
status, and so is a connection error. Think times are stated per user class. Each process reads the contract once, when
the test starts. LOAD_ROWS names a JSON file with rows to send instead (`capacity.py` samples them from the mart).
"""

import json
import os
import random
from pathlib import Path
from typing import Any

import httpx
from locust import FastHttpUser, between, events, task
from locust.env import Environment
from locust.runners import MasterRunner

N_PAYLOADS = 500
ROWS_PER_BATCH = 100


def value(feature: dict[str, Any], codes: dict[str, list[str]], draw: random.Random) -> str | int | bool:
    """Return a legal value of a feature, as its contract has it."""
    if feature["kind"] == "flag":
        return draw.random() < 0.5
    if feature["kind"] == "number":
        top = min(feature["max"], feature["min"] + 20)
        return draw.randint(int(feature["min"]), int(top))
    found = feature["values"] or codes[feature["seed"]]
    chosen = draw.choice(found)
    return int(chosen) if feature["data_type"] in ("integer", "bigint") else chosen


def payloads(contract: dict[str, Any], codes: dict[str, list[str]], seed: int, n: int = N_PAYLOADS) -> list[dict]:
    """Return `n` stays made of legal values; the same seed gives the same stays."""
    draw = random.Random(seed)  # noqa: S311 (load, not secrets)
    inputs = [feature for feature in contract["features"] if feature["role"] == "input"]
    return [{feature["name"]: value(feature, codes, draw) for feature in inputs} for _ in range(n)]


def rows_of(host: str) -> list[dict[str, Any]]:
    """Return what the users of this process send: the rows of LOAD_ROWS, else made from the contract at `host`."""
    if file := os.environ.get("LOAD_ROWS"):
        rows: list[dict[str, Any]] = json.loads(Path(file).read_text(encoding="utf-8"))
        return rows
    with httpx.Client(base_url=host, timeout=30, trust_env=False) as api:
        contract = api.get("/model").raise_for_status().json()["contract"]
        seeds = {feature["seed"] for feature in contract["features"] if feature["role"] == "input" and feature["seed"]}
        tables = {name: api.get(f"/model/seeds/{name}").raise_for_status().json()["rows"] for name in sorted(seeds)}
    codes = {name: [str(row["code"]) for row in rows] for name, rows in tables.items()}
    return payloads(contract, codes, random.randrange(2**32))  # noqa: S311


@events.test_start.add_listener
def prepare(environment: Environment, **_: Any) -> None:  # noqa: ANN401 (locust's)
    """Make the payloads once per process, before the first user; a master has no users."""
    if not isinstance(environment.runner, MasterRunner):
        environment.rows = rows_of(environment.host or "")


class ApiUser(FastHttpUser):
    """What all users share: the payloads of their process, and what a valid answer is."""

    abstract = True
    wait_time = between(0.5, 1.5)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Return the payloads of this process."""
        return self.environment.rows

    def ask(self, path: str, body: dict[str, Any]) -> None:
        """Post, and count an answer without what it must hold as a failure."""
        with self.client.post(path, json=body, catch_response=True) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
                return
            said = response.json()
            answers = said.get("predictions", [said])
            are_risks = all(answer and 0 <= answer["probability"] <= 1 for answer in answers)
            if not (are_risks and said["model"]["version"]):
                response.failure("not a prediction")


class SingleUser(ApiUser):
    """A hospital system: one stay at a time, about one a second."""

    weight = 8

    @task
    def predict(self) -> None:
        """Ask for one stay."""
        self.ask("/predict", random.choice(self.rows))  # noqa: S311


class BatchUser(ApiUser):
    """A nightly list: a hundred stays in one call."""

    weight = 1
    wait_time = between(5, 10)

    @task
    def predict(self) -> None:
        """Ask for a hundred stays."""
        self.ask("/predict/batch", {"rows": random.choices(self.rows, k=ROWS_PER_BATCH)})  # noqa: S311


class FormUser(ApiUser):
    """A person with the web form: a prediction, what drives it, and some reading."""

    weight = 1
    wait_time = between(3, 8)

    @task
    def predict_and_read(self) -> None:
        """Ask, explain, look at the model."""
        row = random.choice(self.rows)  # noqa: S311
        self.ask("/predict", row)
        with self.client.post("/explain", json=row, catch_response=True) as response:
            if response.status_code != 200 or "contributions" not in response.json():
                response.failure("no explanation")
        self.client.get("/model")
