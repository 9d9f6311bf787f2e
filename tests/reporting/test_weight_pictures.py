"""Pictures of weights, read back by another library."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from niwaki.policies.network import Layer, NetworkPolicy
from niwaki.reporting.weight_pictures import DARKEST, FAINTEST, alpha, mosaic, png, weight_pictures


def pixels(uri: str) -> np.ndarray:
    """RGBA [h, w, 4] of a data URI."""
    head, data = uri.split(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))


def test_a_png_holds_its_colour_and_its_ink() -> None:
    ink = np.arange(256, dtype=np.uint8).reshape(8, 32)
    image = np.asarray(Image.open(io.BytesIO(png(ink, (1, 2, 3)))).convert("RGBA"))
    assert np.array_equal(image[:, :, 3], ink)
    assert (image[:, :, :3] == (1, 2, 3)).all()


def test_zero_is_blank_and_the_smallest_weight_is_not() -> None:
    ink = alpha(np.array([[0.0, 1e-9], [0.5, 1.0]]), 1)
    assert ink[0, 0] == 0
    assert ink[0, 1] == FAINTEST
    assert ink[1, 1] == DARKEST
    assert FAINTEST < ink[1, 0] < DARKEST
    assert not alpha(np.zeros((3, 3)), 1).any()


def test_a_lone_weight_is_seen_when_many_share_a_pixel() -> None:
    weight = np.zeros((300, 1000), dtype=np.float32)
    weight[123, 987] = -0.25
    (picture,) = weight_pictures(NetworkPolicy((Layer(weight, np.zeros(300)),)), (0, 0, 0))
    image = pixels(picture.uri)
    assert (picture.block, image.shape[:2]) == (4, (75, 250))
    assert np.argwhere(image[:, :, 3]).tolist() == [[123 // 4, 987 // 4]]
    assert (picture.weights, picture.nonzero_weights) == (300_000, 1)


def test_every_layer_has_a_picture_with_a_pixel_for_every_weight(make_network) -> None:
    network = make_network((4, 8, 2), density=0.5)
    for layer, picture in zip(network.layers, weight_pictures(network, (0, 0, 0)), strict=True):
        image = pixels(picture.uri)[:, :, 3]
        assert image.shape == layer.weight.shape == (picture.outputs, picture.inputs)
        assert np.array_equal(image > 0, layer.weight != 0)


def test_the_mosaic_puts_a_kept_weight_where_it_lay(make_network) -> None:
    teacher = make_network((4, 8, 2))
    kept = NetworkPolicy(tuple(Layer(np.where(la.weight > 0, la.weight, 0), la.bias) for la in teacher.layers))
    shown = mosaic(teacher, kept, ((9, 9, 9), (1, 1, 1)))
    flat = pixels(shown.policy)[:, :, 3].ravel()
    assert (shown.aligned, shown.side, shown.block) == (True, 7, 1)  # 48 weights
    assert np.array_equal(flat[:48] > 0, np.concatenate([la.weight.ravel() for la in kept.layers]) > 0)
    assert not flat[48:].any()


def test_a_policy_of_other_widths_says_so(make_network) -> None:
    shown = mosaic(make_network((4, 8, 2)), make_network((4, 2)), ((9, 9, 9), (1, 1, 1)))
    assert not shown.aligned
    assert np.count_nonzero(pixels(shown.policy)[:, :, 3].ravel()[:8]) == 8


@pytest.mark.parametrize("sizes", [(3, 1), (700, 700, 3)])
def test_no_picture_is_larger_than_its_limit(make_network, sizes) -> None:
    network = make_network(sizes)
    for picture in weight_pictures(network, (0, 0, 0)):
        assert max(pixels(picture.uri).shape[:2]) <= 256
    assert mosaic(network, network, ((0, 0, 0), (0, 0, 0))).side <= 256
