"""Pretrained weights from a file or a folder, checked against a network of timm's tensor by tensor.

Nothing here runs code from a file: safetensors, torch's unpickler for tensors alone, numpy without pickle.
"""

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.base import console
from pipeline.base.files import read_json, refuse_altered, sha256_of, write_bytes, write_json
from pipeline.models.weights_card import HUB, NONE, WeightsCard

SUFFIXES = (".safetensors", ".pth", ".pth.tar", ".pt", ".ckpt", ".bin", ".npz")
NAMED = ("model.safetensors", "pytorch_model.bin")  # of timm's and Hugging Face's folders, the first preferred
CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
NESTS = ("state_dict_ema", "model_ema", "ema", "state_dict", "model")  # what training scripts keep weights under
PREFIXES = ("module.", "model.", "backbone.", "timm_model.")  # of wrappers: DDP, Lightning, encoders, transformers
HEADS = ("head", "head_dist", "fc", "classifier", "last_linear")  # where files have a classifier that is not used
COUNTERS = ("num_batches_tracked",)  # of batch norms; some files lack them, and nothing but a momentum of None asks
LFS_POINTER = b"version https://git-lfs"  # the first bytes of what git leaves where its LFS is not installed
RESCALE_TOLERANCE = 0.01
NUM_SHOWN = 3
Constants = tuple[tuple[float, ...], tuple[float, ...]]
NORMALISATIONS: dict[str, Constants] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


@dataclass(frozen=True)
class Source:
    """A file of weights, and the JSON files beside it that describe it."""

    file: Path
    described: dict[Path, dict[str, Any]]

    @property
    def files(self) -> tuple[Path, ...]:
        """All that was read."""
        return (self.file, *self.described)


def find_source(named: str) -> Source:
    """The file that `model.weights` names, by itself or in its folder. Raises ValueError where it is not plain.

    It is described by the folder's config.json (timm's, or Hugging Face's with its preprocessor_config.json) where the
    folder is named or the file has the name such folders give it, else by the .json of its own name.
    """
    path = Path(named)
    if not path.exists():
        raise ValueError(
            f"model.weights is {named!r}, and there is no such file or folder; allowed: {NONE}, {HUB} (timm's own "
            "weights of model.name, from the Hugging Face cache or downloaded), or a path"
        )
    file = _file_of(path) if path.is_dir() else path
    if not file.name.endswith(SUFFIXES):
        raise ValueError(f"model.weights is {named}; allowed: files that end in {', '.join(SUFFIXES)}, and folders")
    of_folder = [file.with_name(CONFIG), file.with_name(PREPROCESSOR)]
    beside = of_folder if path.is_dir() or file.name in NAMED else [file.with_suffix(".json")]
    return Source(file, {found: _mapping(found) for found in beside if found.is_file()})


def _file_of(folder: Path) -> Path:
    for name in NAMED:
        if (folder / name).is_file():
            return folder / name
    found = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIXES) and path.is_file())
    if len(found) != 1:
        names = [path.name for path in found]
        raise ValueError(
            f"{folder} holds {len(found)} files of weights, {names[:NUM_SHOWN]}; name the one to take: model.weights: "
            f"{folder}/…"
            if found
            else f"{folder} holds no file of weights ({', '.join(SUFFIXES)}); an index of several shards is not read"
        )
    return found[0]


