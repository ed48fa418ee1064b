"""The convolutions of a network whose speed is the measure of a step."""

import torch

from rbp_engine.bench.measure.convolutions import described, shapes
from rbp_engine.models import create_model


def test_every_different_convolution_is_found_with_the_images_of_all_timesteps() -> None:
    model = create_model("resnet18", num_classes=10, in_channels=3)
    found = [described(layer, shape) for layer, shape in shapes(model, torch.rand(2, 3, 32, 32), 4)]
    assert found[:2] == ["3×3, 3 → 64, 32×32, 8 images", "3×3, 64 → 64, 32×32, 8 images"]
    assert "1×1, 256 → 512, 8×8, 8 images" in found and "3×3, 512 → 512, 4×4, 8 images" in found
    assert len(found) == len(set(found)) == 11
