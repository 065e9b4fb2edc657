"""What several test files use lies in a helper module: a test file that another imports is collected and run twice."""

import ast

import pytest
from conftest import LONGEST, ROOT

FILES = sorted((ROOT / "tests").rglob("*.py")) + sorted((ROOT / "benchmarks").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=[path.relative_to(ROOT).as_posix() for path in FILES])
def test_no_file_imports_a_test_file(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert not [name for name in imported if any(part.startswith("test_") for part in name.split("."))]


def test_the_files_that_begin_first_are_there():
    assert not set(LONGEST) - {path.name for path in FILES}
