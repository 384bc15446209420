"""Settings of the API."""

import re

from pydantic import Field, field_validator

from readmit.settings import (
    HomeSettings,
    ModelVerification,
    ObjectStoreSettings,
    ReaderLogin,
    RegistrySettings,
    ServingLogin,
)


class ServingSettings(
    ServingLogin,
    ReaderLogin,
    ObjectStoreSettings,
    RegistrySettings,
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
    api_max_batch_rows: int = Field(
        default=10_000, ge=1, le=100_000, description="most rows in one batch call"
    )
    api_key_hashes: str = Field(
        default="", description="sha256 of each accepted API key, by comma; empty: no keys"
    )
    api_allowed_hosts: str = Field(
        default="",
        description="names that the API is reached by, by comma, beside localhost and IP addresses",
    )
    api_rate_per_second: float = Field(
        default=0.0, ge=0, description="requests per second and caller; 0: no limit"
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
        """A list that holds no hash would leave the API open, which nobody who set it wants."""
        if not value.strip():
            return ""
        for part in value.split(","):
            if not re.fullmatch(r"[0-9a-fA-F]{64}", part.strip()):
                raise ValueError("each part is the sha256 of a key: 64 hexadecimal digits")
        return value

    def key_hashes(self) -> tuple[bytes, ...]:
        """Return the accepted hashes, lower-case hexadecimal."""
        return tuple(
            part.strip().lower().encode() for part in self.api_key_hashes.split(",") if part.strip()
        )
