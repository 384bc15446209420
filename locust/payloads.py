"""What the users send and what they take for an answer. Free of Locust.

They send the rows of LOAD_ROWS, or stays made of legal values of the served contract.
"""

import json
import os
import random
from pathlib import Path
from typing import Any

import httpx

from readmit.client.api_client import LOAD_TEST_STAY
from readmit.settings import ApiClientSettings

N_PAYLOADS = 500


def value(
    feature: dict[str, Any], codes: dict[str, list[str]], draw: random.Random
) -> str | int | bool:
    """Return a legal value of a feature, as its contract has it."""
    if feature["kind"] == "flag":
        return draw.random() < 0.5
    if feature["kind"] == "number":
        top = min(feature["max"], feature["min"] + 20)
        return draw.randint(int(feature["min"]), int(top))
    found = feature["values"] or codes[feature["seed"]]
    chosen = draw.choice(found)
    return int(chosen) if feature["data_type"] in ("integer", "bigint") else chosen


def payloads(
    contract: dict[str, Any], codes: dict[str, list[str]], seed: int, n: int = N_PAYLOADS
) -> list[dict[str, Any]]:
    """Return `n` stays made of legal values; the same seed gives the same stays."""
    draw = random.Random(seed)  # noqa: S311 (load, not secrets)
    inputs = [feature for feature in contract["features"] if feature["role"] == "input"]
    made = [{feature["name"]: value(feature, codes, draw) for feature in inputs} for _ in range(n)]
    return [row | {"encounter_id": LOAD_TEST_STAY} for row in made]


def headers() -> dict[str, str]:
    """Return what each request carries: the API's key, when one is set."""
    key = ApiClientSettings().api_key
    return {"X-API-Key": key.get_secret_value()} if key else {}


def rows_of(host: str) -> list[dict[str, Any]]:
    """Return what the users of this process send: the rows of LOAD_ROWS, else made from the contract at `host`."""
    if file := os.environ.get("LOAD_ROWS"):
        rows: list[dict[str, Any]] = json.loads(Path(file).read_text(encoding="utf-8"))
        return rows
    with httpx.Client(base_url=host, headers=headers(), timeout=30, trust_env=False) as api:
        contract = api.get("/model").raise_for_status().json()["contract"]
        seeds = {
            feature["seed"]
            for feature in contract["features"]
            if feature["role"] == "input" and feature["seed"]
        }
        tables = {
            name: api.get(f"/model/seeds/{name}").raise_for_status().json()["rows"]
            for name in sorted(seeds)
        }
    codes = {name: [str(row["code"]) for row in rows] for name, rows in tables.items()}
    return payloads(contract, codes, random.randrange(2**32))  # noqa: S311


def document(body: str | bytes | None) -> dict[str, Any]:
    """Return the JSON object in a body; empty when there is none."""
    try:
        said = json.loads(body or "")
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def is_prediction(body: str | bytes | None, n: int) -> bool:
    """Tell whether a body answers for `n` stays: a probability for each, and the version that gave them."""
    said = document(body)
    try:
        answers = said.get("predictions", [said])
        are_risks = len(answers) == n and all(0 <= answer["probability"] <= 1 for answer in answers)
        return are_risks and bool(said["model"]["version"])
    except (KeyError, TypeError):
        return False
