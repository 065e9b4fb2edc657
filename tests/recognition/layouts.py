"""Where images lie and where their labels stand. Each layout lays out both sides and the tables, not the sample."""

import json
from collections.abc import Callable

from .draft import Draft, Item
from .images import SIDE, pixels
from .sheets import Sheet

SPLITS = {  # of class folders: (folder of the training images, of the test images)
    "train test": ("train", "test"), "Train Testing": ("Train", "Testing"), "training eval": ("training", "eval"),
    "seg_train seg_test": ("seg_train/seg_train", "seg_test/seg_test"), "images to_predict": ("images", "to_predict"),
    "images test": ("images", "test"),
}  # fmt: skip


def _sheet(draft: Draft, header: list[str], rows: list[list[str]]) -> Sheet:
    return Sheet(header, rows, draft.plan["dialect"], draft.plan["encoding"])


def _train_table(draft: Draft, header: list[str], rows: list[list[str]], name: str = "") -> None:
    draft.train_sheet = name or draft.rng.choice(
        (*("train.csv", "train_labels.csv", "labels.csv") * 3, "labels_latest.csv")
    )
    draft.sheets[draft.train_sheet] = _sheet(draft, header, rows)
    draft.truth.answers |= {"train_table": {draft.train_sheet}, "label": {draft.label_column}}


def _maybe_test_table(draft: Draft) -> None:
    if draft.rng.random() < 0.4:
        draft.test_sheet = "test.csv"
        draft.sheets["test.csv"] = _sheet(draft, [draft.id_column], [[draft.id_of(item)] for item in draft.test])


def table(draft: Draft) -> None:
    """train.csv: id, label; images train/<id>."""
    draft.put_all("train", "test")
    rows = [[draft.id_of(item), draft.label_cell(item)] for item in draft.train]
    _train_table(draft, [draft.id_column, draft.label_column], rows)
    _maybe_test_table(draft)


def shared_folder(draft: Draft) -> None:
    """Training and test images side by side."""
    draft.put_all("images", "images")
    rows = [[draft.id_of(item), draft.label_cell(item)] for item in draft.train]
    _train_table(draft, [draft.id_column, draft.label_column], rows)
    _maybe_test_table(draft)


def path_column(draft: Draft) -> None:
    """An id, and a column that holds the image's path; the test table has it too."""
    draft.put_all("train", "test")
    before = draft.rng.choice(("", "./", "/"))
    ids = {item.number: f"ID_{item.number:04d}" for item in [*draft.train, *draft.test]}
    rows = [[ids[item.number], before + item.path, draft.label_cell(item)] for item in draft.train]
    _train_table(draft, [draft.id_column, "img_path", draft.label_column], rows, "train.csv")
    draft.test_sheet = "test.csv"
    rows = [[ids[item.number], before + item.path] for item in draft.test]
    draft.sheets["test.csv"] = _sheet(draft, [draft.id_column, "img_path"], rows)
    draft.plan["ids"] = "own"
    for item in [*draft.train, *draft.test]:
        item.stem = ids[item.number]
    if draft.plan["extras"] == "second path":
        for name, items in (("train.csv", draft.train), ("test.csv", draft.test)):
            if name == "train.csv":
                draft.sheets[name].add("mask_path", [f"masks/{item.path.rpartition('/')[2]}" for item in items], 2)
        for item in draft.train:
            from .images import picture

            draft.images[f"masks/{item.path.rpartition('/')[2]}"] = picture(20_000 + item.number)


def sub_folder_column(draft: Draft) -> None:
    """A column names the folder below train/."""
    draft.put_all("train", "test")
    sites = [f"site{draft.rng.choice('ABC')}" for _ in draft.train]
    draft.images = {path: content for path, content in draft.images.items() if path.startswith("test/")}
    for item, site in zip(draft.train, sites, strict=True):
        draft.put(item, f"train/{site}/{item.stem}{item.suffix}")
    rows = [[draft.id_of(item), site, draft.label_cell(item)] for item, site in zip(draft.train, sites, strict=True)]
    _train_table(draft, [draft.id_column, "site", draft.label_column], rows)


