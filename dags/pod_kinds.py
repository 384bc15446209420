"""The kind of pod of a task on Kubernetes, where it decides which secrets the task has."""


def pod_of(kind: str) -> dict[str, str]:
    """Return the `executor_config` of a kind of tasks: its pod on Kubernetes (`k8s/task_pods.py`).

    On one machine nothing reads it.
    """
    return {"pod_template_file": f"/etc/airflow-tasks/{kind}.yaml"}
