"""Does this pod's Airflow process beat? `python -m readmit.ops.heartbeat TriggererJob`: exit code 0 when it does.

`airflow jobs check` asks the same of the same table but imports all of Airflow: 5 seconds of a core for each probe.
"""

import os
import sys
from contextlib import closing

from readmit import db
from readmit.settings import AirflowLogin

LONGEST_SILENCE_SECONDS = 60
QUERY = """
    select exists (
        select from job
        where job_type = %s and hostname = %s and state = 'running'
          and latest_heartbeat > now() - make_interval(secs => %s)
    )
"""


def beats(
    job_type: str, hostname: str, settings: AirflowLogin, seconds: int = LONGEST_SILENCE_SECONDS
) -> bool:
    """Tell whether a job of this type on this host wrote its heartbeat in the last `seconds`."""
    with (
        closing(db.connect("airflow", "airflow", settings)) as connection,
        connection.cursor() as cur,
    ):
        cur.execute(QUERY, (job_type, hostname, seconds))
        found = cur.fetchone()
    return bool(found and found[0])


if __name__ == "__main__":
    sys.exit(not beats(sys.argv[1], os.environ["POD_IP"], AirflowLogin()))
