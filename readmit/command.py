"""Command lines print an expected error as one line; a traceback is for bugs."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from botocore.exceptions import BotoCoreError, ClientError
from psycopg2 import OperationalError

from readmit.errors import BadData, NoRoom, SourceUnreachable
from readmit.settings import BadSetting

P = ParamSpec("P")
EXPECTED = (
    BadData,
    BadSetting,
    LookupError,  # a password that is not set
    SourceUnreachable,
    OperationalError,  # Postgres does not answer
    BotoCoreError,  # the object store does not answer
    ClientError,
    NoRoom,
    OSError,  # a disk that is full
)


def explained(main: Callable[P, int]) -> Callable[P, int]:
    """Return `main` so that an expected error is printed as one line and the exit code is 1."""

    @wraps(main)
    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except EXPECTED as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 1

    return run
