"""The sections of params.yaml as frozen dataclasses.

Every key must be there, known, of the right type and in range: a mistyped key that silently keeps
a default costs a competition. Only keys that came later have a default in their dataclass, so that an
older params.yaml means what it meant. Errors are `ValueError`s that name the key, the value found and what
is allowed. Stages read a section in `main` and pass plain arguments on; below, training alone knows some of them.
The comment beside a key, or above it, is its text in docs/parameters.md: `python -m docs.parameters` writes it.
"""

import copy
import dataclasses
import difflib
import functools
import json
import re
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.base.yamls import read_yaml

SAME = "same"
MEMBER_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"  # of a blend: a folder's name
ALTERNATING, DIHEDRAL = "alternating", "dihedral"  # of augment.flip
OWN_NETWORKS = ("resnet9", "airbench")  # they need torch alone
NOT_OPTIONS = ("num_classes", "in_chans", "features_only", "pretrained", "checkpoint_path")  # of timm.create_model
# DVC leaves keys called `size` and `nfiles` out of its run-cache key
RENAMED = {
    "images.size": "side", "train.flip_tta": "tta (true is mirror, false is none)",
    "model.pretrained": "weights (true is hub, false is none)",
}  # fmt: skip


def between(low: float, high: float, default: Any = dataclasses.MISSING) -> Any:
    """A number (int or float by the annotation), low <= value <= high."""
    return field(default=default, metadata={"low": low, "high": high})


def one_of(*choices: str, default: Any = dataclasses.MISSING) -> Any:
    """A string out of `choices`."""
    return field(default=default, metadata={"choices": choices})


@dataclass(frozen=True, kw_only=True)
class CompetitionParams:
    """Section `competition`: what the organiser gave. `auto`, and a key left out: recognised by looking."""

    raw: str  # path of the organiser's zip, tar, 7z or folder
    allow: tuple[str, ...] = ()  # kinds of problem that shall not stop `ingest` or `audit`: see below
    near_copies: str = one_of("group", "ignore", default="group")  # near-copies share a fold, or are not looked for
    # a CSV `image_id,label` of labels corrected for training alone, an empty label: not trained on; or `none`. Held-out
    # images are scored by the organiser's labels all the same: see [Workbench](workbench.md#corrections)
    corrections: str = "none"
    encoding: str = "auto"  # of tables that are not UTF-8 or UTF-16: `cp949`, …, or `a.csv=cp949, b.csv=gb18030`
    header: str | tuple[str, ...] = "auto"  # the columns' names, for tables without a header or with one name twice
    # height x width of an image that is a row of a table, such as `28x28`; `32x32x3`: the three colours of a pixel side
    # by side; `3x32x32`: one colour after the other
    pixels: str = "auto"
    train_table: str = "auto"  # a file, or several with ` + ` between; `none`: labels come from folders or file names
    test_table: str = "auto"  # a file in the archive, or `none`: the rows of the sample submission are all
    sample: str = "auto"  # the sample submission: a file in the archive, or `none`
    id_column: str = "auto"  # column of the train table
    # a column, a list of 0/1 columns, `folder`, `folder 2` (the second level), `folders` (their path), or a pattern for
    # file names: `'^(?P<label>[a-z]+)_'`
    label: str | tuple[str, ...] = "auto"
    # between the labels of a cell, or `none`; `python`, `json`, `brackets` (`[a, b]`), `spaced` (`[a b]`)
    delimiter: str = "auto"
    train_images: str = "auto"  # template such as `train/{id}.jpg`; of labels in folders or file names: the root folder
    test_images: str = "auto"  # the same for test images; without a sample and a test table: their folder, `.` for all
    # `auto` takes grades 0 to K for ordinal where the column is called so (`diagnosis`, `level`, …)
    target: str = one_of("auto", "single_label", "binary", "multi_label", "ordinal", default="auto")
    # all labels in order, `[none, mild, severe]`, where they are grades and words; `auto`: by number, or a file says it
    grades: str | tuple[str, ...] = "auto"
    positive: str = "auto"  # the class whose probability a score is
    # what is written: one of the [formats](formats.md)
    submission: str = one_of("auto", "label", "score", "columns", "list", "ranked", "long", default="auto")
    metric: str = "auto"  # a [metric](formats.md#metrics), or your own: `module:function`
    spelling: str = "auto"  # of labels in the submission: `'{label}'`, a rule such as `'{label.number:02d}'`, or a file


