"""Which image a row means: templates such as `train/{id}.jpg`, found by looking, applied to every row.

A template is a member's path in which `{column}` stands for the row's cell, `{column:05d}` for the cell as a number
with leading zeros, `{column:d}` without (12.0 and 1,234 are numbers too), `{column:decoded}` for the cell with a blank
for %20, `{column:stem}` for the cell less folders and image suffix, `{column:below1}` for the cell less its first
folder, `{column:folders}` for the cell with a `/` for its last `_` or `-`, `{column:tail}` for what follows that,
`{column:uploaded}` for the file's name less the 8 digits and `-` that Label Studio puts before it, `**/` for any
folders, and a final `.*` for whatever suffix the image has. Where `{column}` is all of it, folders of another machine
in front do not matter.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import repeat
from typing import Any
from urllib.parse import unquote

import numpy as np

from pipeline.base.lookup import Lookup
from pipeline.base.texts import Texts
from pipeline.tables.image_names import stem_of, without_suffix
from pipeline.tables.table import Table
from pipeline.tables.words import SIDE_WORDS, is_all_role, is_side_folder, role_of_folders, words_of

MISSING, SEVERAL = -1, -2  # instead of an image's number
NUM_LOOKED_AT = 40  # rows, spread over the table, from which templates are made
NUM_SCANNED = 8  # rows for which every image's name is searched, where no name equals the cell
ANYWHERE = "**/"
NEST_BELOW = 0.5  # of the rows found: then images at any depth are as good
NUM_TRIED = 24  # templates tried on some rows
NUM_THINNED = 1000  # these rows; of tables twice as long
NUM_COUNTED = 6  # templates tried on all rows
# a column's own name may hold colons
FIELD = re.compile(r"\{([^{}]*?)(?::(?:0?(\d{0,3})d|(stem|decoded|below[1-9]|folders|tail|uploaded)))?\}")
NEARLY = 0.8  # of the cells: then a column is about whole file names, and leads to the images though some are missing
MAX_BELOW = 3  # folders in front of a cell's path that the archive may lack
UPLOADED = re.compile(r"(?:.*/)?[0-9a-f]{8}-(?=[^/]+$)")
LAST_MARK = re.compile(r"[_-](?=[^_-]+$)")
SPREADSHEET_TEXT = re.compile(r"=\"(.+)\"|'([^']+)'?")  # how spreadsheets keep the zeros of 0001
TWIN = re.compile(rf"(.*[^/]?)[_\- .](?:{'|'.join((*SIDE_WORDS, 'seg', 'gt'))})(?:[_\- ]?\d+)?", re.IGNORECASE)
BRACES = {"{", "}"}  # in a column's name or a path: a template cannot say them
# words of folders that hold something else than the images
SIDE_WORD = re.compile(
    r"(masks?|segs?|segmentations?|annots?|annotations?|thumbs?|thumbnails?|labels?|box|boxes|bbox|bboxes|heat"
    r"|heatmaps?|.+(annot|masks?))$"
)


def plain(text: str) -> str:
    """A cell or path as templates see it: NFC, forward slashes, no `./` or `/` in front."""
    path = unicodedata.normalize("NFC", text.strip()).replace("\\", "/")
    while path.startswith(("./", "/")):
        path = path[2:] if path.startswith("./") else path[1:]
    return path


def meant(cell: str) -> str:
    """A cell as templates see it: `plain`, less the marks by which spreadsheets keep a number as text, and less what
    follows an address: `https://…/7.jpg?key=…`.
    """
    found = SPREADSHEET_TEXT.fullmatch(cell.strip())
    text = found[1] or found[2] if found else cell
    return plain(text.partition("?")[0] if "://" in text else text)


class ImageIndex:
    """The images of an archive, to be found by path, by path without suffix, by name, by stem and by number.

    names: the images' (`image_names`); paths: the same as templates see them (`plain`). An image's number is its place
    in both.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = Texts(names)
        alike = all(plain(name) == name for name in self.names)
        self.paths = self.names if alike else Texts(map(plain, self.names))
        self._by_stem_path = Lookup(self.paths, lambda path: (without_suffix(path),))

    @cached_property
    def _by_stem(self) -> Lookup:
        return Lookup(self.paths, lambda path: (stem_of(path),))

    @cached_property
    def _by_number(self) -> Lookup:
        return Lookup(self.paths, _number_of)

    @cached_property
    def _by_folder(self) -> Lookup:
        return Lookup(self.paths, lambda path: tuple(path.split("/")[-2:-1]))

    @cached_property
    def _by_folded(self) -> Lookup:
        return Lookup(self.paths, lambda path: (stem_of(path).casefold(),))

    def number(self, path: str) -> int:
        """The number of the image with this path; `MISSING` for none."""
        found = self._rows_of(path)
        return found[-1] if found else MISSING

    def _rows_of(self, path: str) -> list[int]:
        return [row for row in self._by_stem_path.rows(without_suffix(path)) if self.paths[row] == path]

    def _named(self, name: str) -> list[int]:
        """Numbers of the images whose file's name is this one, with or without its suffix."""
        rows = {*self._by_stem.rows(name), *self._by_stem.rows(without_suffix(name))}
        names = ((row, self.paths[row].rpartition("/")[2]) for row in sorted(rows))
        return [row for row, found in names if name in (found, without_suffix(found))]

    @cached_property
    def _named_lately(self) -> Callable[[str], list[int]]:
        """`_named`, which takes long for a name that very many images have, one in each folder."""
        return lru_cache(maxsize=4)(self._named)

    def used_by(self, members: Iterable[str]) -> np.ndarray:
        """(N,) bool: which images are among these members."""
        used = np.zeros(len(self.names), dtype=bool)
        for member in members:
            if member:
                used[[row for row in self._rows_of(plain(member)) if self.names[row] == member]] = True
        return used

    def without(self, used: np.ndarray) -> "ImageIndex":
        """The index of the images that are not `used`, (N,) bool."""
        return ImageIndex(self.names.take(~used))

    def exact(self, cell: str) -> list[str]:
        """Paths that end in this cell, with or without their suffix."""
        rows = self._named_lately(cell.rsplit("/", 1)[-1])
        found = self.paths.take(np.array(rows, dtype=np.int64))
        if "/" in cell:  # of the many that may be called alike, before they are looked at one by one
            found = found.take(found.holding(cell))
        tail = "/" + cell
        return [path for path in found if ("/" + path).endswith(tail) or ("/" + without_suffix(path)).endswith(tail)]

    def tail(self, path: str) -> int:
        """The number of the image whose path is the longest end of this one, cut between folders, or `MISSING`."""
        while (number := self.number(path)) == MISSING:
            _, cut, path = path.partition("/")
            if not cut:
                break
        return number

    def anywhere(self, path: str) -> list[int]:
        """Numbers of the images that `folder/**/name.jpg`, or `folder/**/name.*`, may mean."""
        folder, _, name = path.rpartition(ANYWHERE)
        found = [(number, self.paths[number]) for number in self._named(name.removesuffix(".*"))]
        return [
            number
            for number, hit in found
            if hit.startswith(folder) and (name.endswith(".*") or ("/" + hit).endswith("/" + name))
        ]

    def numbered(self, cell: str) -> list[str]:
        """Paths whose stem is this cell's number, written otherwise: 007, or 12 for 12.0, or 1234 for 1,234."""
        number = whole_number(cell)
        found = self._by_number.find(int(number)) if number is not None else []
        return [path for path in found if without_suffix(path).rsplit("/", 1)[-1] != cell]

    def alone_in(self, cell: str) -> list[str]:
        """The path of the one image in a folder called as this cell is; none where there are several such."""
        found = self._by_folder.find(cell)
        return found if len(found) == 1 else []

    def folded(self, cell: str) -> str | None:
        """A path whose stem is this cell but for upper and lower case."""
        paths = self._by_folded.find(stem_of(meant(cell)).casefold())
        return paths[0] if paths and not self.exact(meant(cell)) else None

    def with_stem_path(self, path: str) -> list[int]:
        """Numbers of the images whose paths are this one with some image suffix."""
        return self._by_stem_path.rows(path)

    def holding(self, cell: str) -> list[str]:
        """Paths whose name holds this cell as a word or number of its own."""
        before = "[0-9]" if cell[0].isdigit() else "[0-9A-Za-z]"  # img7.png holds 7, img17.png does not
        after = "[0-9]" if cell[-1].isdigit() else "[0-9A-Za-z]"
        text, starts = self._all_names
        if cell not in text:
            return []
        hits = re.finditer(rf"(?<!{before}){re.escape(cell)}(?!{after})", text)
        rows = np.searchsorted(starts, [hit.start() for hit in hits], side="right") - 1
        return [self.paths[row] for row in np.unique(rows).tolist()]

    @cached_property
    def _all_names(self) -> tuple[str, np.ndarray]:
        """(all names less their folders, a line each; (N,) int64: where each line starts)."""
        text = "\n".join(path.rpartition("/")[2] for path in self.paths)
        lengths = np.fromiter((len(path.rpartition("/")[2]) + 1 for path in self.paths), np.int64, len(self.paths))
        return text, np.concatenate([[0], np.cumsum(lengths)[:-1]])


