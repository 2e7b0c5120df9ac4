import pytest
import torch
import torch.nn.functional as F

from recon.decoder import Decoder
from recon.encoder import Encoder
from recon.loss import loss
from recon.merger import Merger
from recon.pix2vox import Pix2Vox, Pix2VoxConfig, Pix2VoxOutput
from recon.refiner import Refiner
from tests.recon.test_resnet import torchvision_state_dict


@pytest.fixture(autouse=True)
def _seed_and_one_thread():
    # Threads that wait for each other in so small a network cost more than they give on a busy machine.
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="module")
def small_model():
    """Size F, in evaluation mode, with running statistics of its own kind of input."""
    torch.manual_seed(0)
    model = Pix2Vox(Pix2VoxConfig(size="F"))
    with torch.no_grad():
        model(torch.rand(2, 2, 1, 32, 32))
    return model.eval()


def network_without_data(size, in_channels):
    """Shapes only: on the meta device nothing is computed."""
    with torch.device("meta"):
        return Pix2Vox(Pix2VoxConfig(size=size, in_channels=in_channels))


def num_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def two_bodies():
    """(protein, z, y, x): a staircase and an ellipsoid with an arm; neither is its own mirror image."""
    z, y, x = torch.meshgrid(*(3 * [torch.arange(32.0)]), indexing="ij")
    stairs = torch.zeros(32, 32, 32, dtype=torch.bool)
    for step, (row, col) in enumerate([(4, 4), (4, 16), (16, 16), (16, 4)]):
        stairs[3 + 6 * step : 11 + 6 * step, row : row + 12, col : col + 12] = True
    ellipsoid = ((z - 14) / 11) ** 2 + ((y - 12) / 7) ** 2 + ((x - 17) / 9) ** 2 < 1
    ellipsoid[16:22, 16:29, 5:14] = True
    return torch.stack((stairs, ellipsoid)).to(torch.uint8)


# --- the published network ---


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("A", {"encoder": 5_576_768, "decoder": 55_854_424, "merger": 17_877, "refiner": 34_880_352}),
        ("F", {"encoder": 941_888, "decoder": 3_883_480, "merger": 17_877}),
    ],
)
def test_parameter_counts_are_the_published_ones(size, expected):
    model = network_without_data(size, in_channels=3)
    assert {name: num_parameters(block) for name, block in model.named_children()} == expected
    assert num_parameters(model) == {"A": 96_329_421, "F": 4_843_245}[size]


@pytest.mark.parametrize("size", ["A", "F"])
def test_one_channel_changes_conv1_alone(size):
    colour, grey = network_without_data(size, 3).state_dict(), network_without_data(size, 1).state_dict()
    assert colour.keys() == grey.keys()
    changed = [name for name in colour if colour[name].shape != grey[name].shape]
    assert changed == ["encoder.trunk.conv1.weight"]


# Output of each block for 2 proteins of 3 views, 224 pixels: channels, then the side of the map or volume.
LAYER_SHAPES_A = {
    "encoder.trunk.conv1": (6, 64, 112, 112),
    "encoder.trunk.layer1": (6, 256, 56, 56),
    "encoder.trunk.layer2": (6, 512, 28, 28),
    "encoder.conv1": (6, 512, 28, 28),
    "encoder.conv2": (6, 256, 14, 14),
    "encoder.conv3": (6, 256, 7, 7),
    "encoder": (6, 256, 7, 7),
    "decoder.up1": (6, 512, 4, 4, 4),
    "decoder.up2": (6, 128, 8, 8, 8),
    "decoder.up3": (6, 32, 16, 16, 16),
    "decoder.up4": (6, 8, 32, 32, 32),
    "decoder.logit": (6, 1, 32, 32, 32),
    "merger.scales.0": (6, 9, 32, 32, 32),
    "merger.scales.3": (6, 9, 32, 32, 32),
    "merger.fuse": (6, 9, 32, 32, 32),
    "merger.score": (6, 1, 32, 32, 32),
    "merger": (2, 32, 32, 32),
    "refiner.down1": (2, 32, 16, 16, 16),
    "refiner.down2": (2, 64, 8, 8, 8),
    "refiner.down3": (2, 128, 4, 4, 4),
    "refiner.linear1": (2, 2048),
    "refiner.linear2": (2, 8192),
    "refiner.up1": (2, 64, 8, 8, 8),
    "refiner.up2": (2, 32, 16, 16, 16),
    "refiner.logit": (2, 1, 32, 32, 32),
    "refiner": (2, 32, 32, 32),
}
LAYER_SHAPES_F = {
    "encoder.trunk.layer2": (6, 128, 28, 28),
    "encoder.conv1": (6, 128, 28, 28),
    "encoder.conv2": (6, 64, 14, 14),
    "encoder.conv3": (6, 64, 7, 7),
    "decoder.up1": (6, 128, 4, 4, 4),
    "decoder.up2": (6, 64, 8, 8, 8),
    "decoder.up3": (6, 32, 16, 16, 16),
    "decoder.up4": (6, 8, 32, 32, 32),
    "merger": (2, 32, 32, 32),
}