@dataclass(frozen=True, kw_only=True)
class ImagesParams:
    """Section `images`: how each image becomes one (S, S, 3) uint8 array."""

    side: int | str = between(8, 4096)  # S in pixels; `auto`: the median shorter side, held within 8 to 128
    # how it becomes a square: `squash` gives up the aspect ratio, `crop` takes the centre, `pad` adds black borders
    fit: str = one_of("squash", "crop", "pad")

    def __post_init__(self) -> None:
        if isinstance(self.side, str) and self.side != "auto":
            raise ValueError(f"images.side is {self.side!r}; allowed: auto, or 8 to 4096 pixels")


@dataclass(frozen=True, kw_only=True)
class SplitParams:
    """Section `split`: how training images are dealt into folds. The columns are the organiser's; `none` is off.

    `time` is blocked cross-validation: a fold is a block of time, held out once by a model that saw the blocks before
    and after it, so that every image still gets exactly one out-of-fold prediction.
    """

    num_folds: int = between(2, 1000)  # as many as `folds` names: an override there must not make split stale
    seed: int = between(0, 2**32 - 1)  # of the deal
    # images with the same value here share a fold (patient, place, sequence, …): a column, or `file_name_prefix`
    group: str = "none"
    time: str = "none"  # column by which folds are blocks of time: numbers, ISO dates, or dates of one other format
    # how year, month and day follow each other in dates that are no ISO dates (05/12/2021, 05122021), or that such
    # digits are numbers; `auto`: found where one order fits, else asked
    date_order: str = one_of("auto", "ymd", "dmy", "mdy", "number", default="auto")
    # column of your own folds: its distinct values in order are folds '0' to 'k-1'; not together with `group` or `time`
    fold_column: str = "none"
    # a class of fewer distinct images (with `group`: groups) than folds stops `split`, or is dealt as far as it goes; a
    # warning then names the folds without it
    small_classes: str = one_of("stop", "allow", default="stop")

    def __post_init__(self) -> None:
        for key in ("group", "time"):
            column = getattr(self, key)
            if self.fold_column != "none" and column != "none":
                raise ValueError(
                    f"split.fold_column is {self.fold_column!r} and split.{key} is {column!r}: a fold column already "
                    "says which image lies where; set one of the two to none"
                )


