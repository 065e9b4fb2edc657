"""Whether a folder, a file or a cell is called as training, validation or test data is: by whole words alone.

`latest`, `contest`, `medieval` and `retrieval` hold no such word; `Testing`, `test2`, `testImages` and `X_test` do.
"""

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

TRAIN, VALID, TEST = "train", "valid", "test"
ROLE_OF_WORD = {
    **dict.fromkeys(("train", "training", "trainval", "学习", "训练", "訓練", "训练集", "学習", "학습", "훈련"), TRAIN),
    **dict.fromkeys(("treino", "treinamento", "entrenamiento", "entrainement", "entraînement", "addestramento"), TRAIN),
    **dict.fromkeys(("trainingsdaten", "trainingsbilder", "обучение", "обучающая", "eğitim", "egitim"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "验证", "验证集", "検証", "검증"), VALID),
    **dict.fromkeys(("validación", "validacion", "validação", "validacao", "валидация", "валидационная"), VALID),
    **dict.fromkeys(
        ("test", "tests", "testing", "eval", "evaluation", "holdout", "unseen", "unlabeled", "unlabelled",
         "predict", "测试", "测试集", "テスト", "評価", "테스트", "평가"), TEST),
    **dict.fromkeys(("teste", "testes", "prueba", "pruebas", "testdaten", "testbilder", "тест", "тестовая"), TEST),
}  # fmt: skip
# what may stand beside such a word, or right behind it (`testset`), where all of a folder's name is about the split
TAILS = (
    "image", "images", "img", "imgs", "picture", "pictures", "pic", "pics", "photo", "photos", "data", "dataset", "set",
    "sets", "split", "folder", "dir", "file", "files", "input", "inputs",
)  # fmt: skip
NEUTRAL = (
    *TAILS, "x", "raw", "all", "full", "final", "new", "old", "public", "private", "stage", "stg", "phase", "round",
    "part", "v", "a", "b", "jpg", "jpeg", "jpegs", "png", "tif", "resized", "cropped", "small", "large", "and",
    "labeled",
)  # fmt: skip
SIDE_WORDS = {
    "mask", "masks", "segmentation", "segmentations", "annotation", "annotations", "thumb", "thumbs", "thumbnail",
    "thumbnails", "heatmap", "heatmaps", "overlay", "overlays", "label", "labels", "box", "boxes", "bbox", "bboxes",
}  # fmt: skip
LEFT_OVER = {
    "unlabeled", "unlabelled", "discarded", "discard", "rejected", "trash", "backup", "example", "examples", "doc",
    "docs", "external", "misc",
}  # fmt: skip
UNSORTED = {  # a name's words together
    "nolabel", "nolabels", "notlabeled", "notlabelled", "untagged", "unsorted", "unassigned", "unannotated",
    "unclassified", "tosort", "tolabel",
}  # fmt: skip
NEGATIONS = ("no", "not", "non", "without", "un")
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_A-Za-z]+")
MIN_CLASSES = 2  # folders of no role beside one called train: then `train` is a class too, as car and bus are


def words_of(name: str) -> list[str]:
    """The words of a name, lower case: split where letters, digits and case change; `testset` is test and set."""
    found = []
    for word in WORD.findall(unicodedata.normalize("NFC", name)):
        lower = word.lower()
        head = next((head for head in ROLE_OF_WORD if lower.startswith(head) and lower[len(head) :] in TAILS), "")
        found += [head, lower[len(head) :]] if head else [lower]
    return found


def length_in(words: Sequence[str], label: str) -> int:
    """How many of the words, one after the other, are those of the label; 0 where they are not all there."""
    own = words_of(label) or [label.lower()]
    places = range(len(words) - len(own) + 1)
    return len(own) if any(list(words[place : place + len(own)]) == own for place in places) else 0


def role_of(name: str) -> str | None:
    """`train`, `valid` or `test` where a name has such a word; None for no such word, or for train and test both."""
    roles = {ROLE_OF_WORD[word] for word in words_of(name) if word in ROLE_OF_WORD}
    if TRAIN in roles:
        roles.discard(VALID)  # train_val, trainval
    return roles.pop() if len(roles) == 1 else None


def role_of_folders(path: str) -> str | None:
    """The role that the folders of a single path or template name, the deepest that does; see also `split_places`."""
    found = (role_of(part) for part in reversed(path.split("/")))
    return next((role for role in found if role), None)


def is_all_role(name: str) -> bool:
    """Whether a name speaks of the split and of nothing else: `test`, `Test_Images`, `stage1_test`; not `test tube`."""
    words = words_of(name)
    return role_of(name) is not None and all(
        word in ROLE_OF_WORD or word in NEUTRAL or word.isdigit() for word in words
    )


def is_side_folder(name: str) -> bool:
    """Whether a folder's whole name says that it holds something else than the images: `masks`, `train_annotations`."""
    words = words_of(name)
    return bool(SIDE_WORDS & set(words)) and all(
        word in SIDE_WORDS or word in ROLE_OF_WORD or word in NEUTRAL or word.isdigit() for word in words
    )


