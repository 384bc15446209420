"""API keys with a name and scopes: the entries of READMIT_API_KEYS, and the command that makes one.

    python -m readmit.client.access_keys ward-3 predict history clinical --last-day 2027-12-31

prints a new key, which is shown this once, and its entry
`name:scope+scope:sha256[:last day][:calls=N]`. The entry holds the key's sha256 only. A key has 256
random bits, so its hash needs no salt and no slow function (NIST SP 800-63B, look-up secrets).
"""

import argparse
import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

from readmit.inherited_environment import forget_the_shell

KEY_BYTES = 32
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SHA256 = re.compile(r"[0-9a-f]{64}")
# The caller's name while keys are off.
LOCAL_NAME = "local"
# How many of 100 patients a caller can follow up: the answers say who is among them.
USUAL_CALLS = 10
MOST_CALLS = 50
CALLS = "calls="


class Scope(StrEnum):
    """What a key may be used for."""

    PREDICT = "predict"  # /predict, /predict/batch, /explain, /compare
    HISTORY = "history"  # see the values of a history that was looked up
    DATA = "data"  # /data/...: the ledger, the quarantine with its raw rows, the monitor's reports
    SUBMIT = "submit"  # /submit: put a file into the inbox
    CLINICAL = "clinical"  # the monitor counts the answers: they are about care of real patients


class InvalidEntry(ValueError):
    """An entry of READMIT_API_KEYS cannot be used; the message has no hash and no key."""


@dataclass(frozen=True)
class AccessKey:
    """One accepted key.

    `last_day` is the last day (UTC) on which it is valid, `calls_per_100` how many of 100 patients
    its holder can call unless a request says something else.
    """

    name: str
    scopes: frozenset[Scope]
    sha256: str
    last_day: date | None = None
    calls_per_100: int = USUAL_CALLS

    def entry(self) -> str:
        """Return the key as READMIT_API_KEYS lists it."""
        parts = [self.name, "+".join(sorted(self.scopes)), self.sha256]
        if self.last_day is not None:
            parts.append(self.last_day.isoformat())
        if self.calls_per_100 != USUAL_CALLS:
            parts.append(f"{CALLS}{self.calls_per_100}")
        return ":".join(parts)

    def is_valid(self) -> bool:
        """Tell whether the key has not expired."""
        return self.last_day is None or datetime.now(UTC).date() <= self.last_day


def of_the_form(key: str) -> AccessKey:
    """Return the entry of the web form's key, with which clinicians do whatever the form can."""
    scopes = (Scope.PREDICT, Scope.HISTORY, Scope.DATA, Scope.SUBMIT, Scope.CLINICAL)
    return AccessKey("form", frozenset(scopes), hashlib.sha256(key.encode()).hexdigest())


def parse(entries: str) -> tuple[AccessKey, ...]:
    """Return the keys of a list, which separates its entries by comma or white space.

    Raises:
        InvalidEntry: an entry is no key, or two entries have the same hash.
    """
    keys: dict[str, AccessKey] = {}
    for entry in re.split(r"[\s,]+", entries.strip()):
        key = parse_entry(entry)
        if key.sha256 in keys:
            raise InvalidEntry(f"{key.name} and {keys[key.sha256].name} are the same key")
        keys[key.sha256] = key
    return tuple(keys.values())


def parse_entry(entry: str) -> AccessKey:
    """Return the key of one entry.

    Raises:
        InvalidEntry: the entry is no key.
    """
    parts = entry.split(":")
    calls_per_100 = USUAL_CALLS
    if len(parts) > 3 and parts[-1].startswith(CALLS):
        calls_per_100 = _calls(parts.pop())
    if len(parts) not in (3, 4):
        raise InvalidEntry("an entry is name:scope+scope:sha256[:last-day][:calls=N]")
    name, joined_scopes, sha256 = parts[:3]
    sha256 = sha256.lower()
    if not NAME.fullmatch(name) or name == LOCAL_NAME:
        raise InvalidEntry("a name has letters, digits, dots and dashes, and is not `local`")
    if not SHA256.fullmatch(sha256):
        raise InvalidEntry(f"{name}: the hash is not a sha256, which has 64 hexadecimal digits")
    try:
        scopes = frozenset(Scope(scope) for scope in joined_scopes.split("+"))
    except ValueError:
        raise InvalidEntry(f"{name}: the scopes are {', '.join(Scope)}, joined by +") from None
    last_day = None
    if len(parts) == 4:
        try:
            last_day = date.fromisoformat(parts[3])
        except ValueError:
            raise InvalidEntry(f"{name}: the last day is a date such as 2027-12-31") from None
    return AccessKey(name, scopes, sha256, last_day, calls_per_100)


def _calls(part: str) -> int:
    number = part.removeprefix(CALLS)
    if not re.fullmatch("[0-9]{1,2}", number) or not 1 <= int(number) <= MOST_CALLS:
        raise InvalidEntry(f"{CALLS}N has a whole number from 1 to {MOST_CALLS}")
    return int(number)


def sha256_of(secret: str) -> str:
    """Return the hash that stands for a key, in lower-case hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new(
    name: str,
    scopes: Iterable[Scope],
    last_day: date | None = None,
    calls_per_100: int = USUAL_CALLS,
) -> tuple[str, AccessKey]:
    """Return a new secret and its key.

    Raises:
        InvalidEntry: the name or the number of calls cannot be used.
    """
    secret = secrets.token_urlsafe(KEY_BYTES)
    key = AccessKey(name, frozenset(scopes), sha256_of(secret), last_day, calls_per_100)
    parse_entry(key.entry())
    return secret, key


def main() -> None:
    """Command line: make a key and print it with its entry."""
    parser = argparse.ArgumentParser(description="make a key for the prediction API")
    parser.add_argument("name", help="who uses it; stands in the logs and in the audit")
    parser.add_argument("scopes", nargs="+", type=Scope, choices=list(Scope))
    parser.add_argument("--last-day", type=date.fromisoformat, help="last valid day, as 2027-12-31")
    parser.add_argument(
        "--calls",
        type=int,
        default=USUAL_CALLS,
        help=f"how many of 100 patients its holder can call (default {USUAL_CALLS})",
    )
    options = parser.parse_args()
    if options.last_day is not None and options.last_day < datetime.now(UTC).date():
        parser.error("the last day has passed")
    try:
        secret, key = new(options.name, options.scopes, options.last_day, options.calls)
    except InvalidEntry as error:
        parser.error(str(error))
    print(f"key, for the caller's header X-API-Key (shown this once): {secret}")
    print(f"entry, for READMIT_API_KEYS of the API:                           {key.entry()}")


if __name__ == "__main__":
    forget_the_shell()
    main()