@dataclass(frozen=True, kw_only=True)
class ModelParams:
    """Section `model`: the network."""

    name: str  # `resnet9`, `airbench`, or any model of timm
    # of resnet9 and airbench: channels after the first trained convolution; time grows with about its square
    width: int = between(8, 128)
    # further keyword arguments for `timm.create_model`, such as `[drop_rate=0.2, img_size=96]`: texts, as the keys
    # of a mapping may be ones that DVC leaves out. A value is read as YAML; one with `{`, `[` or a comma needs quotes
    options: tuple[str, ...]
    # of timm's networks: pretrained weights to begin with: `none`; `hub` (timm's own, from the Hugging Face cache or
    # downloaded); a file (.safetensors, .pth, .pth.tar, .pt, .ckpt, .bin, .npz), or a folder that holds one with its
    # config.json
    weights: str = "none"
    # the mean and standard deviation of the images that the weights were trained with: `auto`, from the config beside
    # them; `imagenet`; `half` (both 0.5); or six numbers from 0 to 1, the means of red, green, blue and the deviations
    normalisation: str = "auto"
    # with weights: the network stays as it is, and each fold fits a linear classifier to its features; of `train` then
    # only `tta`, `loss`, `focal_gamma` and `class_weights` count, and of `augment` nothing
    frozen: bool = False
    # with weights: the classifier begins as the linear one fitted to the features, and all of the network is trained
    # (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features")
    head_first: bool = False
    # of timm's networks: a step keeps less in memory and computes activations twice, about a third slower
    checkpointing: bool = False
    # of resnet9 and airbench: a first layer computed from the training images and frozen, which makes the principal
    # directions of their 2x2 patches equally strong (Page 2019; Jordan 2024)
    whitening: bool = False
    activation: str = one_of("relu", "gelu", "silu", "celu", default="relu")  # of these two; celu with alpha 0.3
    # of resnet9 and airbench: `dirac` convolutions begin by passing their channels on (Jordan 2024)
    init: str = one_of("default", "dirac", default="default")
    # of resnet9 and airbench: `fixed` keeps the batch norms' scales at 1 and trains their shifts alone (Page 2019)
    norm_scale: str = one_of("trained", "fixed", default="trained")
    # of resnet9 and airbench: `max`, one vector of an image's strongest features; `csra` scores every place for every
    # class and adds the mean and the highest (Zhu and Wu 2021), for several labels an image
    pooling: str = one_of("max", "csra", default="max")

    def __post_init__(self) -> None:
        if len(self.keywords) < len(self.options):
            raise ValueError(f"model.options is {list(self.options)}: a key is there twice; delete one")

    @property
    def network_options(self) -> dict[str, Any]:
        """What the network takes beside its number of classes. Raises ValueError for what it does not have."""
        for key in ("frozen", "head_first"):
            if getattr(self, key) and self.weights == "none":
                raise ValueError(f"model.{key} is true, but model.weights is none; name weights, or set {key} to false")
        if self.frozen and self.head_first:
            raise ValueError(
                "model.frozen and model.head_first are both true: a network stays as it is, or training of it begins "
                "with the classifier; set one of them to false"
            )
        if self.checkpointing and self.name in OWN_NETWORKS:
            raise ValueError(f"model.checkpointing is true, which is for timm's networks, not for {self.name}")
        ours = ("whitening", "activation", "init", "norm_scale", "pooling")
        defaults = {item.name: item.default for item in dataclasses.fields(self)}
        asked = [key for key in ours if getattr(self, key) != defaults[key]]
        if self.name not in OWN_NETWORKS:
            if asked:
                raise ValueError(f"model.{asked[0]} is for {' and '.join(OWN_NETWORKS)} only, not for {self.name}")
            given = [key for key in self.keywords if key in NOT_OPTIONS]
            if given:
                raise ValueError(
                    f"model.options has {given[0]}, which is not an option here: classes and channels are the "
                    "competition's, weights are model.weights; take it out"
                )
            return self.keywords
        if self.weights != "none":
            raise ValueError(
                f"model.weights is {self.weights}, but {self.name} has no pretrained weights; set it to none"
            )
        if self.options:
            raise ValueError(
                f"model.options is {self.keywords}, but {self.name} takes none; set it to [] (its width is model.width)"
            )
        return {key: getattr(self, key) for key in ("width", *ours)}

    @property
    def keywords(self) -> dict[str, Any]:
        """Further keyword arguments for timm.create_model; each value is read as YAML."""
        found = {}
        for option in self.options:
            key, equals, value = option.partition("=")
            try:
                found[key.strip()] = read_yaml(value)
            except ValueError as error:
                raise ValueError(f"model.options: {option!r}: its value is not valid YAML: {error}") from error
            if not equals or not key.strip().isidentifier():
                raise ValueError(f"model.options has {option!r}; allowed: texts such as drop_rate=0.2")
        return found


@dataclass(frozen=True, kw_only=True)
class AugmentParams:
    """Section `augment`: what happens to a training image on its way into a batch."""

    crop_padding: int = between(0, 64)  # pixels on each side before a random crop of side S; 0 = off
    crop_fill: str = one_of("reflect", "zeros")  # what the padding holds
    # least share of the area in a random crop that is scaled to side S, its sides in a ratio of up to 4:3 (Szegedy
    # 2015; torchvision's and timm's RandomResizedCrop): things are seen at many sizes; 0 = off
    crop_scale: float = between(0.0, 1.0, default=0.0)
    # mirror left-right: true, half of the time; `alternating`, each image in every other epoch (Jordan 2024).
    # `dihedral`: upside down and by quarter turns too, all eight ways in any eight epochs, for images that have no top
    flip: bool | str
    cutout: int = between(0, 4096)  # side of a blanked square in pixels; 0 = off
    policy: str = one_of("none", "autoaugment", "trivialaugment")  # drawn for each image; AutoAugment's is CIFAR-10's
    # alpha of Beta(alpha, alpha), from which a batch draws the share of its own images (Zhang 2018); the rest is
    # another image of the batch, labels in the same shares. Training accuracy then is against the larger share; 0 = off
    mixup: float = between(0.0, 100.0, default=0.0)
    cutmix: float = between(0.0, 100.0, default=0.0)  # the same (Yun 2019); with both on, one of them for each batch

    def __post_init__(self) -> None:
        if isinstance(self.flip, str) and self.flip not in {ALTERNATING, DIHEDRAL}:
            raise ValueError(f"augment.flip is {self.flip!r}; allowed: true, false, {ALTERNATING}, {DIHEDRAL}")


