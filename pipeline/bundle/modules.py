"""Which modules of ours a module reaches, read from the code."""

import ast
from functools import cache
from pathlib import Path

PACKAGE = "pipeline"
ROOT = Path(__file__).resolve().parents[2]  # the folder that holds the package


def module_files() -> dict[str, Path]:
    """Module name -> file, for every module of the package."""
    files = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


@cache
def imported_names(path: Path, *, everywhere: bool = True) -> frozenset[str]:
    """What the code at `path` imports, ours or not; `everywhere`: inside functions too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    attempts = [inner for node in tree.body if isinstance(node, ast.Try) for inner in node.body]  # what may be missing
    for node in ast.walk(tree) if everywhere else [*tree.body, *attempts]:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def reached_modules(entry: str, *, everywhere: bool = True) -> dict[str, Path]:
    """Name -> file of `entry` and of every module of ours that it imports, at any depth."""
    files, todo, seen = module_files(), [entry], {entry}
    while todo:
        found = imported_names(files[todo.pop()], everywhere=everywhere) & files.keys() - seen - {PACKAGE}
        seen |= found
        todo += found
    return {name: files[name] for name in sorted(seen)}
