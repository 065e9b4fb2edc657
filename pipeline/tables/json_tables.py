"""JSON as a table: COCO-style files, lists of records, JSON lines, and mappings.

From files to labels or fields, from labels to files, from columns to cells, from train and test to records. What a
record holds deeper down is a column too, `annotations.result.value.choices`, where no outlines are among it.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from pipeline.base.texts import Texts
from pipeline.tables.delimited import LABEL_COLUMN, PART_COLUMN, PATH_COLUMN
from pipeline.tables.table import CATEGORY, CATEGORY_ID, Table
from pipeline.tables.words import role_of

SEVERAL_DELIMITER = "|"  # between the labels of one image
ID_KEYS, LABEL_KEYS = ("id", "image_id", "imageId"), ("category_id", "label_id", "labelId")
NUM_LOOKED_AT = 64  # keys of a mapping that must lead to images
OUTLINE_KEYS = {"x", "y", "left", "top", "xmin", "ymin", "bbox", "points", "polygon", "segmentation", "coordinates"}
MIN_POINTS = 3  # numbers in a list: two may be a size
QUESTION = "question"  # of records about images that are asked something


def read_json_table(name: str, text: str, is_image: Callable[[str], bool], *, may_be_ids: bool = False) -> Table | None:
    """The table in a JSON file or in JSON lines; None for JSON of another kind. Raises ValueError for what is none.

    is_image: whether a text leads to an image; may_be_ids: keys of an object may be ids that lead to none.
    """
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"is not readable JSON ({error}); download it again") from error
    except ValueError as error:
        found = _json_lines(text)
        if found is None:
            raise ValueError(f"is not readable JSON ({error}); download it again") from error
    if isinstance(found, dict) and _is_coco(found, is_image):
        try:
            return _coco_table(name, found)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"has `images` but is not COCO-style ({type(error).__name__}: {error}); "
                "images need id and file_name, annotations image_id and category_id, categories id and name"
            ) from error
    if isinstance(found, dict) and len(found) == 1:
        (found,) = found.values()  # {"data": [...]}
    if not may_be_ids:  # a submission is not written so
        found = _of_pandas_split(found)
    if isinstance(found, list):
        return _records_table(name, found, is_image)
    if not isinstance(found, dict):
        return None
    return _mapping_table(name, found, is_image, may_be_ids=may_be_ids) or _part_table(name, found, is_image)


def _json_lines(text: str) -> list[Any] | None:
    """The objects of JSON lines; None where a line is none."""
    try:
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return None
    return found if found and all(isinstance(record, dict) for record in found) else None


def _of_pandas_split(found: Any) -> Any:
    """The records of {"columns": [...], "data": [[...], ...]}, as pandas splits it; else what it was."""
    if not isinstance(found, dict) or not {"columns", "data"} <= found.keys() <= {"columns", "data", "index"}:
        return found
    columns, rows = found["columns"], found["data"]
    if not isinstance(columns, list) or not isinstance(rows, list):
        return found
    whole = all(isinstance(row, list) and len(row) == len(columns) for row in rows)
    return [dict(zip(map(str, columns), row, strict=True)) for row in rows] if whole else found


def _records_table(name: str, found: Sequence[Any], is_image: Callable[[str], bool]) -> Table | None:
    """A list of records, which may lack fields, as a table; or a list of pairs of a file and its label."""
    if not found:
        return None
    if all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in found):
        return _mapping_table(name, {pair[0]: pair[1] for pair in found}, is_image)
    if not all(isinstance(record, dict) for record in found):
        return None
    found = [{field: _unwrapped(value) for field, value in record.items()} for record in found]
    fields = list(dict.fromkeys(field for record in found for field in record))
    header = [
        field
        for field in fields
        if all(_is_flat(record.get(field)) for record in found) and any(record.get(field) != [] for record in found)
    ]
    records = [{field: record.get(field) for field in header} for record in found]
    if len(header) < len(fields) and not any(map(_holds_outlines, found)):
        for flat, record in zip(records, found, strict=True):
            flat |= _leaves({field: value for field, value in record.items() if field not in flat})
        header = _telling(header, records)
    several = any(isinstance(record.get(field), list) for record in records for field in header)
    rows = ([_text(record.get(field)) for field in header] for record in records)
    return Table.of_rows(name, header, rows, SEVERAL_DELIMITER if several else "") if header else None


def _unwrapped(value: Any) -> Any:
    """The list that is all that an object holds: `{"choices": ["cat", "dog"]}`."""
    inner = next(iter(value.values())) if isinstance(value, dict) and len(value) == 1 else None
    return inner if isinstance(inner, list) and _is_flat(inner) else value


def _holds_outlines(value: Any) -> bool:
    """Whether boxes or outlines are among what an object or a list holds, by their keys or as lists of numbers."""
    if isinstance(value, dict):
        return bool(OUTLINE_KEYS & {key.lower() for key in value}) or any(map(_holds_outlines, value.values()))
    if not isinstance(value, list):
        return False
    numbers = sum(isinstance(part, int | float) for part in value)
    inner = [part for part in value if isinstance(part, dict | list)]
    return numbers >= MIN_POINTS or any(isinstance(part, list) or _holds_outlines(part) for part in inner)


def _leaves(value: Any) -> dict[str, Any]:
    """What an object holds at any depth: keys with dots between them -> the one value there, or a list of several."""
    found: dict[str, list[Any]] = {}
    for path, leaf in _walked(value, ""):
        found.setdefault(path, []).append(leaf)
    return {path: leaves[0] if len(leaves) == 1 else leaves for path, leaves in found.items()}


def _walked(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _walked(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for inner in value:
            yield from _walked(inner, path)
    else:
        yield path, value


def _telling(header: Sequence[str], records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The header, and the deeper columns that are ids, or say something else of records than a column before them: than
    one of the header in whatever words (of numbers, words say more), than a deeper one in the same.
    """
    kept = list(header)
    known: set[tuple[object, ...]] = set()
    numbered: set[tuple[object, ...]] = set()  # said by whole numbers, of which words say more: 0 is hotdog
    for field in dict.fromkeys(field for record in records for field in record):
        cells = tuple(_text(record.get(field)) for record in records)
        numbers = {cell: number for number, cell in enumerate(dict.fromkeys(cells))}
        said = tuple(numbers[cell] for cell in cells)
        are_numbers = len(numbers) > 1 and all(map(str.isdecimal, cells))
        if field in header:
            (numbered if are_numbers else known).add(said)
        elif not _are_vectors([record.get(field) for record in records]) and (
            len(numbers) == len(cells) or not {said, cells} & (known | numbered if are_numbers else known)
        ):
            kept.append(field)
            known.add(cells)
    return kept


