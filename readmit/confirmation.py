"""Ask before something is deleted, or done to a machine of others."""

import os
import sys


class NotConfirmed(Exception):
    """Nobody agreed, so nothing was done; the message says how to agree."""


def confirm(question: str, refusal: str = "nothing was deleted") -> None:
    """Ask a question at the terminal; `make ... YES=1` answers it for scripts.

    Args:
        question: says what happens.
        refusal: says what did not happen, for the message of the error.

    Raises:
        NotConfirmed: the answer is not `yes`, or there is no terminal to ask at.
    """
    if os.environ.get("READMIT_YES", "").lower() in ("1", "y", "yes", "true"):
        return
    if not sys.stdin.isatty():
        raise NotConfirmed(f"{refusal}. {question} Say YES=1 to confirm.")
    try:
        answer = input(f"{question}\nType yes to confirm: ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise NotConfirmed(refusal)
