"""The contenders of benchmarks/same_weights.py: each fine-tunes the same pretrained weights, at its own defaults.

A contender is a process of its own that reads `--images`/train/CLASS/ and `--images`/valid/CLASS/ and `--weights`, a
folder with config.json and model.safetensors in timm's layout, and ends with one line of JSON. CPU seconds are those
of training and predicting, imports included.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

EPOCHS = 8  # fastai has no default; as many as ours
CLASSIFIER = "classifier."  # of the weights' own classes


def main() -> None:
    """Fine-tune and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peer_loops.from_weights", description=__doc__)
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("--images", type=Path, required=True, help="folder with train/CLASS/ and valid/CLASS/")
    parser.add_argument("--weights", type=Path, required=True, help="folder with config.json and model.safetensors")
    parser.add_argument("--side", type=int, required=True, help="of fastai's images, pixels")
    args = parser.parse_args()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    config = json.loads((args.weights / "config.json").read_text())
    found = CONTENDERS[args.contender](args, config)
    print(f"\n{json.dumps(found | {'cpu_s': round(time.process_time(), 1)})}", flush=True)  # progress bars end no line


def _fastai(args: argparse.Namespace, config: dict[str, Any]) -> dict[str, Any]:
    """`vision_learner` of a timm network and `fine_tune`, as its documentation shows, batch norm's statistics ours."""
    from fastai.vision.all import ImageDataLoaders, Normalize, Resize, accuracy, aug_transforms, vision_learner
    from safetensors.torch import load_file

    stats = config["pretrained_cfg"]["mean"], config["pretrained_cfg"]["std"]
    loaders = ImageDataLoaders.from_folder(
        args.images, train="train", valid="valid", item_tfms=[Resize(args.side)], num_workers=0,
        batch_tfms=[*aug_transforms(), Normalize.from_stats(*stats)], bs=min(64, _smallest_batch(args.images)),
        device=torch.device("cpu"),
    )  # fmt: skip
    learner = vision_learner(loaders, config["architecture"], pretrained=False, normalize=False, metrics=accuracy)
    own = learner.model[0].model.state_dict()
    found = load_file(args.weights / "model.safetensors")
    given = {name: value for name, value in found.items() if not name.startswith(CLASSIFIER)}
    if given.keys() != own.keys():
        raise SystemExit(f"error: {len(given)} tensors for a network of {len(own)}")
    learner.model[0].model.load_state_dict(given)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(EPOCHS)
    recipe = f"vision_learner, aug_transforms(), fine_tune({EPOCHS}) at its 0.002, batch {loaders.bs}"
    return {"correct": round(float(learner.validate()[1]) * len(loaders.valid_ds)), "recipe": recipe}


def _smallest_batch(images: Path) -> int:
    """fastai drops what does not fill a batch: at most a quarter of the images is one."""
    return max(8, sum(1 for _ in images.glob("train/*/*")) // 4)


def _autogluon(args: argparse.Namespace, config: dict[str, Any]) -> dict[str, Any]:
    """`MultiModalPredictor.fit` on a table of paths, its default preset but for the network."""
    import pandas as pd
    import timm
    from autogluon.multimodal import MultiModalPredictor
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint"  # where there is such a folder it does not ask the hub
        checkpoint.mkdir()
        headless = timm.create_model(config["architecture"], num_classes=0)
        tensors = load_file(args.weights / "model.safetensors")
        torch.save({name: tensors[name] for name in headless.state_dict()}, checkpoint / "pytorch_model.bin")
        (checkpoint / "config.json").write_text(
            json.dumps(config | config["pretrained_cfg"] | {"num_features": headless.num_features})
        )
        tables = [
            pd.DataFrame([(str(file), file.parent.name) for file in sorted(args.images.glob(f"{part}/*/*"))])
            for part in ("train", "valid")
        ]
        train, valid = (table.set_axis(["image", "label"], axis=1) for table in tables)
        predictor = MultiModalPredictor(label="label", path=str(Path(folder) / "models"), verbosity=1)
        predictor.fit(
            train,
            hyperparameters={
                "model.names": ["timm_image"], "model.timm_image.checkpoint_name": str(checkpoint),
                "env.num_workers": 0, "env.num_workers_inference": 0, "env.accelerator": "cpu",
            },
        )  # fmt: skip
        correct = int((predictor.predict(valid[["image"]]) == valid["label"]).sum())
    return {"correct": correct, "recipe": "MultiModalPredictor.fit, default preset"}


CONTENDERS: dict[str, Callable[[argparse.Namespace, dict[str, Any]], dict[str, Any]]] = {
    "fastai": _fastai,
    "autogluon": _autogluon,
}

if __name__ == "__main__":
    main()
