"""READMIT_LISTEN_ADDRESS: the programs that it starts, the values that it refuses, the files that it writes."""

import hashlib
import ipaddress
import os
import stat
from pathlib import Path

import bcrypt
import pytest
from cryptography import x509
from dotenv import dotenv_values

from readmit.client import access_keys
from readmit.settings import BadSetting, StackSettings
from stack import configuration, login_proxy, machine, programs
from stack.certificates import self_signed


def settings(home: Path, address: str = "0.0.0.0", **values: object) -> StackSettings:
    return StackSettings(
        readmit_home=home, readmit_listen_address=address, proxy_password="opened", **values
    )


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1"])
def test_on_loopback_there_is_no_proxy(tmp_path, address):
    names = [program.name for program in programs.all_programs(settings(tmp_path, address))]
    assert "login-proxy" not in names
    assert list(login_proxy.problems(settings(tmp_path, address))) == []


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.7"])
def test_another_address_starts_the_proxy_and_opens_no_other_program(tmp_path, address):
    listed = programs.all_programs(settings(tmp_path, address))
    [proxy] = [program for program in listed if program.name == "login-proxy"]
    assert proxy.ports == {"READMIT_PROXY_PORT": tuple(range(8443, 8451))}
    for program in listed:
        if program is not proxy:
            words = [*program.command, *program.environment.values()]
            assert not any(address in word and "::" not in word for word in words), program.name


def test_the_form_leads_to_the_pages_of_the_proxy(tmp_path):
    listed = {program.name: program for program in programs.all_programs(settings(tmp_path))}
    environment = listed["ui"].environment
    assert environment["READMIT_DOCS_PORT"] == "8445"
    assert environment["READMIT_API_URL"] == "http://127.0.0.1:8000"  # the form itself asks inside


@pytest.mark.parametrize(
    "address", ["lab-vm", "0.0.0.0:8443", "10.0.0.0/8", "http://10.0.0.1", "*"]
)
def test_a_text_that_is_no_address_is_refused(address):
    with pytest.raises(BadSetting, match=r"READMIT_LISTEN_ADDRESS.*is no IP address"):
        StackSettings(readmit_listen_address=address)


def test_an_address_of_another_machine_is_refused(tmp_path):
    [problem] = login_proxy.problems(settings(tmp_path, "192.0.2.77"))
    assert "READMIT_LISTEN_ADDRESS=192.0.2.77 is no address of this machine" in problem
    assert "or 0.0.0.0 for all" in problem


def test_without_nginx_the_start_is_refused_with_the_ssh_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(machine, "SYSTEM_PATH", str(tmp_path))
    [problem] = login_proxy.problems(settings(tmp_path, docs_port=8099))
    assert "READMIT_LISTEN_ADDRESS=0.0.0.0 needs nginx: apt-get install nginx" in problem
    assert "ssh -L 8501:127.0.0.1:8501 -L 8000:127.0.0.1:8000 -L 8099:127.0.0.1:8099" in problem


def test_a_certificate_of_ones_own_needs_two_files_that_can_be_read(tmp_path):
    certificate = tmp_path / "own.pem"
    certificate.write_text("x")
    [problem] = login_proxy.problems(settings(tmp_path, proxy_certificate_file=certificate))
    assert problem.startswith("READMIT_PROXY_KEY_FILE is not set")
    files = {"proxy_certificate_file": certificate, "proxy_key_file": tmp_path / "none"}
    [problem] = login_proxy.problems(settings(tmp_path, **files))
    assert "none cannot be read" in problem


def test_the_files_hold_no_password_and_are_private(tmp_path):
    chosen = settings(tmp_path)
    login_proxy.write_files(chosen)
    home = login_proxy.folder(chosen)
    for path in home.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "opened" not in path.read_text()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    user, _, digest = (home / "htpasswd").read_text().strip().partition(":")
    assert user == "readmit"
    assert bcrypt.checkpw(b"opened", digest.encode())


def test_the_certificate_stays_until_the_address_changes(tmp_path):
    login_proxy.write_files(settings(tmp_path, "192.0.2.7"))
    first = login_proxy.fingerprint(settings(tmp_path, "192.0.2.7"))
    login_proxy.write_files(settings(tmp_path, "192.0.2.7"))
    assert login_proxy.fingerprint(settings(tmp_path, "192.0.2.7")) == first
    login_proxy.write_files(settings(tmp_path, "192.0.2.8"))
    assert login_proxy.fingerprint(settings(tmp_path, "192.0.2.8")) != first
    path = login_proxy.folder(settings(tmp_path)) / "certificate.pem"
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert ipaddress.ip_address("192.0.2.8") in names.get_values_for_type(x509.IPAddress)


def test_an_own_certificate_is_used_and_a_new_one_restarts_nginx(tmp_path):
    certificate, key = self_signed("theirs", ["lab.example.org"])
    files = {"proxy_certificate_file": tmp_path / "c.pem", "proxy_key_file": tmp_path / "k.pem"}
    files["proxy_certificate_file"].write_bytes(certificate)
    files["proxy_key_file"].write_bytes(key)
    chosen = settings(tmp_path, **files)
    login_proxy.write_files(chosen)
    assert (login_proxy.folder(chosen) / "certificate.pem").read_bytes() == certificate
    before = login_proxy.digest(chosen)
    files["proxy_certificate_file"].write_bytes(self_signed("theirs")[0])
    assert login_proxy.digest(chosen) != before


@pytest.fixture
def env(tmp_path, monkeypatch):
    path = tmp_path / "stack.env"
    path.write_text("READMIT_BATCH_SIZE=7\n")
    monkeypatch.setenv("READMIT_ENV_FILE", str(path))
    for name in list(os.environ):
        if name.startswith("READMIT_API_KEY"):
            monkeypatch.delenv(name)
    return path


def test_an_open_api_gets_a_key_once(tmp_path, env):
    assert configuration.write_api_key(settings(tmp_path))
    values = dotenv_values(env)
    assert [key.name for key in access_keys.parse(values["READMIT_API_KEYS"])] == ["form"]
    assert (
        hashlib.sha256(values["READMIT_API_KEY"].encode()).hexdigest() in values["READMIT_API_KEYS"]
    )
    assert values["READMIT_BATCH_SIZE"] == "7"
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert not configuration.write_api_key(settings(tmp_path))
    assert dotenv_values(env) == values


def test_a_key_of_ones_own_stays(tmp_path, env):
    env.write_text("READMIT_API_KEY=mine\n")
    assert configuration.write_api_key(settings(tmp_path))
    assert dotenv_values(env) == {
        "READMIT_API_KEY": "mine",
        "READMIT_API_KEYS": access_keys.of_the_form("mine").entry(),
    }
    env.write_text("READMIT_API_KEY_HASHES=" + "0" * 64 + "\n")
    assert not configuration.write_api_key(settings(tmp_path))


def test_on_loopback_no_key_is_made(tmp_path, env):
    assert not configuration.write_api_key(settings(tmp_path, "127.0.0.1"))
    assert env.read_text() == "READMIT_BATCH_SIZE=7\n"


def test_every_page_of_the_component_is_given_an_address_of_this_machine(tmp_path):
    text = login_proxy.configuration(settings(tmp_path, "fd00::7"))["nginx.conf"]
    for page in login_proxy.PAGES:
        assert f"{page.part}:{page.port}" not in text
        assert f"listen {page.port};" not in text
    assert text.count("listen [fd00::7]:") == len(login_proxy.PAGES)
    assert text.count("proxy_pass http://127.0.0.1:") == text.count("proxy_pass")
