"""The plan of the code, held by tests: ranked rooms, no cycles, small files, a light import, docstrings.

A room is a folder of `jdl/`, or a module directly in it. It imports from rooms of lower rank and from itself.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import jdl

RANKS = {
    "core": 0,
    "data": 1,
    "io": 1,
    "pipeline": 2,
    "networks": 2,
    "measures": 2,
    "resampling": 2,
    "train": 3,
    "learners": 4,
    "evaluate": 5,
    "tuning": 6,
    "plots": 7,
    "cli": 7,
    "sugar": 7,
    "__init__": 8,
    "__main__": 8,
}
HEAVY = ("matplotlib", "sklearn", "rich", "orbax", "grain", "optuna", "torch")
HEAVY_ROOMS = ("plots", "cli")  # nothing imports these before it is asked for
MAX_FILE_LINES = 600
MAX_INIT_LINES = 100
MAX_FUNCTION_LINES = 80

ROOT = Path(jdl.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MODULES = {".".join(("jdl", *f.relative_to(ROOT).with_suffix("").parts)): f for f in FILES}
every_module = pytest.mark.parametrize("module", MODULES)


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def room(module: str) -> str:
    return module.split(".")[1]


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def nodes_run_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below `node` except function bodies and what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_type_checking(child):
            continue
        yield child
        yield from nodes_run_on_import(child)


def imported(node: ast.AST, module: str) -> Iterator[str]:
    """Names of the modules an import statement names; `from a import b` names `a.b` if that is a module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = module.split(".")[: -node.level] if node.level else []
        base = ".".join([*package, *([node.module] if node.module else [])])
        for alias in node.names:
            name = f"{base}.{alias.name}"
            yield name if name in MODULES or f"{name}.__init__" in MODULES else base


def internal(module: str, *, on_import_only: bool = False) -> set[str]:
    """The modules of jdl that `module` imports, packages as their `__init__`."""
    nodes = nodes_run_on_import(tree(module)) if on_import_only else ast.walk(tree(module))
    names = {name for node in nodes for name in imported(node, module) if name.split(".")[0] == "jdl"}
    return {name if name in MODULES else f"{name}.__init__" for name in names}


def documented_nodes(module: str) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in tree(module).body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if not any(ast.unparse(decorator).endswith("overload") for decorator in node.decorator_list):
            yield node


@every_module
def test_room_has_a_rank(module):
    assert room(module) in RANKS, f"{module}: give the room a rank here and say in docs/design.md what it knows"


@every_module
def test_imports_point_to_lower_ranks_or_the_own_room(module):
    rank = RANKS[room(module)]
    wrong = [n for n in internal(module) if room(n) != room(module) and RANKS.get(room(n), 99) >= rank]
    assert not wrong, f"{module} (rank {rank}) imports {wrong}"


@every_module
def test_no_module_imports_the_package_root(module):
    root_imports = internal(module) & {"jdl.__init__"}
    assert not root_imports, f"{module}: import from the room that defines the name"


def test_no_import_cycle():
    graph = {module: internal(module, on_import_only=True) for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as err:
        pytest.fail(f"modules import each other: {' <- '.join(err.args[1])}")


@every_module
def test_heavy_packages_are_imported_in_functions_only(module):
    nodes = nodes_run_on_import(tree(module))
    heavy = {n for node in nodes for n in imported(node, module) if n.split(".")[0] in HEAVY}
    assert not heavy or room(module) in HEAVY_ROOMS, f"{module} imports {sorted(heavy)} at its top"


def printed(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_import_loads_the_core_alone():
    assert printed("import sys, jdl; print({m.split('.')[1] for m in sys.modules if m[:4] == 'jdl.'})") == "{'core'}"


def test_no_public_name_loads_what_is_heavier_than_the_base():
    # flax itself loads some of the heavy packages, so what counts is what jdl adds.
    code = f"""
import sys, jax, flax.nnx, optax, numpy, pandas
base = set(sys.modules)
from jdl import *
print(sorted({{name.split(".")[0] for name in set(sys.modules) - base}} & set({HEAVY!r})))
"""
    assert printed(code) == "[]"


def test_the_public_names_are_those_of_the_stub():
    assert {"Task", "Learner", "lrn", "resample", "networks", "train"} <= set(jdl.__all__) <= set(dir(jdl))
    with pytest.raises(AttributeError, match="nothing"):
        jdl.nothing  # pyright: ignore[reportAttributeAccessIssue]  # noqa: B018


@every_module
def test_file_is_short(module):
    limit = MAX_INIT_LINES if module == "jdl.__init__" else MAX_FILE_LINES
    n_lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert n_lines <= limit, f"{module} has {n_lines} lines, of at most {limit}: would two files read better?"


@every_module
def test_functions_are_short(module):
    functions = [n for n in ast.walk(tree(module)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {f.name: (f.end_lineno or f.lineno) - f.lineno + 1 for f in functions}
    long = {name: n for name, n in lengths.items() if n > MAX_FUNCTION_LINES}
    assert not long, f"{module}: functions of more than {MAX_FUNCTION_LINES} lines: {long}"


@every_module
def test_public_names_have_docstrings(module):
    bare = [node.name for node in documented_nodes(module) if not ast.get_docstring(node)]
    if MODULES[module].stat().st_size and not ast.get_docstring(tree(module)):
        bare.insert(0, "the module itself")
    assert not bare, f"{module}: no docstring at {bare}"
