"""What the bundle's maker and its predict.py agree on."""

from collections.abc import Sequence
from dataclasses import dataclass

WEIGHTS, WEIGHTS_CARD = "weights/weights.safetensors", "weights/card.json"  # of frozen features
SETTINGS, FORMAT, TEST = "settings.json", "format.json", "test.csv"
BLEND = "blend.json"  # how, and the weight of each run
MEMBERS = "members"  # a folder for each, with what a run brings: these files, models, weights
KNOWN_COLUMNS = ("image_id", "path")  # of test.csv; path: '' where ingest or decoding saw no image


@dataclass(frozen=True, kw_only=True)
class Settings:
    """settings.json: what reading, decoding and inferring took from params.yaml; all else is in the models' cards."""

    folds: list[str]
    encoding: str
    header: str | Sequence[str]  # of tables without one, or `auto`
    pixels: str
    test_table: str  # that ingest read the test images from, or `none`
    test_images: str  # the template that leads to them, or `auto` where ingest needed none
    fit: str
    batch_size: int
    device: str
    precision: str
