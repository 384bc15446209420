"""A small bundle for tests of the API: a real contract, and a stand-in for the compiled model (a
logistic score).
"""

import json
import math
from functools import partial
from pathlib import Path

import orjson

from readmit.contract.definition import Contract
from readmit.inference.signatures import Statement
from serving.api_settings import ServingSettings
from serving.bundle_loader import Version


def feature(name, role="input", kind="number", **changed):
    document = {
        "name": name,
        "role": role,
        "kind": kind,
        "data_type": "integer",
        "description": name,
        "default": 0,
    }
    if kind == "number":
        document |= {"min": 0, "max": 50}
    if role == "input":
        document["form"] = {
            "group": "stay",
            "label": {"en": name, "es": name},
            "help": {"en": "", "es": ""},
        }
    return document | changed


def contract(*extra, replaced=None):
    features = []
    for definition in (
        feature("n_medications", default=10),
        feature(
            "gender",
            kind="category",
            data_type="text",
            values=["Female", "Male", "unknown"],
            default="unknown",
        ),
        feature("diagnosis_1", kind="category", data_type="text", seed="icd9_codes", default="250"),
        feature("is_medication_changed", kind="flag", data_type="boolean", default=False),
        feature("n_prior_stays", role="history"),
        *extra,
    ):
        if replaced and definition["name"] == replaced["name"]:
            features.append(replaced)
        else:
            features.append(definition)
    seeds = {
        "icd9_codes": [
            {"code": "250", "description": "Diabetes"},
            {"code": "401", "description": "Pressure"},
        ]
    }
    label = {"name": "is_readmitted_30d", "data_type": "boolean", "description": "label"}
    document = {"version": 1, "features": features, "label": label, "seeds": seeds}
    return Contract.from_json(json.dumps(document))


CAPACITY_THRESHOLDS = {calls: 0.5 - calls / 100 for calls in range(1, 51)}
INTERVAL = {"figure": 0.1, "low": 0.0, "high": 0.2}
# Of a model that was registered with thresholds by calls.
CAPACITY_REPORT = {
    "capacity": [
        {
            "calls_per_100": calls,
            "threshold": threshold,
            "called": INTERVAL,
            "readmissions_found": INTERVAL,
            "calls_per_readmission": None,
        }
        for calls, threshold in CAPACITY_THRESHOLDS.items()
    ]
}
ROW = {"n_medications": 20, "gender": "Female", "diagnosis_1": "401", "is_medication_changed": True}


class StandIn:
    """Logistic score of what the rows hold; `shift` makes versions differ."""

    def __init__(self, shift, names=tuple(ROW)):
        self.shift = shift
        self.names = names

    def predict_one(self, row):
        score = (
            self.shift
            + 0.05 * row["n_medications"]
            + 0.4 * row["n_prior_stays"] * (row["gender"] == "Female")
        )
        return 1 / (1 + math.exp(-score - 0.3 * row["is_medication_changed"]))

    def score(self, rows):
        return [self.predict_one(dict(zip(self.names, row, strict=True))) for row in rows]


def write_bundle(folder: Path, contract: Contract, shift=-2.0, wrong_by=0.0, report=()):
    folder.mkdir(parents=True, exist_ok=True)
    defaults = {feature.name: feature.default for feature in contract.features}
    rows = []
    for n_prior_stays in (0, 3):
        rows.append(defaults | ROW | {"n_prior_stays": n_prior_stays})
    expected = [StandIn(shift).predict_one(row) + wrong_by for row in rows]
    (folder / "contract.json").write_text(contract.to_json())
    (folder / "examples.json").write_bytes(orjson.dumps({"rows": rows, "probabilities": expected}))
    (folder / "report.json").write_bytes(
        orjson.dumps({"threshold": 0.2, "metrics": {}, "data_source": "sample", **dict(report)})
    )
    (folder / "shift.json").write_text(str(shift))


def read(folder: Path):
    contract = Contract.from_json((folder / "contract.json").read_text())
    shift = float((folder / "shift.json").read_text())
    return contract, StandIn(shift, contract.base_names)


class FolderSource:
    """A registry made of folders."""

    def __init__(self):
        self.versions = {}
        self.makers = {}
        self.down = False

    def promote(self, number, alias="production", **options):
        options = {"contract": contract()} | options
        self.versions[alias] = Version(
            "readmission", str(number), f"run{number}", "2026-01-01T00:00:00", "7"
        )
        self.makers[str(number)] = partial(write_bundle, **options)

    def find_version(self, alias):
        if self.down:
            raise ConnectionError("registry is away")
        return self.versions.get(alias)

    def download(self, version, folder):
        self.makers[version.version](folder)

    def check_decision(self, version):
        return Statement(version.name, version.version, "decision", {})

    def check_files(self, version, folder, statement):
        pass

    def close(self):
        pass


def settings(home: Path, **values):
    # Port 1024 has no server: the database is away, and answers must not wait for it.
    # `testserver` and `api` are the names that test clients without a socket send.
    defaults = {"serving_password": "x", "reader_password": "x"}
    defaults |= {"postgres_port": 1024, "api_allowed_hosts": "testserver,api"}
    return ServingSettings(readmit_home=home, **(defaults | values))
