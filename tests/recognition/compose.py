"""A competition made up from a seed: every dimension drawn, laid out, sampled, mutated, with its truth."""

import random

from . import sheets, words
from .draft import DELIMITERS, Draft, new_draft
from .layouts import LAYOUTS, SPLITS
from .mutate import HARMFUL, HARMLESS, JUNK, MORE_IMAGES
from .samples import SEPARATORS, add_sample
from .sheets import DIALECTS, right_codecs
from .truth import Made, Plan, pick

AWKWARD = 0.2  # how often a dimension that is usually plain is not
CALM = 0.35  # how often all of these are plain, so that a failure speaks of layout, target, format, names or spelling
HARM = 0.12  # how often a competition has a fault that must stop it

ONE_LABEL = (
    "table", "shared folder", "path column", "sub-folder column", "0/1 columns", "class folders", "file names", "COCO",
    "blank test labels", "part column", "table per class", "metadata.jsonl", "{file: label}", "text list",
    "pixel table", "validation table", "folder per image", "two tables", "numbered classes",
)  # fmt: skip
LAYOUTS_OF = {
    "single": ONE_LABEL,
    "binary": tuple(layout for layout in ONE_LABEL if layout not in ("0/1 columns", "table per class", "numbered classes")),
    "several": ("table", "shared folder", "path column", "sub-folder column", "0/1 columns", "COCO", "row per label",
                "part column", "metadata.jsonl", "{file: label}", "folder per image", "two tables"),
    "ordinal": ("table", "shared folder", "path column", "sub-folder column", "blank test labels", "part column", "validation table",
                "folder per image", "two tables"),
}  # fmt: skip
FORMATS_OF = {
    "single": ("label", "label", "columns", "ranked", "long"), "binary": ("label", "score", "score", "columns"),
    "several": ("list", "list", "columns", "long"), "ordinal": ("label",),
}  # fmt: skip
SUFFIXES = (".jpg", ".jpeg", ".JPG", ".jfif", ".bmp", ".ppm", ".pgm", ".gif", ".webp", ".tif", "none", "mixed")
EXTRAS = ("age sex", "sterile flag", "fold", "url", "sides", "colon in name", "runs", "confidence", "date", "place", "hash",
          "code", "family", "title", "second path")  # fmt: skip
APART = ("table", "0/1 columns", "class folders", "COCO", "row per label", "metadata.jsonl", "{file: label}", "file names",
         "sub-folder column", "numbered classes")  # training and test images lie apart  # fmt: skip
TABLE_LAYOUTS = ("table", "shared folder", "path column", "sub-folder column", "blank test labels", "part column")
SPELLABLE = ("table", "shared folder", "path column", "class folders", "sub-folder column", "part column")


def compose(seed: int) -> Made:
    """The competition of this seed."""
    rng = random.Random(seed)
    return lay_out(draw_plan(rng), rng, seed)


def lay_out(plan: Plan, rng: random.Random, seed: int = -1) -> Made:
    """The competition of this plan; `rng` decides what the plan leaves open."""
    draft = new_draft(plan, rng)
    LAYOUTS[plan["layout"]](draft)
    add_sample(draft)
    _add_extras(draft)
    HARMLESS[plan["harmless"]](draft)
    for name in (plan["junk"], plan["more junk"]):
        JUNK[name](draft)
    if plan["harm"] != "none" and not HARMFUL[plan["harm"]](draft):
        plan["harm"] = "none"
    _more_answers(draft)
    files = _written(draft)
    return Made(seed, plan, _deeper(draft, files), draft.truth)


# -- the plan


def draw_plan(rng: random.Random) -> Plan:
    """A value for every dimension, such that they go together."""
    target = rng.choice(("single", "single", "single", "binary", "binary", "several", "several", "ordinal"))
    plan = {"target": target, "layout": rng.choice(LAYOUTS_OF[target]), "format": rng.choice(FORMATS_OF[target])}
    plan["classes"] = rng.choice(_families(plan))
    plan["spelling"] = _spelling(plan, rng)
    plan["delimiter"] = _delimiter(plan, rng)
    plan["sample"] = rng.choice(_examples(plan))
    if plan["sample"] == "none":
        plan["format"] = "label"
    awkward = 0.0 if rng.random() < CALM else AWKWARD
    _draw_names(plan, rng, awkward)
    _draw_files(plan, rng, awkward)
    return plan


