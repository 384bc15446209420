"""Remove a patient from the databases `raw` and `clean`.

The role `eraser` may delete what is append-only. Nobody logs in as it: the superuser takes it for a
transaction. `clean` comes first: as long as RAW has the rows, an erasure that was killed finds all
of it again.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from psycopg2.extensions import cursor

from readmit import db
from readmit.batches import ledger
from readmit.intake.erased_patients import KEY_CHECK, keyed_hash
from readmit.intake.registration import REGISTER_LOCK
from readmit.settings import StackSettings

# The statements are put together from constants of this module, hence S608; values are parameters.
STAGED = "staging.stg_uci__encounters"
FEATURES = "intermediate.int_encounters__features"
# A patient number without spaces and leading zeros, as `normalised` makes it.
NUMBER = "ltrim(btrim({}, E' \\t\\n\\r\\x0b\\x0c'), '0')"
PAIRS = "(select * from unnest(%(batches)s::text[], %(source_rows)s::bigint[]))"
ROWS = f"""
    select _batch_id, _source_row, encounter_id from landing.encounters
    where {NUMBER.format("patient_nbr")} = %(patient)s or (_batch_id, _source_row) in {PAIRS}
"""  # noqa: S608
# Rows that belong to the patient by their correction.
CORRECTED = f"""
    select batch_id, source_row from ops.corrections
    where {NUMBER.format("corrected ->> 'patient_nbr'")} = %(patient)s
"""  # noqa: S608
# What each published build had counted the rows as. A build before the correction of a row counted
# the row as it was held back then.
COUNT_AGAIN = f"""
    with versions as (
        select s._batch_id, s._source_row, s.verdict, p.published_at
        from {STAGED} as s inner join ops.published_batches as p on s._build_id = p.build_id
        where (s._batch_id, s._source_row) in {PAIRS}
    ),
    verdicts as (
        select distinct on (p.build_id, v._source_row) p.build_id, v.verdict
        from ops.published_batches as p inner join versions as v on p.batch_id = v._batch_id
        order by
            p.build_id, v._source_row, v.published_at <= p.published_at desc,
            v.verdict = 'quarantined'
    ),
    erased as (
        select
            build_id, count(*) as n_rows, count(*) filter (where verdict = 'valid') as n_features,
            count(*) filter (where verdict = 'quarantined') as n_quarantined,
            count(*) filter (where verdict = 'excluded') as n_excluded
        from verdicts group by build_id
    )
    update ops.published_batches as p
    set
        n_rows = p.n_rows - erased.n_rows, n_features = p.n_features - erased.n_features,
        n_quarantined = p.n_quarantined - erased.n_quarantined,
        n_excluded = p.n_excluded - erased.n_excluded
    from erased where p.build_id = erased.build_id
"""  # noqa: S608
FROM_STAGED = f"delete from {STAGED} where (_batch_id, _source_row) in {PAIRS}"  # noqa: S608
FROM_FEATURES = f"""
    delete from {FEATURES}
    where patient_nbr::text = %(patient)s
        or _batch_id = any(%(batches)s) and encounter_id = any(%(encounters)s::bigint[])
"""  # noqa: S608
FROM_PREDICTIONS = f"""
    delete from ops.predictions
    where {NUMBER.format("patient_nbr")} = %(patient)s
        or encounter_id = any(%(encounters)s::bigint[])
"""  # noqa: S608
FROM_CORRECTIONS = f"""
    update ops.corrections set corrected = '{{}}'
    where (batch_id, source_row) in {PAIRS} and corrected <> '{{}}'
"""  # noqa: S608
# What later files recognise the rows by. The row stays, as one of its slice, with a digest that no
# row has.
FORGET_DIGESTS = "update landing.row_digests set encounter_key = '', digest = gen_random_uuid()"
FROM_PROPOSALS = f"""
    delete from landing.proposals
    where {NUMBER.format("new_values ->> 'patient_nbr'")} = %(patient)s
        or (batch_id, batch_row) in {PAIRS}
"""  # noqa: S608
# Names of files, and reasons of refusals, which quote what stands in a file. A result that is null
# is written anew by the next run.
FROM_TEXTS = (
    """
    update landing.inbox
    set
        name = regexp_replace(name, %(pattern)s, 'xxx', 'g'),
        reason = regexp_replace(reason, %(pattern)s, 'xxx', 'g'),
        result = null
    where concat_ws(' ', name, reason, result::text) ~ %(pattern)s
    """,
    """
    update landing.batches set reason = regexp_replace(reason, %(pattern)s, 'xxx', 'g')
    where reason ~ %(pattern)s
    """,
    """
    update landing.sources set name = regexp_replace(name, %(pattern)s, 'xxx', 'g')
    where name ~ %(pattern)s
    """,
)
PSEUDONYMISE = """
    update ops.history_lookups set patient_nbr = %(pseudonym)s where patient_nbr::text = %(patient)s
