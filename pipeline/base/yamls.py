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
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

MOST_VALUES = 100_000  # in a file, aliases followed
# what ruamel lets through beside its own errors: a date of month 13, an integer too long, …
LEAKS = (ValueError, ArithmeticError, LookupError, AttributeError, TypeError, AssertionError, NotImplementedError)
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./{}-]*")  # ruamel quotes these where it must
NEVER_PLAIN = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}  # of YAML 1.1, whatever their case


def read_yaml(text: str) -> Any:
    """The one document in `text`. ValueError where it is none, a key stands twice, or aliases have no end."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    try:
        return yaml.load(text)
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


class _Constructor(SafeConstructor):
    """ruamel's safe constructor; also says where a key stands twice, and refuses aliases without end."""

    def construct_document(self, node: Node) -> Any:
        """Called once a file, with its tree."""
        if _num_values(node, {}) > MOST_VALUES:
            raise ValueError(f"its aliases (*name) stand for more than {MOST_VALUES:,} values")
        return super().construct_document(node)


def _num_values(node: Node, known: dict[int, float]) -> float:
    """Values under `node`, those behind an alias as often as it stands there: inf where one holds itself."""
    if not isinstance(node, CollectionNode):
        return 1
    if id(node) not in known:
        known[id(node)] = float("inf")  # until it is counted
        pairs = node.value if isinstance(node, MappingNode) else [(part,) for part in node.value]
        _refuse_twice([pair[0] for pair in pairs if len(pair) > 1])
        known[id(node)] = 1 + sum(_num_values(part, known) for pair in pairs for part in pair)
    return known[id(node)]


def _refuse_twice(keys: Sequence[Node]) -> None:
    seen: dict[tuple[str, str], int] = {}
    for key in keys:
        if isinstance(key, ScalarNode):
            line = key.start_mark.line + 1
            before = seen.setdefault((str(key.tag), key.value), line)
            if before != line:
                raise ValueError(f"key {key.value!r} stands twice, in lines {before} and {line}; delete one")
