"""What must hold in restored databases before they are switched in.

Every row of every batch is accounted for, the ledger equals the marts, and the model in production
is whole, signed and can be loaded.
"""

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath

from readmit import db
from readmit.inference import signatures
from readmit.inference.signatures import NotSigned, Statement
from readmit.ops import backup_folder
from readmit.ops.backup_folder import Backup
from readmit.settings import OperationsSettings

LEDGER = """
    select
        batches.batch_id, batches.status, batches.n_rows - batches.n_erased,
        coalesce(arrived.n_rows, 0)
    from landing.batches
    left join (
        select _batch_id, count(*) as n_rows from landing.encounters group by _batch_id
    ) as arrived on batches.batch_id = arrived._batch_id
    where batches.status <> 'refused'
    order by batches.batch_id
"""
PUBLISHED = """
    select batch_id, max(n_rows), min(n_quarantined), max(n_excluded)
    from ops.published_batches group by batch_id
"""
FEATURES = "select _batch_id, count(*) from marts.fct_encounter_features group by _batch_id"
MODELS = """
    select versions.name, versions.version, coalesce(logged.artifact_location, versions.source)
    from registered_model_aliases as aliases
    inner join model_versions as versions
        on aliases.name = versions.name and aliases.version = versions.version
    left join logged_models as logged on versions.source = 'models:/' || logged.model_id
    where aliases.alias = 'production'
"""
DECISION = """
    select signed_statement from ops.decisions_in_force
    where model_name = %s and version = %s
    order by promotion_id desc limit 1
"""
REQUIRED = ("contract.json", "examples.json", "report.json")
MOST_PROBLEMS = 5


def accounting_problems(settings: OperationsSettings) -> list[str]:
    """Return a line for each batch whose rows are not accounted for.

    A batch that `clean` has published and the ledger has not yet is no problem: the next run of
    `ingest_batch` repairs the ledger, as after every crash between the two.
    """
    problems = []
    published, features = _published(settings)
    with (
        db.transaction("postgres", settings.raw_database, settings) as raw,
        raw.cursor() as cur,
    ):
        cur.execute(LEDGER)
        ledger = cur.fetchall()
    for batch_id, status, n_rows, n_arrived in ledger:
        if n_arrived != n_rows:
            problems.append(f"{batch_id} has {n_arrived} of {n_rows} rows in RAW")
        if status == "published" and batch_id not in published:
            problems.append(f"{batch_id} is published in the ledger only")
        counts = published.pop(batch_id, None)
        if counts is None:
            continue
        n_published, n_quarantined, n_excluded = counts
        n_features = features.get(batch_id, 0)
        if n_published != n_features + n_quarantined + n_excluded:
            problems.append(
                f"{batch_id} has {n_published} rows, but {n_features} features"
                f" + {n_quarantined} quarantined + {n_excluded} excluded"
            )
    problems += [f"{batch_id} is published and not in the ledger" for batch_id in published]
    return problems[:MOST_PROBLEMS]


def _published(
    settings: OperationsSettings,
) -> tuple[dict[str, tuple[int, int, int]], dict[str, int]]:
    """Return the counts of each published batch, and the features that the mart has of it."""
    published = {}
    features: dict[str, int] = {}
    with (
        db.transaction("postgres", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(PUBLISHED)
        for batch_id, n_rows, n_quarantined, n_excluded in cur.fetchall():
            published[str(batch_id)] = (n_rows, n_quarantined, n_excluded)
        cur.execute("select to_regclass('marts.fct_encounter_features') is not null")
        [(has_mart,)] = cur.fetchall()
    if has_mart:
        # As dbt's role: a function in a view runs with the rights of the role that reads the view.
        with (
            db.transaction("transformer", settings.clean_database, settings) as clean,
            clean.cursor() as cur,
        ):
            cur.execute(FEATURES)
            features = {str(batch_id): n_rows for batch_id, n_rows in cur.fetchall()}
    return published, features


def model_problems(
    backup: Backup, settings: OperationsSettings, registry: str, public_key: str | None
) -> list[str]:
    """Return a line for each model in production that could not be served from this backup.

    Args:
        backup: has the models' files.
        settings: name the restored database `clean`.
        registry: the restored database of MLflow.
        public_key: by which models are verified; None compares files with the digests only.
    """
    problems = []
    for name, version, address in _production(registry, settings):
        try:
            statement = _statement(name, version, settings, public_key)
            if statement is None:
                problems.append(f"no signed decision put version {version} in production")
                continue
            with tempfile.TemporaryDirectory() as temporary:
                model = Path(temporary)
                for path, content in _files(address, backup):
                    target = model / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(content)
                signatures.check_files(statement, model, REQUIRED)
                try:
                    from readmit.inference.compiled_model import CompiledModel

                    CompiledModel.load(model)
                except ModuleNotFoundError:
                    pass  # the image of Postgres has no onnxruntime; the digests were compared
        except NotSigned as error:
            problems.append(f"the model in production cannot be served: {error}")
        except (ValueError, LookupError, OSError) as error:
            problems.append(f"version {version} cannot be loaded: {error}")
    return problems


def _production(registry: str, settings: OperationsSettings) -> list[tuple[str, str, str]]:
    """Return name, version and address of the files of each model in production."""
    with closing(db.connect("postgres", registry, settings)) as mlflow, mlflow.cursor() as cur:
        cur.execute("select to_regclass('logged_models') is not null")
        [(has_models,)] = cur.fetchall()
        if not has_models:
            return []  # MLflow has never started
        cur.execute(MODELS)
        return [(str(name), str(version), str(address)) for name, version, address in cur]


def _statement(
    name: str, version: str, settings: OperationsSettings, public_key: str | None
) -> Statement | None:
    """Return what was signed when a version was put in production, or None."""
    with (
        db.transaction("postgres", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(DECISION, (name, version))
        row = cur.fetchone()
    if row is None:
        return None
    if public_key is None:
        return signatures.read(str(row[0]))
    try:
        return signatures.verify(str(row[0]), public_key)
    except NotSigned as error:
        raise NotSigned(
            f"{error}: set READMIT_MODEL_PUBLIC_KEY and READMIT_MODEL_SIGNING_KEY of then"
        ) from None


def _files(address: str, backup: Backup) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each file that serving reads of a model."""
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    keys = [key for key in backup.manifest.objects.get(bucket, {}) if key.startswith(f"{prefix}/")]
    contracts = [key for key in keys if PurePosixPath(key).name == "contract.json"]
    if not contracts:
        raise LookupError(f"no contract.json below {address} in the backup")
    base = f"{PurePosixPath(min(contracts, key=len)).parent}/"
    for key in keys:
        path = key.removeprefix(base)
        if key.startswith(base) and (path in REQUIRED or path.startswith("compiled/")):
            file = backup_folder.object_file(backup.folder, bucket, key)
            yield path, backup.sealer.read(file, f"{bucket}/{file.name}")