def whole_number(cell: str) -> str | None:
    """The digits of a whole number, as pandas and spreadsheets write it too (12, 12.0, 12,0, 1,234); None for none."""
    found = re.fullmatch(r"([0-9]{1,17}|[0-9]{1,3}(?:,[0-9]{3}){1,5})(?:\.0*|,00?)?", cell)
    return found[1].replace(",", "") if found else None


def _number_of(path: str) -> list[int]:
    """The number that the file's stem is, if it is one."""
    stem = stem_of(path)
    return [int(stem)] if stem.isascii() and stem.isdigit() and len(stem) < 18 else []


@dataclass(frozen=True)
class Match:
    """A template and how far it goes."""

    template: str
    column: str  # the one whose cell names the image
    num_found: int  # distinct images that the rows lead to


def paths_of(template: str, table: Table) -> Iterator[str | None]:
    """The path that each row means; None where a numbered cell is no number."""
    parts: list[Iterable[str | None]] = []
    end = 0
    for field in FIELD.finditer(template):
        parts.append(repeat(template[end : field.start()], table.num_rows))
        parts.append(map(partial(_spelled, width=field[2], mode=field[3]), map(meant, table.column(field[1]))))
        end = field.end()
    parts.append(repeat(template[end:], table.num_rows))
    return (None if None in pieces else "".join(map(str, pieces)) for pieces in zip(*parts, strict=True))