def _families(plan: Plan) -> list[str]:
    if plan["target"] == "binary":
        return [name for name in words.PAIRS if plan["layout"] != "file names" or name != "0 1"]
    if plan["target"] == "ordinal":
        return ["grades"]
    return [name for name in words.FAMILIES if name != "grades" and _family_fits(name, plan)]


def _family_fits(name: str, plan: Plan) -> bool:
    """Whether the layout and format can say these names at all."""
    numbers = ("numbers", "zero-padded", "floats")
    layout, kind = plan["layout"], plan["format"]
    unfit = {
        "numbered classes": (*numbers, "latex", "case", "nan", "missing words", "hierarchical"),
        "class folders": ("latex", "floats"),
        "file names": (
            *numbers,
            "latex",
            "hierarchical",
            "prefixed",
            "digits inside",
            "wordnet",
            "commas",
            "yaml words",
        ),
        "0/1 columns": numbers,
        "COCO": numbers,
        "text list": ("shared words", "blanks", "digits inside", "commas", "turkish", "split words", "latex"),
        "pixel table": ("latex", "commas"),
        "table per class": ("nan", "missing words"),
    }
    if plan["target"] == "several" and name in (*numbers, "nan", "missing words", "latex", "commas", "hierarchical"):
        return False
    if kind in ("ranked", "long") and name in ("commas", "latex", "floats", "case", "hierarchical", "prefixed"):
        return False
    return name not in unfit.get(layout, ())


def _spelling(plan: Plan, rng: random.Random) -> str:
    if plan["layout"] == "numbered classes":
        return rng.choice(("same", "number")) if plan["format"] in ("label", "columns") else "same"
    rules = words.RESPELLED.get(plan["classes"], {})
    able = plan["format"] in ("label", "columns") and plan["target"] == "single" and plan["layout"] in SPELLABLE
    return pick(rng, "same", tuple(rules), awkward=0.6) if able else "same"


def _delimiter(plan: Plan, rng: random.Random) -> str:
    holds_blanks = plan["classes"] in ("shared words", "blanks", "digits inside", "turkish", "split words")
    if plan["target"] == "several":
        return rng.choice([name for name in DELIMITERS if name and not (name == "blank" and holds_blanks)])
    if plan["format"] == "ranked":
        return rng.choice(("comma", "bar", "semicolon") if holds_blanks else ("blank", "comma", "bar"))
    return ""


def _examples(plan: Plan) -> list[str]:
    """What the sample submission may show."""
    kind, target = plan["format"], plan["target"]
    if kind == "score":
        return ["half", "half", "random", "zero", "0.0"]
    if kind in ("columns", "long"):
        more = ["more classes"] if kind == "columns" and plan["spelling"] == "same" else []
        return ["zero", "half", "uniform", *(["numbers", *more] if kind == "columns" else [])]
    if kind == "ranked":
        return ["labels"]
    if kind == "list":
        lists_known = plan["layout"] in ("table", "shared folder", "path column", "sub-folder column", "part column")
        return ["labels", "labels", "one label"] if lists_known else ["labels"]
    shown = ["labels", "labels", "every class", "one label"]
    if plan["layout"] == "numbered classes":
        return shown[: 3 if plan["spelling"] == "same" else 4]
    if plan["layout"] == "class folders" and plan["classes"] == "hierarchical":
        return ["labels", "every class"]  # nothing else says whether the leaf or the path is the label
    if plan["spelling"] != "same":
        return shown if plan["spelling"] not in ("unprefixed", "leaf") else ["labels", "every class"]
    if target == "single":
        silent = plan["layout"] != "COCO"  # of name and number of a category, only the sample says which is wanted
        shown += ["foreign cells", *(["placeholder"] if silent else [])]
        shown += ["zero"] if silent and plan["classes"] not in ("numbers", "zero-padded", "floats") else []
    if target == "binary" and plan["classes"] == "0 1":
        return ["labels", "zero", "one", "0.0", "labels", "truths"]
    tables_say = plan["layout"] in ("table", "class folders", "path column", "file names")
    return [*shown, "none"] if tables_say and target != "ordinal" else shown


