"""The shape of the package: imports point down, heavy things stay in their rooms, files stay small.

Imports inside functions count.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import pairscore

ROOT = Path(pairscore.__file__).parent
# From the top down: a room may import from its own row and the rows below.
ROWS = [
    {"cli", "__main__"},
    {"distributed"},
    {"service"},
    {"batch"},
    {"training"},
    {"convert", "evaluation"},
    {"diagnosis", "retrieval"},
    {"cross_encoder", "bi_encoder", "arguments", "engine"},
    {"explaining"},
    {"road", "cache"},
    {"models"},
    {"values", "config", "closing", "files", "replacing", "signals"},
    {"errors"},
]
# Which module may import a heavy or delicate library; everybody else may not.
HOMES = {
    "fastapi": {"service"},
    "starlette": {"service"},
    "uvicorn": {"service"},
    "pydantic": {"service"},
    "pydantic_settings": {"service"},
    "prometheus_client": {"service"},
    "pythonjsonlogger": {"service"},
    "opentelemetry": {"service"},
    "tomlkit": {"service"},
    "platformdirs": {"service", "models"},
    "redis": {"cache"},
    "typer": {"cli"},
    "click": {"cli"},
    "pyarrow": {"batch", "cli", "files", "retrieval"},
    "ray": {"distributed"},
    "lancedb": {"retrieval"},
    "lance": set(),
    "pymilvus": {"retrieval"},
    "milvus_lite": {"retrieval"},
    "grpc": {"retrieval"},
    "ir_measures": {"evaluation"},
    "pytrec_eval": {"evaluation"},
    "onnx": {"convert"},
    "onnxruntime": {"road", "convert", "diagnosis"},
    "openvino": {"road"},
    "sklearn": {"evaluation"},
    "scipy": {"evaluation", "convert"},
    "matplotlib": {"evaluation", "training"},
    "tokenizers": {"road"},
    "regex": {"explaining"},
    "huggingface_hub": {"models"},
    "torch": {"road", "convert", "training"},
    "transformers": {"road", "convert", "training"},
    "safetensors": {"road", "convert", "models", "training"},
    "sentence_transformers": {"training"},
    "datasets": {"training"},
    "accelerate": {"training"},
}
# The only broad excepts, each with its reason.
BROAD = {
    "engine/workers.py": "the worker's door: whatever a model raises ends its callers, not the thread",
    "road/tokenization.py": "the tokenizers library raises a bare Exception for a broken file",
    "service": "the HTTP door: an unknown error becomes a request id",
    "cli/main.py": "the command line's door: no user sees a traceback",
}
MODULES = sorted(ROOT.rglob("*.py"))


def _room(parts: tuple[str, ...]) -> str:
    return parts[0].removesuffix(".py") if parts else ""


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found += [_module(node.module or "", alias.name) for alias in node.names]
    return found


def _module(package: str, name: str) -> str:
    """`from package import name` may import a module of the package, or a name in it."""
    place = ROOT.parent / package.replace(".", "/") / name
    return f"{package}.{name}" if place.is_dir() or place.with_suffix(".py").is_file() else package


def _row(room: str) -> int:
    return next(index for index, row in enumerate(ROWS) if room in row)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# The public door imports lazily from everywhere.
@pytest.mark.parametrize("path", [p for p in MODULES if p != ROOT / "__init__.py"], ids=_name)
def test_imports_point_down(path: Path) -> None:
    """A room never imports a room above it, not even inside a function."""
    room = _room(path.relative_to(ROOT).parts)
    for module in _imports(path):
        if module == "pairscore":
            # The version is all that is read from the public door.
            assert "__version__" in path.read_text(encoding="utf-8"), f"{path} imports the facade"
        elif module.startswith("pairscore."):
            other = _room(tuple(module.split(".")[1:]))
            assert _row(other) >= _row(room), f"{_name(path)} imports {module}"


def test_no_module_imports_itself_in_a_circle() -> None:
    """The graph of modules has no cycle."""
    graph = {
        "pairscore."
        + _name(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."): {
            m for m in _imports(path) if m.startswith("pairscore.")
        }
        for path in MODULES
        if path != ROOT / "__init__.py"
    }

    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        for other in graph.get(module, set()) - done:
            visit(other, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    """FastAPI only in the service, ONNX Runtime and torch only on the road."""
    room = _room(path.relative_to(ROOT).parts)
    for module in _imports(path):
        top = module.split(".")[0]
        assert top not in HOMES or room in HOMES[top], f"{_name(path)} imports {module}"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_files_are_small_and_quiet(path: Path) -> None:
    """Under 400 lines; no print outside the command line; a header that says what it is for."""
    text = path.read_text(encoding="utf-8")
    tree = _tree(path)
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]

    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(tree)
    assert _name(path).startswith("cli/") or all(call.func.id != "print" for call in calls)


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_the_environment_is_read_in_one_place(path: Path) -> None:
    """`os.environ` belongs to the service's settings; telemetry of what we run on is switched off through it."""
    text = path.read_text(encoding="utf-8")
    telemetry = ("road/backends/onnx.py", "distributed/__init__.py", "distributed/cluster.py")
    if _name(path) not in ("service/settings.py", *telemetry):
        assert "os.environ" not in text
        assert "getenv" not in text


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_broad_excepts_stand_only_at_the_doors(path: Path) -> None:
    """Everywhere else an unexpected error must come out."""
    handlers = [
        node
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ExceptHandler)
        # One that raises again, after it tidied up, swallows nothing.
        and not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)
        and (node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException"))
    ]
    allowed = any(_name(path).startswith(place) for place in BROAD)

    assert not handlers or allowed


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_functions_are_short(path: Path) -> None:
    """No body over 50 lines, docstrings left out of the count."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert length <= 50, f"{node.name} has {length} lines"