def _spelled(cell: str, width: str | None, mode: str | None) -> str | None:
    if mode:
        return _in_mode(cell, mode)
    if width is None:
        return cell
    number = whole_number(cell)
    return None if number is None else number.zfill(int(width or 0))


def _in_mode(cell: str, mode: str) -> str:
    """The cell as `{column:<mode>}` writes it."""
    if mode == "stem":
        return stem_of(cell)
    if mode == "uploaded":
        return UPLOADED.sub("", cell)
    if mode == "decoded":
        return plain(unquote(cell))
    if mode == "folders":
        return LAST_MARK.sub("/", cell)
    if mode == "tail":
        return LAST_MARK.split(cell)[-1]
    return cell.split("/", int(mode.removeprefix("below")))[-1]


def column_of(template: str) -> str:
    """The column that names the image: the last one that the template names. Raises ValueError for none."""
    names = columns_of(template)
    if not names:
        raise ValueError(f"template {template!r} names no column: write it as in FOLDER/{{id}}.jpg")
    return names[-1]


def columns_of(template: str) -> list[str]:
    """The columns that the template names, in order."""
    return [field[1] for field in FIELD.finditer(template)]


def images_of(template: str, table: Table, index: ImageIndex) -> np.ndarray:
    """(N,) int32: the number of the image that each row means, `MISSING` where there is none, `SEVERAL` (`.*`)."""
    hits = (
        MISSING if not found else SEVERAL if len(found) > 1 else found[0]
        for found in candidates_of(template, table, index)
    )
    return np.fromiter(hits, dtype=np.int32, count=table.num_rows)


def candidates_of(template: str, table: Table, index: ImageIndex) -> Iterator[list[int]]:
    """For each row the numbers of the images that it may mean. Raises ValueError for columns that are not there."""
    columns = columns_of(template)
    unknown = [column for column in columns if column not in table.header]
    if unknown or not columns:
        raise ValueError(
            f"template {template!r} names {unknown or 'no column'}; {table.name} has the columns {list(table.header)}"
        )
    is_path = template == f"{{{columns[0]}}}"
    return (_candidates(path, template, index, is_path=is_path) for path in paths_of(template, table))


def _candidates(path: str | None, template: str, index: ImageIndex, *, is_path: bool) -> list[int]:
    if path is None:
        return []
    if not is_path and ANYWHERE in path:
        return index.anywhere(path)
    if not is_path and template.endswith(".*"):
        return index.with_stem_path(path[:-2])
    number = index.tail(path) if is_path else index.number(path)
    return [] if number == MISSING else [number]