def one_hot(draft: Draft) -> None:
    """A 0/1 column for each class."""
    draft.put_all("train", "test")
    off, on = draft.rng.choice(
        (("0", "1"), ("0", "1"), ("0.0", "1.0"), ("FALSE", "TRUE"), ("False", "True"), ("", "1"))
    )
    rows = [
        [draft.id_of(item), *(on if label in item.labels else off for label in draft.classes)] for item in draft.train
    ]
    _train_table(draft, [draft.id_column, *draft.classes], rows)
    draft.truth.answers.pop("label")


def class_folders(draft: Draft) -> None:
    """train/<class>/…, also with a constant or a session folder below, and other words for train and test."""
    train_root, test_root = SPLITS[draft.plan["split"]]
    below = draft.plan["below class"]
    sessions = iter(range(1000))
    session_of = {label: [f"rec{next(sessions):02d}" for _ in range(2)] for label in draft.classes}
    for at, item in enumerate(draft.train):
        label = item.labels[0]
        deeper = {"images": "images/", "sessions": session_of[label][at % 2] + "/"}.get(below, "")
        draft.put(item, f"{train_root}/{label}/{deeper}{item.stem}{item.suffix}")
    for item in draft.test:
        draft.put(item, f"{test_root}/{'images/' if below == 'images' else ''}{item.stem}{item.suffix}")
    draft.train_root, draft.test_root = train_root, test_root
    if draft.plan["validation"] == "valid folder":
        _validation(draft, train_root)


def _validation(draft: Draft, train_root: str) -> None:
    for at, label in enumerate(draft.classes * 2):
        item = Item(30_000 + at, f"v{at}", draft.train[0].suffix, [label])
        draft.put(item, f"{train_root.replace('train', 'valid').replace('Train', 'Valid')}/{label}/v{at}{item.suffix}")
        draft.truth.optional[item.content] = frozenset(item.labels)


def file_names(draft: Draft) -> None:
    """cat.001.png."""
    join = draft.rng.choice((".", "_", "-"))
    for at, item in enumerate(draft.train):
        draft.put(item, f"train/{item.labels[0]}{join}{at:03d}{item.suffix}")
    for item in draft.test:
        draft.put(item, f"test/{item.stem}{item.suffix}")
    draft.train_root, draft.test_root = "train", "test"


