"""Where a run comes from: parameters that are not as shipped, what it was trained on, hashes."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from pipeline.base.params import SECTIONS, SHIPPED
from pipeline.panels.run import Run

OF_CARD = ("architecture", "image_size", "networks", "torch_version", "device", "precision", "threads", "tta",
           "num_pseudo", "weights_sha256")  # fmt: skip


def differing(params: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(section.key, its value, the shipped one) of all that is not as shipped; a fold's own keys too."""
    found = []
    for name, section in SECTIONS.items():
        shipped = {
            item.name: SHIPPED.get(name, {}).get(item.name, item.default) for item in dataclasses.fields(section)
        }
        for key, value in (params.get(name) or {}).items():
            before = shipped.get(key, dataclasses.MISSING)
            if before is dataclasses.MISSING or _text(value) != _text(before):
                found.append((f"{name}.{key}", _text(value), "" if before is dataclasses.MISSING else _text(before)))
    for fold, own in (params.get("folds") or {}).items():
        found += [(f"folds.{fold}.{key}", _text(value), "") for key, value in (own or {}).items()]
    return found


def provenance(run: Run, clock: Mapping[str, str] | None = None) -> dict[str, Any]:
    """clock: what is not of the run itself, such as seconds; name -> text."""
    receipt = run.receipt
    facts = {
        "git commit": f"{receipt['git_commit'] or 'none'}{'' if receipt['git_clean'] else ' and changes'}",
        "submission sha256": receipt["sha256"],
        "dvc.lock sha256": receipt["dvc_lock_sha256"] or "none",
        **(clock or {}),
    }
    cards = [(fold, [_text(card.get(name, "")) for name in OF_CARD]) for fold, card in run.cards.items()]
    return {"differing": differing(receipt["params"]), "facts": list(facts.items()), "columns": OF_CARD, "cards": cards}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value if not isinstance(value, tuple) else list(value))
