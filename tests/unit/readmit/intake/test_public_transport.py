"""Downloads go to public addresses, and connect to the address that was checked."""

import ipaddress

import httpx
import pytest

from readmit.errors import SourceRefused, SourceUnreachable
from readmit.intake import download, public_transport
from readmit.intake.public_transport import NotPublic, PublicTransport, Reach

PUBLIC = "93.184.215.14"
INSIDE = (
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.5",
    "172.20.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
)


class Internet:
    """Names with their addresses, and the answers of servers by the name of the host."""

    def __init__(self, names, answers):
        self.names = names
        self.answers = answers
        self.connections = []

    def resolve(self, host, _port):
        try:
            return [ipaddress.ip_address(host)]
        except ValueError:
            pass
        if host not in self.names:
            raise OSError("Name or service not known")
        addresses = self.names[host]
        answer = addresses[0]
        # The last answer stays; earlier ones are given once, as a rebinding server does.
        if len(addresses) > 1:
            addresses.pop(0)
        return [ipaddress.ip_address(address) for address in answer.split()]

    def answer(self, request):
        name = request.headers["host"].partition(":")[0]
        self.connections.append((request.url.host, name, request.extensions["sni_hostname"]))
        return self.answers[name]

    def client(self):
        transport = PublicTransport(httpx.MockTransport(self.answer), self.resolve)
        return httpx.Client(transport=transport, follow_redirects=True)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setattr(public_transport, "getproxies", dict)


def led_to(location):
    return httpx.Response(302, headers={"location": location})


@pytest.mark.parametrize("address", INSIDE)
def test_no_redirect_and_no_name_leads_inside(address):
    host = address
    if ":" in address:
        host = f"[{address}]"
    internet = Internet(
        {"public.example": [PUBLIC], "evil.example": [address]},
        {
            "public.example": led_to(f"http://{host}/latest/meta-data"),
            "other.example": led_to("http://evil.example/"),
        },
    )
    internet.names["other.example"] = [PUBLIC]
    for start in ("public.example", "other.example"):
        with internet.client() as client, pytest.raises(NotPublic):
            client.get(f"http://{start}/a.csv")
    assert len(internet.connections) == 2
    for connected_address, *_ in internet.connections:
        assert connected_address == PUBLIC


def test_the_connection_goes_to_the_checked_address_when_the_name_moves():
    internet = Internet(
        {"public.example": [PUBLIC, "127.0.0.1"]}, {"public.example": httpx.Response(200, text="a")}
    )
    with internet.client() as client:
        assert client.get("https://public.example/a.csv").text == "a"
        assert internet.connections == [(PUBLIC, "public.example", "public.example")]
        with pytest.raises(NotPublic):
            client.get("https://public.example/a.csv")


def test_of_several_addresses_only_public_ones_are_used():
    internet = Internet(
        {"two.example": [f"127.0.0.1 {PUBLIC}"]}, {"two.example": httpx.Response(200)}
    )
    with internet.client() as client:
        client.get("http://two.example/")
    assert internet.connections[0][0] == PUBLIC


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "desk"])
def test_the_users_own_local_address_may_lead_on_locally(host):
    internet = Internet(
        {"localhost": ["127.0.0.1"], "desk": ["127.0.1.1"]},
        {host: led_to("http://10.0.0.5/"), "10.0.0.5": httpx.Response(200, text="a")},
    )
    with internet.client() as client:
        assert client.get(f"http://{host}/").text == "a"


@pytest.mark.parametrize("target", ["http://127.0.0.1/", "http://169.254.169.254/"])
def test_a_server_of_the_private_network_leads_neither_to_this_machine_nor_to_the_cloud(target):
    internet = Internet(
        {"files.hospital.example": ["10.1.1.1"]}, {"files.hospital.example": led_to(target)}
    )
    with internet.client() as client, pytest.raises(NotPublic):
        client.get("http://files.hospital.example/a.csv")
    [(connected_address, *_)] = internet.connections
    assert connected_address == "10.1.1.1"


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "100.64.0.1"])
def test_a_name_of_the_internet_that_points_inside_is_no_local_address(address):
    internet = Internet({"evil.example": [address]}, {})
    with internet.client() as client, pytest.raises(NotPublic):
        client.get("http://evil.example/")


@pytest.mark.parametrize(
    ("host", "address", "reach"),
    [
        ("localhost", "127.0.0.1", Reach.LOOPBACK),
        ("desk", "127.0.1.1", Reach.LOOPBACK),
        ("files.example", "127.0.0.1", Reach.PUBLIC),
        ("files.example", "10.1.1.1", Reach.PRIVATE),
        ("files.example", PUBLIC, Reach.PUBLIC),
    ],
)
def test_the_first_host_limits_how_far_inside_a_download_may_lead(host, address, reach):
    assert public_transport.limit_of(host, [ipaddress.ip_address(address)]) == reach


def test_public_addresses_are_public():
    for address in (PUBLIC, "2606:2800:21f:cb07::1", "::ffff:8.8.8.8", "64:ff9b::808:808"):
        assert public_transport.reach_of(ipaddress.ip_address(address)) == Reach.PUBLIC


def test_a_download_that_is_led_inside_is_refused_and_repeats_nothing(tmp_path, monkeypatch):
    page = '<form id="download-form" action="http://169.254.169.254/secret-path"></form>'
    for answer in (
        led_to("http://127.0.0.1:8333/secret-path"),
        httpx.Response(200, html=page),
        httpx.Response(200, html="<p>secret-path</p>"),
        led_to("http://[secret-path"),
        led_to("ftp://public.example/secret-path"),
    ):
        internet = Internet({"public.example": [PUBLIC]}, {"public.example": answer})
        transport = PublicTransport(httpx.MockTransport(internet.answer), internet.resolve)
        monkeypatch.setattr(download, "PublicTransport", lambda transport=transport: transport)
        with pytest.raises((SourceRefused, SourceUnreachable)) as refusal:
            download.download("http://public.example/a.csv", tmp_path / "a.csv", attempts=1)
        assert str(refusal.value).startswith("http://public.example/a.csv: ")
        assert "secret-path" not in str(refusal.value)
        assert not (tmp_path / "a.csv").exists()


@pytest.mark.parametrize(
    ("proxies", "host", "proxy"),
    [
        ({"http": "http://proxy:3128"}, "public.example", "http://proxy:3128"),
        ({"all": "proxy:3128"}, "public.example", "http://proxy:3128"),
        ({"all": "socks5://127.0.0.1:1080"}, "public.example", ""),
        ({}, "public.example", ""),
        ({"all": "http://proxy:3128"}, "127.0.0.1", ""),
        ({"all": "http://proxy:3128"}, "localhost", ""),
    ],
)
def test_the_proxy_of_the_environment_is_used(monkeypatch, proxies, host, proxy):
    monkeypatch.setattr(public_transport, "getproxies", lambda: proxies)
    assert public_transport.proxy_for(httpx.URL(f"http://{host}/")) == proxy
