import pickle

import pytest
import torch
import torch.nn.functional as F

from recon.resnet import ResNetTrunk


def torchvision_state_dict(depth):
    """Random weights under the names and shapes of torchvision's resnet18 or resnet50, written out anew."""
    rng = torch.Generator().manual_seed(depth)
    weights = {}

    def add_conv(name, out_channels, in_channels, size):
        fan_in = in_channels * size**2
        weights[f"{name}.weight"] = torch.randn(out_channels, in_channels, size, size, generator=rng) / fan_in**0.5

    def add_norm(name, channels):
        weights[f"{name}.weight"] = torch.rand(channels, generator=rng) + 0.5
        weights[f"{name}.bias"] = torch.randn(channels, generator=rng) * 0.1
        weights[f"{name}.running_mean"] = torch.randn(channels, generator=rng) * 0.1
        weights[f"{name}.running_var"] = torch.rand(channels, generator=rng) + 0.5
        weights[f"{name}.num_batches_tracked"] = torch.tensor(7)

    add_conv("conv1", 64, 3, 7)
    add_norm("bn1", 64)
    in_channels = 64
    for layer, num_blocks in enumerate({18: (2, 2), 50: (3, 4)}[depth], start=1):
        width = 32 * 2**layer
        for block in range(num_blocks):
            name = f"layer{layer}.{block}"
            if depth == 18:
                convs = [(width, in_channels, 3), (width, width, 3)]
            else:
                convs = [(width, in_channels, 1), (width, width, 3), (4 * width, width, 1)]
            for index, conv in enumerate(convs, start=1):
                add_conv(f"{name}.conv{index}", *conv)
                add_norm(f"{name}.bn{index}", conv[0])
            out_channels = convs[-1][0]
            if block == 0 and (layer == 2 or in_channels != out_channels):
                add_conv(f"{name}.downsample.0", out_channels, in_channels, 1)
                add_norm(f"{name}.downsample.1", out_channels)
            in_channels = out_channels
    weights["layer3.0.conv1.weight"] = torch.zeros(1)
    weights["layer4.1.bn2.bias"] = torch.zeros(1)
    weights["fc.weight"] = torch.zeros(1000, 1)
    weights["fc.bias"] = torch.zeros(1000)
    return weights


def plain_trunk(weights, images, depth):
    """ResNet's definition, step by step, from a dictionary of weights."""

    def conv_norm(x, conv, norm, stride=1):
        kernel = weights[f"{conv}.weight"]
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        mean, variance, gain, bias = (
            weights[f"{norm}.{part}"].view(-1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(variance + 1e-5) * gain + bias

    x = conv_norm(images, "conv1", "bn1", stride=2).clamp(min=0)
    x = F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-torch.inf), 3, stride=2)
    num_convs, strided_conv = {18: (2, 1), 50: (3, 2)}[depth]
    for layer, num_blocks in enumerate({18: (2, 2), 50: (3, 4)}[depth], start=1):
        for block in range(num_blocks):
            name = f"layer{layer}.{block}"
            stride = 2 if layer == 2 and block == 0 else 1
            y = x
            for index in range(1, num_convs + 1):
                y = conv_norm(y, f"{name}.conv{index}", f"{name}.bn{index}", stride if index == strided_conv else 1)
                y = y.clamp(min=0) if index < num_convs else y
            if f"{name}.downsample.0.weight" in weights:
                x = conv_norm(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            x = (x + y).clamp(min=0)
    return x


@pytest.fixture
def saved(tmp_path):
    def save(content):
        path = tmp_path / "weights.pt"
        torch.save(content, path)
        return path

    return save


@pytest.mark.parametrize(("depth", "num_parameters"), [(50, 1_444_928), (18, 683_072)])
def test_trunk_has_the_parameters_of_a_resnet_up_to_layer2(depth, num_parameters):
    trunk = ResNetTrunk(depth, in_channels=3)
    assert sum(parameter.numel() for parameter in trunk.parameters()) == num_parameters


@pytest.mark.parametrize("depth", [18, 50])
def test_loaded_trunk_computes_what_a_plain_resnet_computes(depth, saved):
    weights = torchvision_state_dict(depth)
    trunk = ResNetTrunk(depth, in_channels=3).eval()
    trunk.load_imagenet_weights(saved(weights))
    images = torch.rand(2, 3, 64, 48)
    with torch.no_grad():
        features = trunk(images)
    assert features.shape == (2, trunk.out_channels, 8, 6)
    torch.testing.assert_close(features, plain_trunk(weights, images, depth), rtol=1e-4, atol=1e-4)


def test_loading_replaces_every_weight_and_running_statistic(saved):
    weights = torchvision_state_dict(50)
    trunk = ResNetTrunk(50, in_channels=3)
    trunk.load_imagenet_weights(saved(weights))
    for name, tensor in trunk.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


def test_one_channel_trunk_sees_a_grey_image_as_the_colour_trunk_does(saved):
    path = saved(torchvision_state_dict(18))
    grey_trunk, colour_trunk = ResNetTrunk(18, in_channels=1).eval(), ResNetTrunk(18, in_channels=3).eval()
    grey_trunk.load_imagenet_weights(path)
    colour_trunk.load_imagenet_weights(path)
    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(grey_trunk(images), colour_trunk(images.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


def test_files_from_before_batch_counting_load(saved):
    weights = torchvision_state_dict(50)
    old = {name: tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")}
    trunk = ResNetTrunk(50, in_channels=1)
    trunk.load_imagenet_weights(saved(old))
    assert torch.equal(trunk.layer2[3].bn3.running_var, weights["layer2.3.bn3.running_var"])


def test_weights_of_another_depth_are_refused_and_change_nothing(saved):
    trunk = ResNetTrunk(50, in_channels=1)
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    with pytest.raises(ValueError, match=r"missing \(first: layer1\.0\.conv3\.weight\).*resnet50"):
        trunk.load_imagenet_weights(saved(torchvision_state_dict(18)))
    assert all(torch.equal(tensor, before[name]) for name, tensor in trunk.state_dict().items())


def test_unknown_and_misshapen_weights_are_named(saved):
    weights = torchvision_state_dict(18)
    weights["layer1.0.attention.weight"] = torch.zeros(2)
    weights["bn1.bias"] = torch.zeros(3)
    with pytest.raises(ValueError, match=r"unknown \(first: layer1\.0\.attention.*bn1\.bias \(3,\) instead of \(64,\)"):
        ResNetTrunk(18, in_channels=3).load_imagenet_weights(saved(weights))


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(ValueError, match=r"no file at .*nowhere\.pt, expected torchvision's resnet18"):
        ResNetTrunk(18, in_channels=3).load_imagenet_weights(tmp_path / "nowhere.pt")


def test_a_file_that_is_no_state_dict_is_refused(tmp_path, saved):
    trunk = ResNetTrunk(18, in_channels=3)
    with pytest.raises(ValueError, match="no plain dictionary of tensors"):
        trunk.load_imagenet_weights(saved({"model": torchvision_state_dict(18), "epoch": 3}))
    text = tmp_path / "text.pt"
    text.write_text("<html>not found</html>")
    with pytest.raises(ValueError, match="cannot be read"):
        trunk.load_imagenet_weights(text)


def test_a_file_with_code_in_it_is_not_run(tmp_path):
    path = tmp_path / "code.pt"
    path.write_bytes(pickle.dumps(print, protocol=2))
    with pytest.raises(ValueError, match="cannot be read"):
        ResNetTrunk(18, in_channels=3).load_imagenet_weights(path)