def _are_vectors(values: Sequence[Any]) -> bool:
    """Whether each is a list of as many numbers, two or more: a size, a mean."""
    lengths = {len(value) if isinstance(value, list) else 1 for value in values}
    parts = (part for value in values if isinstance(value, list) for part in value)
    return len(lengths) == 1 and min(lengths) > 1 and all(isinstance(part, int | float) for part in parts)


def _part_table(name: str, found: Mapping[str, Any], is_image: Callable[[str], bool]) -> Table | None:
    """The one part of an object that is a table of images: `{classes: …, labels: {file: label}}`; None for none.

    Also records by keys of their own, and records under a key, but for questions about images.
    """
    parts = [value for value in (found, *found.values()) if isinstance(value, dict | list) and len(value) > 1]
    tables = []
    for part in parts:
        records = list(part.values()) if isinstance(part, dict) else part
        if all(isinstance(record, dict) and QUESTION not in record for record in records):
            tables.append(None if any(map(_holds_outlines, records)) else _records_table(name, records, is_image))
        elif isinstance(part, dict) and part is not found:
            tables.append(_mapping_table(name, part, is_image))
    leading = [
        table
        for table in tables
        if table and len(table.header) > 1 and any(_are_images(cells, is_image) for cells in table.cells)
    ]
    return leading[0] if len(leading) == 1 else None


def with_objects(table: Table) -> Table:
    """The table with columns for what the JSON objects in its cells hold: `file_attributes.species`; lists alone stay.

    `{"choices": ["cat", "dog"]}` among plain cells is the list.
    """
    columns: dict[str, Texts] = {}
    for column, cells in zip(table.header, table.cells, strict=True):
        objects = {cell: value for cell in cells.distinct() if (value := _object(cell)) is not None}
        lists = {cell: _unwrapped(value) for cell, value in objects.items()}
        are_all = all(cell in objects or not cell.strip() for cell in cells.distinct())
        if objects and all(isinstance(value, list) for value in lists.values()):
            written = {cell: json.dumps(value, ensure_ascii=False) for cell, value in lists.items()}
            columns[column] = Texts(written.get(cell, cell) for cell in cells)
        elif len(objects) > 1 and are_all and not any(map(_holds_outlines, objects.values())):
            leaves = {cell: _leaves(value) for cell, value in objects.items()}
            for path in dict.fromkeys(path for held in leaves.values() for path in held):
                columns[f"{column}.{path}"] = Texts(_text(leaves.get(cell, {}).get(path)) for cell in cells)
        else:
            columns[column] = cells
    return replace(table, header=tuple(columns), cells=tuple(columns.values()))


def _object(cell: str) -> dict[str, Any] | None:
    """The JSON object that a cell is; None for none."""
    if not cell.lstrip().startswith('{"'):
        return None
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _mapping_table(
    name: str, found: Mapping[str, Any], is_image: Callable[[str], bool], *, may_be_ids: bool = False
) -> Table | None:
    """`{file: label}`, `{file: [labels]}` or `{file: {field: …}}` as a table; else as `_turned_table` has it."""
    if len(found) < 2:
        return None
    turned = None if _are_images(found, is_image) else _turned_table(name, found, is_image)
    if turned is not None or not (may_be_ids or _are_images(found, is_image)):
        return turned
    if all(isinstance(value, dict) for value in found.values()):
        return _records_table(name, [{PATH_COLUMN: key} | value for key, value in found.items()], is_image)
    if not all(_is_flat(value) for value in found.values()):
        return None
    several = any(isinstance(value, list) for value in found.values())
    rows = ((key, _text(value)) for key, value in found.items())
    return Table.of_rows(name, (PATH_COLUMN, LABEL_COLUMN), rows, SEVERAL_DELIMITER if several else "")


