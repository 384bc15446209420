"""The log-in proxy of one machine: Debian's nginx with the configuration that Kubernetes uses, too.

It runs when READMIT_LISTEN_ADDRESS is an address that other machines reach: one TLS port per page
from READMIT_PROXY_PORT upward. Every other program stays on loopback.
"""

import ipaddress
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psutil

from readmit.settings import ROOT, StackSettings
from stack import machine
from stack.postgres import as_ordinary_user, give_to_ordinary_user, reachable

COMPONENT = ROOT / "k8s" / "components" / "login-proxy"
FOLDER = "login-proxy"  # below READMIT_HOME
USER = "readmit"
NGINX_HINT = "apt-get install nginx (its own service is not used: systemctl disable --now nginx)"
# nginx compares the password at each request, in the one process that also serves the others. Two
# to the power of this many rounds take 2 ms; the generated password has 192 bits.
BCRYPT_COST = 5
HEALTH_PORT = 8081  # of the component


@dataclass(frozen=True)
class Page:
    """A page behind the proxy: the part, its title and its port in the component."""

    part: str
    title: str
    port: int
    login: str


PAGES = (
    Page("ui", "Web form", 8501, f"{USER}, READMIT_PROXY_PASSWORD"),
    Page("api", "API", 8000, "X-API-Key: READMIT_API_KEY"),
    Page("docs", "Docs site", 8088, f"{USER}, READMIT_PROXY_PASSWORD"),
    Page(
        "airflow",
        "Airflow",
        8080,
        f"{USER}, READMIT_PROXY_PASSWORD; then admin, READMIT_AIRFLOW_ADMIN_PASSWORD",
    ),
    Page("mlflow", "MLflow", 5000, "admin, READMIT_MLFLOW_TRACKING_PASSWORD"),
    Page("grafana", "Grafana", 3000, "admin, READMIT_GRAFANA_ADMIN_PASSWORD"),
    Page("prometheus", "Prometheus", 9090, f"{USER}, READMIT_PROXY_PASSWORD"),
)


def is_open(settings: StackSettings) -> bool:
    """Return whether other machines shall reach the pages."""
    return not ipaddress.ip_address(settings.readmit_listen_address).is_loopback


def htpasswd(password: str) -> str:
    """Return the line of nginx' file of users for the user of the proxy."""
    import bcrypt  # without it everything runs that needs no proxy

    digest = bcrypt.hashpw(password.encode(), bcrypt.gensalt(BCRYPT_COST))
    return f"{USER}:{digest.decode()}\n"


def ports(settings: StackSettings) -> dict[str, int]:
    """Return the port of the proxy for each page, by the name of the part."""
    return {page.part: settings.proxy_port + offset for offset, page in enumerate(PAGES)}


def health_port(settings: StackSettings) -> int:
    """Return the port on loopback where the proxy says that it runs."""
    return settings.proxy_port + len(PAGES)


def folder(settings: StackSettings) -> Path:
    """Return the folder of nginx' files, which the user that nginx runs as can reach."""
    return reachable(settings.readmit_home) / FOLDER


def command(settings: StackSettings) -> list[str]:
    """Return the command line of nginx, which stays in the foreground."""
    own_folder = folder(settings)
    return [
        *as_ordinary_user(),
        machine.find_program("nginx") or "nginx",
        "-e",
        "stderr",
        "-p",
        f"{own_folder}/",
        "-c",
        str(own_folder / "nginx.conf"),
    ]


def addresses(settings: StackSettings) -> dict[str, str]:
    """Return the address of each page for other machines, by the name of the part."""
    host = settings.readmit_listen_address
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        host = socket.gethostname()
    elif address.version == 6:
        host = f"[{host}]"
    return {part: f"https://{host}:{port}" for part, port in ports(settings).items()}


# ---------------------------------------------------------------- before the start


def problems(settings: StackSettings) -> Iterator[str]:
    """Yield one message for each reason why the proxy cannot run."""
    if not is_open(settings):
        return
    listen = settings.readmit_listen_address
    if machine.find_program("nginx") is None:
        yield (
            f"READMIT_LISTEN_ADDRESS={listen} needs nginx: {NGINX_HINT}. Or leave it at 127.0.0.1"
            f" and open the pages from your own machine: {ssh_line(settings)}"
        )
    own = machine_addresses()
    address = ipaddress.ip_address(listen)
    if not address.is_unspecified and str(address) not in own:
        yield (
            f"READMIT_LISTEN_ADDRESS={listen} is no address of this machine, which has"
            f" {', '.join(own)}: name one of them, or 0.0.0.0 for all"
        )
    files = {
        "READMIT_PROXY_CERTIFICATE_FILE": settings.proxy_certificate_file,
        "READMIT_PROXY_KEY_FILE": settings.proxy_key_file,
    }
    if not any(files.values()):
        return
    for name, path in files.items():
        if path is None:
            yield f"{name} is not set: a certificate of your own needs both files"
        elif not os.access(path, os.R_OK):
            yield f"{name}: {path} cannot be read"


