"""Snapshots: frozen rows of the mart, as Parquet in S3, named by their fingerprint.

`snapshots/<id>.parquet` holds train and validation rows. `snapshots/<id>.sealed.parquet` holds the
test rows, which only `score_sealed` reads. `snapshots/<id>.json` holds the facts and the contract.
"""

import hashlib
import io
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from readmit import db, storage
from readmit.batches import rebuilds
from readmit.contract.definition import Contract
from readmit.errors import BadData
from readmit.ops import object_digests
from training import features
from training.training_settings import TrainingSettings

MART = "marts.fct_encounter_features"


class NothingToTrainOn(BadData):
    """The mart has no train or no validation rows, or is about to get another contract."""


@dataclass(frozen=True)
class Facts:
    """Where the rows of a snapshot come from, and how many they are."""

    fingerprint: str
    data_source: str
    batches: list[str]
    n_train: int
    n_validation: int
    n_test: int
    n_excluded: int
    n_quarantined: int


@dataclass(frozen=True)
class Snapshot:
    """Train and validation rows with their contract."""

    facts: Facts
    contract: Contract
    rows: pd.DataFrame

    def split(self, name: str) -> pd.DataFrame:
        """Return the rows of a split, in the order of encounter_id."""
        return self.rows[self.rows["split"] == name]


def read_mart(contract: Contract, settings: TrainingSettings) -> tuple[pd.DataFrame, str]:
    """Return every row of the mart by encounter_id, and the sha256 of rows and contract.

    One COPY sees one state of the database, also while a batch is published.
    """
    columns = ", ".join([*features.KEYS, contract.label.name, *features.columns(contract)])
    rows = f"select {columns} from {MART} order by encounter_id"  # noqa: S608 (our own names)
    text = io.BytesIO()
    with (
        db.transaction("trainer", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.copy_expert(f"copy ({rows}) to stdout csv header", text)
    digest = hashlib.sha256(text.getbuffer())
    digest.update(contract.hash.encode())
    text.seek(0)
    return parse(text, contract), digest.hexdigest()


def parse(text: io.BytesIO, contract: Contract) -> pd.DataFrame:
    """Read Postgres' CSV with the types of the contract; `None` and `NA` are values, not nulls."""
    return pd.read_csv(
        text,
        dtype=features.pandas_types(contract),
        keep_default_na=False,
        true_values=["t"],
        false_values=["f"],
    )


def freeze(settings: TrainingSettings) -> Facts:
    """Write a snapshot of the mart; the same rows give the same snapshot.

    Raises:
        NothingToTrainOn: there are no train or no validation rows, or published batches wait for
            their rebuild.
    """
    if reason := rebuilds.hold_reason(settings):
        raise NothingToTrainOn(reason)
    contract = Contract.from_manifest(manifest())
    rows, fingerprint = read_mart(contract, settings)
    n_rows = rows["split"].value_counts()
    if "train" not in n_rows or "validation" not in n_rows:
        raise NothingToTrainOn(
            f"{MART} has rows of {sorted(n_rows.index)}: train and validation rows are needed"
        )
    batches = sorted(rows["_batch_id"].unique())
    origin = _origin(batches, settings)
    facts = Facts(
        fingerprint=fingerprint,
        data_source=origin.data_source,
        batches=batches,
        n_train=int(n_rows["train"]),
        n_validation=int(n_rows["validation"]),
        n_test=int(n_rows.get("test", 0)),
        n_excluded=origin.n_excluded,
        n_quarantined=origin.n_quarantined,
    )
    store(Snapshot(facts, contract, rows), settings)
    return facts


def manifest() -> Path | None:
    """Return the manifest in DBT_TARGET_PATH, or None for the manifest of the dbt project."""
    target = os.environ.get("DBT_TARGET_PATH")
    return Path(target) / "manifest.json" if target else None


class _Origin(NamedTuple):
    """What the ledger has about some batches."""

    data_source: str
    n_excluded: int
    n_quarantined: int


def _origin(batches: list[str], settings: TrainingSettings) -> _Origin:
    with db.transaction("reader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "select string_agg(distinct data_source, '+' order by data_source),"
            " coalesce(sum(n_excluded), 0)::bigint, coalesce(sum(n_quarantined), 0)::bigint"
            " from landing.batches where batch_id = any(%s)",
            (batches,),
        )
        data_source, n_excluded, n_quarantined = cur.fetchone() or (None, 0, 0)
    return _Origin(str(data_source), int(n_excluded), int(n_quarantined))


def store(snapshot: Snapshot, settings: TrainingSettings) -> None:
    """Write a snapshot. The facts come last: a snapshot without them does not exist."""
    is_sealed = snapshot.rows["split"] == "test"
    snapshot_id = snapshot.facts.fingerprint
    document = {"facts": asdict(snapshot.facts), "contract": snapshot.contract.to_json()}
    bodies = {
        f"snapshots/{snapshot_id}.parquet": snapshot.rows[~is_sealed].to_parquet(index=False),
        f"snapshots/{snapshot_id}.sealed.parquet": snapshot.rows[is_sealed].to_parquet(index=False),
        f"snapshots/{snapshot_id}.json": json.dumps(document).encode(),
    }
    s3 = storage.client("trainer", settings)
    for key, body in bodies.items():
        object_digests.store(key, body, s3, settings)


def load(snapshot_id: str, settings: TrainingSettings) -> Snapshot:
    """Read train and validation rows of a snapshot.

    Raises:
        ObjectChanged: they are not those that `freeze` has stored.
    """
    facts, contract = described(snapshot_id, settings)
    rows = pd.read_parquet(io.BytesIO(_get(f"snapshots/{snapshot_id}.parquet", settings)))
    return Snapshot(facts, contract, rows)


def facts(snapshot_id: str, settings: TrainingSettings) -> Facts:
    """Read the facts of a snapshot, without its rows."""
    return Facts(**_document(snapshot_id, settings)["facts"])


def described(snapshot_id: str, settings: TrainingSettings) -> tuple[Facts, Contract]:
    """Read the facts and the contract of a snapshot, without its rows."""
    document = _document(snapshot_id, settings)
    return Facts(**document["facts"]), Contract.from_json(document["contract"])


def sealed(snapshot_id: str, settings: TrainingSettings) -> pd.DataFrame:
    """Read the test rows of a snapshot; `training.jobs.score_sealed` counts each reading."""
    return pd.read_parquet(io.BytesIO(_get(f"snapshots/{snapshot_id}.sealed.parquet", settings)))


def _document(snapshot_id: str, settings: TrainingSettings) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_get(f"snapshots/{snapshot_id}.json", settings))
    return document


def _get(key: str, settings: TrainingSettings) -> bytes:
    return object_digests.read(key, storage.client("trainer", settings), settings)
