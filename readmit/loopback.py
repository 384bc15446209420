"""Which hosts are this machine, whatever names resolve to."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Tell whether a host is `localhost` or a loopback address; an IPv6 address has no brackets."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