def _are_images(texts: Iterable[Any], is_image: Callable[[str], bool]) -> bool:
    """Whether each of them, as far as is looked, is text or a number that leads to an image."""
    return all(isinstance(text, str | int) and is_image(str(text)) for text in islice(texts, NUM_LOOKED_AT))


def _turned_table(name: str, found: Mapping[str, Any], is_image: Callable[[str], bool]) -> Table | None:
    """`{label: [files]}`, `{column: cells}` or `{train: records, test: records}` as a table; None for none of these."""
    are_parts = all(map(role_of, found))
    columns = [list(value.values()) if isinstance(value, dict) else value for value in found.values()]
    if not all(isinstance(cells, list) and cells for cells in columns):
        return None
    if are_parts and all(isinstance(record, dict) for cells in columns for record in cells):
        records = [{PART_COLUMN: part} | record for part, cells in zip(found, columns, strict=True) for record in cells]
        return _records_table(name, records, is_image)
    lead = [_are_images(cells, is_image) for cells in columns]
    if all(lead):
        pairs = ((str(file), label) for label, cells in zip(found, columns, strict=True) for file in cells)
        return Table.of_rows(name, (PATH_COLUMN, PART_COLUMN if are_parts else LABEL_COLUMN), pairs)
    if any(lead) and not all(lead) and len(set(map(len, columns))) == 1:
        return _records_table(
            name, [dict(zip(found, row, strict=True)) for row in zip(*columns, strict=True)], is_image
        )
    return None


def _is_flat(value: Any) -> bool:
    if isinstance(value, list):
        return all(not isinstance(part, dict | list) for part in value)
    return not isinstance(value, dict)


def _is_coco(found: Mapping[str, Any], is_image: Callable[[str], bool]) -> bool:
    """Whether there are `images` with names, or with ids that lead to images."""
    images = found.get("images")
    if not isinstance(images, list) or not images or not all(isinstance(image, dict) for image in images):
        return False
    id_key = _key_in(images[0], ID_KEYS)
    return all("file_name" in image for image in images) or (
        all(id_key in image for image in images) and _are_images((image[id_key] for image in images), is_image)
    )


def _key_in(entry: Mapping[str, Any], keys: Sequence[str]) -> str:
    """The first of these keys that the entry has; the first of all where it has none."""
    return next((key for key in keys if key in entry), keys[0])


def _coco_table(name: str, found: dict[str, Any]) -> Table:
    """A row for each of the `images`, its categories joined."""
    images = found["images"]
    id_key = _key_in(images[0], ID_KEYS)
    named = ["file_name"] if "file_name" in images[0] else []
    fields = [
        field
        for field in images[0]
        if field not in (id_key, "file_name", "url")
        and all(not isinstance(image.get(field), dict | list) for image in images)
    ]
    header = ["image_id", *named, *fields]
    rows = [
        [str(image[id_key]), *(str(image[key]) for key in named), *(_text(image.get(field)) for field in fields)]
        for image in images
    ]
    ids_of: dict[Any, set[Any]] = {}
    for annotation in found.get("annotations") or []:
        said = annotation[_key_in(annotation, LABEL_KEYS)]
        ids_of.setdefault(annotation[_key_in(annotation, ID_KEYS[1:])], set()).update(
            said if isinstance(said, list) else [said]
        )
    if ids_of:
        name_of = _category_names(found.get("categories") or [])
        header += [CATEGORY_ID, CATEGORY] if name_of else [CATEGORY_ID]
        for image, row in zip(images, rows, strict=True):
            ids = sorted(ids_of.get(image[id_key], set()))
            row.append(SEVERAL_DELIMITER.join(map(str, ids)))
            row += [SEVERAL_DELIMITER.join(name_of[category] for category in ids)] if name_of else []
    several = any(len(ids) > 1 for ids in ids_of.values())
    return Table.of_rows(name, header, rows, SEVERAL_DELIMITER if several else "")


def _category_names(categories: Sequence[dict[str, Any]]) -> dict[Any, str]:
    """Category id -> name; empty where categories have none (some have a scientific name and a family instead)."""
    if not all("name" in category for category in categories):
        return {}
    return {category["id" if "id" in category else "category_id"]: str(category["name"]) for category in categories}


def _text(value: Any) -> str:
    """A cell; of several values, with `SEVERAL_DELIMITER` between them."""
    if isinstance(value, list):
        return SEVERAL_DELIMITER.join(map(_text, value))
    return "" if value is None else str(value)
