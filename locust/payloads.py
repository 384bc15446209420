"""The requests of the users, and the check of their answers. Free of Locust.

Users send the rows of LOAD_ROWS, or stays made of legal values of the served contract.
"""

import json
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from readmit.client.answer_types import ContractDocument, FeatureDocument
from readmit.client.api_client import LOAD_TEST_STAY, Client
from readmit.settings import ApiClientSettings

N_PAYLOADS = 500
# A number is drawn from so many values above its minimum, as most are in real stays.
NUMBERS_ABOVE_MINIMUM = 20

Row = dict[str, object]  # a stay, or another server's whole request


def value(
    feature: FeatureDocument, codes: Mapping[str, Sequence[str]], draw: random.Random
) -> str | int | bool:
    """Return a legal value of a feature, as its contract has it."""
    if feature["kind"] == "flag":
        return draw.random() < 0.5
    if feature["kind"] == "number":
        bottom = int(feature["min"] or 0)
        top = min(int(feature["max"] or 0), bottom + NUMBERS_ABOVE_MINIMUM)
        return draw.randint(bottom, top)
    code = str(draw.choice(feature["values"] or codes[str(feature["seed"])]))
    if feature["data_type"] in ("integer", "bigint"):
        return int(code)
    return code


def inputs_of(contract: ContractDocument) -> list[FeatureDocument]:
    """Return the features that a request must have."""
    return [feature for feature in contract["features"] if feature["role"] == "input"]


def payloads(
    contract: ContractDocument,
    codes: Mapping[str, Sequence[str]],
    seed: int,
    n: int = N_PAYLOADS,
) -> list[Row]:
    """Return `n` stays made of legal values; the same seed gives the same stays."""
    draw = random.Random(seed)  # noqa: S311 (load, not secrets)
    inputs = inputs_of(contract)
    rows = []
    for _ in range(n):
        row: Row = {feature["name"]: value(feature, codes, draw) for feature in inputs}
        row["encounter_id"] = LOAD_TEST_STAY
        rows.append(row)
    return rows


def api_key() -> str | None:
    """Return the API's key, when one is set."""
    key = ApiClientSettings().api_key
    return key.get_secret_value() if key else None


def headers() -> dict[str, str]:
    """Return the headers of each request: the API's key, when one is set."""
    key = api_key()
    if key is None:
        return {}
    return {"X-API-Key": key}


def rows_of(host: str) -> list[Row]:
    """Return the rows of LOAD_ROWS, else stays made from the contract that `host` serves."""
    file = os.environ.get("LOAD_ROWS")
    if file:
        rows: list[Row] = json.loads(Path(file).read_text(encoding="utf-8"))
        return rows
    with Client(host, timeout=30, api_key=api_key()) as api:
        contract = api.model()["contract"]
        codes = {}
        for feature in inputs_of(contract):
            seed = feature["seed"]
            if seed and seed not in codes:
                codes[seed] = [row["code"] for row in api.seed(seed)]
    return payloads(contract, codes, random.randrange(2**32))  # noqa: S311


def document(body: str | bytes | None) -> dict[str, object]:
    """Return the JSON object in a body; empty when there is none."""
    try:
        content = json.loads(body or "")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def is_prediction(body: str | bytes | None, n: int) -> bool:
    """Tell whether a body answers for `n` stays.

    A probability for each, and the model's version.
    """
    answer = document(body)
    model = answer.get("model")
    predictions = answer.get("predictions", [answer])
    if not isinstance(model, dict) or not model.get("version"):
        return False
    if not isinstance(predictions, list) or len(predictions) != n:
        return False
    return all(_is_scored(prediction) for prediction in predictions)


def _is_scored(prediction: object) -> bool:
    if not isinstance(prediction, dict):
        return False
    probability = prediction.get("probability")
    return isinstance(probability, int | float) and 0 <= probability <= 1