def folder_of(template: str) -> str:
    """The folder that all of a template's images lie under: what stands before its first field."""
    before = template.split("{")[0].split(ANYWHERE)[0]
    return before.rpartition("/")[0]


def find_matches(table: Table, index: ImageIndex, *, role: str, columns: Sequence[str] = ()) -> list[Match]:
    """Templates that lead from this table's rows to images, best first.

    role: `train` or `test`: among templates that find as many images, one whose path has the role's name comes
    first. columns: those to look at (default: all).
    """
    tried: Counter[tuple[str, str]] = Counter()
    some = table.thinned(NUM_LOOKED_AT)
    rows = list(some.rows())
    for column in columns or [column for column in table.header if column and not BRACES & set(column)]:
        tried.update(_templates(some.header, rows, column, index))
    matches = _of_images(_tried_on(table, index, tried), index)
    most = max((match.num_found for match in matches), default=0)
    if most < table.num_rows:
        for match in _tried_on(table, index, _nested(tried)):
            complete = match.num_found == table.num_rows and role_of_folders(folder_of(match.template)) == role
            more = match.num_found > most and _is_plain(match.template, table, index, role)
            if most and _leads_beside(match.template, table, index):
                continue
            if complete or more or most < NEST_BELOW * table.num_rows:
                matches.append(match)
    # without the fields: a column may be called label
    beside = {match for match in matches if beside_images(FIELD.sub("", match.template))}
    most = max((match.num_found for match in matches if match not in beside), default=0)

    def place(match: Match) -> tuple[bool, int, tuple[Any, ...]]:
        is_beside = match in beside and NEST_BELOW * match.num_found <= most  # of images that are lost
        return is_beside, -match.num_found, preference(match.template, role)

    return sorted(matches, key=place)


def _leads_beside(template: str, table: Table, index: ImageIndex) -> bool:
    """Whether some row means an image in a folder of masks and the like."""
    found = images_of(template, table, index)
    folders = {index.paths[number].rpartition("/")[0] for number in np.unique(found[found >= 0]).tolist()}
    return any(beside_images(f"{folder}/") for folder in folders)


def _is_plain(template: str, table: Table, index: ImageIndex, role: str) -> bool:
    """Whether no row may mean several images, and none means one of the other role or beside the images."""
    found = images_of(template, table, index)
    folders = {index.paths[number].rpartition("/")[0] for number in np.unique(found[found >= 0]).tolist()}
    roles = {role_of_folders(folder) for folder in folders}
    other = "test" if role == "train" else "train"
    return SEVERAL not in found and other not in roles and not any(beside_images(f"{folder}/") for folder in folders)


def holds_file_names(cells: Sequence[str]) -> bool:
    """Whether nearly all cells that are not blank are whole file names: with folders or an image's suffix."""
    names = [meant(cell) for cell in cells if cell.strip()]
    whole = sum("/" in name or without_suffix(name) != name for name in names)
    return bool(names) and whole >= NEARLY * len(names)


def _of_images(matches: list[Match], index: ImageIndex) -> list[Match]:
    """Those that do not lead to masks and the like, unless all images lie in such folders."""
    if not any(_is_beside(match.template) for match in matches) or all(map(_is_beside, index.paths)):
        return matches
    return [match for match in matches if not _is_beside(match.template)]


def _is_beside(path: str) -> bool:
    return any(is_side_folder(part) for part in FIELD.sub("", path).split("/")[:-1])  # a column's name says nothing


def beside_images(path: str) -> bool:
    """Whether a folder on this path says that what lies in it is not the images themselves: masks, thumbnails, …."""
    return any(SIDE_WORD.match(word) for word in words_of(path.rpartition("/")[0]))


def twins_of_images(index: ImageIndex) -> np.ndarray:
    """(N,) bool: the images that are called as another in their folder with a word behind: `7_mask.png` of `7.png`."""
    found = map(TWIN.fullmatch, map(without_suffix, index.paths))
    return np.fromiter((bool(twin and index.with_stem_path(twin[1])) for twin in found), bool, len(index.paths))


