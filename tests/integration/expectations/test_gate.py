"""The gates and the docs site on real Postgres and S3: a good batch passes both, bad ones are
rejected with a page.
"""

import csv
import itertools
import json

import httpx
import pytest

from expectations import gate, pages, profiles
from readmit import storage
from readmit.batches import claims, loading, verdicts
from readmit.batches.builds import Build
from readmit.docs_site import publishing
from readmit.errors import BatchRejected
from readmit.intake import sample, sources
from readmit.intake.split import split_of
from tests.support import dbt, docs_site, services
from tests.support import raw as raw_support
from tests.support.secret_table import in_pod_of


def write_source(path, change=None, n=1600):
    sample.write_csv(path, n)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if change:
        for row in rows:
            change(row)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def fresh(home, change=None):
    settings = services.fresh(
        home, dataset=str(write_source(home / "source.csv", change)), batch_size=800
    )
    # Forced: the profile of the file would refuse some of them before a gate sees them.
    sources.ensure_source(in_pod_of("intake", settings), is_forced=True)
    return settings


def claim(settings):
    batch_id = raw_support.claim_batch("test", settings)
    Build.of_batch(batch_id).begin(in_pod_of("batch", settings))
    loading.load(batch_id, in_pod_of("intake", settings))
    return batch_id


@pytest.fixture(scope="module")
def world(tmp_path_factory, dbt_manifest):
    """The first batch through both gates, published."""
    home = tmp_path_factory.mktemp("gates")
    settings = fresh(home)
    batch_id = claim(settings)
    in_batch_pod = in_pod_of("batch", settings)
    raw = gate.check_raw(batch_id, in_batch_pod)
    Build.of_batch(batch_id).begin(in_batch_pod)
    dbt.build(in_pod_of("dbt", settings), home / "target")
    publish = gate.check_publish(Build.of_batch(batch_id), in_batch_pod)
    Build.of_batch(batch_id).publish(in_batch_pod)
    return settings, batch_id, raw, publish


def page(settings, name, gate_name):
    answer = storage.client("admin", settings).get_object(
        Bucket=settings.s3_pipeline_bucket, Key=f"{pages.PREFIX}/{name}/{gate_name}.html"
    )
    return answer["Body"].read().decode()


def test_a_good_batch_passes_both_gates_and_leaves_its_pages(world):
    settings, batch_id, raw, publish = world
    assert raw.n_expectations > 70
    assert publish.n_expectations > 140
    assert (raw.failed, publish.failed) == ((), ())
    for name in ("raw", "publish"):
        assert batch_id in page(settings, batch_id, name)
        assert 'src="http' not in page(settings, batch_id, name)


def test_the_next_batch_is_compared_with_the_ones_before(world):
    settings, batch_id, raw, _ = world
    assert profiles.before("another", settings) != profiles.published_file()
    s3 = storage.client("gates", settings)
    assert profiles.before("another", settings) == profiles.load(batch_id, s3, settings)
    assert profiles.load("another", s3, settings) is None
    following = claim(settings)
    result = gate.check_raw(following, settings)
    assert (
        result.n_expectations == raw.n_expectations
    )  # the first was compared too, with the published file
    assert gate.check_raw(following, settings) == result  # a rerun says the same
    claims.release_claim("test", settings)


def test_a_published_batch_is_not_judged_again(world):
    settings, batch_id, _, _ = world
    assert gate.check_raw(batch_id, settings).n_expectations == 0
    assert gate.check_publish(Build.of_batch(batch_id), settings).n_expectations == 0


def test_rows_that_went_missing_stop_the_publish_gate(tmp_path, dbt_manifest):
    settings = fresh(tmp_path)
    batch_id = claim(settings)
    dbt.build(settings, tmp_path / "target")
    raw_support.query(
        settings,
        settings.clean_database,
        "delete from intermediate.int_encounters__features where encounter_id in"
        " (select encounter_id from intermediate.int_encounters__features limit 1)",
    )
    with pytest.raises(BatchRejected, match=r"publish gate.*table_row_count"):
        gate.check_publish(Build.of_batch(batch_id), settings)


def swap_gender_and_age(row):
    row.update(gender=row["age"], age=row["gender"])


def put(**values):
    """Return a change that gives a row these values."""

    def change(row):
        row.update(values)

    return change


