"""What is written first: a FastAPI route that makes a DataFrame of the request and calls the Pipeline."""

import os
from typing import Any

import mlflow
import pandas as pd
from fastapi import FastAPI


def create() -> FastAPI:
    """Return the app for the logged model in the folder MODEL.

    The route is `async` although it computes: without a change of threads it is the faster way, one core given. A body
    that is not validated is cheaper too.
    """
    app, pipeline = FastAPI(), mlflow.sklearn.load_model(os.environ["MODEL"])

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "up"}

    @app.post("/predict")
    async def predict(row: dict[str, Any]) -> dict[str, float]:
        return {"probability": float(pipeline.predict_proba(pd.DataFrame([row]))[0, 1])}

    return app
