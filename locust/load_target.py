"""Which server a load test may hit: one of this machine, or one that somebody has confirmed."""

import ipaddress
from urllib.parse import urlsplit

from readmit.confirmation import confirm


def confirm_target(address: str) -> None:
    """Ask before a server of another machine is put under load.

    Args:
        address: the server's, such as http://127.0.0.1:8000.

    Raises:
        NotConfirmed: it is another machine's, and nobody agreed.
    """
    if not is_of_this_machine(address):
        question = f"{address} is not this machine, and a load test may keep others from using it."
        confirm(question, "nothing was sent")


def is_of_this_machine(address: str) -> bool:
    """Return whether an address leads to this machine, whatever names resolve to."""
    host = urlsplit(address).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