@pytest.mark.parametrize(
    ("change", "reason", "value"),
    [
        (swap_gender_and_age, "gender", ""),
        (put(readmitted="NO"), "readmitted", ""),
        (put(time_in_hospital="three"), "time_in_hospital", "three"),
        (put(diag_1="?"), "diag_1", ""),
        (put(insulin="7 units"), "insulin", "7 units"),
        (put(encounter_id="9007199"), "encounter_id", "9007199"),
        (put(encounter_id="Jane Roe"), "encounter_id", "Jane Roe"),
    ],
    ids=[
        "swapped columns",
        "one label only",
        "words for numbers",
        "nothing known",
        "another code",
        "one stay again and again",
        "a name",
    ],
)
def test_a_bad_batch_is_rejected_with_reason_and_page(tmp_path, caplog, change, reason, value):
    settings = fresh(tmp_path, change)
    batch_id = claim(settings)
    with (
        pytest.raises(BatchRejected, match=reason) as rejected,
        verdicts.record_rejection(Build.of_batch(batch_id), settings),
    ):
        gate.check_raw(batch_id, settings)
    assert raw_support.query(
        settings,
        settings.raw_database,
        "select status from landing.batches where batch_id = %s",
        batch_id,
    ) == [("rejected",)]
    assert "Failed" in page(settings, batch_id, "raw")
    if value:  # values of rows are in quarantine only
        [(ledger_reason,)] = raw_support.query(
            settings,
            settings.raw_database,
            "select reason from landing.batches where batch_id = %s",
            batch_id,
        )
        for text in (
            str(rejected.value),
            ledger_reason,
            page(settings, batch_id, "raw"),
            caplog.text,
        ):
            assert value not in text
    assert raw_support.claim_batch("next", settings) not in (
        None,
        batch_id,
    )  # the next batch is not held up


# ---- drift: the second batch (the test split) is compared with the first (validation), which is
# published


def compared(home, share):
    """Gate a batch in which `share` of the rows have another race."""
    count = itertools.count()

    def change(row):
        if split_of(row["patient_nbr"]) == "test" and next(count) % 100 < share * 100:
            row["race"] = "Asian"

    settings = fresh(home, change)
    raw_support.stand_in_tables(settings)
    before = claim(settings)
    gate.check_raw(before, settings)
    Build.of_batch(before).begin(settings)
    raw_support.stand_in_build(settings, before)
    Build.of_batch(before).publish(settings)
    batch_id = claim(settings)
    with verdicts.record_rejection(Build.of_batch(batch_id), settings):
        return settings, batch_id, gate.check_raw(batch_id, settings)


def verdict_file(settings, batch_id, gate_name):
    key = f"{pages.PREFIX}/{batch_id}/{gate_name}.json"
    return json.loads(
        storage.client("admin", settings)
        .get_object(Bucket=settings.s3_pipeline_bucket, Key=key)["Body"]
        .read()
    )


def test_drift_warns_on_the_page_and_stops_nothing(tmp_path):
    settings, batch_id, result = compared(tmp_path, 0.4)
    assert [line.partition(":")[0] for line in result.warnings] == ["race"]
    verdict = verdict_file(settings, batch_id, "raw")
    assert verdict["success"]
    assert (verdict["n_failed"], verdict["n_warned"]) == (0, 1)
    shown = page(settings, batch_id, "raw")
    assert "distance of its values to the batches before: at most 0.2, above it a warning" in shown
    assert "as many rows as the ledger says" in shown


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    """A batch that has arrived after the first one was published, and a copy of its rows."""
    settings, batch_id, _ = compared(tmp_path_factory.mktemp("second"), 0)
    copy = "create table public.arrived as table landing.encounters"
    raw_support.query(settings, settings.raw_database, copy)
    return settings, batch_id


def let_all_have(settings, batch_id, column, value):
    """Let each row of a batch have a value in one column, and what arrived in the others."""
    statement = f"""
        set session_replication_role = replica;  -- the table is append-only
        truncate landing.encounters;
        insert into landing.encounters table public.arrived;
        update landing.encounters set {column} = %s where _batch_id = %s
    """
    raw_support.query(settings, settings.raw_database, statement, value, batch_id)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("race", "Asian"),
        ("age", "[0-10)"),
        ("admission_source_id", "25"),
        ("a1cresult", ">8"),
        ("insulin", "Down"),
        ("payer_code", "XX"),
    ],
)
def test_nonsense_in_a_stable_column_rejects_the_batch(second, column, value):
    settings, batch_id = second
    let_all_have(settings, batch_id, column, value)
    # payer_code began to be recorded in the middle of the real file: it may change altogether, and
    # only warns.
    if column == "payer_code":
        assert gate.check_raw(batch_id, settings).warnings
        return
    with pytest.raises(BatchRejected, match=f"{column}: .*'max_value': 0.8"):
        gate.check_raw(batch_id, settings)


