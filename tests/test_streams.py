import ast

import torch
from house import module_files

from pipeline.loop import streams

MAKERS = ("draws", "seed_torch")
NETWORK_ROOMS = ("pipeline.loop.", "pipeline.models.", "pipeline.training.", "pipeline.stages.")


def test_no_two_uses_nor_keys_of_another_length_share_a_stream():
    keys = [(), (0,), (0, 0), (1, 2, 3), (1, 2, 3, 0), (1, 2, 3, 1, 0), (12, 3), (1, 23)]
    first = [streams.draws(use, *key).integers(2**62) for use in ("order", "augmentation") for key in keys]
    assert len(set(first)) == len(first)
    for use in ("order", "epoch"):
        streams.seed_torch(use, 1, 2)
        first.append(int(torch.randint(2**62, ())))
    assert len(set(first)) == len(first)
    assert streams.draws("order", 4).integers(2**62) == streams.draws("order", 4).integers(2**62)


def test_every_use_in_the_code_has_its_own_name_and_no_stream_has_another_source():
    uses = []
    for name, path in module_files().items():
        if not name.startswith(NETWORK_ROOMS) or name == streams.__name__:
            continue
        if name == "pipeline.stages.digits":  # deals a competition's ids, once and for all
            continue
        source = path.read_text()
        assert not [word for word in ("default_rng", "manual_seed", "SeedSequence") if word in source], name
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in MAKERS:
                assert isinstance(node.args[0], ast.Constant), f"{name}: a use's name must stand in the code"
                uses.append(node.args[0].value)
    assert sorted(uses) == [
        "alternating flip", "augmentation", "dihedral flip", "epoch", "first weights", "mixing", "order", "rank", "sampling",
    ]  # fmt: skip
