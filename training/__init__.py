"""Training: a pure core (pipelines, figures, gate) and a thin shell (snapshots, MLflow, jobs)."""
