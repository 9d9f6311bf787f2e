"""The walk of `lidar` over the ground's corners as machine code: in Python it is an eighth of a walker's step.

Where there is no compiler, Python walks.
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from niwaki.compiler import complaint, find_compiler

FLAGS = ("-std=c99", "-O2", "-ffp-contract=off", "-fno-math-errno", "-fPIC", "-shared")  # every operation is rounded
RAYS = 10

SOURCE = """
#include <float.h>
#include <math.h>
#include <stdint.h>

#define RAYS 10

typedef struct {
  const double *x, *y;  /* corners from left to right, then one above every ray */
  const double *ways;   /* [RAYS][2] */
  float *seen;          /* [RAYS] */
  int64_t above;        /* index of the last corner: the edge that leads to it is beyond every ray */
  double start, end, step, margin, doubt, clearance;
} course;

/* b2EdgeShape::RayCast for a body that was neither moved nor turned, in single precision as there. */
static float cast(float px, float py, float qx, float qy, float ax, float ay, float bx, float by)
{
  const float dx = qx - px, dy = qy - py, ex = bx - ax, ey = by - ay;
  const float length = sqrtf(ey * ey + ex * ex);
  float nx = ey, ny = -ex, above, along, t, s, square;
  if (!(length < FLT_EPSILON)) {
    const float inverse = 1.0f / length;
    nx *= inverse;
    ny *= inverse;
  }
  above = nx * (ax - px) + ny * (ay - py);
  along = nx * dx + ny * dy;
  if (along == 0.0f) return 1.0f;
  t = above / along;
  if (t < 0.0f || 1.0f < t) return 1.0f;
  square = ex * ex + ey * ey;
  if (square == 0.0f) return 1.0f;
  s = ((px + t * dx - ax) * ex + (py + t * dy - ay) * ey) / square;
  return s < 0.0f || 1.0f < s ? 1.0f : t;
}

/* What the rays from (x, y) see. Returns a bit for every ray of which the world is to be asked. */
int32_t look(const course *c, double x, double y)
{
  int32_t doubtful = 0, i;
  int64_t k;
  double cx, cy;
  if (!(c->start < x && x < c->end)) return (1 << RAYS) - 1;
  k = (int64_t)(x / c->step) + 1;
  if (!(y - c->y[k - 1] > c->clearance && y - c->y[k] > c->clearance && x - c->x[k - 1] > c->doubt))
    return (1 << RAYS) - 1;
  cx = c->x[k] - x;
  cy = c->y[k] - y;
  for (i = 0; i < RAYS; ++i) {
    const double dx = c->ways[2 * i], dy = c->ways[2 * i + 1];
    double above;
    while ((above = dx * cy - dy * cx) < -c->margin) {
      ++k;
      cx = c->x[k] - x;
      cy = c->y[k] - y;
    }
    if (above < c->margin) doubtful |= 1 << i;
    else if (k == c->above) c->seen[i] = 1.0f;
    else
      c->seen[i] = cast((float)x, (float)y, (float)(x + dx), (float)(y + dy), (float)c->x[k - 1], (float)c->y[k - 1],
                        (float)c->x[k], (float)c->y[k]);
  }
  return doubtful;
}
"""


class Course(ctypes.Structure):
    """What `look` reads of an episode's ground, and where it writes what the rays see."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "y", "ways", "seen")),
        ("above", ctypes.c_int64),
        *((name, ctypes.c_double) for name in ("start", "end", "step", "margin", "doubt", "clearance")),
    )


Look = Callable[[float, float], int]  # the hull's place -> a bit for every ray of which the world is to be asked
Quick = tuple[Look, NDArray[np.float32]]  # ... and what it wrote about the others


def looking(
    x: list[float],
    y: list[float],
    ways: list[tuple[float, float]],
    *,
    start: float,
    end: float,
    step: float,
    margin: float,
    doubt: float,
    clearance: float,
) -> Quick | None:
    """The function for one ground, as `Lidar` has it, and the array [RAYS] into which it writes what the rays see, as
    fractions of their range. None where there is no machine code to be had."""
    function = _compiled()
    if function is None or len(ways) != RAYS:
        return None
    arrays = np.array(x), np.array(y), np.array(ways), np.ones(RAYS, dtype=np.float32)
    pointers = (array.ctypes.data for array in arrays)
    course = Course(*pointers, len(x) - 1, start, end, step, margin, doubt, clearance)
    place = ctypes.byref(course)

    def look(x: float, y: float, *, kept: object = arrays) -> int:  # `place` points into them
        return function(place, x, y)

    return look, arrays[-1]


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., int] | None:
    compiler = find_compiler()
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory(prefix="niwaki-") as name:
        folder = Path(name)
        (folder / "lidar.c").write_text(SOURCE, encoding="ascii")
        if complaint([compiler, *FLAGS, "lidar.c", "-o", "lidar.so", "-lm"], folder):
            return None
        try:
            function = ctypes.CDLL(str(folder / "lidar.so")).look  # stays loaded without its file
        except OSError:
            return None
    function.restype, function.argtypes = ctypes.c_int32, (ctypes.c_void_p, ctypes.c_double, ctypes.c_double)
    return function
