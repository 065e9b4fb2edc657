"""Changes to a competition: harmless ones, after which the truth is what it was, and harmful ones that must stop."""

from collections.abc import Callable

from .draft import Draft, Item
from .images import picture, truncated
from .sheets import Sheet

FAR = 10_000  # pictures from here on belong to no image of the competition


def _empty_table(draft: Draft) -> None:
    draft.others["extra/notes.csv"] = b""


def _ragged_table(draft: Draft) -> None:
    draft.others["docs/camera_settings.csv"] = b"Camera settings of the survey\ncamera,lens,iso\nA,50mm,200\n"


def _foreign_table(draft: Draft) -> None:
    """A table in another encoding than all others; it holds nothing of use."""
    draft.others["docs/photographers.csv"] = "name,town\nJosé,Málaga\nZoë,Köln\n".encode("cp1252")


def _description(draft: Draft) -> None:
    draft.others["data_description.csv"] = b"column,meaning\nid,the image\nlabel,what it shows\n"


def _readme(draft: Draft) -> None:
    draft.others["README.txt"] = b"Welcome.\n\nHave fun, and do not label by hand.\n"


def _copies(folder: str, name: str) -> Callable[[Draft], None]:
    """Other pictures under names like those of the images, in a folder of `name` beside or inside theirs."""

    def change(draft: Draft) -> None:
        for item in draft.train[:4]:
            if item.path:
                place, _, file = item.path.rpartition("/")
                stem, dot, suffix = file.rpartition(".")
                copy = f"{stem}{name}{dot}{suffix}" if dot else file + name
                draft.images[f"{place}/{folder}/{copy}"] = picture(FAR + item.number, item.suffix)

    return change


def _macosx(draft: Draft) -> None:
    for path in list(draft.images)[:6]:
        place, _, file = path.rpartition("/")
        draft.others[f"__MACOSX/{place}/._{file}"] = b"\0\x05\x16\x07\0\x02\0\0Mac OS X        "
    draft.others[".DS_Store"] = b"\0\0\0\1Bud1"


def _beside(root: str) -> Callable[[Draft], None]:
    """Another picture for each training image, under the same name, in a folder of its own."""

    def change(draft: Draft) -> None:
        for item in draft.train:
            if item.path:
                draft.images[f"{root}/{item.path.rpartition('/')[2]}"] = picture(2 * FAR + item.number, item.suffix)

    return change


def _baseline(draft: Draft) -> None:
    """What somebody handed in: the sample's rows, with answers."""
    first = draft.sheets.get(draft.sample_sheet)
    if first and draft.plan["format"] == "label":
        rows = [[*row[:-1], draft.rng.choice(draft.classes)] for row in first.rows]
        draft.sheets[draft.rng.choice(("baseline.csv", "random_submission.csv", "example/predictions.csv"))] = Sheet(
            list(first.header), rows, first.dialect, first.encoding
        )


def _solution(draft: Draft) -> None:
    """The answers to all test images, which came with the files by mistake or after the deadline."""
    if draft.plan["target"] in ("single", "binary", "ordinal") and draft.test[0].path:
        rows = [[draft.id_of(item), item.labels[0]] for item in draft.test]
        name = draft.rng.choice(("solution.csv", "test_labels.csv", "y_test.csv", "answers.csv"))
        draft.sheets[name] = Sheet([draft.id_column, draft.label_column], rows, draft.plan["dialect"], "utf-8")


def _of_all(*columns: str) -> Callable[[Draft], None]:
    """A table with a row for each image, of training and test alike."""

    def change(draft: Draft) -> None:
        items = [item for item in [*draft.train, *draft.test] if item.path]
        cells = {"camera": lambda: draft.rng.choice(("A", "B", "C")), "iso": lambda: draft.rng.choice(("100", "400"))}
        rows = [
            [
                draft.id_of(item) if draft.plan["numbering"] == "on" else item.path,
                *(cells.get(name, lambda: f"{draft.rng.gauss(0, 1):.3f}")() for name in columns),
            ]
            for item in items
        ]
        draft.sheets["metadata.csv"] = Sheet([draft.id_column, *columns], rows, draft.plan["dialect"], "utf-8")

    return change


