"""Rules of readable code that ruff does not have: plain names, few folds. A failure prints the locations."""

import ast
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from readmit.settings import ROOT

FOLDERS = (
    "bench",
    "dags",
    "expectations",
    "k8s",
    "locust",
    "readmit",
    "serving",
    "stack",
    "tour",
    "training",
    "ui",
)
TESTS = ("tests",)
# Words that fit anything name nothing (docs/development.md, "Names").
VAGUE = {
    *("found", "said", "known", "given", "told", "asked", "wanted", "place", "places", "each"),
    *("both", "kept", "taken", "seen", "made", "done", "there", "here", "how", "what", "who"),
    *("more", "most", "least", "thing", "things", "stuff", "beside", "giver", "at"),
}
MOST_VAGUE_NAMES = 5
MOST_PARALLEL_ASSIGNMENTS = 3
MOST_FOLDS_PER_1000_LINES = 35
MOST_USED_ONCE = 15  # per cent of the functions of a folder: private, and named in one place only
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FOLDS = (*COMPREHENSIONS, ast.Lambda, ast.IfExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LOOKED_AT = (*FOLDS, *FUNCTIONS, ast.Name, ast.arg, ast.Assign)
MAY_SHARE_A_NAME = {"__init__.py", "__main__.py"}


@pytest.fixture(scope="module", autouse=True)
def _no_tree_outlives_the_rules():
    """The garbage collector walks over whatever a process holds: tests of other files pay for it."""
    yield
    nodes.cache_clear()
    tree_of.cache_clear()


@cache
def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a file, which all rules share."""
    return ast.parse(path.read_text(encoding="utf-8"))


def files(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "target" not in path.parts)


@cache
def nodes(folder: str) -> list[tuple[str, ast.AST]]:
    """Return each node of each file of a folder that a rule looks at, after its `file:line`."""
    looked_at = []
    for path in files(folder):
        name = path.relative_to(ROOT)
        for node in ast.walk(tree_of(path)):
            if isinstance(node, LOOKED_AT):
                looked_at.append((f"{name}:{node.lineno}", node))
    return looked_at


def code_lines(folder: str) -> int:
    """Count the lines that hold code: no blank lines, comments or docstrings."""
    total = 0
    for path in files(folder):
        text = path.read_text(encoding="utf-8")
        for line in map(str.strip, text.splitlines()):
            if line and not line.startswith("#"):
                total += 1
        for node in ast.walk(tree_of(path)):
            if not isinstance(
                node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            ):
                continue
            if ast.get_docstring(node, clean=False) is not None:
                total -= node.body[0].end_lineno - node.body[0].lineno + 1
    return total


def assigned_name(node: ast.AST) -> str:
    """Return the name that a node gives to a variable or parameter, or an empty text."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return node.id
    if isinstance(node, ast.arg):
        return node.arg
    return ""


@pytest.mark.parametrize("folder", [*FOLDERS, *TESTS])
def test_names_say_what_they_hold(folder):
    vague = [location for location, node in nodes(folder) if assigned_name(node) in VAGUE]
    assert len(vague) <= MOST_VAGUE_NAMES, vague


@pytest.mark.parametrize("folder", [*FOLDERS, *TESTS])
def test_no_comprehension_stands_inside_another(folder):
    nested = []
    for location, node in nodes(folder):
        if not isinstance(node, COMPREHENSIONS):
            continue
        inner = [child for child in ast.walk(node) if isinstance(child, COMPREHENSIONS)]
        if len(inner) > 1:
            nested.append(location)
    assert nested == []


@pytest.mark.parametrize("folder", [*FOLDERS, *TESTS])
def test_one_assignment_names_one_thing(folder):
    parallel = []
    for location, node in nodes(folder):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
            continue
        if isinstance(node.targets[0], ast.Tuple):
            parallel.append(location)
    assert len(parallel) <= MOST_PARALLEL_ASSIGNMENTS, parallel


@pytest.mark.parametrize("folder", [*FOLDERS, *TESTS])
def test_code_is_not_folded(folder):
    n_folds = Counter()
    for location, node in nodes(folder):
        if isinstance(node, FOLDS):
            n_folds[location.partition(":")[0]] += 1
    per_1000_lines = 1000 * n_folds.total() / code_lines(folder)
    assert per_1000_lines <= MOST_FOLDS_PER_1000_LINES, n_folds.most_common(10)


@pytest.mark.parametrize("folder", FOLDERS)
def test_few_private_functions_are_used_once(folder):
    """Inline such a function, unless its name says more than its lines."""
    n_functions = 0
    used_once = []
    for path in files(folder):
        tree = tree_of(path)
        functions = []
        uses = Counter()
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS):
                functions.append(node)
            elif isinstance(node, ast.Name):
                uses[node.id] += 1
            elif isinstance(node, ast.Attribute):
                uses[node.attr] += 1
        n_functions += len(functions)
        for function in functions:
            is_private = function.name.startswith("_") and not function.name.startswith("__")
            if is_private and uses[function.name] <= 1:
                used_once.append(f"{path.relative_to(ROOT)}:{function.lineno} {function.name}")
    assert round(100 * len(used_once) / n_functions) <= MOST_USED_ONCE, used_once


@pytest.mark.parametrize("folder", FOLDERS)
def test_functions_are_under_50_lines(folder):
    long = []
    for location, node in nodes(folder):
        if not isinstance(node, FUNCTIONS):
            continue
        if node.end_lineno - node.lineno + 1 > 50:
            long.append(f"{location} {node.name}")
    assert long == []


def test_no_two_modules_share_a_name():
    names = Counter()
    for folder in FOLDERS:
        names.update(path.name for path in files(folder))
    assert [name for name, n in names.items() if n > 1 and name not in MAY_SHARE_A_NAME] == []