def _draw_names(plan: Plan, rng: random.Random, awkward: float) -> None:
    plan["score column"] = ""
    if plan["format"] == "score":
        plan["score column"] = rng.choice(("neutral", "class", "class probability", "p class"))
    plan["class columns"] = pick(rng, "plain", ("prob_", "is "), awkward=awkward) if plan["format"] == "columns" else ""
    plan["long mark"] = rng.choice(tuple(SEPARATORS)) if plan["format"] == "long" else ""
    plan["sample names"] = pick(rng, "as train", ("other",), awkward=awkward)
    styles = words.ID_STYLES
    if plan["layout"] in ("class folders", "file names", "COCO", "metadata.jsonl", "{file: label}", "text list"):
        styles = ("plain", "suffix", "folder", "uuid", "unicode", "date")
    if plan["layout"] == "folder per image":
        styles = ("plain", "uuid", "unicode", "date")
    if plan["layout"] in ("table per class", "pixel table"):
        styles = ("plain", "suffix")
    if plan["format"] == "long":
        styles = tuple(style for style in styles if style not in ("unicode", "thousands"))
    plan["ids"] = pick(rng, "padded", styles, awkward=2 * awkward)
    plan["numbering"] = pick(rng, "on", ("anew",) if plan["layout"] in APART else (), awkward=0.3)


def _draw_files(plan: Plan, rng: random.Random, awkward: float) -> None:
    own = words.OWN_CODECS.get(plan["classes"])
    encodings = ("utf-8-sig", "utf-16", *([own] * 4 if own else []))
    plan["encoding"] = pick(rng, "utf-8", encodings, awkward=0.5 if own else 0.15)
    plan["dialect"] = pick(rng, "comma", DIALECTS[1:], awkward=awkward)
    plan["sample dialect"] = pick(rng, "comma", DIALECTS[1:], awkward=awkward / 2)
    plan["sample suffix"] = pick(rng, ".csv", (".txt", ".tsv"), awkward=awkward / 4)
    if plan["sample suffix"] == ".tsv":
        plan["sample dialect"] = "tab"
    plan["suffix"] = pick(rng, ".png", SUFFIXES, awkward=awkward)
    extras = EXTRAS if plan["layout"] == "path column" else EXTRAS[:-1]
    plan["extras"] = pick(rng, "none", extras, awkward=awkward) if plan["layout"] in TABLE_LAYOUTS else "none"
    plan["split"] = plan["below class"] = plan["validation"] = ""
    if plan["layout"] == "class folders":
        plan["split"] = rng.choice(tuple(SPLITS))
        plan["below class"] = pick(rng, "none", ("images", "sessions"), awkward=0.4)
        plan["validation"] = "none"
        if plan["split"] in ("train test", "Train Testing"):
            plan["validation"] = pick(rng, "none", ("valid folder",), awkward=0.3)
    plan["junk"] = pick(rng, "none", tuple(JUNK)[1:], awkward=awkward)
    more = tuple(name for name in JUNK if name not in ("none", plan["junk"])) if plan["junk"] != "none" else ()
    plan["more junk"] = pick(rng, "none", more, awkward=0.4)
    plan["harmless"] = pick(rng, "none", tuple(HARMLESS)[1:], awkward=awkward)
    plan["harm"] = pick(rng, "none", tuple(HARMFUL), awkward=HARM if awkward else 0.0)
    plan["depth"] = pick(rng, "flat", ("wrapped", "images deeper", "doubled"), awkward=awkward)
    plan["container"] = pick(
        rng, "zip", ("folder", "folder", "nested zip", "nested zip", "backslash zip", "tar.gz"), awkward=awkward
    )


# -- finishing


def _add_extras(draft: Draft) -> None:
    """Columns that say something else than the label, in the train table, and some in the test table."""
    for name, sheet in ((draft.train_sheet, "train"), (draft.test_sheet, "test")):
        if name and draft.plan["layout"] in TABLE_LAYOUTS:
            table, rng = draft.sheets[name], draft.rng
            number = len(table.rows)
            if draft.plan["extras"] == "age sex" and sheet == "train":
                table.add("age", [str(rng.randint(18, 90)) for _ in range(number)])
                table.add("sex", [rng.choice("MF") for _ in range(number)], 1)
            elif draft.plan["extras"] == "sterile flag" and sheet == "train":
                table.add("sterile", [str(at % 2) for at in range(number)])
            elif draft.plan["extras"] == "fold" and sheet == "train":
                table.add("fold", [str(at % 5) for at in range(number)])
            elif draft.plan["extras"] == "colon in name":
                table.add("scale 1:10", [str(at % 4 + 1) for at in range(number)], 1)
            elif draft.plan["extras"] == "url":
                table.add("url", [f"https://example.org/{sheet}/{at}" for at in range(number)])
            elif draft.plan["extras"] == "sides":
                table.add("width", ["8"] * number)
                table.add("height", [str(rng.choice((8, 9))) for _ in range(number)])
            elif draft.plan["extras"] == "runs" and sheet == "train":
                starts = [[3 * at + 1, 3 * at + 40, 3 * at + 90] for at in range(number)]
                table.add("segmentation", [" ".join(f"{start} {start % 7 + 1}" for start in row) for row in starts])
            elif draft.plan["extras"] == "confidence" and sheet == "train":
                table.add("confidence", [f"{rng.uniform(0.5, 1):.2f}" for _ in range(number)])
            elif draft.plan["extras"] == "date":
                table.add(
                    "taken", [f"2021-03-{rng.randint(1, 28):02d} 1{rng.randint(0, 9)}:05:00" for _ in range(number)]
                )
            elif draft.plan["extras"] == "place":
                table.add("lat", [f"{rng.uniform(40, 50):.4f}" for _ in range(number)])
                table.add("lon", [f"{rng.uniform(5, 15):.4f}" for _ in range(number)])
            elif draft.plan["extras"] in ("code", "family", "title") and sheet == "train" and table.header:
                _add_twin(draft, table)
            elif draft.plan["extras"] == "hash":
                table.add("md5", [f"{rng.getrandbits(128):032x}" for _ in range(number)])


