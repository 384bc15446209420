"""The first version that anybody writes.

A FastAPI route that makes a DataFrame and calls the Pipeline.
"""

import os

import mlflow
import pandas as pd
from fastapi import FastAPI


def create() -> FastAPI:
    """Return the app for the logged model in the folder MODEL.

    The route is `async` although it computes: on one core it is faster without a change of threads.
    The body is not validated, which is cheaper too.
    """
    app = FastAPI()
    pipeline = mlflow.sklearn.load_model(os.environ["MODEL"])

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "up"}

    @app.post("/predict")
    async def predict(row: dict[str, object]) -> dict[str, float]:
        probabilities = pipeline.predict_proba(pd.DataFrame([row]))
        return {"probability": float(probabilities[0, 1])}

    return app
