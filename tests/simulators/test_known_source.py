"""Which environments have a rewritten step, and which do not."""

import functools
import sys

import gymnasium
import pytest

pytest.importorskip("Box2D")

import Box2D

from niwaki.simulators import bipedal_walker, lunar_lander
from niwaki.simulators.known_source import fingerprint, known_source

CASES = [("LunarLander-v3", lunar_lander), ("BipedalWalker-v3", bipedal_walker)]


def make(name, **kwargs):
    return gymnasium.make(name, **kwargs).unwrapped


@pytest.mark.parametrize(("name", "rewritten"), CASES)
def test_the_installed_gymnasium_is_known(name, rewritten):
    if gymnasium.__version__.split(".")[:2] not in (["1", "2"], ["1", "3"], ["1", "4"]):
        pytest.skip(f"nobody has looked at Gymnasium {gymnasium.__version__} yet")
    env = make(name)
    assert known_source(env, rewritten.METHODS, rewritten.KNOWN) is sys.modules[type(env).__module__]


@pytest.mark.parametrize(("name", "rewritten"), CASES)
def test_a_changed_method_or_listener_is_not_known(name, rewritten, monkeypatch):
    env = make(name)
    module, before = sys.modules[type(env).__module__], fingerprint(env, rewritten.METHODS)

    def step(self, action):
        return None

    with monkeypatch.context() as patch:
        patch.setattr(type(env), "step", step)
        assert fingerprint(env, rewritten.METHODS) not in (None, before)
    with monkeypatch.context() as patch:
        patch.setattr(module, "ContactDetector", type("ContactDetector", (), {}))
        assert fingerprint(env, rewritten.METHODS) != before
    assert fingerprint(env, rewritten.METHODS) == before


def test_a_method_without_source_or_with_another_around_it_is_not_known(monkeypatch):
    env = make("LunarLander-v3")
    plain = type(env).step

    @functools.wraps(plain)
    def wrapped(self, action):
        return plain(self, action)

    for other in (wrapped, len):
        with monkeypatch.context() as patch:
            patch.setattr(type(env), "step", other)
            assert fingerprint(env, lunar_lander.METHODS) is None
            assert known_source(env, lunar_lander.METHODS, lunar_lander.KNOWN) is None


def test_a_drawn_environment_is_not_known():
    env = make("LunarLander-v3", render_mode="rgb_array")
    assert known_source(env, lunar_lander.METHODS, lunar_lander.KNOWN) is None


def test_another_box2d_is_not_known(monkeypatch):
    monkeypatch.setattr(Box2D, "__version__", "2.4.0")
    assert known_source(make("LunarLander-v3"), lunar_lander.METHODS, lunar_lander.KNOWN) is None
