"""Fit the rational tanh of niwaki.policies.arithmetic, and measure its error over every float32.

    python benchmarks/inference/fit_tanh.py          # the fit and the exhaustive error (about a minute)

tanh(x) = x P(x^2) / Q(x^2) with deg P = 3, deg Q = 4, Q(0) = 1, on [-limit, limit]: linearised least
squares, reweighted towards the points of largest error until it is close to minimax. The limit is where
the float32 result saturates without ever exceeding 1. The error is that of the emitted C function.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from niwaki.policies.arithmetic import TANH_LIMIT, TANH_P, TANH_Q
from niwaki.policies.c_kernels import KERNELS, PRELUDE

CHECK = """
#include <stdint.h>
#include <stdio.h>
#include <math.h>
#include <string.h>
%s
%s
int main(void)
{
  double absolute = 0, relative = 0, largest = 0;
  uint32_t bits;
  for (bits = 0x00800000u; bits < 0x42000000u; ++bits) {
    float x, y;
    double error, exact;
    memcpy(&x, &bits, 4);
    y = tanh_of(x);
    exact = tanh((double)x);
    error = fabs(y - exact);
    if (error > absolute) absolute = error;
    if (error / exact > relative) relative = error / exact;
    if (y > largest) largest = y;
    if (tanh_of(-x) != -y) { puts("not odd"); return 1; }
  }
  printf("absolute error %%.3e  relative error %%.3e  largest result %%.9g\\n", absolute, relative, largest);
  return 0;
}
"""


def fit(limit: float, *, degree_p: int = 3, degree_q: int = 4, rounds: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of P and Q in powers of x^2."""
    k = np.arange(3000)
    x = limit * (0.5 - 0.5 * np.cos(np.pi * (k + 0.5) / len(k)))
    target, s = np.tanh(x), (x / limit) ** 2
    weight, q = np.ones_like(x), np.ones_like(x)
    best, best_error = np.zeros(degree_p + degree_q + 1), np.inf
    for _ in range(rounds):
        columns = [x * s**i for i in range(degree_p + 1)] + [-target * s**j for j in range(1, degree_q + 1)]
        scale = weight / q
        solution = np.linalg.lstsq(np.stack(columns, 1) * scale[:, None], target * scale, rcond=None)[0]
        p = sum(solution[i] * s**i for i in range(degree_p + 1))
        q = 1 + sum(solution[degree_p + j] * s**j for j in range(1, degree_q + 1))
        error = np.abs(x * p / q - target)
        if (q > 0).all() and error.max() < best_error:
            best, best_error = solution.copy(), error.max()
        weight = np.maximum(weight * np.sqrt(error / error.max() + 1e-3), 1e-6)
        weight /= weight.max()
    powers = limit ** -(2.0 * np.arange(max(degree_p, degree_q) + 1))
    return best[: degree_p + 1] * powers[: degree_p + 1], np.r_[1, best[degree_p + 1 :]] * powers[: degree_q + 1]


def main() -> None:
    p, q = fit(float(TANH_LIMIT))
    print("P", [float(np.float32(c)).hex() for c in p], "in use", [float(c).hex() for c in TANH_P])
    print("Q", [float(np.float32(c)).hex() for c in q], "in use", [float(c).hex() for c in TANH_Q])
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "check.c"
        source.write_text(CHECK % (PRELUDE, KERNELS["tanh_of"]))
        subprocess.run(["cc", "-O2", "-std=c99", str(source), "-o", f"{folder}/check", "-lm"], check=True)
        print(subprocess.run([f"{folder}/check"], check=True, capture_output=True, text=True).stdout, end="")


if __name__ == "__main__":
    main()