def _tried_on(table: Table, index: ImageIndex, tried: Counter[tuple[str, str]]) -> list[Match]:
    """Templates with the number of images that they find: on some rows first, the best ones then on all."""
    some = table.thinned(NUM_THINNED)
    likely = [entry for entry, _ in tried.most_common(NUM_TRIED)]
    counted = [(_num_found(template, some, index), template, column) for template, column in likely]
    best = [entry for entry in counted if entry[0] * 4 >= max(counted)[0]]
    if some.num_rows < table.num_rows:
        best = sorted(best, key=lambda entry: -entry[0])[:NUM_COUNTED]
        best = [(_num_found(template, table, index), template, column) for _, template, column in best]
    return [Match(template, column, number) for number, template, column in best if number]


def _num_found(template: str, table: Table, index: ImageIndex) -> int:
    """Distinct images; 0 where different cells all lead to the same one."""
    found = images_of(template, table, index)
    distinct = np.unique(found[found >= 0])
    if len(distinct) == 1 and len(table.take(found >= 0).column(column_of(template)).distinct()) > 1:
        return 0
    return len(distinct)


def _nested(tried: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """The same templates at any depth under each of their folders: `train/a/{id}.jpg` as `train/**/{id}.jpg`."""
    nested: Counter[tuple[str, str]] = Counter()
    for (template, column), count in tried.items():
        *folders, name = template.split("/")
        for depth in range(len(folders)):
            if len(columns_of(template)) == len(columns_of(name)) == 1:
                nested["/".join([*folders[:depth], ANYWHERE + name]), column] += count
    return nested


def preference(template: str, role: str) -> tuple[int, int, int, str]:
    """Sorting key among templates that find as many images: the role's name, a literal suffix, few other columns.

    `train_depth` is of the training images, but speaks of something else too, and is no better than `images`.
    """
    other = "test" if role == "train" else "train"
    folder = folder_of(template)
    found = role_of_folders(folder)
    wrong = beside_images(folder + "/") or found == other
    right = found == role and any(map(is_all_role, folder.split("/")))
    return (2 * wrong - right, template.endswith(".*"), len(columns_of(template)), template)


def _templates(
    header: Sequence[str], rows: Sequence[Sequence[str]], column: str, index: ImageIndex
) -> Counter[tuple[str, str]]:
    """(template, column) -> number of rows that suggest it."""
    position = header.index(column)
    cells = [meant(row[position]) for row in rows]
    folders = [set(cell.split("/")[:-1]) for cell in cells if "/" in cell]
    of_some = set[str]().union(*folders).difference(folders[0].intersection(*folders)) if folders else set()
    suggested: Counter[tuple[str, str]] = Counter()
    for row, cell in zip(rows, cells, strict=True):
        suggested.update((template, column) for template in _numbered(cell, column, header, row, index))
    for row, (cell, paths, field) in zip(rows, _hits(cells, column, index), strict=False):
        found = {variant for path in paths[:64] for variant in _variants(path, cell, field, header, row)}
        suggested.update((template, column) for template in found if not of_some & set(template.split("/")[:-1]))
    if any(index.tail(cell) != MISSING for cell in cells if "/" in cell):
        suggested[f"{{{column}}}", column] += len(cells)
    return suggested


def _hits(cells: Sequence[str], column: str, index: ImageIndex) -> list[tuple[str, list[str], str]]:
    """For each cell: (what of it stands in the paths, paths, how a template writes that).

    The whole cell, or its stem where that alone leads to an image for each; failing that for all cells, the cell less
    its first folders, then less all folders and its image suffix; failing that, where cells differ enough to be ids,
    the cell as a part of names, or as the folder of one image, or its parts as folders.
    """
    whole = [(cell, index.exact(cell) if cell else [], column) for cell in cells]
    num_led = _num_led(whole)
    if num_led == len(cells):
        return whole
    stems = [(stem_of(cell), index.exact(stem_of(cell)), f"{column}:stem") for cell in cells if stem_of(cell) != cell]
    if 0 < num_led < _num_led(stems) == len(cells):
        return stems  # a.jpg is a.jpeg of some
    if num_led or any(index.numbered(cell) for cell in cells):
        return whole
    if len({cell.rpartition("/")[0] for cell in cells}) > 1:  # a template for each folder would not do
        if sum(index.tail(cell) != MISSING for cell in cells if "/" in cell) * 2 > len(cells):
            return []  # `{column}` alone does
        modes = [f"below{number}" for number in range(1, MAX_BELOW + 1)]
        below = _hits_in_modes(cells[:NUM_SCANNED], modes, column, index)
        if below:
            return below
    if len(stems) == len(cells) and _num_led(stems):
        return stems
    if all(map(UPLOADED.match, cells)):
        sent = [(text := UPLOADED.sub("", cell), index.exact(text), f"{column}:uploaded") for cell in cells]
        if _num_led(sent) * 2 > len(cells):
            return sent
    texts = [(plain(unquote(cell)), f"{column}:decoded") for cell in cells if unquote(cell) != cell]
    if texts and any(index.exact(text) for text, _ in texts):
        return [(text, index.exact(text), field) for text, field in texts]
    if len(set(cells)) > len(cells) // 2:
        held = [(cell, index.holding(cell) if cell else [], column) for cell in cells[:NUM_SCANNED]]
        alike = len({LAST_MARK.split(cell)[0] for cell in cells if cell}) == 1  # test_1, test_2, …
        parts = ["folders", *(["tail"] if alike else [])]
        if not any(paths for _, paths, _ in held) and len(stems) == len(cells):  # 7.jpg of 7_small.jpg
            held = [(stem, index.holding(stem), field) for stem, _, field in stems[:NUM_SCANNED]]
        num_held = _num_led(held)
        alone = [(cell, index.alone_in(cell), column) for cell in cells] if num_held < len(held) else []
        if alone and _num_led(alone) == len(cells):  # 1/photo_1.jpg, 2/photo_1.jpg
            return alone
        return held if num_held else _hits_in_modes(cells, parts, column, index)
    return []


def _num_led(hits: Sequence[tuple[str, list[str], str]]) -> int:
    return sum(bool(paths) for _, paths, _ in hits)


def _hits_in_modes(
    cells: Sequence[str], modes: Sequence[str], column: str, index: ImageIndex
) -> list[tuple[str, list[str], str]]:
    """As `_hits`, with the first of these modes that leads to images; all but `tail` must leave a folder."""
    for mode in modes:
        texts = [_in_mode(cell, mode) for cell in cells]
        sought = [bool(text) and (mode == "tail" or "/" in text) for text in texts]
        paths = (index.exact(text) if is_sought else [] for text, is_sought in zip(texts, sought, strict=True))
        hits = [(text, found, f"{column}:{mode}") for text, found in zip(texts, paths, strict=True)]
        if any(found for _, found, _ in hits):
            return hits
    return []


def _numbered(cell: str, column: str, header: Sequence[str], row: Sequence[str], index: ImageIndex) -> set[str]:
    """Templates that would write this cell's number with leading zeros."""
    found = set()
    for path in index.numbered(cell)[:64]:
        folder, slash, name = path.rpartition("/")
        stem = without_suffix(name)
        for width in [f"0{len(stem)}", *([] if stem.startswith("0") else [""])]:
            for start in _with_columns(folder + slash, column, header, row):
                before = f"{start}{{{column}:{width}d}}"
                found |= {before + name.removeprefix(stem), f"{before}.*"}
    return found


def _with_columns(before: str, column: str, header: Sequence[str], row: Sequence[str]) -> set[str]:
    """A path's start, and the same with a folder that another cell of the row names as that column, or all of them."""
    folders = {before}
    parts = before.split("/")
    whole = list(parts)
    for place, part in enumerate(parts[:-1]):
        for other, value in zip(header, row, strict=True):
            if not part or not other or other == column or BRACES & set(other):
                continue
            is_padded = part.startswith("0") and part.isdecimal() and whole_number(meant(value)) == part.lstrip("0")
            field = f"{{{other}}}" if meant(value) == part else f"{{{other}:0{len(part)}d}}" if is_padded else ""
            if field:
                folders.add("/".join([*parts[:place], field, *parts[place + 1 :]]))
                whole[place] = field if whole[place] == part else whole[place]
    return folders | {"/".join(whole)}


def _variants(path: str, cell: str, field: str, header: Sequence[str], row: Sequence[str]) -> set[str]:
    """Templates that would give `path` for this row: the cell replaced, then also a folder that another cell names."""
    at = path.rfind(cell)
    before, after = path[:at], path[at + len(cell) :]
    if BRACES & {*before, *after}:
        return set()
    column = column_of(f"{{{field}}}")
    rest = without_suffix(f"0{after}")[1:]  # what is called otherwise but for the suffix: `_small`, `/image`
    suffixes = {after, f"{rest}.*"} if rest != after else {after}
    folders = _with_columns(before, column, header, row)
    return {f"{folder}{{{field}}}{suffix}" for folder in folders for suffix in suffixes}