def _laid(draft: Draft) -> list[Item]:
    """The training images that are files."""
    return [item for item in draft.train if item.path]


def _class_table(draft: Draft) -> None:
    """What is known of each class."""
    rows = [[label, draft.rng.choice(("A", "B")), str(10 + at)] for at, label in enumerate(draft.classes)]
    draft.sheets["class_info.csv"] = Sheet(["name", "family", "year"], rows, draft.plan["dialect"], "utf-8")


def _fold_table(draft: Draft) -> None:
    rows = [[draft.id_of(item), str(at % 5)] for at, item in enumerate(_laid(draft))]
    draft.sheets["folds.csv"] = Sheet([draft.id_column, "fold"], rows, draft.plan["dialect"], "utf-8")


def _pairs(draft: Draft) -> None:
    """Pairs of training images that are alike, as somebody found them."""
    items = _laid(draft)
    rows = [[draft.id_of(one), draft.id_of(two)] for one, two in zip(items[:4], items[4:8], strict=False)]
    draft.sheets["duplicates.csv"] = Sheet(["image1", "image2"], rows, draft.plan["dialect"], "utf-8")


def _boxes(draft: Draft) -> None:
    """Where things are in some training images, several of one."""
    rows = [[draft.id_of(item), *map(str, (at, 2, 3, 4))] for at, item in enumerate(_laid(draft)[:6]) for _ in range(2)]
    draft.sheets["boxes.csv"] = Sheet([draft.id_column, "x", "y", "w", "h"], rows, draft.plan["dialect"], "utf-8")


def _image_list(draft: Draft) -> None:
    """The names of all images, a line each."""
    draft.others["filelist.txt"] = "".join(f"{path}\n" for path in draft.images).encode()


def _unlabelled_folder(draft: Draft) -> None:
    """More images, of which nobody knows anything."""
    for number in range(5):
        suffix = draft.train[0].suffix
        draft.images[f"unlabeled/u{number}{suffix}"] = picture(4 * FAR + number, suffix)