def denied(names: Iterable[str]) -> set[str]:
    """Those beside which their denial stands, and so are classes: `mask` beside `no_mask`, `NoMask`, `without mask`."""
    letters = {name: "".join(words_of(name)) for name in names}
    denials = set(letters.values())
    return {
        name for name, own in letters.items() if any(f"{no}{own.removeprefix('with')}" in denials for no in NEGATIONS)
    }


def split_roles(folders: Iterable[str]) -> dict[str, str | None]:
    """Folder -> `train`, `valid`, `test` or None, as `split_places` says."""
    return {folder: role for folder, (role, _) in split_places(folders).items()}


def is_left_over(name: str) -> bool:
    """Whether a folder's whole name says that nobody put it among the classes: `unlabeled`, `_discarded`, `docs`."""
    words = words_of(name)
    return bool(LEFT_OVER & set(words)) and all(word in LEFT_OVER or word in NEUTRAL for word in words)


def is_unsorted(name: str) -> bool:
    """Whether a class is called as tools call what nobody has labelled: `no_label`, `Untagged`, `_unsorted`."""
    return "".join(words_of(name)) in UNSORTED


def split_places(folders: Iterable[str]) -> dict[str, tuple[str | None, str]]:
    """Folder -> (its role, the folder at the split's level that says so); (None, '') where none does.

    folders: paths of the folders that images lie in. At the split's level one folder is called as training data is
    and another as test or validation data is (`seg_train`, `seg_test`), or one's whole name is such a word. The
    topmost on a path counts: below it and inside a class words mean nothing, `train/test tube` is for training. Nor do
    they deeper down where the test images lie elsewhere: `images/evaluation` beside `test` is a class.
    """
    children: dict[str, set[str]] = {}
    asked = list(folders)
    for folder in asked:
        for parent, name in _steps(folder):
            children.setdefault(parent, set()).add(name)
    roles = {parent: _roles_of_siblings(names) for parent, names in children.items()}
    return {folder: _place_on(folder, roles) for folder in asked}


def _place_on(folder: str, roles: Mapping[str, Mapping[str, str]]) -> tuple[str | None, str]:
    tested = False
    for parent, name in _steps(folder):
        known = roles[parent]
        if name in known and (not tested or any(is_all_role(other) for other in known if known[other] == TRAIN)):
            return known[name], f"{parent}/{name}".strip("/")
        tested |= TEST in known.values()
    return None, ""


def _steps(folder: str) -> list[tuple[str, str]]:
    """(parent, name) of each folder on a path, from the top."""
    parts = folder.split("/") if folder else []
    return [("/".join(parts[:depth]), part) for depth, part in enumerate(parts)]


def _roles_of_siblings(names: Iterable[str]) -> dict[str, str]:
    """The roles of folders that lie side by side; a folder without one is left out."""
    loose = {name: role for name in names if (role := role_of(name))}
    whole = {name: role for name, role in loose.items() if is_all_role(name)}
    trained = [name for name, role in loose.items() if role == TRAIN]
    others = len(set(names)) - len(loose)
    if trained and len(trained) < len(loose):
        if (set(whole.values()) - {TRAIN} or others < MIN_CLASSES) and any(name in whole for name in trained):
            return loose
        own, other = (
            {rest_of(name) for name in loose if name not in whole and (name in trained) is side}
            for side in (True, False)
        )
        pairs = own if any(role != TRAIN for role in whole.values()) and others < MIN_CLASSES else own & other
        paired = {name: role for name, role in loose.items() if name in whole or rest_of(name) in pairs}
        if TRAIN in paired.values() and len(set(paired.values())) > 1:
            return paired
    others += len(loose) - len(whole)
    return {name: role for name, role in whole.items() if role == TEST or (role == TRAIN and others < MIN_CLASSES)}


def rest_of(name: str) -> tuple[str, ...]:
    """What a name says beside its role: `seg` of `seg_train`, `leaf` of `leaf_trainingset` and of `leaf_testA`."""
    return tuple(
        word for word in words_of(name) if word not in ROLE_OF_WORD and word not in NEUTRAL and not word.isdigit()
    )


def without_shared(names: Sequence[str]) -> list[str]:
    """The names less what all begin and end with, cut back to where a word or number begins: dog of `prob_dog`."""
    before = os.path.commonprefix(list(names))  # noqa: RUF071, letter by letter is meant
    if not all(name[len(before) :][:1].isdigit() for name in names):
        before = re.sub(r"[^\W_]+$", "", before)
    cut = [name[len(before) :] for name in names]
    shared = os.path.commonprefix([name[::-1] for name in cut])[::-1]  # noqa: RUF071
    after = re.sub(r"^[^\W_]+", "", shared)
    return [name[: len(name) - len(after)] for name in cut]
