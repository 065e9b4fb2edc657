"""Files that say how classes are called otherwise: `class_map.csv`, `class_to_idx.json`, `classes.txt`."""

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping
from itertools import permutations
from typing import Any

from pipeline.archive.archive import Archive
from pipeline.base.yamls import read_yaml
from pipeline.competition.spelling import UNPADDED, spelled
from pipeline.tables.table import Table, first_counted
from pipeline.tables.words import words_of

MAX_BYTES = 1 << 20  # of a JSON or text file that is looked at
MAX_FILES = 200
MAPPING_WORDS = {
    "class", "classes", "label", "labels", "map", "mapping", "name", "names", "category", "categories", "idx",
}  # fmt: skip
TABLES = (".csv", ".tsv")
SUFFIXES = (".json", ".txt", ".yaml", ".yml", ".names", *TABLES)
PAIR_MARKS = ("->", "=", ":", "\t", ",", ";", "|", " ")  # the first that stands in every line parts a pair
MAX_COLUMNS = 12  # of a table: those with more are about something else

Ways = dict[str, list[dict[str, str]]]  # file -> label -> what it is called, in each way that the file gives


def class_mappings(archive: Archive, tables: Mapping[str, Table], labels: Collection[str]) -> Ways:
    """The files that call each of the labels, or the one number in it (7 of `class-7`), otherwise, no two alike."""
    keys, found = [{label: label for label in labels}], {}
    with contextlib.suppress(ValueError):
        keys.append(spelled(UNPADDED, labels))
    for name in [*tables, *_small_files(archive, tables)]:
        ways = list(_ways(archive, tables, name, len(labels)))
        fitting = ((way, keyed) for keyed in keys for way in ways if way.keys() >= set(keyed.values()))
        own = [{label: way[key] for label, key in keyed.items()} for way, keyed in fitting]
        kept = [way for way in own if len(set(way.values())) == len(way) and any(a != b for a, b in way.items())]
        if kept:
            found[name] = [way for place, way in enumerate(kept) if way not in kept[:place]]
    return found


def _small_files(archive: Archive, tables: Mapping[str, Table]) -> list[str]:
    """JSON, YAML and text files, and tables that were not read as they have no header.

    Not one beside each image (boxes): of many, those that are called as mappings are.
    """
    found = [name for name in archive.names if name.lower().endswith(SUFFIXES) and name not in tables]
    if len(found) > MAX_FILES:
        found = [name for name in found if MAPPING_WORDS & set(words_of(name.rpartition("/")[2]))][:MAX_FILES]
    return [name for name in found if archive.size(name) <= MAX_BYTES]


def _ways(archive: Archive, tables: Mapping[str, Table], name: str, count: int) -> Iterator[dict[str, str]]:
    """count: of labels; a CSV of more lines is a table of something else."""
    if name in tables:
        yield from _of_table(tables[name])
        if name not in archive or archive.size(name) > MAX_BYTES or name.endswith(".json"):
            return
    text = archive.read(name).decode("utf-8", "replace").removeprefix("\ufeff")
    if name.lower().endswith((".json", ".yaml", ".yml")):
        with contextlib.suppress(ValueError, RecursionError):
            yield from _of_value(json.loads(text) if name.lower().endswith(".json") else read_yaml(text))
    elif not name.lower().endswith(TABLES) or len(text.strip().splitlines()) <= count + 1:
        yield from _of_lines(text, whole=name not in tables or len(tables[name].header) == 1)


def _of_table(table: Table) -> Iterator[dict[str, str]]:
    if len(table.header) == 1:
        yield from _of_lines("\n".join(table.cells[0]))
    distinct = [cells for cells in table.cells[:MAX_COLUMNS] if cells.all_distinct()]
    for one, two in permutations(distinct, 2):
        yield dict(zip(one, two, strict=True))


def _of_value(found: Any) -> Iterator[dict[str, str]]:
    """What JSON or YAML holds: pairs, a list of labels, or records of two fields, by themselves or under a key."""
    for level in (found, *found.values()) if isinstance(found, dict) else (found,):
        if isinstance(level, list) and all(isinstance(entry, str) for entry in level):
            yield from _of_lines("\n".join(level))
        if isinstance(level, list) and all(isinstance(entry, dict) for entry in level):
            fields = list(level[0])[:MAX_COLUMNS] if level else []
            for one, two in permutations(fields, 2):
                yield {str(entry.get(one)): str(entry.get(two)) for entry in level}
        if isinstance(level, dict) and level and all(isinstance(value, dict) for value in level.values()):
            for field in list(next(iter(level.values())))[:MAX_COLUMNS]:  # {"0": {"name": "oak"}}
                yield {str(key): str(value.get(field)) for key, value in level.items()}
        if isinstance(level, dict) and all(isinstance(value, str | int) for value in level.values()):
            said = {str(key): str(value) for key, value in level.items()}
            yield said
            yield {value: key for key, value in said.items()}


def _of_lines(text: str, *, whole: bool = True) -> Iterator[dict[str, str]]:
    """`0 oak`, `0: oak`, `oak = 0`, `oak,0` are pairs; a whole line is a class, its number from 0 or from 1.

    whole: whether lines may be that; those that bring their number are not.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for mark in PAIR_MARKS:
        if lines and all(mark in line for line in lines):
            for cut in (str.partition, str.rpartition):
                pairs = [[part.strip(" \t\"'") for part in cut(line, mark)[::2]] for line in lines]
                if len(set(next(zip(*pairs, strict=True)))) == len({two for _, two in pairs}) == len(pairs):
                    yield dict(pairs)
                    yield {two: one for one, two in pairs}
                    whole &= all(first_counted(part) is None for part in zip(*pairs, strict=True))
            break
    for first in (0, 1) if whole else ():
        yield {line: str(number) for number, line in enumerate(lines, first)}
        yield {str(number): line for number, line in enumerate(lines, first)}
