"""Sign the version in production once, after an upgrade from before signatures.

`python -m training.adopt`

The version is taken as it is now: everybody who could write to the object store before the upgrade
is trusted this once. `make up` runs it after such an upgrade; on a cluster: `CONTEXT=name python -m
k8s.reach -m training.adopt`. With a signed version in production it changes nothing.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from mlflow.exceptions import MlflowException

from readmit.command import explained
from readmit.inference.signatures import NotSigned
from readmit.inherited_environment import forget_the_shell
from training import mlflow_tracking, promotions, signed_models
from training.training_settings import TrainingSettings


def adopt(settings: TrainingSettings) -> str | None:
    """Sign the version in production unless a signed decision put it there.

    Returns:
        The version that was signed, or None when there was nothing to do.

    Raises:
        NotSigned: its artefact has another form than ours.
    """
    name = settings.model_name
    with mlflow_tracking.reaching(settings) as client:
        production = mlflow_tracking.version_at(client, name, mlflow_tracking.PRODUCTION)
        if production is None:
            return None
        version = str(production.version)
        latest = promotions.latest(name, settings)
        if latest is None or latest.version != version:
            raise NotSigned(
                f"version {version} is in production, but the last recorded decision is about"
                f" {latest.version if latest else 'no version'}: `make rollback TO=...` decides"
            )
        if promotions.is_signed(name, version, settings):
            return None
        promotion = promotions.Promotion(
            decision="adopt",
            model_name=name,
            challenger_version=version,
            production_version=version,
            metric="none",
            reason="in production before versions were signed",
            evidence={},
        )
        document = signed_models.adopt_version(
            client, name, version, promotion.decision_id, settings
        )
        promotions.record(replace(promotion, signed_statement=document), settings)
        promotions.record_outcome(promotion.decision_id, settings)
    return version


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    argparse.ArgumentParser(prog="python -m training.adopt").parse_args(arguments)
    try:
        version = adopt(TrainingSettings())
    except (NotSigned, MlflowException) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    print(f"version {version} is signed" if version else "nothing to sign")
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
