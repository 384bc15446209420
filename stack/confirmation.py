"""Ask before something is deleted."""

import os
import sys


class NotConfirmed(Exception):
    """Nobody agreed, so nothing was deleted; the message says how to agree."""


def confirm(question: str) -> None:
    """Ask a question at the terminal; YES=1 in the environment answers it for scripts.

    Raises:
        NotConfirmed: the answer is not `yes`, or there is no terminal to ask at.
    """
    if os.environ.get("YES", "").lower() in ("1", "y", "yes", "true"):
        return
    if not sys.stdin.isatty():
        raise NotConfirmed(f"nothing was deleted. {question} Say YES=1 to confirm.")
    try:
        answer = input(f"{question}\nType yes to confirm: ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise NotConfirmed("nothing was deleted")