def _add_twin(draft: Draft, table: sheets.Sheet) -> None:
    """A column that says of each row's label its number, its family or its name in other letters."""
    if draft.plan["target"] == "several" or draft.label_column not in table.header:
        return
    kind = draft.plan["extras"]
    known = list(draft.classes)
    said = {
        label: {"code": f"{at + 3}", "family": "AB"[at % 2], "title": f"The {label}"}[kind]
        for at, label in enumerate(known)
    }
    table.add(f"{draft.label_column}_{kind}", [said.get(cell, "") for cell in table.column(draft.label_column)])


def _more_answers(draft: Draft) -> None:
    """What a competitor may allow here, and where the images lie, knowing the competition."""
    allow = draft.truth.answers.setdefault("allow", set())
    if {draft.plan["junk"], draft.plan["more junk"]} & {*MORE_IMAGES}:
        allow.add("without row")
    if draft.plan["classes"] in ("missing words", "nan"):
        allow.update(("missing", "nan"))
        draft.truth.causes += ("empty label", "nan")
    if draft.plan["classes"] == "case":
        allow.add("spelling")
    if draft.plan["ids"] in ("thousands", "percent"):
        draft.truth.causes += ("thousands", "percent")
    if draft.plan["harm"] in ("lose a row", "no header"):
        allow.discard("without row")
    if draft.plan["layout"] in ("class folders", "file names"):
        draft.truth.answers.setdefault("train_table", {"none"})
    paths = {"{img_path}"} if draft.plan["layout"] == "path column" else set()
    draft.truth.answers["train_images"] = paths or {draft.train_root}
    draft.truth.answers["test_images"] = paths or {draft.test_root, draft.test_root.partition("/")[0]}


def _written(draft: Draft) -> dict[str, bytes]:
    files = dict(draft.images) | {name: sheet.content() for name, sheet in draft.sheets.items()} | draft.others
    foreign = [sheet for sheet in draft.sheets.values() if not sheet.encoding.startswith("utf")]
    if foreign:
        draft.truth.answers["encoding"] = right_codecs(foreign)
    sample = draft.sheets.get(draft.sample_sheet)
    if sample:
        content, truth = files[draft.sample_sheet], draft.truth
        truth.mark = sample.encoding in ("utf-8-sig", "utf-16")
        truth.encoding = "utf-8" if content.isascii() or truth.mark else sample.encoding
        truth.encoding = "utf-16-le" if sample.encoding == "utf-16" else truth.encoding
        truth.newline = "\r\n" if sample.dialect == "crlf" else "\n"
        truth.separator = sheets.SEPARATORS.get(sample.dialect, ",")
        truth.top = "sep=;\n" if sample.dialect == "sep line" else ""
        truth.quoted = sample.dialect == "quoted"
    return files


def _deeper(draft: Draft, files: dict[str, bytes]) -> dict[str, bytes]:
    """All files in one folder, or the images one folder deeper than the tables."""
    if draft.plan["depth"] == "flat":
        return files
    if draft.plan["depth"] == "wrapped":
        return {f"my competition/{name}": content for name, content in files.items()}
    if draft.plan["depth"] == "doubled":  # train/train, as zips are unpacked into folders of their names
        return {f"{name.partition('/')[0]}/{name}" if "/" in name else name: content for name, content in files.items()}
    beside = ("metadata.jsonl", "GT-")  # these tables stay with their images
    return {
        f"input/{name}" if name in draft.images or any(word in name for word in beside) else name: content
        for name, content in files.items()
    }
