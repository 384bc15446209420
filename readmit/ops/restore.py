"""Restore a backup into new databases, verify them, and switch them in.

The databases in use are not touched before all of the backup is loaded and verified. One
transaction then gives the new databases the names, and the old ones the names `..._replaced`: there
they stay until the next restore, or `forget`.
"""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from psycopg2 import errors, sql
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT

from readmit import db, storage
from readmit.ops import (
    backup_folder,
    bootstrap,
    carried_erasures,
    object_digests,
    pg_programs,
    restore_checks,
)
from readmit.ops.backup_folder import Backup, BackupFailed
from readmit.ops.schema_versions import MigrationFailed, SchemaTooNew
from readmit.ops.sealed_files import CHUNK, Damaged
from readmit.settings import DatabaseSettings, ObjectStoreSettings, OperationsSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NEW = "_restored"
OLD = "_replaced"
ATTEMPTS = 20
RESTORE_LOCK = 7_241_008  # an advisory lock of the database `postgres`
LOCK_WAIT = "5s"


def databases(settings: DatabaseSettings) -> tuple[str, ...]:
    """Return the databases that hold state.

    `clean` comes before `raw`: what a snapshot of `clean` has published, a later one of `raw` has.
    """
    return (settings.clean_database, settings.raw_database, "mlflow", "airflow")


def buckets(settings: ObjectStoreSettings) -> tuple[str, ...]:
    """Return the buckets that hold state."""
    return (settings.s3_mlflow_bucket, settings.s3_pipeline_bucket)


def restore(
    backup: Backup,
    settings: OperationsSettings,
    public_key: str | None = None,
    is_forced: bool = False,
) -> None:
    """Restore the databases as they were, and the objects that are missing or different.

    One restore at a time: another would load its databases under the names of this one.

    Stop the programs that use the databases first: their connections end with the switch. Roles get
    the passwords of today's settings. Erasures that the backup does not know are recorded in it;
    the rows themselves are removed by `readmit.ops.erasure.erase_again`.

    Args:
        backup: what is restored.
        settings: where Postgres and S3 are.
        public_key: by which models are verified; None compares files with the signed digests only.
        is_forced: switch to databases whose content is not consistent, too.

    Raises:
        BackupFailed: a database cannot be restored, or is not consistent (then nothing is changed,
            but objects that were missing).
    """
    with locked(settings) as is_alone:
        if not is_alone:
            raise BackupFailed("another restore or an erasure is under way: nothing was changed")
        _restore(backup, settings, public_key, is_forced)


@contextmanager
def locked(settings: DatabaseSettings) -> Iterator[bool]:
    """Keep restores and erasures apart; yield whether nothing else of them is under way.

    A patient who is erased while a backup is loaded would come back with it. After a program was
    killed it takes a moment until the server notices and lets its lock go, so this waits a little.
    """
    with closing(db.connect("postgres", "postgres", settings)) as server, server.cursor() as cur:
        server.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
        cur.execute("set lock_timeout = %s", (LOCK_WAIT,))
        try:
            cur.execute("select pg_advisory_lock(%s)", (RESTORE_LOCK,))
            is_alone = True
        except errors.LockNotAvailable:
            is_alone = False
        yield is_alone


def _restore(
    backup: Backup, settings: OperationsSettings, public_key: str | None, is_forced: bool
) -> None:
    bootstrap.create_roles_and_databases(settings)
    erasures = carried_erasures.known(backup.folder.parent, settings)
    names = databases(settings)
    new_names = [name + NEW for name in names]
    restored = settings.model_copy(
        update={
            "raw_database": settings.raw_database + NEW,
            "clean_database": settings.clean_database + NEW,
        }
    )
    drop_databases(new_names, settings)
    try:
        for name in names:
            _load(name, backup, settings)
        problems = _problems(backup, restored, public_key)
        if problems and not is_forced:
            lines = "; ".join(problems)
            raise BackupFailed(f"{backup.folder} is not restored: {lines} (FORCE=1 restores it)")
    except BackupFailed:
        drop_databases(new_names, settings)  # the disk may be full of them
        raise
    carried_erasures.carry(erasures, restored)
    _release_build_lock(restored)
    storage.ensure_buckets(settings)
    for bucket in buckets(settings):
        _fill_bucket(bucket, backup, settings, replaces=False)
    drop_databases([name + OLD for name in names], settings)
    _switch(names, settings)
    # Grants on databases and the address of `raw` follow their new names.
    bootstrap.bootstrap(settings)
    for bucket in buckets(settings):
        _fill_bucket(bucket, backup, settings, replaces=True)
    # The store calls every object new now, also those of a release that kept no digests.
    with db.transaction("postgres", settings.clean_database, settings) as clean:
        object_digests.trust_what_is_there(clean.cursor())


