"""Commands fail with one line that says what is wrong; a traceback is for bugs."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from botocore.exceptions import BotoCoreError, ClientError
from psycopg2 import OperationalError

from readmit.errors import BadData, SourceUnreachable
from readmit.settings import BadSetting

P = ParamSpec("P")
# Bad input, bad settings (LookupError: a password that is not set), services that are away, a disk that is full.
AWAY = (SourceUnreachable, OperationalError, BotoCoreError, ClientError, OSError)
EXPECTED = (BadData, BadSetting, LookupError, *AWAY)


def explained(main: Callable[P, int]) -> Callable[P, int]:
    """Print an expected failure of a command line as one line and return 1."""

    @wraps(main)
    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except EXPECTED as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 1

    return run
