"""A competition under way: its images with their labels, its tables before they are written, its truth."""

import random
from dataclasses import dataclass, field

from . import words
from .images import MIXED, picture
from .sheets import Sheet
from .truth import Plan, Truth


@dataclass
class Item:
    """One image: where it lies is decided by the layout."""

    number: int  # of its picture
    stem: str
    suffix: str
    labels: list[str]  # in the order of the classes
    path: str = ""

    @property
    def content(self) -> bytes:
        """The file's bytes."""
        return picture(self.number, self.suffix)


@dataclass
class Draft:
    """Everything that layouts, samples and mutations write into."""

    plan: Plan
    rng: random.Random
    classes: tuple[str, ...]
    train: list[Item]
    test: list[Item]
    id_column: str
    label_column: str
    images: dict[str, bytes] = field(default_factory=dict)
    sheets: dict[str, Sheet] = field(default_factory=dict)
    others: dict[str, bytes] = field(default_factory=dict)
    train_sheet: str = ""  # paths of the tables that play a role; '' for none
    test_sheet: str = ""
    sample_sheet: str = ""
    train_root: str = ""  # folder of the training images
    test_root: str = ""
    category_ids: dict[str, int] = field(default_factory=dict)  # of COCO: a competitor may name a class by either
    numbers: dict[str, str] = field(default_factory=dict)  # of classes that the train table numbers
    truth: Truth = field(default_factory=Truth)

    def put(self, item: Item, path: str) -> None:
        """Lay the image there."""
        item.path = path
        self.images[path] = item.content

    def put_all(self, train_root: str, test_root: str) -> None:
        """Training images flat in one folder, test images in another, or the same."""
        for items, root in ((self.train, train_root), (self.test, test_root)):
            for item in items:
                self.put(item, f"{root}/{item.stem}{item.suffix}")
        self.train_root, self.test_root = train_root, test_root

    def id_of(self, item: Item, *, in_sample: bool = False) -> str:
        """The image's id as the tables, or the sample submission, write it."""
        return words.cell(self.plan["ids"], item.path, item.stem, in_sample=in_sample)

    def label_cell(self, item: Item) -> str:
        """The label cell of a train table: one label, or several with the plan's delimiter."""
        from .truth import written_list

        several = self.plan["target"] == "several"
        return written_list(item.labels, DELIMITERS[self.plan["delimiter"]]) if several else item.labels[0]


DELIMITERS = {
    "blank": " ", "comma": ",", "comma blank": ", ", "semicolon": ";", "bar": "|", "python": "python", "json": "json",
    "": "",
}  # fmt: skip


def new_draft(plan: Plan, rng: random.Random) -> Draft:
    """Images and labels that the plan asks for, not yet anywhere."""
    classes = _classes(plan, rng)
    labels = _several(classes, rng) if plan["target"] == "several" else _single(classes, rng)
    num_test = rng.randint(5, 8)
    tests = [labels[rng.randrange(len(labels))] for _ in range(num_test)]
    start = rng.choice((0, 1, 1000))
    train = [_item(plan, rng, start + at, found) for at, found in enumerate(labels)]
    after = start + len(labels) + 7
    called = start if plan["numbering"] == "anew" else after
    test = [_item(plan, rng, after + at, found, called=called + at) for at, found in enumerate(tests)]
    id_column = rng.choice(("id", "image", "image_id", "Id", "filename", "ImageId", "img"))
    names = ("diagnosis", "level", "grade") if plan["target"] == "ordinal" else (*LABEL_COLUMNS * 3, "on")
    names = ("labels", "tags", "attributes") if plan["target"] == "several" else names
    return Draft(plan, rng, classes, train, test, id_column, rng.choice(names))


LABEL_COLUMNS = ("label", "species", "class", "target", "breed", "kind", "finding", "Category", "y")


def _classes(plan: Plan, rng: random.Random) -> tuple[str, ...]:
    if plan["target"] == "binary":
        return words.PAIRS[plan["classes"]]
    family = words.FAMILIES[plan["classes"]]
    if plan["classes"] in ("numbers", "grades", "floats"):
        return family[: rng.randint(3, len(family))]
    if plan["classes"] in ("case", "nan", "missing words"):
        return family
    chosen = rng.sample(range(len(family)), rng.randint(3, min(5, len(family))))
    return tuple(family[at] for at in sorted(chosen))


def _single(classes: tuple[str, ...], rng: random.Random) -> list[list[str]]:
    labels = [[label] for label in classes for _ in range(rng.randint(3, 8))]
    rng.shuffle(labels)
    return labels


def _several(classes: tuple[str, ...], rng: random.Random) -> list[list[str]]:
    """Every class alone, and random sets of one to all; no two classes have the same images."""
    sets = [[label] for label in classes for _ in range(2)]
    for _ in range(rng.randint(8, 16)):
        chosen = set(rng.sample(classes, rng.randint(1, min(3, len(classes)))))
        sets.append([label for label in classes if label in chosen])
    rng.shuffle(sets)
    return sets


def _item(plan: Plan, rng: random.Random, number: int, labels: list[str], *, called: int = -1) -> Item:
    suffix = {"mixed": rng.choice(MIXED), "none": ""}.get(plan["suffix"], plan["suffix"])
    return Item(number, words.stem(plan["ids"], number if called < 0 else called), suffix, labels)
