"""Tell whether the Airflow process of this pod is alive.

`python -m readmit.ops.heartbeat TriggererJob`: the exit code is 0 when it is.

`airflow jobs check` looks at the same table but imports all of Airflow: 5 seconds of a core for
each probe.
"""

import os
import sys
from contextlib import closing

from readmit import db
from readmit.settings import AirflowLogin

MAX_SILENCE_SECONDS = 60
QUERY = """
    select exists (
        select from job
        where job_type = %s and hostname = %s and state = 'running'
          and latest_heartbeat > now() - make_interval(secs => %s)
    )
"""


def is_alive(job_type: str, hostname: str, settings: AirflowLogin) -> bool:
    """Tell whether a job of this type on this host wrote a heartbeat in the last minute."""
    with (
        closing(db.connect("airflow", "airflow", settings)) as connection,
        connection.cursor() as cur,
    ):
        cur.execute(QUERY, (job_type, hostname, MAX_SILENCE_SECONDS))
        [(is_recent,)] = cur.fetchall()
    return bool(is_recent)


if __name__ == "__main__":
    sys.exit(not is_alive(sys.argv[1], os.environ["POD_IP"], AirflowLogin()))