@dataclass(frozen=True, kw_only=True)
class TrainParams:
    """Section `train`: how a fold is trained. A fold's own mapping under `folds` may override any of these."""

    seed: int = between(0, 2**32 - 1)  # with fold and epoch, the source of every random number
    # networks that a fold trains, one after the other, with `seed`, `seed` + 1, …: the mean of their probabilities is
    # what is predicted, held out and test alike
    seeds: int = between(1, 100, default=1)
    epochs: int = between(1, 100_000)  # passes over the training images
    batch_size: int = between(2, 65_536)  # batches are as even as they can be, none larger, no image left out
    optimizer: str  # `sgd` (Nesterov), `adamw`, `muon` or any name timm knows; `lookahead_sgd`, …: within Lookahead
    peak_lr: float = between(1e-9, 1e3)  # at the top of the one-cycle triangle, for a batch of `batch_size`
    momentum: float = between(0.0, 0.9999)  # of sgd
    weight_decay: float = between(0.0, 10.0)  # of weights; biases and norms are left alone
    warmup: float = between(0.0, 0.9)  # share of the steps in which the learning rate rises
    label_smoothing: float = between(0.0, 0.9)  # in training only
    ema_decay: float = between(0.0, 0.99999)  # of the averaged weights that are kept; 0 = off
    # views of an image whose mean probability is predicted, held out and test alike: `mirror` adds the mirror image,
    # `mirror_shift` also both moved by a pixel up and left, and down and right (2 and 6 passes), `shift` this without
    # mirror images (3); `dihedral`: the image turned by quarters, and the mirror images of these (8)
    tta: str = one_of("none", "mirror", "shift", "mirror_shift", "dihedral")
    valid_every: int = between(1, 100_000)  # epochs between looks at the held-out images; the last is always one
    # longer gradients are scaled down to this L2 norm, and the history has the norms as they were; 0 = off
    clip_norm: float = between(0.0, 1e6, default=0.0)
    # a batch that does not fit into memory is computed in 2, 4, … parts, with the gradient of the whole to rounding
    # (but batch norm sees the parts alone), instead of stopping the fold with the size that fits
    fit_memory: bool = False
    # images begin at this side in pixels and grow in steps of 4 to their own, which the last third of the epochs has
    # (progressive resizing, Howard 2018); 0 = off
    start_side: int = between(0, 4096, default=0)
    # rate of each block of a timm network as a multiple of that of the block behind it, with sgd and adamw: early
    # layers of a network with weights move less (Howard and Ruder 2018); 1 = off
    layer_decay: float = between(0.1, 1.0, default=1.0)
    # batch norms keep the statistics that the weights came with, as small batches cannot give better ones
    freeze_norms: bool = False
    # rate of the batch norms' shifts as a multiple of the others' (Page 2019), with sgd, adamw and muon
    bias_lr: float = between(1e-3, 1e3, default=1.0)
    # `auto`: cross-entropy; of several labels binary cross-entropy; of grades the continuation ratio. `focal` (Lin
    # 2017; not of grades): what is answered well already counts less. `asymmetric` (Ridnik 2021; several labels): so
    # of absent labels alone. `cumulative` (McCullagh 1980; grades): by thresholds on a score
    loss: str = one_of("auto", "focal", "asymmetric", "cumulative", default="auto")
    focal_gamma: float = between(0.0, 10.0, default=2.0)  # of `focal`; with 0 it is `auto`
    # of the loss, in training only: an image counts by its class, on average 1. `balanced`: every class as much as any
    # other; `sqrt`: as the root of its images. Of several labels: so for those with and those without each label
    class_weights: str = one_of("none", "balanced", "sqrt", default="none")
    # the same by drawing images of rare classes more often and others less, anew in each epoch, which has as many
    # images as before; an image of several labels as its rarest one asks. `class_weights` make up for what is left
    sampling: str = one_of("none", "balanced", "sqrt", default="none")