def machine_addresses() -> list[str]:
    """Return the addresses of this machine that others can reach, without scoped IPv6 ones."""
    own = []
    for interface in psutil.net_if_addrs().values():
        for entry in interface:
            is_internet = entry.family in (socket.AF_INET, socket.AF_INET6)
            if not is_internet or "%" in entry.address:
                continue
            if not ipaddress.ip_address(entry.address).is_loopback:
                own.append(entry.address)
    return own


def ssh_line(settings: StackSettings) -> str:
    """Return the command that forwards every page through ssh to the machine of its reader."""
    words = ["ssh"]
    for page in PAGES:
        port = getattr(settings, f"{page.part}_port")
        words.append(f"-L {port}:127.0.0.1:{port}")
    return " ".join([*words, f"{os.environ.get('USER', 'you')}@{socket.gethostname()}"])


# ---------------------------------------------------------------- files


def configuration(settings: StackSettings) -> dict[str, str]:
    """Return the texts of nginx' files by name: the component's with this machine's ports."""
    listen = settings.readmit_listen_address
    if ":" in listen:
        listen = f"[{listen}]"
    text = (COMPONENT / "nginx.conf").read_text(encoding="utf-8")
    text = _replace(text, f"listen {HEALTH_PORT};", f"listen 127.0.0.1:{health_port(settings)};")
    for page in PAGES:
        own_port = ports(settings)[page.part]
        inner = f"127.0.0.1:{getattr(settings, f'{page.part}_port')}"
        text = _replace(text, f"listen {page.port};", f"listen {listen}:{own_port} ssl;")
        text = _replace(text, f"{page.part}:{page.port}", inner)
    users = (COMPONENT / "auth.conf").read_text(encoding="utf-8")
    return {
        "nginx.conf": text,
        "auth.conf": _replace(users, "/etc/login-proxy-users/htpasswd", "htpasswd"),
        "edge.conf": EDGE,
    }


# What lies before the proxy on one machine: nothing. A browser that asks without TLS is led to it.
EDGE = """\
ssl_certificate certificate.pem;
ssl_certificate_key key.pem;
ssl_protocols TLSv1.2 TLSv1.3;
ssl_session_cache shared:tls:2m;
error_page 497 =301 https://$http_host$request_uri;
map $scheme $caller_scheme {
    default https;
}
"""


def _replace(text: str, old: str, new: str) -> str:
    """Replace a word of a file that must be in it."""
    text, n_replaced = re.subn(rf"(?<![\w.]){re.escape(old)}", lambda _: new, text)
    if not n_replaced:
        raise LookupError(f"{old} is not in the proxy's configuration")
    return text


def digest(settings: StackSettings) -> str:
    """Return a digest of all that nginx reads: with another one it is started again.

    The password stays out: nginx reads the file of users at each request.
    """
    texts = list(configuration(settings).values())
    for path in (settings.proxy_certificate_file, settings.proxy_key_file):
        if path is not None and path.is_file():
            texts.append(path.read_text(encoding="utf-8"))
    return sha256("\0".join(texts).encode()).hexdigest()


def write_files(settings: StackSettings) -> None:
    """Write the configuration, the file of users and the certificate."""
    own_folder = folder(settings)
    own_folder.mkdir(parents=True, exist_ok=True)
    own_folder.chmod(0o700)
    texts = configuration(settings) | {"htpasswd": htpasswd(_password(settings))}
    texts |= _certificate(settings, own_folder)
    for name, text in texts.items():
        path = own_folder / name
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    if os.geteuid() == 0:
        for path in (own_folder, *own_folder.iterdir()):
            give_to_ordinary_user(path)


def _certificate(settings: StackSettings, own_folder: Path) -> dict[str, str]:
    """Return the certificate and its key: the user's own, the one in the folder, or a new one."""
    own_certificate = settings.proxy_certificate_file
    own_key = settings.proxy_key_file
    if own_certificate is not None and own_key is not None:
        return {
            "certificate.pem": own_certificate.read_text(encoding="utf-8"),
            "key.pem": own_key.read_text(encoding="utf-8"),
        }
    listen = ipaddress.ip_address(settings.readmit_listen_address)
    present = own_folder / "certificate.pem"
    if present.is_file() and (own_folder / "key.pem").is_file() and _names(present, listen):
        return {}
    from stack.certificates import self_signed  # `cryptography` is slow to import

    names = machine_addresses() if listen.is_unspecified else [str(listen)]
    certificate, key = self_signed("readmit", [socket.gethostname()], names)
    return {"certificate.pem": certificate.decode(), "key.pem": key.decode()}


def _names(path: Path, listen: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return whether a certificate is one of ours for the host name and the listening address."""
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    if certificate.issuer != certificate.subject:
        return False
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    is_for_host = socket.gethostname() in extension.value.get_values_for_type(x509.DNSName)
    stored_addresses = extension.value.get_values_for_type(x509.IPAddress)
    return is_for_host and (listen.is_unspecified or listen in stored_addresses)


def fingerprint(settings: StackSettings) -> str:
    """Return the sha256 of the certificate, as browsers show it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    certificate = x509.load_pem_x509_certificate(
        (folder(settings) / "certificate.pem").read_bytes()
    )
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _password(settings: StackSettings) -> str:
    if settings.proxy_password is None:
        raise LookupError("READMIT_PROXY_PASSWORD is not set: `make up` writes it into .env")
    return settings.proxy_password.get_secret_value()