"""
# Whose files hold deleted rows until a vacuum.
TABLES = {"raw": ("landing.encounters",), "clean": (STAGED, FEATURES, "ops.predictions")}
MODELS = """
    select version from model_version_tags
    where name = %s and key = 'snapshot' and value = any(%s) order by version
"""


class RebuildUnderWay(Exception):
    """Published batches are being rebuilt: an erasure waits until that has ended."""


@dataclass(frozen=True)
class PatientRows:
    """The rows of a patient in RAW: batch, number in the file, and number of the stay."""

    patient: str
    batches: Sequence[str]
    source_rows: Sequence[int]
    encounters: Sequence[int]

    @property
    def parameters(self) -> dict[str, object]:
        """The values of the statements of this module."""
        return {
            "patient": self.patient,
            "batches": list(self.batches),
            "source_rows": list(self.source_rows),
            "encounters": list(self.encounters),
        }

    @property
    def numbers(self) -> list[str]:
        """The numbers of the patient and of the stays, by which pages and logs are searched."""
        return [self.patient, *(str(encounter) for encounter in self.encounters)]


class SliceRest(NamedTuple):
    """What is left of a slice: the numbers of its rows, and their hash, None when none is left."""

    source_rows: list[int]
    content_sha256: str | None


def number_pattern(numbers: Sequence[str]) -> str:
    """Return a regular expression that finds numbers where they stand alone.

    It finds `135`, and not `135px` or `0.135`. Python and Postgres read it alike.
    """
    alternatives = "|".join(re.escape(number) for number in numbers)
    return rf"(?<![\w.])0*(?:{alternatives})(?!\w|\.\d)"


@contextmanager
def eraser(database: str, settings: StackSettings) -> Iterator[cursor]:
    """Open a transaction of the role `eraser`."""
    with db.transaction("postgres", database, settings) as connection, connection.cursor() as cur:
        cur.execute("set local role eraser")
        yield cur


def begin(patient: str, erased_by: str, settings: StackSettings) -> int:
    """Write down that a patient is erased; from then on intake leaves out the patient's rows.

    Returns:
        The number of the record.
    """
    with eraser(settings.raw_database, settings) as cur:
        # A file that is being registered has read who was erased: it ends first.
        cur.execute("select pg_advisory_xact_lock(%s)", (REGISTER_LOCK,))
        cur.execute(
            "insert into landing.erasures (patient_hash, key_check, erased_by)"
            " values (%s, %s, %s) returning erasure_id",
            (
                keyed_hash(patient.encode(), settings),
                keyed_hash(KEY_CHECK, settings),
                erased_by,
            ),
        )
        [(erasure_id,)] = cur.fetchall()
    return int(erasure_id)


def rows_of(patient: str, settings: StackSettings) -> PatientRows:
    """Return the rows of a patient, those included that a correction has given to the patient."""
    with eraser(settings.clean_database, settings) as cur:
        cur.execute(CORRECTED, {"patient": patient})
        corrected = cur.fetchall()
    parameters = {
        "patient": patient,
        "batches": [batch_id for batch_id, _ in corrected],
        "source_rows": [source_row for _, source_row in corrected],
    }
    with eraser(settings.raw_database, settings) as cur:
        cur.execute(ROWS, parameters)
        rows = cur.fetchall()
    encounters = set()
    for _, _, encounter_id in rows:
        # 0 is the stay of load tests.
        if encounter_id.strip().isdigit() and int(encounter_id):
            encounters.add(int(encounter_id))
    return PatientRows(
        patient,
        [str(batch_id) for batch_id, _, _ in rows],
        [int(source_row) for _, source_row, _ in rows],
        sorted(encounters),
    )


def erase_from_clean(rows: PatientRows, settings: StackSettings) -> Counter[str]:
    """Delete what dbt built of the patient and the predictions; records get a pseudonym.

    The counts of published builds go down by the rows that are deleted.

    Raises:
        RebuildUnderWay: another contract is being built.
    """
    removed: Counter[str] = Counter()
    # Negative, so it is the number of no patient, and always the same one for this patient.
    pseudonym = -(int(keyed_hash(rows.patient.encode(), settings)[:15], 16) + 1)
    parameters = {**rows.parameters, "pseudonym": pseudonym}
    with eraser(settings.clean_database, settings) as cur:
        cur.execute("select exists (select from ops.rebuilds)")
        if cur.fetchall() == [(True,)]:
            raise RebuildUnderWay(
                "published batches are being rebuilt for another contract: erase when that has"
                " ended (make pipeline)"
            )
        statements = {
            "predictions": FROM_PREDICTIONS,
            "corrections, their values": FROM_CORRECTIONS,
            "look-ups of history, pseudonymised": PSEUDONYMISE,
        }
        cur.execute("select to_regclass(%s) is not null", (FEATURES,))
        if cur.fetchall() == [(True,)]:
            for table in (STAGED, FEATURES):
                cur.execute("select ops.lock_plain_table(%s)", (table,))
            cur.execute(COUNT_AGAIN, parameters)
            statements["staged rows, those in quarantine included"] = FROM_STAGED
            statements["features"] = FROM_FEATURES
        for kind, statement in statements.items():
            cur.execute(statement, parameters)
            removed[kind] = cur.rowcount
    return removed


def erase_from_raw(
    rows: PatientRows, slices: Mapping[str, SliceRest], settings: StackSettings
) -> Counter[str]:
    """Delete the rows from RAW, and changed rows that wait; the ledger counts them as erased.

    Args:
        rows: of the patient.
        slices: by batch what is left of each slice that was written anew.
        settings: where Postgres is.
    """
    removed: Counter[str] = Counter()
    with eraser(settings.raw_database, settings) as cur:
        cur.execute(
            f"delete from landing.encounters where (_batch_id, _source_row) in {PAIRS}",  # noqa: S608
            rows.parameters,
        )
        removed["rows of RAW"] = cur.rowcount
        cur.execute(f"{FORGET_DIGESTS} where (batch_id, source_row) in {PAIRS}", rows.parameters)
        cur.execute(FROM_PROPOSALS, rows.parameters)
        removed["proposals"] = cur.rowcount
        for statement in FROM_TEXTS:
            cur.execute(statement, {"pattern": number_pattern(rows.numbers)})
            removed["texts of the ledger"] += cur.rowcount
        for batch_id, rest in slices.items():
            for table in ("slices", "batches"):
                cur.execute(
                    f"update landing.{table} set n_erased = n_rows - %s,"  # noqa: S608
                    " content_sha256 = coalesce(%s, content_sha256) where batch_id = %s",
                    (len(rest.source_rows), rest.content_sha256, batch_id),
                )
            cur.execute(
                f"{FORGET_DIGESTS} where batch_id = %s and source_row <> all(%s::bigint[])",
                (batch_id, rest.source_rows),
            )
        # What RAW holds counts, also where S3 has lost the slice.
        cur.execute(
            "update landing.batches as b set n_erased = b.n_rows - ("
            " select count(*) from landing.encounters as e where e._batch_id = b.batch_id)"
            " where b.batch_id = any(%(batches)s)",
            rows.parameters,
        )
    ledger.follow(sorted(set(rows.batches)), settings)
    return removed


def count_archive(object_key: str, n_rows: int, settings: StackSettings) -> None:
    """Write down how many predictions an archive has now."""
    with eraser(settings.clean_database, settings) as cur:
        cur.execute(
            "update ops.prediction_archives set n_rows = %s where object_key = %s and n_rows <> %s",
            (n_rows, object_key, n_rows),
        )


def end(erasure_id: int, removed: str, settings: StackSettings) -> None:
    """Complete the record of an erasure with what was removed, as JSON."""
    with eraser(settings.raw_database, settings) as cur:
        cur.execute(
            "update landing.erasures set removed = %s, finished_at = clock_timestamp()"
            " where erasure_id = %s",
            (removed, erasure_id),
        )


def vacuum(settings: StackSettings) -> None:
    """Free the places of deleted rows, which the files of the tables would hold for a while."""
    databases = {"raw": settings.raw_database, "clean": settings.clean_database}
    for name, database in databases.items():
        with closing(db.connect("postgres", database, settings)) as connection:
            connection.autocommit = True
            with connection.cursor() as cur:
                for table in TABLES[name]:
                    cur.execute("select to_regclass(%s) is not null", (table,))
                    if cur.fetchall() == [(True,)]:
                        cur.execute(f"vacuum {table}")


def fitted_models(snapshots: Sequence[str], settings: StackSettings) -> list[str]:
    """Return the versions of the model that were fitted on one of the snapshots."""
    with closing(db.connect("postgres", "mlflow", settings)) as mlflow, mlflow.cursor() as cur:
        cur.execute("select to_regclass('model_version_tags') is not null")
        if cur.fetchall() != [(True,)]:  # MLflow has never started
            return []
        cur.execute(MODELS, (settings.model_name, list(snapshots)))
        return [str(version) for (version,) in cur.fetchall()]
