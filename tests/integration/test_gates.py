"""The gates and the docs site on real Postgres and S3: a good batch passes both, bad ones are rejected with a page."""

import csv
import threading

import httpx
import pytest

from expectations import gate, pages, profiles
from readmit import docs_site, ledger, sample, storage, verdicts
from readmit.errors import BatchRejected
from tests.integration.test_dbt_batches import build
from tests.support import raw as raw_support
from tests.support import services


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
    settings = services.fresh(home, dataset=str(write_source(home / "source.csv", change)), batch_size=800)
    ledger.ensure_source(settings)
    return settings


def claim(settings):
    batch_id = ledger.claim("test", settings)
    ledger.load(batch_id, settings)
    return batch_id


@pytest.fixture(scope="module")
def world(tmp_path_factory, dbt_manifest):
    """The first batch through both gates, published."""
    home = tmp_path_factory.mktemp("gates")
    settings = fresh(home)
    batch_id = claim(settings)
    raw = gate.check_raw(batch_id, settings)
    ledger.begin_build(batch_id, settings)
    build(settings, home)
    publish = gate.check_publish(batch_id, settings=settings)
    ledger.publish(batch_id, settings)
    return settings, batch_id, raw, publish


def page(settings, name, gate_name):
    answer = storage.client(settings).get_object(
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
    settings, _, raw, _ = world
    assert profiles.before("another", settings) is not None
    following = claim(settings)
    found = gate.check_raw(following, settings)
    assert found.n_expectations > raw.n_expectations
    assert gate.check_raw(following, settings) == found  # a rerun says the same
    ledger.release_claim("test", settings)


def test_a_published_batch_is_not_judged_again(world):
    settings, batch_id, _, _ = world
    assert gate.check_raw(batch_id, settings).n_expectations == 0
    assert gate.check_publish(batch_id, settings=settings).n_expectations == 0


def test_rows_that_went_missing_stop_the_publish_gate(tmp_path, dbt_manifest):
    settings = fresh(tmp_path)
    batch_id = claim(settings)
    ledger.begin_build(batch_id, settings)
    build(settings, tmp_path)
    raw_support.query(
        settings,
        settings.clean_database,
        "delete from intermediate.int_encounters__features where encounter_id in"
        " (select encounter_id from intermediate.int_encounters__features limit 1)",
    )
    with pytest.raises(BatchRejected, match=r"publish gate.*table_row_count"):
        gate.check_publish(batch_id, settings=settings)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row.update(gender=row["age"], age=row["gender"]), "gender"),
        (lambda row: row.update(readmitted="NO"), "readmitted"),
        (lambda row: row.update(time_in_hospital="three"), "time_in_hospital"),
        (lambda row: row.update(diag_1="?"), "diag_1"),
        (lambda row: row.update(insulin="7 units"), "insulin"),
    ],
    ids=["swapped columns", "one label only", "words for numbers", "nothing known", "another code"],
)
def test_a_bad_batch_is_rejected_with_reason_and_page(tmp_path, change, said):
    settings = fresh(tmp_path, change)
    batch_id = claim(settings)
    with pytest.raises(BatchRejected, match=said), verdicts.recorded(batch_id, settings):
        gate.check_raw(batch_id, settings)
    assert raw_support.query(
        settings, settings.raw_database, "select status from landing.batches where batch_id = %s", batch_id
    ) == [("rejected",)]
    assert "Failed" in page(settings, batch_id, "raw")
    assert ledger.claim("next", settings) not in (None, batch_id)  # the next batch is not held up


@pytest.fixture
def site(world):
    settings = world[0]
    docs_site.publish_index(settings)
    with docs_site.make_server(settings, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_the_site_shows_batches_with_verdicts_and_their_pages(world, site):
    index = httpx.get(f"{site}/").text
    assert world[1] in index
    assert "published" in index
    assert httpx.get(f"{site}/gx/{world[1]}/raw.html").status_code == 200
    assert httpx.get(f"{site}/static/bootstrap.min.css").headers["content-type"] == "text/css"
    assert httpx.head(f"{site}/livez").status_code == 200


@pytest.mark.parametrize(
    "path", ["/../source/", "/gx/../../source/x", "/%2e%2e/source/", "/gx/%00", "/nothing.html", "/..%5csource"]
)
def test_the_site_serves_nothing_outside_its_folder(site, path):
    assert httpx.get(httpx.URL(site + path)).status_code == 404


def test_the_site_says_when_the_store_is_away(world):
    settings = world[0].model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"})
    with docs_site.make_server(settings, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        answer = httpx.get(f"http://127.0.0.1:{server.server_address[1]}/", timeout=60)
        server.shutdown()
        thread.join()
    assert answer.status_code == 503
    assert "cannot be reached" in answer.text
