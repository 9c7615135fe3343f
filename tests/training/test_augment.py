"""Random changes of a crop: labels move with the image, intensities leave them alone."""

import numpy as np
import pytest
import torch

from evaluation.training.augmentation import augment
from evaluation.training.settings import Augmentation


def _crop() -> tuple[torch.Tensor, np.ndarray]:
    layers = np.zeros((2, 32, 32, 24), dtype=np.uint8)
    layers[0, 12:20, 10:22, 9:15] = 3
    layers[1, 14:18, 12:20, 10:14] = 1
    return torch.from_numpy(layers[0].astype(np.float32))[None], layers


@pytest.mark.parametrize(
    ("zoom", "in_plane", "power"), [(1.5, False, 3), (1.5, True, 2), (0.75, False, 3)]
)
def test_zoom_enlarges_image_and_labels_alike(zoom, in_plane, power):
    image, layers = _crop()
    settings = Augmentation(zoom_p=1.0, zoom=(zoom, zoom), zoom_in_plane=in_plane)
    changed, labels = augment(image, layers, settings, np.random.default_rng(0))
    assert changed.shape == image.shape
    assert labels.dtype == layers.dtype
    for layer, value in ((0, 3), (1, 1)):
        grown = (labels[layer] == value).sum() / (layers[layer] == value).sum()
        assert grown == pytest.approx(zoom**power, rel=0.35)
        assert set(np.unique(labels[layer])) == {0, value}
    # The image was the first layer: thresholded halfway it still is, but for ties on its rim.
    overlap = ((changed[0].numpy() > 1.5) & (labels[0] == 3)).sum()
    assert 2 * overlap / ((changed[0].numpy() > 1.5).sum() + (labels[0] == 3).sum()) > 0.9


def test_intensity_scaling_is_one_factor_within_its_range():
    image, layers = _crop()
    settings = Augmentation(intensity_p=1.0, intensity_factor=0.25)
    factors = []
    for seed in range(20):
        changed, labels = augment(image, layers, settings, np.random.default_rng(seed))
        assert labels is layers
        inside = changed[image > 0] / image[image > 0]
        assert float(inside.std()) < 1e-5
        factors.append(float(inside.mean()))
        again, _ = augment(image, layers, settings, np.random.default_rng(seed))
        assert torch.equal(changed, again)
    assert 0.75 <= min(factors) < 0.9 < 1.1 < max(factors) <= 1.25
