"""Which Host headers are accepted: the names of the settings, and addresses."""

import pytest

from readmit.allowed_hosts import AllowedHosts, is_ip_address, names


@pytest.mark.parametrize("host", ["10.0.0.5", "10.0.0.5:8000", "[::1]", "[::1]:8000"])
def test_an_address_is_accepted_with_and_without_a_port(host):
    assert is_ip_address(host)
    assert AllowedHosts().permits(host.encode())


@pytest.mark.parametrize("host", ["evil.example", "10.0.0.5.evil.example", "10.0.0.5:http", ""])
def test_a_name_is_no_address(host):
    assert not is_ip_address(host)
    assert not AllowedHosts().permits(host.encode())


def test_names_of_the_settings_are_accepted():
    assert AllowedHosts(names("docs.example, Other.example")).permits(b"other.example:8081")
