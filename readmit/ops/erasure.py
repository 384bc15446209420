"""`make erase PATIENT=number`: remove a patient from everything that the system holds.

It prints what it removed, what it cannot remove, and when that expires (docs/retention.md). It may
be killed at any point and repeated. A restore carries erasures over that the backup does not know:
`--again` then finds these patients by their keyed hash, and erases them again.
"""

import argparse
import getpass
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta

import psycopg2

from readmit import db
from readmit.batches.builds import Build, BuildBusy
from readmit.command import explained
from readmit.confirmation import NotConfirmed, confirm
from readmit.inherited_environment import forget_the_shell
from readmit.intake.erased_patients import normalised
from readmit.ops import (
    backup_folder,
    carried_erasures,
    erased_inbox,
    erased_objects,
    erased_rows,
    prediction_archive,
    restore,
)
from readmit.ops.erased_rows import RebuildUnderWay
from readmit.settings import StackSettings


class RestoreUnderWay(Exception):
    """Nothing was erased: a restore would bring the patient back."""


# Holds the build lock, so that no batch is loaded or built meanwhile.
LOCK = Build.of_batch("erasure")


def erase(
    patient: str, erased_by: str, settings: StackSettings, *, is_cluster: bool = False
) -> tuple[Counter[str], list[str]]:
    """Remove a patient.

    Args:
        patient: the number, without leading zeros.
        erased_by: who answers for it; stands in the record.
        settings: where everything is.
        is_cluster: the settings are a cluster's; the files of this machine are then another's.

    Returns:
        What was removed, by kind; and a line for each thing that cannot be removed.

    Raises:
        BuildBusy: a batch is being built.
        RebuildUnderWay: another contract is being built.
        RestoreUnderWay: a backup is being restored.
    """
    with _alone(settings):
        erasure_id = erased_rows.begin(patient, erased_by, settings)
        rows = erased_rows.rows_of(patient, settings)
        removed = erased_rows.erase_from_clean(rows, settings)
        removed["source files"] = erased_objects.erase_sources(patient, settings)
        remaining = erased_inbox.erase(rows, removed, settings, is_cluster=is_cluster)
        removed["archived predictions"] = erased_objects.erase_archives(rows, settings)
        snapshots = erased_objects.erase_snapshots(rows, settings)
        removed["snapshots"] = len(snapshots)
        removed["pages and task logs"] = erased_objects.redact_texts(rows.numbers, settings)
        if not is_cluster:
            carried_erasures.remember(settings.backup_folder(), settings)
            n_files = erased_objects.erase_from_machine(settings.readmit_home, rows.numbers)
            removed["log files of this machine"] = n_files
        LOCK.begin(settings)  # the lease starts anew
        left = erased_objects.erase_slices(rows, settings)
        removed["slices"] = len(left)
        # RAW comes last: it has the numbers of the stays, which a repetition needs too.
        removed.update(erased_rows.erase_from_raw(rows, left, settings))
    erased_rows.vacuum(settings)
    remaining += what_remains(snapshots, settings, is_cluster=is_cluster)
    record = {"removed": removed, "snapshots": snapshots, "remaining": remaining}
    erased_rows.end(erasure_id, json.dumps(record), settings)
    return removed, remaining


@contextmanager
def _alone(settings: StackSettings) -> Iterator[None]:
    """Hold off builds, restores and the archive of predictions while the block runs."""
    with restore.locked(settings) as is_alone, prediction_archive.locked(settings):
        if not is_alone:
            raise RestoreUnderWay("a restore or another erasure is under way: try again afterwards")
        LOCK.begin(settings)
        try:
            yield
        finally:
            with (
                db.transaction("publisher", settings.clean_database, settings) as clean,
                clean.cursor() as cur,
            ):
                cur.execute("delete from ops.current_build where build_id = %s", (LOCK.build_id,))


def erase_again(
    erased_by: str, settings: StackSettings, *, is_cluster: bool = False
) -> Counter[str]:
    """Remove erased patients whose rows a restore has brought back; return what was removed.

    Raises:
        LookupError: patients were erased, and the key is another one or is not set.
        BuildBusy: a batch is being built.
        RebuildUnderWay: another contract is being built.
        RestoreUnderWay: a backup is being restored.
    """
    removed: Counter[str] = Counter()
    for patient in carried_erasures.numbers_of_erased(settings):
        removed += erase(patient, erased_by, settings, is_cluster=is_cluster)[0]
        removed["patients"] += 1
    return removed


def what_remains(
    snapshots: Sequence[str], settings: StackSettings, *, is_cluster: bool
) -> list[str]:
    """Return a line for each thing that still holds data of the patient."""
    lines = []
    folder = settings.backup_folder()
    days = settings.readmit_backup_keep
    if is_cluster:
        lines.append(
            f"backups on the claim `backups`: with one a day the last expires in {days} days; after"
            " a restore of one, erase again"
        )
        lines.append("logs of pods, until their nodes rotate them")
    elif backups := backup_folder.saved(folder):
        last = backup_folder.time_of(backups[-1]) + timedelta(days=days)
        lines.append(
            f"{len(backups)} backups in {folder}: with one backup a day the last of them expires on"
            f" {last:%Y-%m-%d}; a restore of one erases again"
        )
    with closing(db.connect("postgres", "postgres", settings)) as server, server.cursor() as cur:
        cur.execute("select datname from pg_database where datname like %s", (r"%\_replaced",))
        replaced = [str(name) for (name,) in cur.fetchall()]
    if replaced:
        lines.append(
            f"databases from before a restore ({', '.join(replaced)}):"
            " `python -m readmit.ops.backup forget` drops them"
        )
    versions = erased_rows.fitted_models(snapshots, settings)
    if versions:
        lines.append(
            f"model versions {', '.join(versions)} were fitted with rows of the patient; a bundle"
            " holds 60 examples of input values, without numbers. A training that follows"
            " (make pipeline) has them no more; delete the versions in MLflow when they serve"
            " no longer"
        )
    if settings.inbox:
        lines.append(f"files in {settings.inbox}: they are their owners'")
    lines.append("the file that was submitted, wherever it came from, and other copies of it")
    return lines


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of `make erase`."""
    parser = argparse.ArgumentParser(prog="make erase", description=__doc__)
    parser.add_argument("patient", nargs="?", default="", help="the patient's number (patient_nbr)")
    parser.add_argument(
        "--again", action="store_true", help="erase who was erased and is back by a restore"
    )
    parser.add_argument("--cluster", action="store_true", help="the settings are a cluster's")
    options = parser.parse_args(arguments)
    patient = normalised(options.patient).decode()
    if not patient.isdigit() and not options.again:
        print("error: PATIENT is not a patient number: make erase PATIENT=12345", file=sys.stderr)
        return 1
    try:
        if options.again:
            remaining: list[str] = []
            removed = erase_again(getpass.getuser(), StackSettings(), is_cluster=options.cluster)
        else:
            confirm(f"Everything about patient {patient} is deleted, for good.")
            removed, remaining = erase(
                patient, getpass.getuser(), StackSettings(), is_cluster=options.cluster
            )
    except (
        BuildBusy,
        NotConfirmed,
        RebuildUnderWay,
        RestoreUnderWay,
        psycopg2.errors.LockNotAvailable,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for kind, number in removed.items():
        print(f"removed   {number:>7}  {kind}")
    for line in remaining:
        print(f"remains   {line}")
    print("Intake leaves out rows of whoever was erased.")
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
