"""`gate_seconds` and `gate_growth_30`: the raw gate, warm, on 15,000 rows; the thirtieth batch over the first.

Both include rendering and storing the page. GX is imported and used once before anything is timed. Every batch is
published before the next one comes, so the thirtieth is compared with earlier ones as in a run; dbt is stood in for.
"""

import statistics

from bench import private_services
from bench.figure import Figure
from readmit.batches import builds, loading
from readmit.settings import StackSettings
from tests.support import raw

BATCHES = 30
REPEATS = 5


def measure() -> list[Figure]:
    """Gate the first batch with nothing before it, and the thirtieth after 29 published ones, each several times."""
    from expectations import gate  # takes seconds to import

    with private_services.databases(BATCHES) as settings:
        raw.stand_in_tables(settings)
        batches = [batch_id for batch_id, _ in private_services.train_batches(settings)[:BATCHES]]
        loading.load(batches[0], settings)
        gate.check_raw(batches[0], settings)
        first = [
            private_services.seconds(lambda: gate.check_raw(batches[0], settings))
            for _ in range(REPEATS)
        ]
        for batch_id in batches[:-1]:
            _publish(batch_id, settings)
        loading.load(batches[-1], settings)
        found = gate.check_raw(batches[-1], settings)
        last = [
            private_services.seconds(lambda: gate.check_raw(batches[-1], settings))
            for _ in range(REPEATS)
        ]
    one, thirty = statistics.median(first), statistics.median(last)
    detail = f"raw gate, 15,000 rows, medians of {REPEATS}: 1st batch {one:.2f} s, {BATCHES}th {thirty:.2f} s"
    detail += f" with {BATCHES - 1} published before it, {found.n_expectations} expectations"
    return [
        Figure("gate_seconds", max(one, thirty), "s", "<= 2", detail),
        Figure("gate_growth_30", thirty / one, "ratio", "<= 1.1", detail),
    ]


def _publish(batch_id: str, settings: StackSettings) -> None:
    """Take a batch through a run, with its profile kept and without dbt."""
    from expectations import gate

    loading.load(batch_id, settings)
    gate.check_raw(batch_id, settings)
    builds.begin_build(batch_id, settings)
    raw.stand_in_build(settings, batch_id)
    builds.publish(batch_id, settings)


MEASURES = {("gate_seconds", "gate_growth_30"): measure}
