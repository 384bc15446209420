"""`gate_seconds` and `gate_growth_30`: the raw gate on 15,000 rows.

The thirtieth batch over the first.

Both include rendering and storing the page. GX is imported and used once before anything is timed.
Every batch is published before the next one comes, so the thirtieth is compared with earlier ones
as in a run; a stand-in takes the part of dbt.
"""

import statistics

from bench import dbt_stand_in, private_services
from bench.figure import Figure
from readmit.batches import loading
from readmit.batches.builds import Build
from readmit.settings import StackSettings

BATCHES = 30
REPEATS = 5


def measure() -> list[Figure]:
    """Gate the first batch with nothing before it, and the thirtieth after 29 published ones."""
    from expectations import gate  # takes seconds to import

    with private_services.databases(BATCHES) as settings:
        dbt_stand_in.create_tables(settings)
        batches = [batch.batch_id for batch in private_services.train_batches(settings)[:BATCHES]]
        loading.load(batches[0], settings)
        gate.check_raw(batches[0], settings)
        first = _gate_seconds(batches[0], settings)
        for batch_id in batches[:-1]:
            _publish(batch_id, settings)
        loading.load(batches[-1], settings)
        verdict = gate.check_raw(batches[-1], settings)
        last = _gate_seconds(batches[-1], settings)
    detail = f"raw gate, 15,000 rows, medians of {REPEATS}: "
    detail += f"1st batch {first:.2f} s, {BATCHES}th {last:.2f} s "
    detail += f"with {BATCHES - 1} published before it, {verdict.n_expectations} expectations"
    return [
        Figure("gate_seconds", max(first, last), "s", "<= 2", detail),
        Figure("gate_growth_30", last / first, "ratio", "<= 1.1", detail),
    ]


def _gate_seconds(batch_id: str, settings: StackSettings) -> float:
    from expectations import gate

    seconds = []
    for _ in range(REPEATS):
        seconds.append(private_services.seconds(gate.check_raw, batch_id, settings))
    return statistics.median(seconds)


def _publish(batch_id: str, settings: StackSettings) -> None:
    """Take a batch through a run, with its profile stored and without dbt."""
    from expectations import gate

    loading.load(batch_id, settings)
    gate.check_raw(batch_id, settings)
    Build.of_batch(batch_id).begin(settings)
    dbt_stand_in.build(settings, batch_id)
    Build.of_batch(batch_id).publish(settings)


MEASURES = {("gate_seconds", "gate_growth_30"): measure}