@pytest.mark.parametrize(("size", "expected"), [("A", LAYER_SHAPES_A), ("F", LAYER_SHAPES_F)])
def test_layer_output_shapes_are_the_published_ones(size, expected):
    model = network_without_data(size, in_channels=3)
    shapes = {}
    for name, block in model.named_modules():
        if name in expected:
            block.register_forward_hook(lambda _block, _inputs, output, name=name: shapes.update({name: output.shape}))
    model(torch.empty(2, 3, 3, 224, 224, device="meta"))
    assert shapes == expected


def test_initialisation_is_the_published_one():
    model = Pix2Vox(Pix2VoxConfig(size="A"))
    conv = model.encoder.conv1[0]
    assert conv.weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.02)
    assert model.refiner.linear1.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not conv.bias.any()
    assert not model.refiner.linear1.bias.any()


def test_imagenet_weights_are_in_the_encoder_after_initialisation(tmp_path):
    weights = torchvision_state_dict(18)
    torch.save(weights, tmp_path / "resnet18.pt")
    model = Pix2Vox(Pix2VoxConfig(size="F", in_channels=3))
    model.load_imagenet_weights(tmp_path / "resnet18.pt")
    assert torch.equal(model.encoder.trunk.layer2[1].conv2.weight, weights["layer2.1.conv2.weight"])


def test_an_unknown_size_or_channel_count_is_refused():
    with pytest.raises(ValueError, match="network size 'B', expected one of A, F"):
        Pix2VoxConfig(size="B")
    with pytest.raises(ValueError, match="2 input channels, expected 1 or 3"):
        Pix2VoxConfig(in_channels=2)


# --- any image size, any number of views ---


def test_the_last_pooling_is_the_identity_at_224_pixels():
    encoder = Encoder(18, (128, 64, 64), in_channels=1).eval()
    before = []
    encoder.conv3.register_forward_hook(lambda _block, _inputs, output: before.append(output))
    with torch.no_grad():
        features = encoder(torch.rand(1, 1, 224, 224))
    assert torch.equal(features, before[0])


@pytest.mark.parametrize("image_shape", [(32, 32), (128, 128), (256, 256), (100, 333)])
def test_other_image_sizes_give_the_same_volume_size(image_shape):
    model = network_without_data("A", in_channels=1)
    refined = model(torch.empty(2, 3, 1, *image_shape, device="meta")).refined
    assert refined.shape == (2, 32, 32, 32)


def test_an_image_below_32_pixels_is_refused(small_model):
    with pytest.raises(ValueError, match="31 x 64 pixels, expected at least 32 x 32"):
        small_model(torch.rand(1, 1, 1, 31, 64))


@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (1, 2, 3, 32, 32), (1, 0, 1, 32, 32)])
def test_images_without_view_axis_or_with_other_channels_are_refused(small_model, shape):
    with pytest.raises(ValueError, match=r"expected \(batch, view, 1, row, col\)"):
        small_model(torch.rand(shape))


@pytest.mark.parametrize("num_views", [*range(1, 11), 25])
def test_one_model_takes_any_number_of_views(small_model, num_views):
    with torch.no_grad():
        output = small_model(torch.rand(1, num_views, 1, 32, 32))
    assert output.merged.shape == (1, 32, 32, 32)
    assert output.merged.dtype == torch.float32
    assert output.refined is output.merged
    assert 0 <= output.merged.min() < output.merged.max() <= 1


def test_the_order_of_views_does_not_matter(small_model):
    images = torch.rand(2, 5, 1, 32, 32)
    with torch.no_grad():
        merged = small_model(images).merged
        permuted = small_model(images[:, [3, 0, 4, 1, 2]]).merged
    torch.testing.assert_close(permuted, merged, rtol=1e-4, atol=1e-5)


