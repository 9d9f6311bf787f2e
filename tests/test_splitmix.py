"""SplitMix64: the numbers of the plain definition, and every bit matters."""

from __future__ import annotations

import numpy as np

from niwaki.splitmix import GOLDEN, mixed

LIMIT = 2**64


def plain(state: int) -> int:
    """The next output in Python's whole numbers."""
    z = (state + 0x9E3779B97F4A7C15) % LIMIT
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % LIMIT
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % LIMIT
    return z ^ (z >> 31)


def test_it_is_the_plain_definition_and_knows_the_published_stream_of_seed_zero():
    words = np.random.default_rng(0).integers(0, LIMIT - 1, (3, 50), dtype=np.uint64, endpoint=True)
    assert mixed(words).tolist() == [[plain(word) for word in row] for row in words.tolist()]
    states = np.arange(3, dtype=np.uint64) * GOLDEN
    assert mixed(states).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_every_bit_of_the_input_turns_about_half_of_the_bits_of_the_output():
    words = np.random.default_rng(1).integers(0, LIMIT - 1, (2000, 1), dtype=np.uint64, endpoint=True)
    turned = mixed(words) ^ mixed(words ^ (np.uint64(1) << np.arange(64, dtype=np.uint64)))
    share = np.unpackbits(turned.view(np.uint8).reshape(2000, 64, 8), axis=2).mean(axis=0)  # [input bit, output bit]
    assert np.abs(share - 0.5).max() < 6 * 0.5 / np.sqrt(2000)
