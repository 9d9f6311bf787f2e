"""BipedalWalker's lidar: what b2World.RayCast finds, asked of one edge per ray instead of the whole world.

Ten rays look down and to the right from the hull at a ground made of edges. A walk over the ground's corners tells
which edge a ray meets; Box2D's own arithmetic for that edge then gives the fraction. Wherever its rounding could
decide between two edges, the world is asked, as Gymnasium does it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from niwaki.simulators.lidar_c import Quick, looking

# Metres between a ray and a corner below which the world is asked: single precision is some 1e-5 near the goal.
DOUBT = 1e-4
CHECKED, HULL = 8, 1.4  # places where machine code is compared with Box2D, and their metres above the ground
CLEARANCE = 0.01  # a hull lower than this above a corner of its edge may be in the ground


class Edges(dict[int, Any]):
    """The ground's edges from left to right, each looked up when a ray first meets it."""

    def __init__(self, terrain: list[Any]) -> None:
        self.terrain = terrain  # from right to left

    def __missing__(self, k: int) -> Any:
        # The edge to the corner above every ray does not exist: any edge far behind stands for it.
        fixture = self.terrain[-1 - k if k < len(self.terrain) else -1].fixtures[0].this
        self[k] = fixture
        return fixture


class Lidar:
    """The lidar of one episode. The ground must be the graph of a function: not the hardcore course."""

    def __init__(self, env: Any, source: Any) -> None:
        reach = source.LIDAR_RANGE
        # Gymnasium's expressions, because p2 must have the same bits.
        self.rays = [
            (math.sin(1.5 * i / 10.0) * reach, -(math.cos(1.5 * i / 10.0) * reach), callback)
            for i, callback in enumerate(env.lidar)
        ]
        self.world, self.step, self.margin = env.world, source.TERRAIN_STEP, DOUBT * reach
        xs, ys = np.array([env.terrain_x, env.terrain_y], dtype=np.float32).tolist()
        self.start, self.end = xs[1], xs[-1]
        # One more corner, above every ray, and an edge beyond their range that leads to it.
        self.x, self.y = [*xs, 1e4], [*ys, 1e9]
        self.edges = Edges(env.terrain)
        self._bind()
        quick = looking(
            self.x,
            self.y,
            [way[:2] for way in self.rays],
            start=self.start,
            end=self.end,
            step=self.step,
            margin=self.margin,
            doubt=DOUBT,
            clearance=CLEARANCE,
        )
        self.quick = quick if quick and self._agrees(quick) else None

    def _agrees(self, quick: Quick) -> bool:
        """Whether the machine code gives the bits of this Box2D, which may have been compiled to round elsewhere."""
        import Box2D

        middle = [(left + right) / 2 for left, right in zip(self.x[:-2], self.x[1:-1], strict=True)]
        above = [max(pair) + HULL for pair in zip(self.y[:-2], self.y[1:-1], strict=True)]
        places = np.array([middle, above], dtype=np.float32).T[1 :: len(middle) // CHECKED].tolist()
        return all(self.seen(quick, x, y) == self.walk(Box2D.b2Vec2(x, y).this, x, y) for x, y in places)

    def _bind(self) -> None:
        """Box2D's accessors, and the C++ objects behind its proxies: a call with them costs a third of a look at
        an attribute."""
        import Box2D

        ray, hit = Box2D.b2RayCastInput(maxFraction=1.0), Box2D.b2RayCastOutput()
        self.ray, self.hit, self.ray_end = ray.this, hit.this, ray.p2.this  # p2 is a view of the ray's memory
        self.set_start, self.get_fraction = Box2D.b2RayCastInput.p1.fset, Box2D.b2RayCastOutput.fraction.fget
        self.set_x, self.set_y = Box2D.b2Vec2.x.fset, Box2D.b2Vec2.y.fset
        self.cast = Box2D.b2Fixture.RayCast

    def __call__(self, position: Any, x: float, y: float) -> list[float]:
        """What the rays from the hull's position (a b2Vec2 of the numbers x and y) see: fractions of their range."""
        return self.walk(position, x, y) if self.quick is None else self.seen(self.quick, x, y)

    def seen(self, quick: Quick, x: float, y: float) -> list[float]:
        """The same, by machine code."""
        look, fractions = quick
        doubtful = look(x, y)
        seen: list[float] = fractions.tolist()
        if not doubtful:
            return seen
        return [self.ask(way, x, y) if doubtful >> i & 1 else seen[i] for i, way in enumerate(self.rays)]

    def walk(self, position: Any, x: float, y: float) -> list[float]:
        """The same, asked of Box2D's edges one ray after the other."""
        k = self.corner(x, y)
        if k == 0:
            return [self.ask(ray, x, y) for ray in self.rays]
        xs, ys, margin, edges = self.x, self.y, self.margin, self.edges
        cast, hit, ray, end = self.cast, self.hit, self.ray, self.ray_end
        set_x, set_y, get_fraction = self.set_x, self.set_y, self.get_fraction
        self.set_start(ray, position)
        cx, cy = xs[k] - x, ys[k] - y
        seen = []
        for way in self.rays:
            dx, dy, _ = way
            # Rays that look further up meet the ground further to the right, so k never goes back.
            while (above := dx * cy - dy * cx) < -margin:
                k += 1
                cx, cy = xs[k] - x, ys[k] - y
            if above < margin:
                seen.append(self.ask(way, x, y))
            else:
                set_x(end, x + dx)
                set_y(end, y + dy)
                seen.append(get_fraction(hit) if cast(edges[k - 1], hit, ray, 0) else 1.0)
        return seen

    def corner(self, x: float, y: float) -> int:
        """The first corner to the right of the hull; 0 where the hull is not well above the ground, or is so
        near above a corner that the first ray may meet two edges."""
        if not self.start < x < self.end:
            return 0
        k = int(x / self.step) + 1
        above = y - self.y[k - 1] > CLEARANCE and y - self.y[k] > CLEARANCE
        return k if above and x - self.x[k - 1] > DOUBT else 0

    def ask(self, way: tuple[float, float, Any], x: float, y: float) -> float:
        """What the whole world says about one ray."""
        dx, dy, callback = way
        callback.fraction = 1.0
        self.world.RayCast(callback, (x, y), (x + dx, y + dy))
        fraction: float = callback.fraction
        return fraction
