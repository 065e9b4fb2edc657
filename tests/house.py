"""Which modules of ours a module reaches, read from the code (imports inside functions count)."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "pipeline"


def module_files() -> dict[str, Path]:
    """Module name -> file, for every module of the package."""
    files = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def direct_imports(name: str) -> set[str]:
    """Our modules that module `name` imports."""
    files = module_files()
    found = set()
    for node in ast.walk(ast.parse(files[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {module for module in found if module in files and module != PACKAGE}


def reached_files(name: str) -> list[str]:
    """Paths, from the root, of `name` and all it imports; package files without code left out."""
    todo, seen = [name], {name}
    while todo:
        for module in direct_imports(todo.pop()):
            if module not in seen:
                seen.add(module)
                todo.append(module)
    files = module_files()
    return sorted(files[module].relative_to(ROOT).as_posix() for module in seen if files[module].stat().st_size)