@dataclass(frozen=True, kw_only=True)
class PseudoParams:
    """Section `pseudo`: test images that a fold learns from: see [Recipes](recipes.md#pseudo-labels)."""

    # `teach` first trains a network as the fold asks, and the test images of which its highest probability (of several
    # labels: each label's, or that of its absence) is at least this join the fold's training images, with the teacher's
    # probabilities as labels; 0 = off. It doubles the time and more
    confidence: float = between(0.0, 1.0, default=0.0)


@dataclass(frozen=True, kw_only=True)
class ComputeParams:
    """Section `compute`: where, and in what precision."""

    device: str  # `auto` (CUDA, else MPS, else the CPU), `cpu`, `cuda`, `cuda:1`, `mps`
    # `auto`: bf16 where the hardware multiplies it (CUDA 8.0 up; CPUs with AVX512_BF16 or AMX, for timm models from
    # 32 px on), fp16 on older GPUs that are fast at it (T4, V100, P100), else `tf32`: float32, in which CUDA may
    # multiply as TF32; `fp32` is float32 throughout. `fp16` scales the loss; on a CPU it takes many times as long
    precision: str = one_of("auto", "bf16", "fp16", "tf32", "fp32")
    # the network by `torch.compile`, anew in each stage; weights, names and resuming stay as they are
    compile: bool = False
    # processes that train a fold together, each with its share of every batch: on CUDA a device each, on the CPU a
    # share of the threads; see [Ranks](ranks.md). A result's last bits depend on their number. Frozen networks,
    # features and `infer` compute on one device all the same
    ranks: int = between(1, 1024, default=1)


@dataclass(frozen=True, kw_only=True)
class InferParams:
    """Section `infer`: how the test set is predicted. What changes predictions lies in the model card instead."""

    batch_size: int = between(1, 65_536)  # of test images; results do not depend on it
    device: str = SAME  # `same`: as section `compute` says for training
    precision: str = one_of(SAME, "auto", "bf16", "fp16", "tf32", "fp32", default=SAME)  # likewise
    compile: bool | str = SAME  # likewise: `same`, true or false

    def __post_init__(self) -> None:
        if isinstance(self.compile, str) and self.compile != SAME:
            raise ValueError(f"infer.compile is {self.compile!r}; allowed: {SAME}, true, false")

    def compute(self, trained: ComputeParams) -> ComputeParams:
        """Where and how to predict: as `trained`, but for what is said here."""
        said = {name: getattr(self, name) for name in ("device", "precision", "compile")}
        return dataclasses.replace(trained, **{name: value for name, value in said.items() if value != SAME})


@dataclass(frozen=True, kw_only=True)
class BlendParams:
    """Section `blend`: past runs whose probabilities join this one's: see [Blend](blend.md)."""

    # names of members in `data/members`, which `python -m pipeline blend add` writes here; none: this run alone
    members: tuple[str, ...] = ()
    # `auto`: the mean of probabilities, unless weights or ranks gain more than their gain's standard error
    how: str = one_of("auto", "mean", "rank", "weights", default="auto")

    def __post_init__(self) -> None:
        odd = [name for name in self.members if not re.fullmatch(MEMBER_NAME, name)]
        if odd or len(set(self.members)) < len(self.members):
            raise ValueError(
                f"blend.members is {list(self.members)}; allowed: each name once, of letters, digits, - and _"
            )


Section = typing.TypeVar(
    "Section",
    CompetitionParams,
    ImagesParams,
    SplitParams,
    ModelParams,
    AugmentParams,
    TrainParams,
    PseudoParams,
    ComputeParams,
    InferParams,
    BlendParams,
)


SECTIONS: dict[str, Any] = {
    "competition": CompetitionParams, "images": ImagesParams, "split": SplitParams, "model": ModelParams,
    "augment": AugmentParams, "train": TrainParams, "pseudo": PseudoParams, "compute": ComputeParams,
    "infer": InferParams, "blend": BlendParams,
}  # fmt: skip