def _mapping(path: Path) -> dict[str, Any]:
    found = read_json(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds {type(found).__name__}, must be a mapping")
    return found


def read_tensors(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """(name -> tensor on the CPU, what was done to get at them). Raises ValueError, one line, for what cannot be read.

    .npz files are not read here: only networks know their layout.
    """
    with path.open("rb") as handle:
        start = handle.read(len(LFS_POINTER))
    _refuse_other_kind(path, start)
    try:
        if start[8:9] == b"{":  # safetensors, whatever its name: the header's length, and the header
            from safetensors.torch import load_file

            return load_file(path), []
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # many kinds; torch's advises to run the file's code
        reason = str(error).splitlines()[0] if str(error) else ""
        if "Weights only load failed" in reason or "weights_only" in reason:
            raise ValueError(
                f"{path} holds more than tensors, or is damaged; save the network's state_dict() alone, at best as "
                ".safetensors"
            ) from None
        raise ValueError(
            f"{path} cannot be read, it is damaged or cut short ({type(error).__name__}: {reason})"
        ) from None
    said = []
    while isinstance(found, Mapping):
        nest = next((name for name in NESTS if isinstance(found.get(name), Mapping)), None)
        if nest is None:
            break
        found = found[nest]
        said.append(f"took {nest!r}")
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} holds {type(found).__name__}, must be a mapping of tensors by name")
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f"{path} holds no tensors, only {list(found)[:NUM_SHOWN]}; allowed nests: {list(NESTS)}")
    return tensors, said


def _refuse_other_kind(path: Path, start: bytes) -> None:
    """Raise ValueError for what downloads leave in the place of weights; start: the file's first bytes."""
    if not start:
        raise ValueError(f"{path} is empty; download it again")
    if start == LFS_POINTER:
        raise ValueError(f"{path} is git-LFS's pointer to the weights, not the weights; run `git lfs pull` there")
    if start.lstrip().startswith(b"<"):
        raise ValueError(f"{path} is a web page, not weights; download it again, signed in where the site asks for it")


def backbone_of(network: nn.Module) -> dict[str, Tensor]:
    """All tensors of a timm network but its classifier's, by name."""
    heads = _classifiers(network)
    return {name: value for name, value in network.state_dict().items() if not _within(name, heads)}


