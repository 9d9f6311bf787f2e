"""The weights of a network as small pictures: one pixel per weight, ink by magnitude, zeros left blank.

The ink is in the alpha channel alone and its colour is fixed, so one file reads on white, on black and on
paper. PNG: ISO/IEC 15948, palette images with tRNS.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from niwaki.policies.network import NetworkPolicy
from niwaki.types import Floats

LARGEST_SIDE = 256  # pixels; larger layers show the largest weight of each block
FAINTEST, DARKEST = 48, 255  # alpha of the smallest and the largest weight that is not zero
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class LayerPicture:
    """One layer, inputs from left to right and outputs from top to bottom."""

    inputs: int
    outputs: int
    weights: int
    nonzero_weights: int
    activation: str
    block: int  # weights along each side of one pixel
    uri: str  # data:image/png


def weight_pictures(network: NetworkPolicy, colour: Colour) -> tuple[LayerPicture, ...]:
    """A picture of each layer's |weights|, every layer scaled to its own largest weight."""
    return tuple(_layer(layer.weight, layer.activation, colour) for layer in network.layers)


@dataclass(frozen=True)
class Mosaic:
    """All weights of two networks on one square, row by row in the order of the layers."""

    teacher: str  # data:image/png
    policy: str  # data:image/png
    side: int  # pixels
    block: int  # weights along each side of one pixel
    aligned: bool  # whether a weight of the policy lies where it lay in the teacher


def mosaic(teacher: NetworkPolicy, policy: NetworkPolicy, inks: tuple[Colour, Colour]) -> Mosaic:
    """Both networks, one over the other. A policy of other widths has its weights at the top, side by side."""
    side = math.ceil(math.sqrt(max(teacher.weights, policy.weights)))
    block = -(-side // LARGEST_SIDE)
    pictures = []
    for network, ink in zip((teacher, policy), inks, strict=True):
        square = np.zeros(side * side, dtype=np.float32)
        square[: network.weights] = np.concatenate([_relative(layer.weight).ravel() for layer in network.layers])
        pictures.append(_uri(png(alpha(square.reshape(side, side), block), ink)))
    return Mosaic(pictures[0], pictures[1], -(-side // block), block, teacher.sizes == policy.sizes)


def _relative(weight: Floats) -> Floats:
    return np.abs(weight) / max(float(np.abs(weight).max(initial=0)), np.finfo(np.float32).tiny)


def _uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def _layer(weight: Floats, activation: str, colour: Colour) -> LayerPicture:
    outputs, inputs = weight.shape
    block = -(-max(outputs, inputs) // LARGEST_SIDE)
    uri = _uri(png(alpha(np.abs(weight), block), colour))
    return LayerPicture(inputs, outputs, weight.size, int(np.count_nonzero(weight)), activation, block, uri)


def alpha(magnitude: Floats, block: int) -> NDArray[np.uint8]:
    """Ink [h, w] of magnitudes [out, in]: the largest of each block, so that a lone weight is not lost."""
    outputs, inputs = magnitude.shape
    padded = np.pad(magnitude, ((0, -outputs % block), (0, -inputs % block)))
    blocks = padded.reshape(padded.shape[0] // block, block, padded.shape[1] // block, block).max(axis=(1, 3))
    scaled = FAINTEST + (DARKEST - FAINTEST) * blocks / max(float(blocks.max()), np.finfo(np.float32).tiny)
    return np.where(blocks > 0, np.rint(scaled), 0).astype(np.uint8)


def png(ink: NDArray[np.uint8], colour: Colour) -> bytes:
    """A PNG whose pixel of ink a is `colour` at alpha a."""
    height, width = ink.shape
    rows = np.concatenate((np.zeros((height, 1), np.uint8), ink), axis=1)  # each row begins with filter type 0
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", bytes(colour) * 256),
            _chunk(b"tRNS", bytes(range(256))),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
