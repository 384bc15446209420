"""Settings of the API."""

import re
from ipaddress import ip_network

from pydantic import Field, field_validator

from readmit.client import access_keys
from readmit.client.access_keys import AccessKey, Scope
from readmit.settings import (
    ApiStore,
    HomeSettings,
    ModelVerification,
    ReaderLogin,
    RegistryReaderSettings,
    ServingLogin,
)


class ServingSettings(
    ServingLogin,
    ReaderLogin,
    ApiStore,
    RegistryReaderSettings,
    ModelVerification,
    HomeSettings,
):
    """The prediction API."""

    registry_poll_seconds: float = Field(
        default=10.0, ge=0.1, le=3600, description="how often the API asks MLflow"
    )
    api_max_body_bytes: int = Field(
        default=16_000_000, ge=1_000, description="largest request body, in bytes"
    )
    api_max_upload_bytes: int = Field(
        default=200_000_000, ge=1_000, description="largest file that POST /submit takes, in bytes"
    )
    api_max_batch_rows: int = Field(
        default=10_000, ge=1, le=100_000, description="most rows in one batch call"
    )
    api_keys: str = Field(
        default="",
        description="accepted API keys, by comma: name:scope+scope:sha256[:last day][:calls=N];"
        " make api-key makes one; empty: no keys",
    )
    api_key_hashes: str = Field(
        default="", description="sha256 of each further API key with every scope, by comma"
    )
    api_allowed_hosts: str = Field(
        default="",
        description="names that the API is reached by, by comma, beside localhost and IP addresses",
    )
    api_rate_per_second: float = Field(
        default=0.0,
        ge=0,
        description="requests per second and caller, in each process of the API; 0: no limit",
    )
    api_trusted_proxies: str = Field(
        default="",
        description="addresses or networks of proxies whose X-Forwarded-For is believed, by comma",
    )
    api_peers: str = Field(
        default="",
        description="host:port that stands for all processes of the API: a new one takes the model"
        " from another while the registry is away; empty: none",
    )
    history_timeout_ms: int = Field(
        default=50, ge=1, le=1000, description="longest wait for a patient's history, ms"
    )
    prediction_log_rows: int = Field(
        default=20_000, ge=0, description="predictions that may wait for Postgres"
    )

    @field_validator("api_key_hashes")
    @classmethod
    def _every_hash_is_one(cls, value: str) -> str:
        """Refuse a list without a hash: it would leave the API open."""
        if not value.strip():
            return ""
        for part in value.split(","):
            if not re.fullmatch(r"[0-9a-fA-F]{64}", part.strip()):
                raise ValueError("each part is the sha256 of a key: 64 hexadecimal digits")
        return value

    @field_validator("api_trusted_proxies")
    @classmethod
    def every_proxy_is_one(cls, value: str) -> str:
        """Refuse what stands for every caller, or for nobody: the rate limit would hold nobody."""
        for part in value.split(",") if value.strip() else []:
            try:
                network = ip_network(part.strip())
            except ValueError as error:
                raise ValueError(
                    f"each part is an address or a network, as 10.0.0.0/8: {error}"
                ) from None
            if network.prefixlen == 0:
                raise ValueError(f"{part.strip()} is every address: name those of the proxies")
        return value

    @field_validator("api_keys")
    @classmethod
    def _every_key_is_one(cls, value: str) -> str:
        if value.strip():
            access_keys.parse(value)
        return value.strip()

    def accepted_keys(self) -> tuple[AccessKey, ...]:
        """Return the keys of both lists; a hash without a name is called `key-1` and so on.

        A key that stands in both has the name and the scopes of READMIT_API_KEYS.
        """
        by_hash: dict[str, AccessKey] = {}
        if self.api_key_hashes:
            for number, part in enumerate(self.api_key_hashes.split(","), 1):
                sha256 = part.strip().lower()
                by_hash[sha256] = AccessKey(f"key-{number}", frozenset(Scope), sha256)
        if self.api_keys:
            for key in access_keys.parse(self.api_keys):
                by_hash[key.sha256] = key
        return tuple(by_hash.values())
