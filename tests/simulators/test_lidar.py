"""The lidar against b2World.RayCast itself, wherever a hull may be."""

from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("Box2D")

import Box2D
from gymnasium.envs.box2d import bipedal_walker as source

from niwaki.compiler import find_compiler
from niwaki.simulators import lidar as under_test
from niwaki.simulators import lidar_c
from niwaki.simulators.gymnasium import gymnasium_engine
from niwaki.simulators.lidar import Lidar

COMPILE = lidar_c._compiled.__wrapped__  # anew every time
WALKER = gymnasium_engine("BipedalWalker-v3")


@pytest.fixture(params=["machine code", "Python"], autouse=True)
def arithmetic(request, monkeypatch):
    """All of it with a compiler and without."""
    if request.param == "Python":
        monkeypatch.setattr(lidar_c, "_compiled", lambda: None)
    elif find_compiler() is None:
        pytest.skip("no C compiler")


@pytest.fixture(params=[0, 1])
def env(request):
    run = WALKER.open()
    run.start(np.array([*WALKER.nominal[:-1], request.param]))
    return run.env


class Counted(Lidar):
    asked = 0

    def ask(self, way, x, y):
        self.asked += 1
        return super().ask(way, x, y)


def look(env, places):
    """Compare with the world at places [n, 2]; returns the share of rays for which the world was asked."""
    lidar = Counted(env, source)
    assert (lidar.quick is None) == (lidar_c._compiled() is None)
    truth = Lidar(env, source)
    for x, y in places.astype(np.float32).tolist():
        seen = lidar(Box2D.b2Vec2(x, y).this, x, y)
        assert seen == [truth.ask(way, x, y) for way in truth.rays], (x, y)
    return lidar.asked / (10 * len(places))


def ground(env, x):
    return np.interp(x, env.terrain_x, env.terrain_y)


def test_a_walking_hull_sees_what_the_world_says(env):
    rng = np.random.default_rng(0)
    x = rng.uniform(1.0, 94.0, 400)
    places = np.stack([x, ground(env, x) + rng.uniform(0.3, 6.0, len(x))], axis=1)
    assert look(env, places) < 0.02  # otherwise it would be exact and slow


def test_a_hull_in_the_ground_beside_the_course_or_far_above_sees_what_the_world_says(env):
    rng = np.random.default_rng(1)
    x = rng.uniform(-8.0, 100.0, 200)
    look(env, np.stack([x, ground(env, x) + rng.uniform(-3.0, 9.0, len(x))], axis=1))
    x = rng.uniform(0.0, 94.0, 200)
    look(env, np.stack([x, ground(env, x) + rng.uniform(-0.02, 0.02, len(x))], axis=1))


def test_in_a_steep_ground_rays_may_leave_it_again(env):
    rng = np.random.default_rng(3)
    env.world, env.terrain = Box2D.b2World(), []
    env.terrain_y = list(source.TERRAIN_HEIGHT + rng.normal(size=source.TERRAIN_LENGTH))
    for left, right in pairwise(zip(env.terrain_x, env.terrain_y, strict=True)):
        env.fd_edge.shape.vertices = [left, right]
        env.terrain.insert(0, env.world.CreateStaticBody(fixtures=env.fd_edge))
    x = rng.uniform(1.0, 94.0, 400)
    look(env, np.stack([x, ground(env, x) + rng.uniform(-0.5, 2.0, len(x))], axis=1))


def test_rays_through_corners_see_what_the_world_says(env):
    rng = np.random.default_rng(2)
    lidar = Lidar(env, source)
    corners = np.array([env.terrain_x, env.terrain_y]).T
    ways = np.array([way[:2] for way in lidar.rays])
    n = 2000
    corner, way = corners[rng.integers(3, len(corners), n)], ways[rng.integers(10, size=n)]
    miss = rng.normal(size=(n, 2)) * 10.0 ** rng.uniform(-8, -3, (n, 1))
    asked = look(env, corner - way * rng.uniform(0.05, 1.0, (n, 1)) + miss)
    assert asked > 0.02


def test_without_doubt_a_ray_through_a_corner_may_see_another_edge(env, monkeypatch):
    """The margin is needed: this is the test that the test above can fail."""
    monkeypatch.setattr(under_test, "DOUBT", 0.0)
    with pytest.raises(AssertionError):
        test_rays_through_corners_see_what_the_world_says(env)


def test_machine_code_that_gives_another_bit_is_not_used(env, monkeypatch):
    monkeypatch.setattr(lidar_c, "SOURCE", lidar_c.SOURCE.replace("nx *= inverse", "nx *= inverse * 1.0000002f"))
    monkeypatch.setattr(lidar_c, "_compiled", COMPILE)
    assert COMPILE() is not None
    assert Lidar(env, source).quick is None
