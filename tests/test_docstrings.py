"""Who reads a signature learns what goes in: which values, and arrays of which shape."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "s2e_optuna"
ROOMS = ("relaxation", "sampler", "schedules")
ARRAY = re.compile(r"\b(Array|ArrayLike|NDArray)\b")
SHAPE = re.compile(r"\[[^\]]*\]|scalar")


def public_functions(node: ast.AST, name: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.ClassDef | ast.FunctionDef) or child.name.startswith("_"):
            continue
        if isinstance(child, ast.ClassDef):
            yield from public_functions(child, f"{name}.{child.name}")
        else:
            yield f"{name}.{child.name}", child


@pytest.mark.parametrize("room", ROOMS)
def test_parameters_and_shapes(room: str) -> None:
    missing = []
    for path in sorted((PACKAGE / room).glob("*.py")):
        for name, function in public_functions(ast.parse(path.read_text()), path.stem):
            given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            arguments = [a for a in given if a.arg not in ("self", "cls")]
            text = ast.get_docstring(function) or ""
            kinds = [ast.unparse(a.annotation) for a in arguments if a.annotation is not None]
            if function.returns is not None:
                kinds.append(ast.unparse(function.returns))
            if len(arguments) >= 3 and "Parameters\n---" not in text:
                missing.append(f"{name} has {len(arguments)} arguments and no Parameters")
            if any(map(ARRAY.search, kinds)) and not SHAPE.search(text):
                missing.append(f"{name} says no shape of its arrays")
    assert missing == []