def test_the_first_batch_is_compared_with_the_published_file(tmp_path):
    settings = fresh(tmp_path, put(race="Asian"))
    assert profiles.before("another", settings) == profiles.published_file()
    with pytest.raises(BatchRejected, match=r"race: .*'max_value': 0.8"):
        gate.check_raw(claim(settings), settings)


# ---- accounting: one batch that dbt has built, from which rows are taken on the way


STAGING = "staging.stg_uci__encounters"
FEATURES = "intermediate.int_encounters__features"
COPIES = {STAGING: "public.staged", FEATURES: "public.features"}
SOME = f"""
    select encounter_id from {FEATURES} order by 1
    limit (select {{}} * count(*) from {STAGING})::bigint
"""
HOLD = f"""
    update {STAGING} set verdict = 'quarantined', reason = 'no band'
    where encounter_id in ({SOME});
"""
HELD = f"select encounter_id from {STAGING} where verdict = 'quarantined'"
TAKE = f"delete from {FEATURES} where encounter_id in ({HELD})"


@pytest.fixture(scope="module")
def built(tmp_path_factory, dbt_manifest):
    home = tmp_path_factory.mktemp("built")
    settings = fresh(home)
    batch_id = claim(settings)
    dbt.build(settings, home / "target")
    for table, copy in COPIES.items():
        raw_support.query(
            settings, settings.clean_database, f"create table {copy} as table {table}"
        )
    return settings, batch_id


@pytest.fixture
def intact(built):
    """The built batch, restored after each test."""
    yield built
    settings, _ = built
    for table, copy in COPIES.items():
        raw_support.query(
            settings, settings.clean_database, f"truncate {table}; insert into {table} table {copy}"
        )


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (f"delete from {STAGING} where verdict = 'excluded'", "n_raw.*n_staging"),
        (
            f"delete from {FEATURES} where encounter_id in ({SOME.format(0.005)})",
            "n_staging.*n_accounted",
        ),
        (
            HOLD.format(0.02) + TAKE,
            r"share_quarantined.*most often: from row \d+ on \(rows: \d\): no band",
        ),
        (f"update {FEATURES} set length_of_stay_days = 15", "length_of_stay_days"),
        (
            f"update {FEATURES} set patient_nbr = null",
            "patient_nbr: expect_column_values_to_not_be_null",
        ),
        (f"update {FEATURES} set split = 'holdout'", "split: expect_column_values_to_be_in_set"),
    ],
    ids=[
        "lost before staging",
        "lost after staging",
        "more than 1 % held",
        "out of range",
        "no patient",
        "no split",
    ],
)
def test_rows_that_do_not_add_up_or_fit_stop_the_publish_gate(intact, damage, reason):
    settings, batch_id = intact
    raw_support.query(settings, settings.clean_database, damage)
    with pytest.raises(BatchRejected, match=rf"publish gate.*{reason}"):
        gate.check_publish(Build.of_batch(batch_id), settings)
    assert not verdict_file(settings, batch_id, "publish")["success"]


def test_up_to_one_percent_held_back_passes_the_publish_gate(intact):
    settings, batch_id = intact
    raw_support.query(settings, settings.clean_database, HOLD.format(0.009) + TAKE)
    assert gate.check_publish(Build.of_batch(batch_id), settings).failed == ()


def test_the_docs_site_shows_batches_with_verdicts_and_their_pages(world):
    settings, batch_id, _, _ = world
    publishing.publish_index(in_pod_of("docs", settings))
    with docs_site.running(settings) as site:
        index = httpx.get(f"{site}/").text
        assert batch_id in index
        assert "published" in index
        assert httpx.get(f"{site}/gx/{batch_id}/raw.html").status_code == 200
        assert httpx.get(f"{site}/static/bootstrap.min.css").headers["content-type"] == "text/css"
