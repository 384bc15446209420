"""A new password for Postgres' superuser, which only the superuser itself can set.

`make rotate` keeps the password of before in a file until the server has the new one. So whatever
is killed meanwhile, the next `make up` or `make rotate` goes on.
"""

from contextlib import closing
from pathlib import Path

from psycopg2 import OperationalError, sql
from pydantic import SecretStr

from readmit import db
from readmit.ops import bootstrap
from readmit.settings import StackSettings
from stack.configuration import write_private


def keep(settings: StackSettings) -> None:
    """Keep the password of these settings until `renew`."""
    write_private(_file(settings), db.password("postgres", settings))


def renew(settings: StackSettings) -> None:
    """Give the superuser the password of the settings when the one of before is kept.

    Raises:
        OperationalError: the server has neither of the two.
    """
    path = _file(settings)
    if not path.is_file():
        return
    password = db.password("postgres", settings)
    before = SecretStr(path.read_text(encoding="utf-8"))
    try:
        db.connect("postgres", "postgres", settings).close()
    except OperationalError:
        earlier = settings.model_copy(update={"postgres_password": before})
        change = sql.SQL("alter role postgres password {}").format(sql.Literal(password))
        with closing(db.connect("postgres", "postgres", earlier)) as server, server:
            cur = server.cursor()
            bootstrap.hide_statements(cur)
            cur.execute(change)
    path.unlink()


def _file(settings: StackSettings) -> Path:
    return settings.readmit_home / "postgres-password-before"
