"""Who may import whom (README, "The tree"): the third column of the folder table holds."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = {"dags", "expectations", "readmit", "serving", "stack", "training", "ui"}
ALLOWED = {
    "dags": {"expectations", "readmit", "training"},
    "expectations": {"readmit"},
    "readmit": set(),
    "serving": {"readmit"},
    "stack": {"readmit"},
    "training": {"readmit"},
    "ui": {"readmit"},
}
UI_MAY = {
    "readmit.client",
    "readmit.contract.definition",
    "readmit.telemetry.json_logs",
    "readmit.settings",
}
FORBIDDEN_LIBRARIES = {
    "readmit": {"airflow", "cosmos", "dbt", "mlflow", "sklearn", "streamlit", "fastapi"},
    "serving": {"pandas", "sklearn", "mlflow", "lightgbm", "airflow", "dbt"},
    "ui": {"psycopg2", "boto3", "mlflow", "sklearn"},
}


def imported(path: Path) -> set[str]:
    """Return the dotted names of all modules that a file imports, at any depth of nesting."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_parts_import_only_what_the_tree_allows(part):
    for path in (ROOT / part).rglob("*.py"):
        for name in imported(path):
            top = name.split(".")[0]
            assert top not in PARTS - ALLOWED[part] - {part}, (
                f"{path.relative_to(ROOT)} imports {name}"
            )
            assert top not in FORBIDDEN_LIBRARIES.get(part, set()), (
                f"{path.relative_to(ROOT)} imports {name}"
            )


def test_ui_reaches_the_system_through_the_client_only():
    for path in (ROOT / "ui").rglob("*.py"):
        for name in imported(path):
            if name.split(".")[0] == "readmit":
                assert any(
                    name == allowed or name.startswith(allowed + ".") for allowed in UI_MAY
                ), f"{path}: {name}"


def test_locust_folder_does_not_hide_the_library():
    assert not (ROOT / "locust" / "__init__.py").exists()
