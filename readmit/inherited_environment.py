"""What programs and commands take over from the shell that started them.

A shell has variables of other projects: `PGSSLMODE`, `AWS_PROFILE`, `MLFLOW_TRACKING_URI`,
`PYTHONPATH`, a proxy. A program gets those of the list below and its settings, and no others. So
nothing that another project exports changes what it does. The Makefile has the same list.
"""

import os
from collections.abc import Mapping

from readmit.settings import PREFIX

ALLOWED = frozenset(
    {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "SUDO_USER",  # the person that the records of promotions name
        "TERM",
        "COLORTERM",
        "NO_COLOR",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    }
)
# The categories of a locale, such as LC_ALL.
LOCALE_PREFIX = "LC_"
# Kept under another name, READMIT_HTTPS_PROXY for example, which only downloads read. So no client
# of a neighbour on this machine asks a proxy for it.
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
# Files in HOME that libraries would read too: they name endpoints, keys and passwords.
WITHOUT_FILES = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "PGPASSFILE": os.devnull,
}


def inherited(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that every program may inherit; settings are not among them."""
    kept = {}
    for name, value in variables.items():
        if name in ALLOWED or name.startswith(LOCALE_PREFIX):
            kept[name] = value
    return kept


def proxies(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the proxies for downloads, by the names that only downloads read.

    Of two spellings the one in lower case counts, as for other programs. A value under the name
    that only downloads read wins over both.
    """
    kept = {}
    for name in PROXIES:
        own_name = PREFIX + name.upper()
        value = variables.get(own_name) or variables.get(name) or variables.get(name.upper())
        if value:
            kept[own_name] = value
    return kept


def download_proxies() -> dict[str, str]:
    """Return the proxies of this process' downloads: `http`, `https`, `all` and `no`."""
    addresses = {}
    for name, value in proxies(os.environ).items():
        scheme = name.removeprefix(PREFIX).partition("_")[0].lower()
        addresses[scheme] = value
    return addresses


def forget_the_shell() -> None:
    """Drop this process' other variables. A command calls it before anything else.

    Settings stay: the names that begin with READMIT_.
    """
    kept = inherited(os.environ) | proxies(os.environ) | WITHOUT_FILES
    for name, value in os.environ.items():
        if name.startswith(PREFIX):
            kept[name] = value
    os.environ.clear()
    os.environ.update(kept)
