"""What the users send: rows of LOAD_ROWS, or stays made of legal values of the served contract. Free of Locust."""

import json
import os
import random
from pathlib import Path
from typing import Any

import httpx

from readmit.settings import Settings

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


def payloads(
    contract: dict[str, Any], codes: dict[str, list[str]], seed: int, n: int = N_PAYLOADS
) -> list[dict[str, Any]]:
    """Return `n` stays made of legal values; the same seed gives the same stays."""
    draw = random.Random(seed)  # noqa: S311 (load, not secrets)
    inputs = [feature for feature in contract["features"] if feature["role"] == "input"]
    return [{feature["name"]: value(feature, codes, draw) for feature in inputs} for _ in range(n)]


def headers() -> dict[str, str]:
    """Return what each request carries: the API's key, when one is set."""
    key = Settings().api_key
    return {"X-API-Key": key.get_secret_value()} if key else {}


def rows_of(host: str) -> list[dict[str, Any]]:
    """Return what the users of this process send: the rows of LOAD_ROWS, else made from the contract at `host`."""
    if file := os.environ.get("LOAD_ROWS"):
        rows: list[dict[str, Any]] = json.loads(Path(file).read_text(encoding="utf-8"))
        return rows
    with httpx.Client(base_url=host, headers=headers(), timeout=30, trust_env=False) as api:
        contract = api.get("/model").raise_for_status().json()["contract"]
        seeds = {feature["seed"] for feature in contract["features"] if feature["role"] == "input" and feature["seed"]}
        tables = {name: api.get(f"/model/seeds/{name}").raise_for_status().json()["rows"] for name in sorted(seeds)}
    codes = {name: [str(row["code"]) for row in rows] for name, rows in tables.items()}
    return payloads(contract, codes, random.randrange(2**32))  # noqa: S311