def coco(draft: Draft) -> None:
    """JSON with images, annotations and categories."""
    draft.put_all("train", "test")
    first = draft.rng.choice((0, 1))
    numbers = draft.category_ids = {label: at + first for at, label in enumerate(draft.classes)}
    images = [{"id": item.number, "file_name": item.path.rpartition("/")[2], "width": SIDE} for item in draft.train]
    annotations = [
        {"id": 100 * item.number + numbers[label], "image_id": item.number, "category_id": numbers[label]}
        for item in draft.train
        for label in item.labels
    ]
    categories = [{"id": number, "name": label} for label, number in numbers.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    draft.others["train_annotations.json"] = json.dumps(content).encode()
    draft.truth.answers |= {"train_table": {"train_annotations.json"}, "label": {"category"}}


def row_per_label(draft: Draft) -> None:
    """An image with two labels has two rows."""
    draft.put_all("train", "test")
    rows = [[draft.id_of(item), label] for item in draft.train for label in item.labels]
    _train_table(draft, [draft.id_column, draft.label_column], rows)


def blank_test_labels(draft: Draft) -> None:
    """One table for all images; where the label is blank it is to be predicted."""
    draft.put_all("images", "images")
    rows = [[draft.id_of(item), draft.label_cell(item)] for item in draft.train]
    rows += [[draft.id_of(item), ""] for item in draft.test]
    if draft.rng.random() < 0.5:
        draft.rng.shuffle(rows)
    _train_table(draft, [draft.id_column, draft.label_column], rows, "labels.csv")


def part_column(draft: Draft) -> None:
    """One table for all images; a column says which are for training. Labels of test images are blank or absent."""
    draft.put_all("images", "images")
    train, test = draft.rng.choice((("train", "test"), ("Training", "Testing"), ("train", "predict")))
    rows = [[draft.id_of(item), train, draft.label_cell(item)] for item in draft.train]
    rows += [[draft.id_of(item), test, ""] for item in draft.test]
    _train_table(
        draft, [draft.id_column, draft.rng.choice(("split", "Usage", "part")), draft.label_column], rows, "data.csv"
    )


def table_per_class(draft: Draft) -> None:
    """A folder for each class, and in each a table of its images."""
    for folder, label in enumerate(draft.classes):
        items = [item for item in draft.train if item.labels == [label]]
        for at, item in enumerate(items):
            item.stem = f"{folder:05d}_{at:05d}"
            draft.put(item, f"train/{folder:05d}/{item.stem}{item.suffix}")
        rows = [[f"{item.stem}{item.suffix}", str(SIDE), str(SIDE), label] for item in items]
        sheet = _sheet(draft, ["Filename", "Width", "Height", draft.label_column], rows)
        draft.sheets[f"train/{folder:05d}/GT-{folder:05d}.csv"] = sheet
    for item in draft.test:
        draft.put(item, f"test/{item.stem}{item.suffix}")
    draft.train_root, draft.test_root = "train", "test"
    draft.truth.answers["label"] = {draft.label_column}


def metadata_jsonl(draft: Draft) -> None:
    """A line of JSON for each image, in the folder of the images."""
    draft.put_all("train", "test")
    several = draft.plan["target"] == "several"
    for root, items in (("train", draft.train), ("test", draft.test)):
        records = [{"file_name": item.path.rpartition("/")[2]} for item in items]
        if root == "train":
            for record, item in zip(records, items, strict=True):
                record[draft.label_column] = item.labels if several else item.labels[0]
        lines = [json.dumps(record, ensure_ascii=False) for record in records]
        draft.others[f"{root}/metadata.jsonl"] = "\n".join([*lines, ""]).encode()
    draft.truth.answers["label"] = {draft.label_column}


def label_json(draft: Draft) -> None:
    """{file: label} in one JSON file."""
    draft.put_all("train", "test")
    several = draft.plan["target"] == "several"
    found = {item.path.rpartition("/")[2]: item.labels if several else item.labels[0] for item in draft.train}
    draft.others["train_labels.json"] = json.dumps(found, ensure_ascii=False).encode()


def text_list(draft: Draft) -> None:
    """train.txt: path and label with a blank between."""
    draft.put_all("images", "images")
    draft.others["train.txt"] = "".join(f"{item.path} {item.labels[0]}\n" for item in draft.train).encode()
    draft.others["test.txt"] = "".join(f"{item.path}\n" for item in draft.test).encode()


def pixel_table(draft: Draft) -> None:
    """Each row is an image: a label and its grey pixels."""
    columns = [f"pixel{at}" for at in range(SIDE * SIDE)]

    def grey(number: int) -> list[str]:
        return [str(value) for value in pixels(number)[:, :, 0].ravel()]

    rows = [[item.labels[0], *grey(item.number)] for item in draft.train]
    _train_table(draft, [draft.label_column, *columns], rows, "train.csv")
    draft.test_sheet = "test.csv"
    draft.sheets["test.csv"] = _sheet(draft, columns, [grey(item.number) for item in draft.test])
    for at, item in enumerate(draft.test, 1):
        item.stem = str(at)
    draft.plan["ids"] = "own"
    draft.truth.in_order = True


def validation_table(draft: Draft) -> None:
    """train.csv and val.csv, both with labels, and the images of each in a folder of its own."""
    table(draft)
    held = [
        Item(30_000 + at, f"{70_000 + at}", draft.train[0].suffix, [label])
        for at, label in enumerate(draft.classes * 2)
    ]
    for item in held:
        draft.put(item, f"val/{item.stem}{item.suffix}")
        draft.truth.optional[item.content] = frozenset(item.labels)
    rows = [[draft.id_of(item), draft.label_cell(item)] for item in held]
    sheet = draft.sheets.pop(draft.train_sheet)
    _train_table(draft, sheet.header, sheet.rows, "train.csv")
    draft.sheets["val.csv"] = _sheet(draft, list(sheet.header), rows)


def folder_per_image(draft: Draft) -> None:
    """Each image in a folder that is called as its id is."""
    names = draft.rng.choice(("{stem}", "image", "photo_1"))
    for items, root in ((draft.train, "train"), (draft.test, "test")):
        for item in items:
            draft.put(item, f"{root}/{item.stem}/{names.format(stem=item.stem)}{item.suffix}")
    draft.train_root, draft.test_root = "train", "test"
    rows = [[draft.id_of(item), draft.label_cell(item)] for item in draft.train]
    _train_table(draft, [draft.id_column, draft.label_column], rows)
    _maybe_test_table(draft)


def two_tables(draft: Draft) -> None:
    """images.csv: the file of each number; labels.csv: the label of each number; or as databases have it, with numbers
    of labels that count from 1 as the images' may do, in another order.
    """
    draft.put_all("train", "test")
    is_database = draft.rng.random() < 0.5
    first = draft.rng.choice((1, 500)) if is_database else 500
    ids = {item.number: f"{first + item.number}" for item in [*draft.train, *draft.test]}
    rows = [[ids[item.number], draft.label_cell(item)] for item in draft.train]
    header = [draft.id_column, draft.label_column]
    if is_database:
        draft.rng.shuffle(rows)
        rows = [[str(number), *row] for number, row in enumerate(rows, start=1)]
        header = ["id", draft.rng.choice(("image_id", "image")), draft.label_column]
    _train_table(draft, header, rows, "labels.csv")
    listed = draft.rng.choice(([*draft.train, *draft.test], draft.train))
    named = draft.truth.files_in = draft.rng.choice(("file", "file_name", "path"))

    def files(items: list[Item]) -> Sheet:
        paths = [item.path if named == "path" else item.path.rpartition("/")[2] for item in items]
        rows = [[ids[item.number], path] for item, path in zip(items, paths, strict=True)]
        return _sheet(draft, ["id" if is_database else draft.id_column, named], rows)

    draft.sheets["images.csv"] = files(listed)
    if listed is draft.train:
        draft.test_sheet = "test.csv"
        draft.sheets["test.csv"] = files(draft.test)
    draft.plan["ids"] = "own"
    for item in [*draft.train, *draft.test]:
        item.stem = ids[item.number]


def numbered_classes(draft: Draft) -> None:
    """The train table numbers the classes, and a file says what the numbers are called."""
    draft.put_all("train", "test")
    first = draft.rng.choice((0, 1))
    order = draft.rng.sample(draft.classes, len(draft.classes))
    draft.numbers = {label: str(at + first) for at, label in enumerate(order)}
    rows = [[draft.id_of(item), draft.numbers[item.labels[0]]] for item in draft.train]
    _train_table(draft, [draft.id_column, draft.label_column], rows)
    kind = draft.rng.choice(("lines", "numbered lines", "name of number", "number of name", "table", "names first"))
    pairs = [(number, label) for label, number in draft.numbers.items()]
    if kind in ("lines", "numbered lines"):
        lines = order if kind == "lines" else [f"{number} {label}" for number, label in pairs]
        draft.others["classes.txt"] = "\n".join([*lines, ""]).encode()
    elif kind in ("name of number", "number of name"):
        found = dict(pairs) if kind == "name of number" else {label: int(number) for number, label in pairs}
        draft.others["label_map.json"] = json.dumps(found, ensure_ascii=False).encode()
    else:
        rows = [[draft.label_column, "name"], *map(list, pairs)]
        rows = [row[::-1] for row in rows] if kind == "names first" else rows
        draft.sheets["class_names.csv"] = _sheet(draft, rows[0], rows[1:])
    _maybe_test_table(draft)


LAYOUTS: dict[str, Callable[[Draft], None]] = {
    "table": table, "shared folder": shared_folder, "path column": path_column, "sub-folder column": sub_folder_column,
    "0/1 columns": one_hot, "class folders": class_folders, "file names": file_names, "COCO": coco,
    "row per label": row_per_label, "blank test labels": blank_test_labels, "part column": part_column,
    "table per class": table_per_class, "metadata.jsonl": metadata_jsonl, "{file: label}": label_json,
    "text list": text_list, "pixel table": pixel_table, "validation table": validation_table,
    "folder per image": folder_per_image, "two tables": two_tables,
    "numbered classes": numbered_classes,
}  # fmt: skip