# what params.yaml ships with for keys that have no default, and where it is another than the default
SHIPPED: dict[str, dict[str, Any]] = {
    "images": {"side": "auto", "fit": "squash"},
    "split": {"num_folds": 5, "seed": 0},
    "model": {"name": "resnet9", "width": 16, "options": []},
    "augment": {"crop_padding": 1, "crop_fill": "zeros", "flip": False, "cutout": 0, "policy": "none"},
    "train": {
        "seed": 0, "epochs": 8, "batch_size": 64, "optimizer": "sgd", "peak_lr": 0.1, "momentum": 0.9,
        "weight_decay": 0.0005, "warmup": 0.2, "label_smoothing": 0.1, "ema_decay": 0.0, "tta": "none",
        "valid_every": 4,
    },
    "compute": {"device": "auto", "precision": "auto"},
    "infer": {"batch_size": 512},
}  # fmt: skip


def check_params(path: Path) -> None:
    """Raise ValueError for the first thing that is wrong in any section.

    A stage reads only its own sections, and only if it runs: DVC takes `true` for 1, and what it holds for unchanged
    is not run.
    """
    for name, section in SECTIONS.items():
        load_section(path, name, section)
    for fold in load_folds(path):
        load_train(path, fold)


def load_params(path: Path) -> dict[str, Any]:
    """The whole of params.yaml, unchecked but for being a mapping without a key that is there twice."""
    try:
        found = copy.deepcopy(_parsed(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds {type(found).__name__}, must be a mapping of sections")
    for name in found:
        section, dot, key = str(name).partition(".")
        if dot and section in found:
            raise ValueError(f"{path}: {name} stands beside section `{section}`; write it inside, as `{key}: …`")
    return found


_parsed = functools.lru_cache(maxsize=2)(read_yaml)  # a stage reads several sections, and each reading takes 30 ms


def load_section(path: Path, name: str, section: type[Section]) -> Section:
    """Section `name` of the params file at `path`."""
    params = load_params(path)
    if name not in params:
        optional = all(item.default is not dataclasses.MISSING for item in dataclasses.fields(section))
        remedy = f"; write `{name}: {{}}` for the defaults" if optional else ""
        raise ValueError(f"{path} has no section `{name}`; found {sorted(map(str, params))}{remedy}")
    try:
        return parse_section(params[name], name, section)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def is_about(raw: Path, params: Path) -> bool:
    """Whether the params file names the competition at `raw`."""
    return Path(load_section(params, "competition", CompetitionParams).raw).resolve() == raw.resolve()


def load_train(path: Path, fold: str) -> TrainParams:
    """Section `train` with the overrides that `folds` gives for this fold."""
    params = load_params(path)
    overrides = fold_names(params, path)[fold]
    where = f"folds.{fold}"
    try:
        base = parse_section(params.get("train"), "train", TrainParams)
        _refuse_unknown(overrides, where, TrainParams)
        return parse_section(dataclasses.asdict(base) | overrides, where, TrainParams)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def load_folds(path: Path) -> list[str]:
    """The folds that params.yaml names, in order: '0' to 'k-1', at least two, as many as split.num_folds."""
    folds = sorted(fold_names(load_params(path), path), key=int)
    num_folds = load_section(path, "split", SplitParams).num_folds
    if len(folds) != num_folds:
        raise ValueError(
            f"{path}: folds names {len(folds)} folds ('0' to '{len(folds) - 1}'), split.num_folds is {num_folds}; "
            "change the one that is not meant"
        )
    return folds


def fold_names(params: dict[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """`folds` checked: quoted keys '0' to 'k-1', each with a mapping of overrides (may be empty).

    DVC makes stages from this mapping and silently makes none from unquoted keys (DVC 3.67.1).
    """
    folds = params.get("folds")
    if not isinstance(folds, dict):
        raise ValueError(f"{path}: folds is {folds!r}; must be a mapping such as {{'0': {{}}, '1': {{}}}}")
    unquoted = [key for key in folds if not isinstance(key, str)]
    if unquoted:
        raise ValueError(
            f"{path}: {len(unquoted)} of {len(folds)} fold keys are not quoted, first {unquoted[:3]}; "
            f"write '{unquoted[0]}': {{}} with the quotes, or DVC makes no stage for them"
        )
    expected = [str(fold) for fold in range(len(folds))]
    if len(folds) < 2 or sorted(folds) != sorted(expected):
        wanted = "at least '0' and '1'" if len(folds) < 2 else f"'0' to '{len(folds) - 1}' without gaps"
        raise ValueError(f"{path}: folds has the keys {sorted(folds)}; must be {wanted}")
    for fold, overrides in folds.items():
        if not isinstance(overrides, dict):
            raise ValueError(f"{path}: folds.{fold} is {overrides!r}; must be a mapping, {{}} for no overrides")
    return folds


def parse_section(found: Any, where: str, section: type[Section]) -> Section:
    """`found`, as YAML gave it, as a `section`; `where` is its name in messages."""
    if not isinstance(found, dict):
        raise ValueError(f"{where} is {found!r}; must be a mapping with the keys {_keys(section)}")
    _refuse_unknown(found, where, section)
    needed = [item.name for item in dataclasses.fields(section) if item.default is dataclasses.MISSING]
    missing = [key for key in needed if key not in found]
    if missing:
        raise ValueError(f"{where} lacks {missing[0]}; allowed: {allowed(section, missing[0])}")
    checked = {key: _checked(found[key], f"{where}.{key}", section, key) for key in _keys(section) if key in found}
    return section(**checked)


def _keys(section: type) -> list[str]:
    return [item.name for item in dataclasses.fields(section)]


def _refuse_unknown(found: dict[str, Any], where: str, section: type) -> None:
    for key in found:
        if f"{where}.{key}" in RENAMED:
            raise ValueError(f"{where}.{key} is called {where}.{RENAMED[f'{where}.{key}']} now; rename the key")
        if key not in _keys(section):
            close = difflib.get_close_matches(str(key), _keys(section), n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise ValueError(f"{where}.{key} (= {found[key]!r}) is not known; {hint}allowed: {_keys(section)}")


def allowed(section: type, key: str) -> str:
    """The values that a key of this section may have, in words."""
    item = next(item for item in dataclasses.fields(section) if item.name == key)
    if "choices" in item.metadata:
        return ", ".join(item.metadata["choices"])
    names: dict[type, str] = {
        int: "an integer", float: "a number", bool: "true or false", str: "a string", tuple: "a list of strings",
        dict: "a mapping",
    }  # fmt: skip
    if "low" in item.metadata:
        bounds = f" from {item.metadata['low']} to {item.metadata['high']}"
        names |= {int: names[int] + bounds, float: names[float] + bounds}
    return " or ".join(names[kind] for kind in _kinds(section, key))


@functools.cache
def _kinds(section: type, key: str) -> tuple[type, ...]:
    """The plain types that a key's value may have."""
    hint = typing.get_type_hints(section)[key]
    hints = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return tuple(typing.get_origin(part) or part for part in hints)


def _checked(value: Any, where: str, section: type, key: str) -> Any:
    item = next(item for item in dataclasses.fields(section) if item.name == key)
    kinds = _kinds(section, key)
    wrong = ValueError(f"{where} is {value!r}; allowed: {allowed(section, key)}{_hint(value, kinds)}")

    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        value = _as_float(value, wrong)
    if tuple in kinds and isinstance(value, list):
        value = tuple(value)
        if not all(isinstance(part, str) for part in value):
            raise wrong

    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise wrong
    if "choices" in item.metadata and value not in item.metadata["choices"]:
        raise wrong
    numeric = isinstance(value, int | float) and "low" in item.metadata
    if numeric and not item.metadata["low"] <= value <= item.metadata["high"]:
        raise wrong
    return value


def _hint(value: Any, kinds: tuple[type, ...]) -> str:
    """What to do where YAML took a text for something else, or a mapping stands where one stood before."""
    if isinstance(value, dict) and tuple in kinds:
        return f"; write {json.dumps([f'{key}={json.dumps(part, default=str)}' for key, part in value.items()])}"
    if str in kinds and not isinstance(value, str | list | dict):
        return "; a text that looks like a number, a date, true or null must be in quotes"
    return ""


def _as_float(value: int, wrong: ValueError) -> float:
    try:
        return float(value)
    except OverflowError:
        raise wrong from None
