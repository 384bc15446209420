"""Which Host headers a service answers, against DNS rebinding.

A foreign web page can point its own name at an address of ours. The browser then takes our answers
for its own, and the page reads them. The Host header still has the foreign name. A page cannot do
this with an IP address, so those are always accepted: Kubernetes' probes and Prometheus use them.
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

ALWAYS = ("localhost", "localhost.localdomain")


class AllowedHosts:
    """Names that a service is reached by; without more names, `localhost` and any IP address."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset([*ALWAYS, *(name.lower() for name in names)])

    def permits(self, header: bytes) -> bool:
        """Tell whether a Host header has an allowed name; the port does not matter."""
        host = header.decode("latin-1").lower()
        name = host.partition(":")[0]
        return name in self._names or is_ip_address(host)


def names(listed: str) -> list[str]:
    """Return the names in a setting, which separates them by comma."""
    return [name.strip() for name in listed.split(",") if name.strip()]


@lru_cache(maxsize=128)
def is_ip_address(host: str) -> bool:
    """Tell whether a host, in lower case and perhaps with a port, is an IPv4 or IPv6 address."""
    name, _, port = host.rpartition(":")
    if not name or host.endswith("]"):
        name, port = host, "0"
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return port.isdigit()