def test_proteins_of_a_batch_do_not_mix(small_model):
    images = torch.rand(3, 2, 1, 32, 32)
    with torch.no_grad():
        together = small_model(images).merged
        alone = torch.cat([small_model(protein[None]).merged for protein in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


# --- merger ---


def random_views(batch, num_views, volume_size=8):
    volumes = torch.rand(batch, num_views, *(3 * [volume_size]))
    features = torch.randn(batch, num_views, 8, *(3 * [volume_size]))
    return torch.cat((features, volumes[:, :, None]), dim=2), volumes


def test_merging_one_view_returns_that_views_volume():
    raw_features, volumes = random_views(batch=2, num_views=1)
    assert torch.equal(Merger()(raw_features, volumes), volumes[:, 0])


def test_showing_every_view_twice_changes_nothing():
    merger = Merger().eval()
    raw_features, volumes = random_views(batch=2, num_views=3)
    once = merger(raw_features, volumes)
    twice = merger(raw_features.repeat(1, 2, 1, 1, 1, 1), volumes.repeat(1, 2, 1, 1, 1))
    torch.testing.assert_close(twice, once)


def test_a_merged_voxel_lies_between_its_views():
    raw_features, volumes = random_views(batch=2, num_views=4)
    merged = Merger()(raw_features, volumes)
    assert (merged >= volumes.amin(dim=1) - 1e-6).all()
    assert (merged <= volumes.amax(dim=1) + 1e-6).all()


def test_merging_all_views_at_once_equals_scoring_them_one_by_one():
    merger = Merger().eval()
    raw_features, volumes = random_views(batch=2, num_views=3)
    scores = []
    for view in range(3):
        maps = [raw_features[:, view]]
        for conv in merger.scales:
            maps.append(conv(maps[-1]))
        scores.append(merger.score(merger.fuse(torch.cat(maps[1:], dim=1)))[:, 0])
    exponentials = torch.stack(scores).exp()  # (view, batch, z, y, x)
    expected = (exponentials * volumes.transpose(0, 1)).sum(dim=0) / exponentials.sum(dim=0)
    torch.testing.assert_close(merger(raw_features, volumes), expected)


# --- loss ---


def test_loss_is_binary_cross_entropy_of_both_volumes():
    merged, refined = torch.rand(2, 2, 4, 4, 4)
    occupancy = torch.randint(0, 2, (2, 4, 4, 4), dtype=torch.uint8)
    target = occupancy.float()
    expected_merged = F.binary_cross_entropy(merged, target)
    expected_refined = F.binary_cross_entropy(refined, target)
    torch.testing.assert_close(loss(Pix2VoxOutput(merged, refined), occupancy), expected_merged + expected_refined)
    torch.testing.assert_close(loss(Pix2VoxOutput(merged, merged), occupancy), expected_merged)


def test_loss_of_certain_and_wrong_voxels_is_finite_with_finite_gradients():
    logits = torch.tensor([200.0, -200.0, 80.0, -80.0], requires_grad=True)
    merged = torch.sigmoid(logits).view(1, 1, 2, 2)
    value = loss(Pix2VoxOutput(merged, merged), torch.tensor([0, 1, 0, 1]).view(1, 1, 2, 2))
    value.backward()
    assert 80 < value.item() < 100
    assert logits.grad.isfinite().all()


def test_loss_hands_on_a_nan():
    merged = torch.full((1, 2, 2, 2), torch.nan)
    assert loss(Pix2VoxOutput(merged, merged), torch.ones(1, 2, 2, 2)).isnan()


def test_a_target_of_another_size_is_refused():
    merged = torch.rand(1, 32, 32, 32)
    with pytest.raises(ValueError, match=r"occupancy of shape \(1, 64, 64, 64\), expected \(1, 32, 32, 32\)"):
        loss(Pix2VoxOutput(merged, merged), torch.ones(1, 64, 64, 64))


# --- training ---


def test_under_autocast_probabilities_and_loss_are_float32_and_gradients_finite():
    # Blocks by themselves: a CPU without bfloat16 arithmetic needs half a minute for the whole network.
    decoder, merger = Decoder(64, (8, 8, 8, 8)), Merger()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        raw_features, coarse_volumes = decoder(torch.randn(2, 64))
        merged = merger(raw_features[None, ..., :6, :6, :6], coarse_volumes[None, ..., :6, :6, :6])
        value = loss(Pix2VoxOutput(merged, merged), two_bodies()[:1, 6:12, 6:12, 6:12])
    value.backward()
    assert raw_features.dtype == torch.bfloat16
    assert {tensor.dtype for tensor in (coarse_volumes, merged, value)} == {torch.float32}
    assert all(parameter.grad.isfinite().all() for parameter in [*decoder.parameters(), *merger.parameters()])


def test_under_autocast_refined_probabilities_are_float32():
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        refined = Refiner()(torch.rand(1, 32, 32, 32))
    assert refined.dtype == torch.float32
    assert 0 <= refined.min() < refined.max() <= 1


@pytest.mark.parametrize("size", ["A", "F"])
def test_the_gradient_reaches_every_parameter(size):
    # In evaluation mode: batch statistics cancel the bias of the convolution before them.
    model = Pix2Vox(Pix2VoxConfig(size=size)).eval()
    loss(model(torch.rand(2, 3, 1, 32, 32)), two_bodies()).backward()
    unreached = [name for name, parameter in model.named_parameters() if not parameter.grad.any()]
    assert unreached == []


@pytest.mark.slow
def test_the_network_can_learn_two_proteins_by_heart():
    model = Pix2Vox(Pix2VoxConfig(size="F"))
    images, occupancy = torch.rand(2, 2, 1, 32, 32), two_bodies()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _step in range(48):
        optimizer.zero_grad()
        loss(model(images), occupancy).backward()
        optimizer.step()
    # Still in training mode: the running statistics need more steps than the weights to settle.
    with torch.no_grad():
        predicted = model(images).refined > 0.5
    intersection = (predicted & occupancy.bool()).sum(dim=(1, 2, 3))
    union = (predicted | occupancy.bool()).sum(dim=(1, 2, 3))
    assert (intersection / union > 0.95).all()
