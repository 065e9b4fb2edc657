"""Which modules of ours a module reaches, read from the code (imports inside functions count), and how large rooms are.

`python -m tests.house` prints the rooms by size, and the functions that are longest or take the most arguments.
"""

import ast
import statistics
from collections import defaultdict

from pipeline.bundle.modules import PACKAGE, ROOT, imported_names, module_files, reached_modules

MAX_FILES_TOO_MANY = 2  # of a room that dvc.yaml names whole, which the stage does not reach; else it names files


def direct_imports(name: str) -> set[str]:
    """Our modules that module `name` imports."""
    files = module_files()
    return {module for module in imported_names(files[name]) if module in files and module != PACKAGE}


def reached_files(name: str) -> list[str]:
    """Paths, from the root, of `name` and all it imports; package files without code left out."""
    return sorted(path.relative_to(ROOT).as_posix() for path in reached_modules(name).values() if path.stat().st_size)


def code_entries(name: str) -> tuple[list[str], list[str]]:
    """(what dvc.yaml lists as the code of the stage with this module, files among it that the stage does not reach).

    A room is named whole where the stage reaches all of it but a few files, else the files are.
    """
    reached = set(reached_files(name))
    entries, too_many = [], []
    for room, files in rooms().items():
        unreached = files - reached
        if room == f"{PACKAGE}/stages" or len(unreached) > min(MAX_FILES_TOO_MANY, len(files & reached)):
            entries += sorted(files & reached)
        elif files & reached:
            entries.append(room)
            too_many += sorted(unreached)
    return sorted(entries), too_many


def rooms() -> dict[str, set[str]]:
    """Room, as a path from the root -> the paths of its files that hold code."""
    found = defaultdict(set)
    for path in module_files().values():
        if path.stat().st_size and path.parent != ROOT / PACKAGE:
            found[path.parent.relative_to(ROOT).as_posix()].add(path.relative_to(ROOT).as_posix())
    return dict(found)


def functions() -> list[tuple[int, int, str]]:
    """(lines, arguments, where it stands) of every function of the package."""
    return [
        (node.end_lineno - node.lineno + 1, _num_arguments(node), f"{name}.{node.name}")
        for name, path in module_files().items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    ]


def _num_arguments(node: ast.FunctionDef) -> int:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return len([argument for argument in arguments if argument.arg not in ("self", "cls")])


def main() -> None:
    """Print lines per room, and what is long."""
    lines = {
        room: sum(len((ROOT / path).read_text().splitlines()) for path in paths) for room, paths in rooms().items()
    }
    lines[f"{PACKAGE}/*.py"] = sum(len(path.read_text().splitlines()) for path in (ROOT / PACKAGE).glob("*.py"))
    whole = sum(lines.values())
    for room, count in sorted(lines.items(), key=lambda item: -item[1]):
        print(f"{room:24} {len(rooms().get(room, '1')):3} files {count:6,} lines {count / whole:6.1%}")
    print(f"{'all':24} {whole:16,} lines")
    found = functions()
    print(f"{len(found):,} functions, median {statistics.median(length for length, _, _ in found):.0f} lines")
    for title, at in (("lines", 0), ("arguments", 1)):
        for entry in sorted(found, key=lambda entry: -entry[at])[:5]:
            print(f"{entry[at]:4} {title} {entry[2]}")


if __name__ == "__main__":
    main()