def _release_build_lock(restored: OperationsSettings) -> None:
    """Release the build lock of a run that was under way: that run has ended long ago."""
    with db.transaction("postgres", restored.clean_database, restored) as clean:
        clean.cursor().execute("delete from ops.current_build")


def _problems(backup: Backup, restored: OperationsSettings, public_key: str | None) -> list[str]:
    """Bring the new databases to this release's schema, and return what is wrong with them."""
    try:
        bootstrap.bootstrap(restored)
    except (SchemaTooNew, MigrationFailed) as error:
        raise BackupFailed(f"{backup.folder} is not restored: {error}") from None
    problems = restore_checks.accounting_problems(restored)
    return problems + restore_checks.model_problems(backup, restored, "mlflow" + NEW, public_key)


def forget(settings: OperationsSettings) -> list[str]:
    """Drop the databases that the last restore has replaced, and return their names."""
    return drop_databases([name + OLD for name in databases(settings)], settings)


def etags(s3: "S3Client", bucket: str) -> dict[str, str]:
    """Return the ETag of each object of a bucket."""
    tags = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            tags[entry["Key"]] = entry["ETag"]
    return tags


def _load(name: str, backup: Backup, settings: OperationsSettings) -> None:
    """Create a new database and fill it from its dump."""
    owner = name if name in ("mlflow", "airflow") else "postgres"
    create = sql.SQL("create database {} owner {} encoding 'UTF8' template template0")
    with closing(db.connect("postgres", "postgres", settings)) as server:
        server.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
        with server.cursor() as cur:
            cur.execute(create.format(sql.Identifier(name + NEW), sql.Identifier(owner)))
    options = ["--exit-on-error", f"--dbname={name + NEW}"]
    file = f"{name}.dump"
    try:
        with pg_programs.pipe(
            "pg_restore", options, f"the dump of {name}", settings, is_written=True
        ) as dump:
            for chunk in backup.sealer.chunks(backup.folder / file, file):
                dump.write(chunk)
    except Damaged as error:
        raise BackupFailed(f"{backup.folder}: {error}") from None


def _switch(names: tuple[str, ...], settings: OperationsSettings) -> None:
    """Give the new databases the names, and the old ones other names, in one transaction."""
    rename = sql.SQL("alter database {} rename to {}")
    with closing(db.connect("postgres", "postgres", settings)) as server, server.cursor() as cur:
        for attempt in range(ATTEMPTS):
            try:
                cur.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = any(%s)",
                    ([*names, *(name + NEW for name in names)],),
                )
                for name in names:
                    for before, after in ((name, name + OLD), (name + NEW, name)):
                        cur.execute(rename.format(sql.Identifier(before), sql.Identifier(after)))
                server.commit()
                return
            except errors.ObjectInUse as error:
                server.rollback()
                if attempt + 1 == ATTEMPTS:
                    raise BackupFailed(
                        f"programs use the databases all the time: stop them first ({error})"
                    ) from None
                time.sleep(0.2)


def drop_databases(names: list[str], settings: OperationsSettings) -> list[str]:
    """Drop the databases that exist among `names`, and return them."""
    dropped = []
    with closing(db.connect("postgres", "postgres", settings)) as server:
        server.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
        with server.cursor() as cur:
            for name in names:
                cur.execute("select 1 from pg_database where datname = %s", (name,))
                if cur.fetchone():
                    statement = sql.SQL("drop database {} with (force)")
                    cur.execute(statement.format(sql.Identifier(name)))
                    dropped.append(name)
    return dropped


def _fill_bucket(bucket: str, backup: Backup, settings: OperationsSettings, replaces: bool) -> None:
    """Upload the objects that are missing, and with `replaces` those that are different."""
    s3 = storage.client("admin", settings)
    present = etags(s3, bucket)
    for key, (etag, _) in backup.manifest.objects.get(bucket, {}).items():
        is_missing = key not in present
        is_different = not is_missing and present[key] != etag
        if is_missing or (replaces and is_different):
            path = backup_folder.object_file(backup.folder, bucket, key)
            with backup.sealer.open(path, f"{bucket}/{path.name}") as content:
                if path.stat().st_size < CHUNK:
                    s3.put_object(Bucket=bucket, Key=key, Body=content.read())
                else:
                    s3.upload_fileobj(content, bucket, key)
