"""Users of the API: single predictions, batches, and people with the web form. Payloads come from the served contract.

`locust -f locust/locustfile.py --host http://127.0.0.1:8000`; an answer that is not one is a failure, whatever its
status. Think times are stated per user class; connection errors count as failures.
"""

import random
from typing import Any

from locust import FastHttpUser, between, task

N_PAYLOADS = 500


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


class ApiUser(FastHttpUser):
    """What all users share: the contract of the model that is served."""

    abstract = True
    wait_time = between(0.5, 1.5)

    def on_start(self) -> None:
        """Read the contract and its code tables, and make payloads of this user's own."""
        contract = self.client.get("/model").json()["contract"]
        seeds = {feature["seed"] for feature in contract["features"] if feature["role"] == "input" and feature["seed"]}
        codes = {name: self.codes(name) for name in sorted(seeds)}
        self.rows = payloads(contract, codes, random.randrange(2**32))  # noqa: S311

    def codes(self, seed: str) -> list[str]:
        """Return the codes of a code table."""
        return [str(row["code"]) for row in self.client.get(f"/model/seeds/{seed}", name="/model/seeds").json()["rows"]]

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
        self.ask("/predict/batch", {"rows": random.sample(self.rows, 100)})


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
