"""What the API and the pipeline say in English, against the Spanish of the form; sentences come from their sources.

A sentence that is new there fails here until `ui/words/es.toml` has it.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from serving import schema
from serving.problems import FIELD_ERRORS, PROBLEMS, TITLES, Problem
from tests.support.serving import ROW, contract
from ui import model_card, vocabulary
from ui.messages import ENGLISH as MESSAGES
from ui.messages import SPANISH

ROOT = Path(__file__).resolve().parents[3]
ENGLISH = re.compile(
    r"\b(the|of|and|with|is|are|not|for|to|from|or|at|than|this|that|was|were|be|should|must|its|only|rows?|stays?)\b"
)


def in_english(text: str) -> set[str]:
    """Return the English words that the Spanish of a text still has; what stands in quotes is quoted."""
    said = vocabulary.said(text, "es")
    return set(ENGLISH.findall(re.sub(r"'[^']*'|`[^`]*`|\{[^}]*\}", "", said.lower()))) | (
        {text} if said == text else set()
    )


def refusals() -> Iterator[str]:
    """Return the English text of every problem and of every wrong field; each parameter is a 7."""
    for template in (*(kind.detail for kind in PROBLEMS.values()), *FIELD_ERRORS.values()):
        names = [name for _, name, _, _ in Formatter().parse(template) if name]
        yield template.format(**dict.fromkeys(names, 7))


def test_every_refusal_of_the_api_has_spanish():
    found = {*refusals(), *TITLES.values()}
    assert len(found) > 45
    assert {text: words for text in found if (words := in_english(text))} == {}


def test_a_proxy_is_understood_too():
    for phrase in (
        "Bad Gateway",
        "Gateway Timeout",
        "Service Unavailable",
        "Too Many Requests",
        "Not Found",
    ):
        assert vocabulary.said(phrase, "es") != phrase


@pytest.mark.parametrize(
    "change",
    [
        {"n_medications": "x"},
        {"n_medications": -1},
        {"n_medications": 99},
        {"n_medications": 1.5},
        {"gender": "?"},
        {"gender": 3},
        {"is_medication_changed": "perhaps"},
        {"patient_nbr": 2**64},
        {"contract_hash": 1},
        {"contract_hash": "x" * 200},
        {"no_such_field": 1},
        {"contract_hash": "older", "gender": "?"},
    ],
)
def test_every_wrong_request_is_said_in_spanish(change):
    requests = schema.build(contract())
    for send in (lambda row: requests.from_json(json.dumps(row).encode()), requests.from_row):
        with pytest.raises(Problem) as caught:
            send({**ROW, **change})
        said = [caught.value.detail, *(error["detail"] for error in caught.value.errors)]
        assert [text for text in said if in_english(text)] == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"{}", b'{"\xff": 1}'])
def test_every_unreadable_request_is_said_in_spanish(body):
    with pytest.raises(Problem) as caught:
        schema.build(contract()).from_json(body)
    said = [
        error["detail"].partition(":")[0] + ": x" * (":" in error["detail"])
        for error in caught.value.errors
    ]
    assert [text for text in said if in_english(text)] == []


def test_every_reason_for_quarantine_has_spanish():
    rules = (ROOT / "dbt_project/models/staging/stg_uci__encounters.sql").read_text()
    found = [
        re.sub(r"\{\{.*?\}\}", "x", each) for each in re.findall(r"then '([^']* [^']*)'", rules)
    ]
    assert len(found) > 8
    assert [text for text in [*found, "; ".join(found)] if in_english(text)] == []


def test_every_reason_for_a_refused_file_has_spanish():
    lines = (ROOT / "docs/bad-input.md").read_text().splitlines()
    found = [line.split(" | ", 2)[2].rstrip(" |") for line in lines if " | refused | " in line]
    assert len(found) > 25
    assert {text: words for text in found if (words := in_english(text))} == {}


def test_every_decision_has_spanish():
    from training import promotion_gate

    rule = promotion_gate.Rule(floor=0.6, margin=0.01, bootstrap=None)
    found = [promotion_gate._reason(gain, low, rule, newer)[1] for gain, low in ((0.02, 0.01), (0.01, -0.005), (-0.1, -0.2))
             for newer in (True, False)]  # fmt: skip
    found += [promotion_gate.judge([0, 1], scores, None, patients=[1, 2], rule=rule, has_newer=True).reason
              for scores in ([0.1, 0.9], [0.9, 0.1])]  # fmt: skip
    found += ["rolled back from version 3 to 2", "kept because judging failed: ValueError: x"]
    assert [text for text in found if in_english(text)] == []


def test_every_verdict_of_a_gate_has_spanish():
    from expectations import publish_suite, raw_suite

    held = "from row 7 on (rows: 45): race is not a known value, from row 9 on (rows: 2): age is not a known value"
    suites = (
        raw_suite.build(1000),
        raw_suite.drift(),
        publish_suite.accounting(),
        publish_suite.accounting(held),
    )
    found = {
        each.description for suite in suites for each in suite.expectations if each.description
    }
    found |= {"every valid row of staging, and no other"}
    seen = "raw gate: batch b: race: expect_x {'mostly': 0.99}: 45 of 900 rows do not fit, such as ['the'] and 2 more"
    found |= {
        f"publish gate: batch b: x: expect_x {{}}: found 0.4 ({each.description}) (details: page)"
        for each in publish_suite.accounting(held).expectations
    }
    found |= {
        f"{seen} (details: page)",
        "b: dbt tests failed: key (Got 3 results, configured to fail if != 0)",
    }
    assert {text: words for text in found if (words := in_english(text))} == {}


def pieces(written: str) -> set[str]:
    """Return the headings of a card and the cells of its tables."""
    lines = [line for line in written.splitlines() if line.startswith(("|", "#"))]
    return {piece.strip("# ") for line in lines for piece in line.split("|")}


def test_the_model_card_is_read_in_spanish():
    from training import bundle_writer

    figure = {"figure": 0.69, "low": 0.67, "high": 0.71}
    row = {
        "slice": "age",
        "value": "[70-80)",
        "n": 900,
        "observed": 0.1,
        "predicted": 0.1,
        "auroc": 0.6,
        "low": 0.5,
    }
    said = {
        "candidate": "catboost", "data_source": "sample", "n_train": 70000, "n_validation": 14000, "batches": ["a"],
        "n_excluded": 2400, "n_quarantined": 3, "data_fingerprint": "f" * 64, "contract_hash": "c" * 64,
        "metrics": {"auroc": figure, "ece": figure}, "threshold": 0.12, "git_sha": "a" * 40, "lock_sha256": "b" * 64,
        "operating_point": {"break_even_risk": 0.1, "alert_rate": 0.3, "sensitivity": 0.6, "ppv": 0.2}, "seed": 7,
        "slices": [row | {"high": 0.64, "falls_behind": True}],
    }  # fmt: skip
    for slices in (said["slices"], []):
        written = bundle_writer.card(said | {"slices": slices}, contract())
        spanish = model_card.shown(written, SPANISH)
        lines = [line for line in spanish.splitlines() if line and line != "label"]
        assert {
            line: words
            for line in lines
            if (words := set(ENGLISH.findall(re.sub("`.*?`", "", line.lower()))))
        } == {}
        assert {
            piece for piece in pieces(spanish) & pieces(written) if re.search("[a-z]", piece)
        } == set()
        assert "Ordenación (AUROC)" in spanish
        assert spanish.count("\n|") >= 3
    assert "70-79" in model_card.shown(bundle_writer.card(said, contract()), MESSAGES)
