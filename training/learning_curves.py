"""The learning curve of a registered version: three more fits, so it comes after the promotion.

It is no part of the signed bundle. It is stored with the run, as a tag of the version that the API
shows, and on the version's page.
"""

import json
import logging
from functools import partial

from training import candidates, card_page, evaluation, features, mlflow_tracking, plots, snapshots
from training.training_settings import TrainingSettings

log = logging.getLogger("training")

TAG = "learning_curve"


def publish(version: str, settings: TrainingSettings) -> list[dict[str, float]]:
    """Fit the candidate of a version on growing parts of its train rows, and publish the scores.

    Returns the points, or an empty list when the version has its curve already.
    """
    name = settings.model_name
    with mlflow_tracking.reaching(settings) as client:
        model_version = client.get_model_version(name, version)
        if TAG in model_version.tags:
            log.info("version %s has its learning curve already", version)
            return []
        points = _points(version, model_version.tags, settings)
        run_id = str(model_version.run_id)
        figures = {"learning_curve": plots.learning_curve(points)}
        client.log_dict(run_id, {"points": points}, "learning_curve.json")
        card_page.add_figures(client, model_version, figures, settings)
        client.set_model_version_tag(name, version, TAG, json.dumps(points))
    for point in points:
        log.info("AUROC %.4f after %d train rows", point["auroc"], point["n_rows"])
    log.info("the curve is on %s/models/%s/", settings.page("docs"), version)
    return points


def _points(
    version: str, tags: dict[str, str], settings: TrainingSettings
) -> list[dict[str, float]]:
    frozen = snapshots.load(tags["snapshot"], settings)
    contract = frozen.contract
    train = frozen.split("train")
    validation = frozen.split("validation")
    seed = settings.training_seed
    make_candidate = candidates.CANDIDATES[tags["candidate"]]
    make = partial(make_candidate, contract, seed, settings.training_threads)
    points = evaluation.learning_curve(make, contract, train, validation, seed)
    # The last point needs no fit: the version itself has learned from all train rows.
    last = evaluation.curve_point(
        features.labels(contract, validation),
        mlflow_tracking.scores(settings.model_name, version, validation, settings),
        evaluation.curve_samples(validation, seed),
        train["_batch_id"].nunique(),
        len(train),
    )
    return [*points, last]
