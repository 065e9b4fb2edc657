"""YAML as DVC reads it: ruamel.yaml, version 1.2. PyYAML is of 1.1, where `No` is false and `1e3` a text.

One library for reading and writing; what is written means the same to readers of both versions.
"""

import io
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

# what ruamel lets through beside its own errors: a date of month 13, an integer too long, …
LEAKS = (ValueError, ArithmeticError, LookupError, AttributeError, TypeError, AssertionError, NotImplementedError)
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./{}-]*")  # ruamel quotes these where it must
NEVER_PLAIN = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}  # of YAML 1.1, whatever their case


def read_yaml(text: str) -> Any:
    """The one document in `text`. ValueError where it is none, or a mapping has a key twice."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except DuplicateKeyError as error:
        raise ValueError(f"line {error.problem_mark.line + 1}: {error.problem}; delete one of them") from error
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except (YAMLError, *LEAKS) as error:
        raise ValueError(str(error)) from error


def rewritten(text: str, changes: Mapping[str, Mapping[str, Any]]) -> str:
    """`text` with these values (section -> key -> value); comments, quotes and all other keys stay."""
    yaml = YAML(pure=True)
    yaml.preserve_quotes = True
    yaml.width = sys.maxsize
    document = yaml.load(text)
    for section, values in changes.items():
        for key, value in values.items():
            document[section][key] = _written(value)
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


def _written(value: Any) -> Any:
    if isinstance(value, str):
        return value if PLAIN.fullmatch(value) and value.lower() not in NEVER_PLAIN else DoubleQuotedScalarString(value)
    if isinstance(value, Sequence):
        parts = CommentedSeq(map(_written, value))
        parts.fa.set_flow_style()
        return parts
    return value
