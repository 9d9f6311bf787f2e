"""The policy as it is shipped: compiled where there is a compiler, mirrored where not, the same bits."""

import numpy as np

from niwaki.policies.c_source import random_observations
from niwaki.policies.compiled import CompiledPolicy
from niwaki.policies.deployed import MirrorPolicy, deployed, ns_per_call
from niwaki.policies.network import Head
from niwaki.types import Policy


def test_with_a_compiler_it_is_compiled_and_timed(make_network, require_tool):
    require_tool("cc")
    policy = deployed(make_network((4, 16, 2)))
    assert isinstance(policy, CompiledPolicy)
    assert 1 < ns_per_call(policy) < 1e5


def test_a_larger_network_takes_longer(make_network, require_tool):
    require_tool("cc")
    small, large = (ns_per_call(deployed(make_network((8, width, width, 2)))) for width in (4, 256))
    assert large > 5 * small


def test_without_a_compiler_it_is_mirrored_and_not_timed(make_network, monkeypatch):
    monkeypatch.setenv("CC", "/nonexistent")
    policy = deployed(make_network((4, 16, 2)))
    assert isinstance(policy, MirrorPolicy)
    assert isinstance(policy, Policy)
    assert policy.observation_size == 4
    assert ns_per_call(policy) is None


def test_both_give_the_same_bits(make_network, require_tool, assert_same_bits):
    require_tool("cc")
    for head in (Head("argmax"), Head("squash", [-1] * 3, [1] * 3)):
        policy = make_network((6, 40, 3), ("elu",), head, normalized=True, density=0.1)
        x = random_observations(policy, 2000)
        assert_same_bits(CompiledPolicy(policy)(x), MirrorPolicy(policy)(x))


def test_the_mirror_computes_the_compacted_network(make_network):
    mirror = MirrorPolicy(make_network((6, 40, 3), density=0.02))
    assert mirror.network.weights < mirror.policy.weights
    np.testing.assert_allclose(mirror(np.ones((2, 6))), mirror.policy(np.ones((2, 6))), rtol=1e-5, atol=1e-5)
