"""What our own networks are built of, and the second of them."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.models import layers
from pipeline.models.airbench import Airbench
from pipeline.models.layers import Convolution, Pool, Whitening, start, whitening_images
from pipeline.models.networks import Normalised, whiten_first_layer
from pipeline.models.resnet9 import ResNet9
from pipeline.training.optimisation import create_optimizer

LEARNS_FAST = {"whitening": True, "activation": "gelu", "init": "dirac", "norm_scale": "fixed"}


@pytest.mark.parametrize("network", [Airbench, ResNet9])
@pytest.mark.parametrize("size", [8, 9, 15, 32, 100])
@pytest.mark.parametrize("options", [LEARNS_FAST, LEARNS_FAST | {"whitening": False, "activation": "relu"}])
def test_any_size_from_8_px(network, size, options):
    logits = network(num_classes=5, width=8, **options)(torch.randn(2, 3, size, size))
    assert logits.shape == (2, 5)


def test_it_is_airbench94s_network():
    """Jordan's has 1,972,792 parameters, its frozen whitening and the scales of its norms counted."""
    model = Airbench(num_classes=10, width=64)
    convolutions = [(m.in_channels, m.out_channels) for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert convolutions == [(3, 24), (24, 64), (64, 64), (64, 256), (256, 256), (256, 256), (256, 256)]
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    norms = sum(2 * m.num_features for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    by_hand = 24 + 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256) + norms // 2 + 256 * 10
    assert trained == by_hand


def test_the_whitening_layer_makes_patches_uncorrelated_and_equally_strong():
    """On correlated channels and neighbours the 12 directions come out with covariance 1; the others are negatives."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(200, 3, 12, 12, generator=generator).cumsum(3).cumsum(1)
    layer = Whitening(3, "gelu")
    layer.whiten(images)
    out = layer[0](images).permute(1, 0, 2, 3).reshape(24, -1)
    moments = out[:12] @ out[:12].T / out.shape[1]
    assert torch.allclose(moments, torch.eye(12), atol=0.02)
    assert torch.equal(out[12:], -out[:12])
    assert not layer[0].weight.requires_grad
    assert layer[0].bias.requires_grad


def test_whitening_looks_at_the_given_rows_alone():
    store = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    other = store.copy()
    other[40:] = 255 - other[40:]
    rows = np.random.default_rng(1).permutation(40)
    models = [Normalised(Airbench(width=8), (0.5,) * 3, (0.25,) * 3) for _ in range(3)]
    for model, images, seen in zip(models, (store, other, other), (rows, rows, np.arange(60)), strict=True):
        whiten_first_layer(model, images, seen)
    first, second, third = (model.network.features[0][0].weight for model in models)
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_whitening_takes_some_of_many_images(monkeypatch):
    monkeypatch.setattr(layers, "WHITENED_IMAGES", 5)
    store = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1)
    assert whitening_images(store, np.arange(0, 100, 2)).ravel().tolist() == [0, 24, 48, 74, 98]
    assert whitening_images(store, np.array([7, 3])).ravel().tolist() == [3, 7]


def test_dirac_convolutions_begin_by_passing_channels_on_and_fixed_norms_stay_at_1():
    network = nn.Sequential(Convolution(3, 5), nn.BatchNorm2d(5))
    start(network, init="dirac", norm_scale="fixed")
    images = torch.randn(2, 3, 6, 6)
    assert torch.allclose(network[0](images)[:, :3], images)
    assert not torch.allclose(network[0](images)[:, 3:5], torch.zeros(2, 2, 6, 6))
    assert [name for name, weight in network.named_parameters() if weight.requires_grad] == ["0.weight", "1.bias"]


@pytest.mark.parametrize("network", [Airbench, ResNet9])
def test_csra_adds_a_classs_highest_score_of_all_places_and_their_mean(network):
    model = network(num_classes=5, width=8, pooling="csra").eval()
    features = model.forward_features(torch.randn(2, 3, 32, 40))
    found = model.forward_head(features)
    assert features.shape[2] * features.shape[3] > 9
    for image, logits in zip(features, found, strict=True):
        places = [image[:, row, column] for row in range(image.shape[1]) for column in range(image.shape[2])]
        scores = torch.stack([model.head.weight @ place * model.logit_scale for place in places])
        assert torch.allclose(logits, scores.mean(0) + scores.max(0).values, atol=1e-5)


def test_csra_sees_two_things_in_one_image_as_it_sees_each_alone():
    """Each class is told by one channel and denied by the other's: one vector of both maxima tells neither."""
    pooled = {pooling: ResNet9(num_classes=2, width=1, pooling=pooling) for pooling in ("max", "csra")}
    features = torch.zeros(3, 8, 4, 4)
    features[0, 0, 0, 0] = features[1, 1, 3, 3] = features[2, 0, 0, 0] = features[2, 1, 3, 3] = 1.0
    for model in pooled.values():
        model.head.weight.data.zero_()
        model.head.weight.data[:, :2] = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    of_max, of_csra = (pooled[pooling].forward_head(features) > 0 for pooling in ("max", "csra"))
    assert of_max.tolist() == [[True, False], [False, True], [False, False]]
    assert of_csra.tolist() == [[True, False], [False, True], [True, True]]


@pytest.mark.parametrize("side", [1, 3, 7, 8])
@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format])
def test_a_small_maps_convolution_has_conv2ds_output_and_gradients(side, order):
    """In bfloat16 the two sum in another order; against float32 neither is further off than the other by much."""
    torch.manual_seed(0)
    ours, plain = Convolution(16, 24), nn.Conv2d(16, 24, kernel_size=3, padding=1, bias=False)
    plain.load_state_dict(ours.state_dict())
    images = torch.randn(32, 16, side, side).contiguous(memory_format=order)
    direction = torch.randn(32, 24, side, side)

    def computed(module, dtype):
        x = images.clone().requires_grad_()
        module.zero_grad()
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not torch.float32):
            out = module(x)
        (out.float() * direction).sum().backward()
        return [out.float(), x.grad, module.weight.grad]

    exact = computed(plain, torch.float32)
    for got, theirs, want in zip(computed(ours, torch.bfloat16), computed(plain, torch.bfloat16), exact, strict=True):
        assert got.shape == want.shape
        assert got.dtype == theirs.dtype
        assert (got - want).norm() <= 1.3 * (theirs - want).norm() + 1e-4 * want.norm()
        assert (got - want).norm() < 0.01 * want.norm()
    assert all(torch.equal(a, b) for a, b in zip(computed(ours, torch.float32), exact, strict=True))


@pytest.mark.parametrize("network", [Airbench, ResNet9])
def test_muon_steps_convolutions_and_leaves_the_classifier_and_shifts_to_adamw(network):
    model = Normalised(network(width=8), (0.5,) * 3, (0.25,) * 3)
    settings = {"peak_lr": 0.05, "momentum": 0.6, "weight_decay": 0.02, "fused": False}
    optimizer = create_optimizer(model, "muon", **settings)
    by_muon = {id(w) for group in optimizer.param_groups if not group.get("use_fallback") for w in group["params"]}
    convolutions = {id(m.weight) for m in model.modules() if isinstance(m, Convolution)}
    assert by_muon == convolutions
    held = {id(w) for group in optimizer.param_groups for w in group["params"]}
    assert held == {id(w) for w in model.parameters() if w.requires_grad}


def test_a_pool_leaves_one_pixel_and_is_torchs_otherwise():
    wide = torch.randn(2, 3, 5, 6)
    assert torch.equal(Pool()(wide), nn.MaxPool2d(2)(wide))
    assert torch.equal(Pool()(wide[:, :, :1, :1]), wide[:, :, :1, :1])
