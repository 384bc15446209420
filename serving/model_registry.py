"""The versions that aliases name, as MLflow's REST interface gives them, and their files in S3."""

from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import httpx

from readmit import storage
from serving.api_settings import ServingSettings
from serving.bundle_loader import ModelRefused, Version

API = "/api/2.0/mlflow"
TIMEOUT_SECONDS = 5.0


class Registry:
    """Reads the registry. Errors of the network come out as `httpx` or `botocore` raise them."""

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self._http = httpx.Client(
            base_url=settings.mlflow_tracking_uri,
            auth=settings.mlflow_login(),
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
        )
        self._experiments: dict[
            str, str
        ] = {}  # of the runs seen: a run never moves, and few are ever served

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def at(self, alias: str) -> Version | None:
        """Return the version with an alias, or None when there is none yet."""
        asked = {"name": self._settings.model_name, "alias": alias}
        response = self._http.get(f"{API}/registered-models/alias", params=asked)
        if response.status_code in (
            400,
            404,
        ):  # MLflow's answers for a missing alias and a missing model
            return None
        found = response.raise_for_status().json()["model_version"]
        tags = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
        promoted = tags.get("promoted_at") or _moment(found.get("last_updated_timestamp"))
        run_id = found.get("run_id", "")
        return Version(
            found["name"], str(found["version"]), run_id, promoted, self._experiment(run_id)
        )

    def download(self, version: Version, folder: Path) -> None:
        """Write the bundle of a version into `folder`.

        Raises:
            ModelRefused: the version has no contract.json, or its files are not in S3.
        """
        at = urlsplit(self._address(version))
        if at.scheme != "s3":
            raise ModelRefused(
                f"version {version.version}: artifacts are at {at.scheme}:, expected s3:"
            )
        s3, prefix = storage.client(self._settings), at.path.strip("/") + "/"
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=at.netloc, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        contracts = sorted(
            (key for key in keys if PurePosixPath(key).name == "contract.json"), key=len
        )
        if not contracts:
            raise ModelRefused(f"version {version.version}: no contract.json under {at.geturl()}")
        base = str(PurePosixPath(contracts[0]).parent) + "/"
        for key in keys:
            if _wanted(key.removeprefix(base)) and key.startswith(base):
                target = folder / key.removeprefix(base)
                target.parent.mkdir(parents=True, exist_ok=True)
                s3.download_file(at.netloc, key, str(target))

    def _experiment(self, run_id: str) -> str | None:
        """Return the experiment of a run, which addresses of MLflow's pages need; None for a run that is gone."""
        if run_id and run_id not in self._experiments:
            response = self._http.get(f"{API}/runs/get", params={"run_id": run_id})
            if response.status_code in (400, 404):
                return None
            self._experiments[run_id] = str(
                response.raise_for_status().json()["run"]["info"]["experiment_id"]
            )
        return self._experiments.get(run_id)

    def _address(self, version: Version) -> str:
        asked = {"name": version.name, "version": version.version}
        uri = str(self._get("/model-versions/get-download-uri", asked)["artifact_uri"])
        if not uri.startswith("models:/"):
            return uri
        logged = self._get(
            f"/logged-models/{uri.removeprefix('models:/').strip('/')}", {}
        )  # MLflow 3
        return str(logged["model"]["info"]["artifact_uri"])

    def _get(self, path: str, params: dict[str, str]) -> dict[str, Any]:
        answer: dict[str, Any] = self._http.get(API + path, params=params).raise_for_status().json()
        return answer


def _wanted(name: str) -> bool:
    """Only what serving reads is fetched: never the Pipeline, which needs training's libraries."""
    if name in ("contract.json", "examples.json", "report.json", "model_card.md"):
        return True
    return name.startswith("compiled/") and ".." not in PurePosixPath(name).parts


def _moment(milliseconds: object) -> str | None:
    if not milliseconds:
        return None
    return datetime.fromtimestamp(int(str(milliseconds)) / 1000, UTC).isoformat()
