"""Frozen training sets: what the mart held at one moment, as Parquet in S3, named by its fingerprint.

`snapshots/<id>.parquet` holds train and validation, `snapshots/<id>.sealed.parquet` the test split, which only
`score_sealed` reads; `snapshots/<id>.json` says what is in them.
"""

import hashlib
import io
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from readmit import db, storage
from readmit.contract.definition import Contract
from readmit.errors import BadData
from training import features
from training.training_settings import TrainingSettings

MART = "marts.fct_encounter_features"


class NothingToTrainOn(BadData):
    """The mart has no train or no validation rows."""


@dataclass(frozen=True)
class Facts:
    """What a snapshot is made of."""

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
    """Train and validation rows with the contract that they follow."""

    facts: Facts
    contract: Contract
    rows: pd.DataFrame

    def split(self, name: str) -> pd.DataFrame:
        """Return the rows of a split, in the order of encounter_id."""
        return self.rows[self.rows["split"] == name]


def read_mart(contract: Contract, settings: TrainingSettings) -> tuple[pd.DataFrame, str]:
    """Return every row of the mart by encounter_id, and the sha256 of rows and contract.

    One COPY sees one state of the database, whatever is published meanwhile.
    """
    wanted = ", ".join([*features.KEYS, contract.label.name, *features.columns(contract)])
    query = f"copy (select {wanted} from {MART} order by encounter_id) to stdout csv header"  # noqa: S608 (our names)
    text = io.BytesIO()
    with (
        db.transaction("trainer", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.copy_expert(query, text)
    digest = hashlib.sha256(text.getbuffer())
    digest.update(contract.hash.encode())
    text.seek(0)
    return parse(text, contract), digest.hexdigest()


def parse(text: io.BytesIO, contract: Contract) -> pd.DataFrame:
    """Read Postgres' CSV with the contract's types; `None` and `NA` are values here, not nulls."""
    return pd.read_csv(
        text,
        dtype=features.pandas_types(contract),
        keep_default_na=False,
        true_values=["t"],
        false_values=["f"],
    )


def freeze(settings: TrainingSettings) -> Facts:
    """Write a snapshot of the mart; the same rows give the same snapshot and are written once.

    Raises:
        NothingToTrainOn: there are no train or no validation rows.
    """
    contract = Contract.from_manifest(manifest())
    rows, fingerprint = read_mart(contract, settings)
    counts = rows["split"].value_counts()
    if not (counts.get("train", 0) and counts.get("validation", 0)):
        raise NothingToTrainOn(
            f"{MART} has rows of {sorted(counts.index)}: train and validation rows are needed"
        )
    facts = Facts(
        fingerprint=fingerprint,
        n_train=int(counts["train"]),
        n_validation=int(counts["validation"]),
        n_test=int(counts.get("test", 0)),
        **_origin(rows, settings),
    )
    store(Snapshot(facts, contract, rows), settings)
    return facts


def manifest() -> Path | None:
    """Return the manifest of dbt that DBT_TARGET_PATH leads to, or None for the project's own."""
    target = os.environ.get("DBT_TARGET_PATH")
    return Path(target) / "manifest.json" if target else None


def _origin(rows: pd.DataFrame, settings: TrainingSettings) -> dict[str, Any]:
    """Where the rows come from, by the ledger of batches."""
    batches = sorted(rows["_batch_id"].unique())
    with db.transaction("reader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "select string_agg(distinct data_source, '+' order by data_source),"
            " coalesce(sum(n_excluded), 0)::bigint, coalesce(sum(n_quarantined), 0)::bigint"
            " from landing.batches where batch_id = any(%s)",
            (batches,),
        )
        source, excluded, quarantined = cur.fetchone() or (None, 0, 0)
    return {
        "data_source": str(source),
        "batches": batches,
        "n_excluded": int(excluded),
        "n_quarantined": int(quarantined),
    }


def store(snapshot: Snapshot, settings: TrainingSettings) -> None:
    """Write a snapshot; its facts come last, so that one without them does not exist."""
    s3, bucket = storage.client(settings), settings.s3_pipeline_bucket
    sealed = snapshot.rows["split"] == "test"
    key = snapshot.facts.fingerprint
    for name, rows in (
        (f"snapshots/{key}.parquet", snapshot.rows[~sealed]),
        (f"snapshots/{key}.sealed.parquet", snapshot.rows[sealed]),
    ):
        s3.put_object(Bucket=bucket, Key=name, Body=rows.to_parquet(index=False))
    said = json.dumps({"facts": asdict(snapshot.facts), "contract": snapshot.contract.to_json()})
    s3.put_object(Bucket=bucket, Key=f"snapshots/{key}.json", Body=said.encode())


def load(snapshot_id: str, settings: TrainingSettings) -> Snapshot:
    """Read train and validation rows of a snapshot."""
    said = json.loads(_get(f"snapshots/{snapshot_id}.json", settings))
    rows = pd.read_parquet(io.BytesIO(_get(f"snapshots/{snapshot_id}.parquet", settings)))
    return Snapshot(Facts(**said["facts"]), Contract.from_json(said["contract"]), rows)


def facts(snapshot_id: str, settings: TrainingSettings) -> Facts:
    """Read what a snapshot is made of, without its rows."""
    return Facts(**json.loads(_get(f"snapshots/{snapshot_id}.json", settings))["facts"])


def described(snapshot_id: str, settings: TrainingSettings) -> tuple[Facts, Contract]:
    """Read what a snapshot is made of and the contract of its rows, without the rows."""
    said = json.loads(_get(f"snapshots/{snapshot_id}.json", settings))
    return Facts(**said["facts"]), Contract.from_json(said["contract"])


def sealed(snapshot_id: str, settings: TrainingSettings) -> pd.DataFrame:
    """Read the test rows of a snapshot; `training.jobs.score_sealed` counts each reading."""
    return pd.read_parquet(io.BytesIO(_get(f"snapshots/{snapshot_id}.sealed.parquet", settings)))


def _get(key: str, settings: TrainingSettings) -> bytes:
    return (
        storage.client(settings)
        .get_object(Bucket=settings.s3_pipeline_bucket, Key=key)["Body"]
        .read()
    )