def _smaller_table(draft: Draft) -> None:
    """Some of the train table's rows once more, to begin with."""
    sheet = draft.sheets.get(draft.train_sheet)
    if sheet and not draft.truth.in_order:
        rows = [list(row) for row in sheet.rows[: len(sheet.rows) // 2]]
        draft.sheets["train_small.csv"] = Sheet(list(sheet.header), rows, sheet.dialect, sheet.encoding)


JUNK: dict[str, Callable[[Draft], None]] = {
    "none": lambda draft: None, "empty table": _empty_table, "ragged table": _ragged_table,
    "foreign table": _foreign_table, "description": _description, "readme": _readme,
    ".ipynb_checkpoints": _copies(".ipynb_checkpoints", "-checkpoint"), "@eaDir": _copies("@eaDir", "_thumb"),
    "__MACOSX": _macosx, "thumbnails": _beside("thumbnails"), "masks": _beside("masks"),
    ".thumbnails": _beside(".thumbnails"), "baseline": _baseline, "solution": _solution, "metadata": _of_all("camera", "iso"),
    "class table": _class_table, "fold table": _fold_table, "pairs": _pairs, "boxes": _boxes, "image list": _image_list,
    "unlabelled folder": _unlabelled_folder, "smaller table": _smaller_table,
    "features": _of_all(*(f"f{at}" for at in range(8))),
}  # fmt: skip


MORE_IMAGES = (".ipynb_checkpoints", "@eaDir", "__MACOSX", "thumbnails", "masks", ".thumbnails", "unlabelled folder")


def _rename_id(draft: Draft) -> None:
    """The train table calls the id otherwise than the sample."""
    sheet = draft.sheets.get(draft.train_sheet)
    if sheet and draft.id_column in sheet.header:
        sheet.header[sheet.header.index(draft.id_column)] = "picture"


def _shuffle_rows(draft: Draft) -> None:
    if not draft.truth.in_order:
        for name in {draft.train_sheet, draft.test_sheet} & set(draft.sheets):
            draft.rng.shuffle(draft.sheets[name].rows)


def _shuffle_columns(draft: Draft) -> None:
    sheet = draft.sheets.get(draft.train_sheet)
    if sheet and not draft.truth.in_order and draft.plan["layout"] != "0/1 columns":
        order = list(range(len(sheet.header)))
        draft.rng.shuffle(order)
        sheet.header = [sheet.header[at] for at in order]
        sheet.rows = [[row[at] for at in order] for row in sheet.rows]


def _index_column(draft: Draft) -> None:
    """An unnamed column that counts rows, as pandas writes it."""
    sheet = draft.sheets.get(draft.train_sheet)
    if sheet and not draft.truth.in_order:
        sheet.add("", [str(at) for at in range(len(sheet.rows))], 0)


def _sample_index_column(draft: Draft) -> None:
    sheet = draft.sheets.get(draft.sample_sheet)
    if sheet:
        name = draft.rng.choice(("", "Unnamed: 0"))
        sheet.add(name, [str(at) for at in range(len(sheet.rows))], 0)
        draft.truth.header = list(sheet.header)
        draft.truth.rows = [[str(at), *row] for at, row in enumerate(draft.truth.rows)]
        draft.truth.values = [place + 1 for place in draft.truth.values]


def _usage_column(draft: Draft) -> None:
    """The sample says which rows are scored in public, as a solution does."""
    sheet = draft.sheets.get(draft.sample_sheet)
    if sheet:
        own = [draft.rng.choice(("Public", "Private")) for _ in sheet.rows]
        sheet.add("Usage", own)
        draft.truth.header = list(sheet.header)
        draft.truth.rows = [[*row, cell] for row, cell in zip(draft.truth.rows, own, strict=True)]


def _plain_train_table(draft: Draft) -> Sheet | None:
    """The train table where it has a label cell for each image."""
    layouts = ("table", "path column", "shared folder", "sub-folder column")
    return draft.sheets[draft.train_sheet] if draft.plan["layout"] in layouts else None


def _equal_rows(draft: Draft) -> None:
    """Some rows stand twice, cell by cell."""
    sheet = _plain_train_table(draft)
    if sheet:
        sheet.rows += [list(row) for row in sheet.rows[:2]]
        draft.truth.answers.setdefault("allow", set()).update(("duplicate", "repeated", "equal row"))
        draft.truth.causes += ("duplicate id", "repeated", "equal rows")


def _outer_blanks(draft: Draft) -> None:
    """Some label cells end with a blank."""
    sheet = _plain_train_table(draft)
    if sheet:
        at = sheet.header.index(draft.label_column)
        for row in sheet.rows[:3]:
            row[at] += " "
        draft.truth.answers.setdefault("allow", set()).update(("outer", "space", "blank"))
        draft.truth.causes += ("outer spaces", "outer blanks")


def _unlabelled_rows(draft: Draft) -> None:
    """Further images whose label nobody knows; they may be left out."""
    if draft.plan["layout"] not in ("table", "shared folder") or draft.plan["ids"] not in ("padded", "plain", "suffix"):
        return
    sheet = draft.sheets[draft.train_sheet]
    place = sheet.header.index(draft.label_column)
    for number in range(3):
        name = f"{90_000 + number}"
        suffix = draft.train[0].suffix
        draft.images[f"{draft.train_root}/{name}{suffix}"] = picture(3 * FAR + number, suffix)
        row = list(sheet.rows[number])
        row[place] = ""
        row[sheet.header.index(draft.id_column)] = name + (suffix if draft.plan["ids"] == "suffix" else "")
        sheet.rows.append(row)
    several = draft.plan["target"] == "several"  # an image without label has none of the classes there
    allowed = ("empty label", "unlabelled") if several else ("empty label", "without label", "unlabelled")
    draft.truth.answers.setdefault("allow", set()).update(allowed)
    draft.truth.causes += ("empty label", "without label", "unlabelled")


def _second_sample(draft: Draft) -> None:
    """A second file is called as samples are; it asks for fewer rows."""
    if not draft.sample_sheet:
        return
    first = draft.sheets[draft.sample_sheet]
    rows = [list(row) for row in first.rows[:-2]]
    draft.sheets["stage1/sample_submission_stage1.csv"] = Sheet(list(first.header), rows, first.dialect, first.encoding)


HARMLESS: dict[str, Callable[[Draft], None]] = {
    "none": lambda draft: None, "rename id": _rename_id, "shuffle rows": _shuffle_rows,
    "equal rows": _equal_rows, "outer blanks": _outer_blanks, "unlabelled rows": _unlabelled_rows, "second sample": _second_sample,
    "shuffle columns": _shuffle_columns, "index column": _index_column, "sample index column": _sample_index_column,
    "usage column": _usage_column,
}  # fmt: skip


# -- harmful


def _lose_image(draft: Draft) -> bool:
    """A row of the train table leads nowhere."""
    if not draft.train_sheet or not draft.train[0].path or draft.truth.in_order:
        return False
    lost = draft.rng.choice(draft.train)
    del draft.images[lost.path]
    draft.truth.stops = ("without image", "no image", "missing image", "test image missing")
    return True


def _lose_test_image(draft: Draft) -> bool:
    if not draft.sample_sheet or not draft.test[0].path:
        return False
    del draft.images[draft.rng.choice(draft.test).path]
    draft.truth.stops = ("without image", "no image", "missing image", "test image missing")
    return True


def _lose_row(draft: Draft) -> bool:
    """An image of the training folder has no row."""
    plain = ("table", "path column", "sub-folder column", "0/1 columns")
    if draft.plan["layout"] not in plain:
        return False
    rows = draft.sheets[draft.train_sheet].rows
    rows.pop(draft.rng.randrange(len(rows)))
    draft.truth.stops = ("without row", "no row")
    return True


def _two_labels(draft: Draft) -> bool:
    """One id is in two rows, with two labels, where an image has one."""
    if (
        not draft.train_sheet
        or draft.plan["target"] == "several"
        or draft.plan["layout"] not in ("table", "path column")
    ):
        return False
    sheet = draft.sheets[draft.train_sheet]
    again = list(draft.rng.choice(sheet.rows))
    at = sheet.header.index(draft.label_column)
    again[at] = draft.rng.choice([label for label in draft.classes if label != again[at]])
    sheet.rows.append(again)
    draft.truth.stops = ("duplicate id", "two labels", "twice", "several labels for one")
    return True


def _blank_label(draft: Draft) -> bool:
    if draft.plan["layout"] not in ("table", "path column", "shared folder", "sub-folder column"):
        return False
    sheet = draft.sheets[draft.train_sheet]
    draft.rng.choice(sheet.rows)[sheet.header.index(draft.label_column)] = ""
    draft.truth.stops = ("empty label", "without label", "no label", "unlabelled")
    return True


def _no_header(draft: Draft) -> bool:
    """The train table begins with its first row."""
    if draft.plan["layout"] not in ("table", "path column", "shared folder"):
        return False
    sheet = draft.sheets[draft.train_sheet]
    sheet.header = sheet.rows.pop(0)
    draft.truth.stops = ("header",)
    return len(set(sheet.header)) == len(sheet.header)


def _truncate(draft: Draft) -> bool:
    items = [item for item in [*draft.train, *draft.test] if item.path]
    if not items:
        return False
    hurt = draft.rng.choice(items)
    draft.images[hurt.path] = truncated(hurt.content)
    side = draft.truth.train if hurt.content in draft.truth.train else draft.truth.test
    side[truncated(hurt.content)] = side.pop(hurt.content)
    draft.truth.stops = ("unreadable", "truncated", "corrupt")
    return True


HARMFUL: dict[str, Callable[[Draft], bool]] = {  # each says whether it could be done to this competition
    "lose an image": _lose_image, "lose a test image": _lose_test_image, "lose a row": _lose_row,
    "two labels": _two_labels, "blank label": _blank_label, "truncated image": _truncate,
    "no header": _no_header,
}  # fmt: skip
