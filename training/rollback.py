"""Serve an earlier version again: `python -m training.rollback [--to VERSION]`.

Without `--to`, it is the version that was in production before.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from readmit.command import explained
from readmit.inference.signatures import NotSigned
from readmit.inherited_environment import forget_the_shell
from training import mlflow_tracking, promotions, signed_models, training_gauges
from training.training_settings import TrainingSettings


class CannotRollBack(Exception):
    """Production cannot be rolled back; the message says why."""


def rollback(to: str | None, settings: TrainingSettings) -> tuple[str, str]:
    """Move production to an earlier version, and record it.

    Args:
        to: a version number; None means the alias `previous`.
        settings: where the registry and the databases are.

    Returns:
        The versions before and after.

    Raises: CannotRollBack: there is no such version, it is in production already, or it was never
        promoted.
    """
    name = settings.model_name
    with mlflow_tracking.reaching(settings) as client:
        before, target = _versions(client, name, to)
        tags = client.get_model_version(name, target).tags
        if "promoted_at" not in tags:
            raise CannotRollBack(
                f"version {target} was never promoted: the gate did not let it pass"
            )
        promotion = promotions.Promotion(
            decision="rollback",
            model_name=name,
            challenger_version=target,
            production_version=before,
            metric="none",
            reason=f"rolled back from version {before} to {target}",
            evidence={},
            data_fingerprint=tags.get("data_fingerprint"),
            contract_hash=tags.get("contract_hash"),
            git_sha=tags.get("git_sha"),
        )
        document = signed_models.sign_version(client, name, target, promotion.decision_id, settings)
        # The intent is recorded before anything changes, the outcome once the registry follows.
        promotions.record(replace(promotion, signed_statement=document), settings)
        mlflow_tracking.put_in_production(client, name, target)
        promotions.record_outcome(promotion.decision_id, settings)
        training_gauges.decision(promotion, settings)
        training_gauges.production(tags.get("snapshot", ""), settings)
    return before, target


def _versions(client: MlflowClient, name: str, to: str | None) -> tuple[str, str]:
    """Return the version in production and the one to go back to; see `rollback`."""
    production = mlflow_tracking.version_at(client, name, mlflow_tracking.PRODUCTION)
    if production is None:
        raise CannotRollBack("there is no model in production")
    before = str(production.version)
    if to is None:
        previous = mlflow_tracking.version_at(client, name, mlflow_tracking.PREVIOUS)
        if previous is None:
            raise CannotRollBack(
                f"version {before} is the first in production: nothing was served before it"
            )
        to = str(previous.version)
    numbers = sorted(int(version.version) for version in mlflow_tracking.versions(client, name))
    existing = [str(number) for number in numbers]
    if to not in existing:
        raise CannotRollBack(f"{name} has no version {to}; it has {', '.join(existing)}")
    if to == before:
        raise CannotRollBack(f"version {to} is in production already")
    return before, to


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of `make rollback`."""
    parser = argparse.ArgumentParser(prog="make rollback", description=__doc__)
    parser.add_argument("--to", help="version to serve (default: the one before)")
    options = parser.parse_args(arguments)
    # A person waits for the answer: MLflow may take seconds here, not its usual minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    try:
        before, after = rollback(options.to, TrainingSettings())
    except (CannotRollBack, NotSigned, MlflowException) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    print(
        f"production was version {before} and is version {after};"
        " the API takes it up within its polling interval"
    )
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
