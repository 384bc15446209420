"""The versions that aliases name, read from MLflow's REST interface, and their files in S3."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import httpx

from readmit import storage
from readmit.inference import signatures, typicality
from readmit.inference.signatures import Statement
from serving.api_settings import ServingSettings
from serving.bundle_loader import ModelRefused, Version
from serving.promotion_record import PromotionRecord

API = "/api/2.0/mlflow"
TIMEOUT_SECONDS = 5.0
MISSING = (400, 404)  # MLflow's statuses for a missing alias, model or run
BUNDLE_FILES = (
    "contract.json",
    "examples.json",
    "report.json",
    "model_card.md",
    typicality.FILE,
    signatures.FILE_NAME,
)


class Registry:
    """Reads the registry. Network errors come out as `httpx` or `botocore` raise them."""

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self._http = httpx.Client(
            base_url=settings.mlflow_tracking_uri,
            auth=settings.mlflow_login(),
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
        )
        # Experiment of each run, for links to MLflow's pages. A run never moves.
        self._experiments: dict[str, str] = {}
        self._record = PromotionRecord(settings)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def find_version(self, alias: str) -> Version | None:
        """Return the version with an alias, or None when there is none yet."""
        params = {"name": self._settings.model_name, "alias": alias}
        answer = self._get("/registered-models/alias", params)
        if answer is None:
            return None
        version = answer["model_version"]
        tags = {tag["key"]: tag["value"] for tag in version.get("tags", [])}
        promoted_at = tags.get("promoted_at") or None
        milliseconds = version.get("last_updated_timestamp")
        if promoted_at is None and milliseconds:
            promoted_at = datetime.fromtimestamp(int(milliseconds) / 1000, UTC).isoformat()
        run_id = version.get("run_id", "")
        if run_id and run_id not in self._experiments:
            run = self._get("/runs/get", {"run_id": run_id})
            if run is not None:
                self._experiments[run_id] = str(run["run"]["info"]["experiment_id"])
        return Version(
            name=version["name"],
            version=str(version["version"]),
            run_id=run_id,
            promoted_at=promoted_at,
            experiment_id=self._experiments.get(run_id),
            learning_curve=tags.get("learning_curve", ""),
        )

    def check_decision(self, version: Version) -> Statement:
        """Return what was signed when a version was put in production; see `PromotionRecord`."""
        return self._record.check_decision(version)

    def check_files(self, version: Version, folder: Path, statement: Statement | None) -> None:
        """Compare a downloaded bundle with what was signed; see `PromotionRecord`."""
        self._record.check_files(version, folder, statement)

    def download(self, version: Version, folder: Path) -> None:
        """Write the bundle of a version into `folder`.

        Raises:
            ModelRefused: the version has no contract.json, or its files are not in S3.
        """
        params = {"name": version.name, "version": version.version}
        uri = str(self._required("/model-versions/get-download-uri", params)["artifact_uri"])
        if uri.startswith("models:/"):  # MLflow 3
            model_id = uri.removeprefix("models:/").strip("/")
            logged = self._required(f"/logged-models/{model_id}", {})
            uri = str(logged["model"]["info"]["artifact_uri"])
        address = urlsplit(uri)
        if address.scheme != "s3":
            raise ModelRefused(
                f"version {version.version}: artifacts are at {address.scheme}:, expected s3:"
            )
        s3 = storage.client("api", self._settings)
        prefix = address.path.strip("/") + "/"
        keys: list[str] = []
        pages = s3.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=address.netloc, Prefix=prefix):
            keys.extend(item["Key"] for item in page.get("Contents", []))
        contracts = [key for key in keys if PurePosixPath(key).name == "contract.json"]
        if not contracts:
            raise ModelRefused(
                f"version {version.version}: no contract.json under {address.geturl()}"
            )
        base = str(PurePosixPath(min(contracts, key=len)).parent) + "/"
        for key in keys:
            name = key.removeprefix(base)
            is_compiled = name.startswith("compiled/") and ".." not in PurePosixPath(name).parts
            # Never the Pipeline, which needs training's libraries.
            if key.startswith(base) and (name in BUNDLE_FILES or is_compiled):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                s3.download_file(address.netloc, key, str(target))

    def _get(self, path: str, params: Mapping[str, str]) -> dict[str, Any] | None:
        """Return MLflow's answer, or None when the thing is missing."""
        response = self._http.get(API + path, params=params)
        if response.status_code in MISSING:
            return None
        answer: dict[str, Any] = response.raise_for_status().json()
        return answer

    def _required(self, path: str, params: Mapping[str, str]) -> dict[str, Any]:
        """Return MLflow's answer; a missing thing is an HTTP error."""
        answer: dict[str, Any] = self._http.get(API + path, params=params).raise_for_status().json()
        return answer
