"""A transport of httpx that connects to the addresses which it has checked.

The server of a download may lead it on, by a redirect or by the form of a page. Without a check it
could make this machine read its own services, or those of its network and its cloud. So each host
is resolved once, its addresses are checked, and the connection goes to a checked address. A name
that resolves to another address a moment later changes nothing.
"""

import ipaddress
import logging
import socket
from collections.abc import Callable, Sequence
from enum import IntEnum
from urllib.request import getproxies, proxy_bypass_environment  # type: ignore[attr-defined]

import httpx

from readmit.inherited_environment import download_proxies
from readmit.loopback import is_loopback

log = logging.getLogger(__name__)

PRIVATE_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
# IPv6 addresses that stand for the IPv4 address in their last four bytes.
EMBEDDED = tuple(ipaddress.ip_network(network) for network in ("::/96", "64:ff9b::/96"))

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class NotPublic(Exception):
    """A download was led to an address that is not public."""


class Reach(IntEnum):
    """From where an address can be reached; a smaller one is reached from more machines."""

    PUBLIC = 0
    PRIVATE = 1
    LOOPBACK = 2
    SPECIAL = 3  # link-local (metadata of clouds), carrier-grade NAT, multicast, reserved


def reach_of(address: Address) -> Reach:
    """Return from where an address can be reached."""
    if isinstance(address, ipaddress.IPv6Address):
        embedded = _embedded(address)
        if embedded is not None:
            return reach_of(embedded)
    if address.is_loopback:
        return Reach.LOOPBACK
    if any(address in network for network in PRIVATE_NETWORKS):
        return Reach.PRIVATE
    is_site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    if address.is_global and not address.is_multicast and not is_site_local:
        return Reach.PUBLIC
    return Reach.SPECIAL


def resolve(host: str, port: int) -> list[Address]:
    """Return the addresses of a host.

    Raises:
        OSError: it has none.
    """
    records = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    texts = dict.fromkeys(str(record[4][0]).partition("%")[0] for record in records)
    return [ipaddress.ip_address(text) for text in texts]


class PublicTransport(httpx.BaseTransport):
    """Send requests to public addresses, and to those of the kind that the user named.

    The first request is the user's own: it may go to this machine (by `localhost` or an address) or
    to a private network, and then the answer may lead there too.
    """

    def __init__(
        self,
        direct: httpx.BaseTransport | None = None,
        resolve: Callable[[str, int], Sequence[Address]] = resolve,
    ) -> None:
        self._direct = direct or httpx.HTTPTransport()
        self._resolve = resolve
        self._proxied: dict[str, httpx.BaseTransport] = {}
        self._limit: Reach | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Check the addresses of the host, then send the request to one of them.

        Raises:
            NotPublic: the host has no address that this download may use.
            httpx.UnsupportedProtocol: the address begins neither with http:// nor with https://.
        """
        if request.url.scheme not in ("http", "https"):
            scheme = request.url.scheme[:20]
            raise httpx.UnsupportedProtocol(f"unsupported protocol '{scheme}://'")
        proxy = proxy_for(request.url)
        addresses = self._checked_addresses(request.url, is_proxied=bool(proxy))
        if proxy:
            if proxy not in self._proxied:
                self._proxied[proxy] = httpx.HTTPTransport(proxy=proxy)
            return self._proxied[proxy].handle_request(request)
        error: httpx.TransportError = httpx.ConnectError("the host has no address")
        for address in addresses:
            try:
                to_address = httpx.Request(
                    request.method,
                    request.url.copy_with(host=str(address)),
                    headers=request.headers,
                    stream=request.stream,
                    # The certificate is still checked by name.
                    extensions={**request.extensions, "sni_hostname": request.url.host},
                )
                return self._direct.handle_request(to_address)
            except (httpx.ConnectError, httpx.ConnectTimeout) as connect_error:
                error = connect_error
        raise error

    def close(self) -> None:
        """Close all connections."""
        for transport in (self._direct, *self._proxied.values()):
            transport.close()

    def _checked_addresses(self, url: httpx.URL, *, is_proxied: bool) -> list[Address]:
        port = url.port or {"https": 443}.get(url.scheme, 80)
        try:
            addresses = self._resolve(url.host, port)
        except (OSError, UnicodeError) as error:
            if is_proxied:  # only the proxy can resolve names of the internet
                self._limit = self._limit or Reach.PUBLIC
                return []
            raise httpx.ConnectError(str(error)) from error
        if self._limit is None:
            self._limit = limit_of(url.host, addresses)
        checked = [address for address in addresses if reach_of(address) <= self._limit]
        # A proxy resolves the name itself, so none of the addresses may be another.
        if not checked or (is_proxied and len(checked) < len(addresses)):
            raise NotPublic("the address leads to a host that is not public")
        return checked


def limit_of(host: str, addresses: Sequence[Address]) -> Reach:
    """Return how far inside a download may lead whose first host is the user's own.

    A name of the internet may point to this machine too: only `localhost`, a name without a dot or
    an address means this machine.
    """
    reaches = [reach_of(address) for address in addresses]
    name = host.rstrip(".").lower()
    is_local_name = "." not in name or name.endswith(".localhost")
    if Reach.LOOPBACK in reaches and (_is_address(host) or is_local_name):
        return Reach.LOOPBACK
    if Reach.PRIVATE in reaches:
        return Reach.PRIVATE
    return Reach.PUBLIC


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    is_embedded = any(address in network for network in EMBEDDED)
    if is_embedded and int(address) > 1:  # `::` and `::1` have a meaning of their own
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def proxy_for(url: httpx.URL) -> str:
    """Return the proxy of the environment for an address; empty for a direct connection."""
    proxies = getproxies() | download_proxies()
    if is_loopback(url.host) or proxy_bypass_environment(url.host, proxies):
        return ""
    proxy = proxies.get(url.scheme) or proxies.get("all") or ""
    if proxy.startswith("socks"):
        log.warning("downloads do not use the SOCKS proxy of the environment")
        return ""
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    return proxy
