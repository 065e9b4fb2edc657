"""The network, and timm's door to it."""

import pytest
import timm
import torch
from torch import nn

from pipeline.base.params import ModelParams, parse_section
from pipeline.models.layers import Pool
from pipeline.models.networks import Normalised, create_model
from pipeline.models.resnet9 import LOGIT_SCALE, Residual, ResNet9
from pipeline.models.timm_models import create_timm_model  # it registers resnet9


@pytest.mark.parametrize("size", [8, 9, 31, 32, 100])
@pytest.mark.parametrize(("width", "classes"), [(8, 2), (24, 30)])
def test_any_size_from_8_px_any_width_any_number_of_classes(size, width, classes):
    logits = ResNet9(num_classes=classes, width=width)(torch.randn(2, 3, size, size))
    assert logits.shape == (2, classes)


def test_it_is_the_dawnbench_network():
    """Page's ResNet9 has 6,573,120 parameters at width 64 and 10 classes (no bias in the last layer)."""
    model = ResNet9(num_classes=10, width=64)
    assert sum(parameter.numel() for parameter in model.parameters()) == 6_573_120
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [
        (3, 64), (64, 128), (128, 128), (128, 128), (128, 256), (256, 512), (512, 512), (512, 512),
    ]  # fmt: skip
    assert sum(isinstance(m, nn.MaxPool2d) for m in model.modules()) == 3
    assert sum(isinstance(m, Residual) for m in model.modules()) == 2


def test_the_head_is_a_scaled_linear_layer_on_global_maxima():
    model = ResNet9(num_classes=3, width=8).eval()
    features = model.forward_features(torch.randn(4, 3, 16, 16))
    expected = nn.functional.linear(features.flatten(2).max(dim=2).values, model.head.weight) * LOGIT_SCALE
    assert torch.allclose(model.forward_head(features), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pooling_before_relu_changes_no_bit_of_logits_or_gradients(dtype):
    """Windows with equal maxima (bfloat16 has many) and windows without a positive pixel among them."""

    def computed(model):
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not torch.float32):
            logits = model(images)
        nn.functional.cross_entropy(logits.float(), torch.arange(16) % 5).backward()
        return [logits, *(parameter.grad for parameter in model.parameters())]

    torch.manual_seed(0)
    images = torch.randn(16, 3, 16, 16).to(memory_format=torch.channels_last)
    ours, relu_first = ResNet9(num_classes=5, width=8), ResNet9(num_classes=5, width=8)
    for norm in (module for module in ours.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    for number, part in enumerate(relu_first.features):
        if isinstance(part, nn.Sequential) and len(part) == 4:
            conv, norm, pool, relu = part
            assert (type(pool), type(relu)) == (Pool, nn.ReLU)
            relu_first.features[number] = nn.Sequential(conv, norm, relu, pool)
    relu_first.load_state_dict(ours.state_dict())
    for got, expected in zip(computed(ours), computed(relu_first), strict=True):
        assert torch.equal(got, expected)


def test_timm_creates_it():
    model = timm.create_model("resnet9", num_classes=30)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 30)
    narrow = timm.create_model("resnet9", num_classes=5, width=16, in_chans=1)
    assert narrow(torch.randn(2, 1, 28, 28)).shape == (2, 5)
    assert narrow.num_features == 128
    narrow.reset_classifier(7)
    assert narrow(torch.randn(2, 1, 28, 28)).shape == (2, 7)


def test_any_timm_model_is_built_with_its_options():
    model = create_model("resnet10t", num_classes=4, options={"drop_rate": 0.25})
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 4)
    assert model.drop_rate == 0.25


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "resnet9", "weights": "hub"}, "resnet9 has no pretrained weights; set it to none"),
        ({"name": "airbench", "options": ["depth=3"]}, "airbench takes none"),
        (
            {"name": "resnet10t", "activation": "gelu"},
            "model.activation is for resnet9 and airbench only, not for resnet10t",
        ),
        ({"name": "resnet18x"}, r"model.name is 'resnet18x', which timm .* does not know; close: .*'resnet18'"),
        ({"name": "resnet10t", "options": ["no_such=1"]}, r"model.options is .*no_such.*does not take"),
    ],
)
def test_what_cannot_be_built_says_why(settings, message):
    with pytest.raises(ValueError, match=message):
        found = {"name": "resnet9", "width": 8, "options": []} | settings
        params = parse_section(found, "model", ModelParams)
        create_model(params.name, num_classes=3, options=params.network_options)


def test_weights_that_cannot_be_had_name_the_model_and_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the variable is read at the import
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="weights of resnet10t cannot be had .*name a file"):
        create_timm_model("resnet10t", num_classes=3, options={}, hub=True)


def test_normalised_centres_uint8_pixels():
    model = Normalised(nn.Identity(), (0.5, 0.25, 0.1), (0.2, 0.3, 0.4))
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    mean = torch.tensor([0.5, 0.25, 0.1]).view(1, 3, 1, 1)
    std = torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1)
    assert torch.allclose(model(images), (images / 255 - mean) / std, atol=1e-5)
    assert set(model.state_dict()) == set()
