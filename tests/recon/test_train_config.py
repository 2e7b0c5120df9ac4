import pytest

from hpc.settings import settings_from
from recon.train import build_parser
from recon.train_config import TrainConfig


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"views": 0}, "expected views of at least 1, got 0"),
        ({"size": "B"}, "expected size A or F, got 'B'"),
        ({"frame": "top"}, "expected a frame of pdb, view, inertia, got 'top'"),
        ({"learning_rate": 0.0}, "expected a finite learning_rate above 0"),
        ({"merger_learning_rate": float("nan")}, "expected a finite merger_learning_rate above 0"),
        ({"validation_fraction": 1.0}, "expected a validation_fraction between 0 and 1"),
        ({"single_view_epochs": -1}, "expected single_view_epochs of 0 or more"),
    ],
)
def test_a_setting_out_of_range_is_named(changed, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{"store": "data.zarr", "views": 8} | changed)


def test_the_defaults_are_those_of_the_public_pix2vox_code():
    config = TrainConfig(store="data.zarr", views=8)
    assert (config.batch_size, config.epochs, config.learning_rate, config.merger_learning_rate) == (
        64,
        250,
        1e-3,
        1e-4,
    )
    assert (config.size, config.repeats, config.input_size) == ("A", 4, 224)


@pytest.mark.parametrize(
    ("options", "expected"), [([], False), (["--render-online"], True), (["--no-render-online"], False)]
)
def test_a_setting_that_is_true_or_false_is_a_pair_of_options(options, expected):
    arguments = build_parser().parse_args(["--run", "run", "--views", "2", *options])
    assert settings_from(TrainConfig, vars(arguments)).render_online is expected
