"""Sign the version in production when today's key has not signed it.

`python -m training.adopt`

After an upgrade from before signatures the version is taken as it is now: everybody who could write
to the object store before the upgrade is trusted this once. After `make rotate` its files must be
those that the key of before has signed. `make up` and `make rotate` run it; on a cluster:
`CONTEXT=name python -m k8s.reach -m training.adopt`. When today's key has signed the version in
production, it changes nothing.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from mlflow.exceptions import MlflowException

from readmit.command import explained
from readmit.inference import signatures
from readmit.inference.signatures import NotSigned
from readmit.inherited_environment import forget_the_shell
from training import mlflow_tracking, promotions, signed_models
from training.training_settings import TrainingSettings


def adopt(settings: TrainingSettings) -> str | None:
    """Sign the version in production unless a decision that today's key signed put it there.

    Returns:
        The version that was signed, or None when there was nothing to do.

    Raises:
        NotSigned: its artefact has another form than ours, or other files than the signed ones.
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
        statement = promotions.last_statement(name, version, settings)
        if statement and signatures.is_of_today(statement, settings.model_public_key or ""):
            return None
        if statement is None:
            sign = signed_models.adopt_version
            reason = "in production before versions were signed"
        else:
            sign = signed_models.sign_version
            reason = "signed again with the new key of `make rotate`"
        promotion = promotions.Promotion(
            decision="adopt",
            model_name=name,
            challenger_version=version,
            production_version=version,
            metric="none",
            reason=reason,
            evidence={},
        )
        document = sign(client, name, version, promotion.decision_id, settings)
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