def fit_backbone(tensors: dict[str, Tensor], network: nn.Module, name: str) -> tuple[dict[str, Tensor], list[str]]:
    """(the tensors of the network's backbone, float32, what was done to get them) out of a file's.

    name: the network's, as timm knows it. Prefixes of wrappers are stripped, and timm's own conversion of the
    architecture is used, only where that makes more tensors fit. The classifier is always left out. Raises ValueError
    unless all of the backbone is there, in the right shapes and finite, and nothing of another backbone.
    """
    due, heads = backbone_of(network), _classifiers(network)
    found, said = _best_reading(tensors, network, name)
    missing = [key for key in due if key not in found and not key.endswith(COUNTERS)]
    wrong = [key for key in due if key in found and found[key].shape != due[key].shape]
    strange = [key for key in found if key not in due and not _is_spare(key, heads)]
    if missing or wrong or strange:
        raise ValueError(_misfit(name, due, found, missing, wrong, strange))
    odd = [key for key, value in due.items() if not _is_plain(found.get(key, value), value)]
    if odd:
        raise ValueError(
            f"{len(odd)} tensors are quantised, sparse or no real numbers, first {odd[0]} ({found[odd[0]].dtype} for "
            f"{due[odd[0]].dtype}); take the weights as they were trained"
        )
    taken = {key: found.get(key, value).detach().to(value.dtype, copy=True) for key, value in due.items()}
    spoilt = [key for key, value in taken.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if spoilt:
        raise ValueError(f"{len(spoilt)} tensors hold NaN or inf, first {spoilt[:NUM_SHOWN]}; take another file")
    return taken, [*said, f"{len(taken)} of {len(due)} backbone tensors, head new"]


def _best_reading(tensors: dict[str, Tensor], network: nn.Module, name: str) -> tuple[dict[str, Tensor], list[str]]:
    """The one in which most of the backbone fits, and of these one with the least that is not of the network."""
    due, heads = backbone_of(network), _classifiers(network)

    def fitting(reading: tuple[dict[str, Tensor], list[str]]) -> tuple[int, int]:
        strange = sum(key not in due and not _is_spare(key, heads) for key in reading[0])
        return _num_fitting(reading[0], due), -strange

    return max(_readings(tensors, network, name), key=fitting)


def _is_plain(found: Tensor, due: Tensor) -> bool:
    """Whether its numbers are the ones that `due` takes; counters may be of any type."""
    if found.layout is not torch.strided or found.is_quantized:
        return False
    return found.is_floating_point() or not (due.is_floating_point() or found.is_complex())


def _readings(
    tensors: dict[str, Tensor], network: nn.Module, name: str
) -> Iterator[tuple[dict[str, Tensor], list[str]]]:
    """The tensors as they are, and with prefixes stripped one after the other; each also by timm's conversion."""
    convert = _conversion(name)
    found, said = tensors, list[str]()
    while True:
        yield found, said
        if convert is not None:
            converted = _converted(convert, found, network)
            if converted is not None:
                resized = [key for key in converted.keys() & found.keys() if converted[key].shape != found[key].shape]
                how = [f"timm fitted {len(resized)} tensors to this size, first {resized[0]}"] if resized else []
                yield converted, [*said, f"converted as timm does for {name}", *how]
        prefix = next((part for part in PREFIXES if any(key.startswith(part) for key in found)), None)
        if prefix is None:
            return
        stripped = {key.removeprefix(prefix): value for key, value in found.items()}
        if len(stripped) < len(found):  # two networks' tensors under one name
            return
        found = stripped
        said = [*said, f"stripped {prefix!r}"]


def _conversion(name: str) -> Callable[..., Any] | None:
    """timm's function that brings other layouts of an architecture's weights into its own."""
    from timm.models import model_entrypoint

    module = importlib.import_module(model_entrypoint(name).__module__)
    return getattr(module, "checkpoint_filter_fn", None)


def _converted(convert: Callable[..., Any], tensors: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor] | None:
    try:
        by_name = len(inspect.signature(convert).parameters) > 1
        found = convert(dict(tensors), network) if by_name else convert(dict(tensors))
    except Exception:  # it was written for other names: this reading is none
        return None
    return {key: value for key, value in found.items() if isinstance(value, Tensor)} or None


def _num_fitting(found: Mapping[str, Tensor], due: Mapping[str, Tensor]) -> int:
    return sum(key in found and found[key].shape == value.shape for key, value in due.items())


def _classifiers(network: nn.Module) -> tuple[str, ...]:
    """The names of the network's classifier modules, by timm's interface."""
    found = network.get_classifier() if hasattr(network, "get_classifier") else ()  # type: ignore[operator]
    heads = [*(found if isinstance(found, tuple | list) else [found]), *_auxiliary(network)]
    return tuple(name for name, module in network.named_modules() if name and any(module is head for head in heads))


def _auxiliary(network: nn.Module) -> list[nn.Module]:
    """VOLO's classifier of patches, of as many classes as the other."""
    return [module for name, module in network.named_modules() if name == "aux_head"]


def _within(name: str, modules: tuple[str, ...]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)


def _is_spare(name: str, heads: tuple[str, ...]) -> bool:
    return name.endswith(COUNTERS) or name.split(".")[0] in HEADS or _within(name, heads)


def _misfit(
    name: str, due: Mapping[str, Tensor], found: Mapping[str, Tensor], missing: list[str], wrong: list[str],
    strange: list[str],
) -> str:  # fmt: skip
    fitting = _num_fitting(found, due)
    parts = [f"{fitting} of {len(due)} backbone tensors of {name} are in the file"]
    if missing:
        parts.append(f"missing {len(missing)}, first {missing[:NUM_SHOWN]}")
    if strange:
        parts.append(f"not of {name} {len(strange)}, first {strange[:NUM_SHOWN]}")
    if wrong:
        shapes = [f"{key} {tuple(found[key].shape)} for {tuple(due[key].shape)}" for key in wrong[:NUM_SHOWN]]
        parts.append(f"of another shape {len(wrong)}, first {', '.join(shapes)}")
    return (
        f"{'; '.join(parts)}: these are weights of another architecture, or under other names; set model.name (and "
        "model.options, such as img_size) to what they were trained as"
    )


def read_npz(path: Path, network: nn.Module, name: str) -> dict[str, Tensor]:
    """The backbone out of a file in JAX's layout, as timm reads it for this network. Raises ValueError.

    The network's weights are NaN before: what the file leaves out shows.
    """
    if not hasattr(network, "load_pretrained"):
        raise ValueError(f"{path}: timm reads .npz files for some networks only, not for {name}; convert it")
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(float("nan"))
    try:
        with np.load(path, allow_pickle=False):
            pass
        network.load_pretrained(str(path))  # type: ignore[operator]
    except Exception as error:
        raise ValueError(f"{path} does not fit {name} ({type(error).__name__}: {str(error).splitlines()[0]})") from None
    return network.state_dict()


def _read(path: Path, network: nn.Module, name: str) -> tuple[dict[str, Tensor], list[str]]:
    """As `read_tensors`, .npz files too."""
    return (read_npz(path, network, name), []) if path.suffix == ".npz" else read_tensors(path)


def constants_of(
    source: Source | None, name: str, normalisation: str, config: Mapping[str, Any]
) -> tuple[Constants, str]:
    """((mean, std), where they come from) of the images that the weights expect.

    normalisation: of params.yaml; config: timm's, of the hub's weights, or of a name with a tag (empty else). Raises
    ValueError where nothing says it: the same architecture's weights come with different ones.
    """
    if normalisation != "auto":
        return _named_constants(normalisation), f"model.normalisation: {normalisation}"
    for path, found in source.described.items() if source else ():
        own = found.get("pretrained_cfg", found)
        for keys in (("mean", "std"), ("image_mean", "image_std")):
            if isinstance(own, Mapping) and all(own.get(key) is not None for key in keys):
                _refuse_other_scale(own, path)
                try:
                    mean, std = (tuple(map(float, own[key])) for key in keys)
                except (TypeError, ValueError):
                    raise ValueError(
                        f"{path}: {keys[0]} is {own[keys[0]]!r}, {keys[1]} {own[keys[1]]!r}, must be three numbers "
                        "each; set model.normalisation"
                    ) from None
                return _checked((mean, std), str(path)), str(path)
    if config:
        return (tuple(config["mean"]), tuple(config["std"])), f"timm's {config.get('architecture', name)}"
    raise ValueError(
        f"nothing beside {source.file if source else name} says how images were normalised for these weights (no "
        f"{CONFIG} with mean and std, and {name} names no tag such as .in1k); set model.normalisation to imagenet "
        "(mean 0.485 0.456 0.406), half (mean and deviation 0.5) or six numbers: 'mean mean mean std std std'"
    )


def _refuse_other_scale(described: Mapping[str, Any], path: Path) -> None:
    """Raise ValueError where Hugging Face's preprocessor does not do what its mean and deviation make believe."""
    usual = {"do_normalize": True, "do_rescale": True, "rescale_offset": False}
    odd = [f"{key} {described[key]}" for key, value in usual.items() if described.get(key, value) != value]
    factor = described.get("rescale_factor", 1 / 255)
    if not isinstance(factor, int | float) or abs(255 * factor - 1) > RESCALE_TOLERANCE:
        odd.append(f"rescale_factor {factor}")
    if odd:
        raise ValueError(
            f"{path} has {', '.join(odd)}, so its mean and deviation are not of pixels from 0 to 1; set "
            "model.normalisation to what the weights expect ('0 0 0 1 1 1': pixels from 0 to 1 as they are)"
        )


def _named_constants(text: str) -> Constants:
    if text in NORMALISATIONS:
        return NORMALISATIONS[text]
    try:
        numbers = tuple(map(float, text.split()))
    except ValueError:
        numbers = ()
    if len(numbers) != 6:
        raise ValueError(
            f"model.normalisation is {text!r}; allowed: auto, {', '.join(NORMALISATIONS)}, or six numbers, mean and "
            "standard deviation of red, green and blue from 0 to 1"
        )
    return _checked((numbers[:3], numbers[3:]), "model.normalisation")


def _checked(constants: Constants, where: str) -> Constants:
    mean, std = constants
    if len(mean) != 3 or len(std) != 3 or not all(0 <= part <= 1 for part in mean) or not all(0 < d <= 2 for d in std):
        raise ValueError(f"{where}: mean {mean} and deviation {std} are not of three channels from 0 to 1")
    return constants


def trained_as(source: Source) -> tuple[str, int]:
    """(timm's name of the network, side of its images in pixels) as said beside the weights; '' and 0 for not said."""
    names = [found["architecture"] for found in source.described.values() if "architecture" in found]
    return str(names[0]) if names else "", _side(_described(source))


def refuse_other_architecture(source: Source, name: str) -> None:
    """Raise ValueError where what lies beside the weights names another network than `name`."""
    for path, found in source.described.items():
        said = found.get("architecture", name)
        if not isinstance(said, str) or said.split(".")[0] != name.split(".")[0]:
            raise ValueError(
                f"{path} says that the weights are of {said}, model.name is {name}; set model.name to {said}"
            )


def resolve(
    name: str, options: dict[str, Any], named: str, normalisation: str, out: Path
) -> tuple[WeightsCard, tuple[Path, ...]]:
    """Write the backbone's tensors to `out` (safetensors); (their card, the files they were read from).

    name, options: of the timm network; named: `hub` or a path; normalisation: as params.yaml has it. Says what was
    done. Raises ValueError where the weights cannot be had, read or fitted, or nothing says what images they expect.
    """
    from safetensors.torch import save

    from pipeline.base.params import OWN_NETWORKS  # what reads YAML, a bundle does without
    from pipeline.models.timm_models import config_of, create_timm_model

    if name in OWN_NETWORKS:
        raise ValueError(f"model.weights is {named}, but {name} has no pretrained weights; set it to {NONE}")
    source = None
    if named == HUB:
        if Path(HUB).exists():
            raise ValueError(
                f"model.weights is {HUB}, timm's own weights, and there is a path {HUB}; write ./{HUB} or rename it"
            )
        network = create_timm_model(name, num_classes=None, hub=True, options=options)
        tensors, said = fit_backbone(network.state_dict(), network, name)
    else:
        source = find_source(named)
        refuse_other_architecture(source, name)
        network = create_timm_model(name, num_classes=None, options=options)
        try:
            found, said = _read(source.file, network, name)
            tensors, fitted = fit_backbone(found, network, name)
        except ValueError as error:
            where = "" if str(source.file) in str(error) else f"{source.file}: "
            raise ValueError(f"{where}{error}") from error
        said += fitted
    known = config_of(network) if named == HUB or "." in name else {}
    (mean, std), constants_from = constants_of(source, name, normalisation, known)
    config = _described(source) or known
    write_bytes(out, save({key: value.contiguous() for key, value in tensors.items()}))
    for line in said:
        console.say(f"{source.file if source else named}: {line}")
    console.say(f"images as the weights expect them: mean {mean}, deviation {std} ({constants_from})")
    files = source.files if source else ()
    card = WeightsCard(
        source=named, source_sha256=sha256_of(*files) if files else "", architecture=name, options=options,
        normalisation=normalisation, num_tensors=len(tensors),
        mean=mean, std=std, constants_from=constants_from, image_size=_side(config),
        interpolation=str(config.get("interpolation", "")), weights_sha256=sha256_of(out),
    )  # fmt: skip
    return card, files


def _described(source: Source | None) -> Mapping[str, Any]:
    """timm's own config of the weights, where one lies beside them."""
    found = [part.get("pretrained_cfg", part) for part in source.described.values()] if source else []
    return next((part for part in found if isinstance(part, Mapping) and "input_size" in part), {})


def _side(config: Mapping[str, Any]) -> int:
    size = config.get("input_size") or [0]
    return size[-1] if isinstance(size, list | tuple) and isinstance(size[-1], int) else 0


def import_weights(
    named: str, name: str, out: Path, *, in_order: bool, normalisation: str
) -> tuple[nn.Module, dict[str, Any], bool]:
    """Write `out`/model.safetensors and config.json in timm's layout; (the network, its config, whether all is read).

    named: a file or folder; name: timm's. in_order: the tensors one after the other, whatever they are called. The
    classifier goes along where all of it fits, and is random where it does not (False). Raises ValueError where `out`
    has such files already, and as `resolve`.
    """
    from safetensors.torch import save

    from pipeline.models.timm_models import config_of, create_timm_model

    there = [file for file in (NAMED[0], CONFIG) if (out / file).exists()]
    if there:
        raise ValueError(f"{out} holds {' and '.join(there)} already; name another folder")
    source, network = find_source(named), create_timm_model(name, num_classes=None, options={})
    refuse_other_architecture(source, name)
    (mean, std), _ = constants_of(source, name, normalisation, config_of(network) if "." in name else {})
    tensors, said = _read(source.file, network, name)
    if in_order:
        tensors = _renamed_in_order(tensors, network)
        said.append(f"took {len(tensors)} tensors in the file's order")
    backbone, fitted = fit_backbone(tensors, network, name)
    heads = _classifier_of(tensors, network, name)
    if not heads:
        network.reset_classifier(network.num_classes)  # type: ignore[operator]  # of .npz files it may be NaN
    network.load_state_dict(heads | backbone, strict=False)
    for line in [*said, *fitted, *(["its classifier as well"] if heads else [])]:
        console.say(f"{source.file}: {line}")
    known = {**config_of(network), **_described(source)}
    described = {key: value for key, value in known.items() if key in ("interpolation", "crop_pct")}
    size = [3, *known["input_size"][1:]]
    config: dict[str, Any] = {"architecture": name, "num_classes": network.num_classes}
    config["pretrained_cfg"] = described | {"input_size": size, "mean": list(mean), "std": list(std)}
    write_bytes(out / NAMED[0], save({key: value.contiguous() for key, value in network.state_dict().items()}))
    write_json(out / CONFIG, config)
    return network, config, bool(heads)


def _classifier_of(tensors: dict[str, Tensor], network: nn.Module, name: str) -> dict[str, Tensor]:
    """All of the network's classifier out of a file's tensors; nothing unless all of it is there, finite."""
    found, _ = _best_reading(tensors, network, name)
    due, classifiers = network.state_dict(), _classifiers(network)
    heads = {key: found.get(key) for key in due if _within(key, classifiers)}
    fits = all(
        value is not None and value.shape == due[key].shape and _is_plain(value, due[key])
        and bool(value.isfinite().all())
        for key, value in heads.items()
    )  # fmt: skip
    return {key: value for key, value in heads.items() if value is not None} if fits else {}


def _renamed_in_order(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    due = network.state_dict()
    pairs = list(zip(tensors.items(), due.items(), strict=False))
    odd = [(old, new) for (old, found), (new, value) in pairs if found.shape != value.shape]
    if len(tensors) != len(due) or odd:
        first = f", first {odd[0][0]} for {odd[0][1]}" if odd else ""
        raise ValueError(
            f"the file has {len(tensors)} tensors, the network {len(due)}; {len(odd)} in order differ in shape{first}"
        )
    return {new: found for (_, found), (new, _) in pairs}


def class_shares(network: nn.Module, config: Mapping[str, Any], picture: Path) -> np.ndarray:
    """(num_classes,) probabilities of one picture by the network's own classifier, squashed to the weights' size."""
    from PIL import Image

    known = config["pretrained_cfg"]
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB").resize(known["input_size"][:0:-1], Image.Resampling.BICUBIC))
    scaled = (pixels / 255.0 - np.array(known["mean"])) / np.array(known["std"])
    images = torch.from_numpy(scaled).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        return network.eval()(images).softmax(dim=1)[0].numpy()


def load_backbone(network: nn.Module, weights: Path, card: WeightsCard) -> None:
    """Put what stage `weights` wrote into a network of timm's, all but its classifier. Raises ValueError."""
    from safetensors.torch import load_file

    refuse_altered(weights, card.weights_sha256, stage="weights")
    tensors, due = load_file(weights), backbone_of(network)
    if set(tensors) != set(due):
        odd = sorted(set(tensors) ^ set(due))
        raise ValueError(f"{weights} does not fit the network, first {odd[:NUM_SHOWN]}; run `dvc repro -f -s weights`")
    network.load_state_dict(tensors, strict=False)
