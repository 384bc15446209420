"""Which server a load test may hit: one of this machine, or one that somebody has confirmed."""

from urllib.parse import urlsplit

from readmit.confirmation import confirm
from readmit.loopback import is_loopback


def confirm_target(address: str) -> None:
    """Ask before a server of another machine is put under load.

    Args:
        address: the server's, such as http://127.0.0.1:8000.

    Raises:
        NotConfirmed: it is another machine's, and nobody agreed.
    """
    if not is_loopback(urlsplit(address).hostname or ""):
        question = f"{address} is not this machine, and a load test may keep others from using it."
        confirm(question, "nothing was sent")
