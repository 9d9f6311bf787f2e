"""The C functions that emitted policies are put together from.

Written so that a compiler keeps four to eight accumulators in registers (vectors where there is AVX-512, AVX, SSE
or AArch64; plain floats on a microcontroller) and vectorises the activations. GCC and Clang contract
multiply-add in their default modes and then give other bits: the pragmas forbid it. GCC also turns loops
that fill or copy into calls of memset and memcpy, which a target without libc does not have.
"""

from __future__ import annotations

import re

import numpy as np

from niwaki.policies import arithmetic
from niwaki.policies.network import LEAKY_SLOPE

# Method 16 (_Float16 in hardware) still computes float as float.
PRELUDE = """#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16
#error "float must be computed as float: on 32-bit x86 compile with -msse2 -mfpmath=sse"
#endif
#if defined(__FAST_MATH__)
#error "-ffast-math changes the results: compile without it"
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize ("-ffp-contract=off,-fno-trapping-math,-fno-math-errno,-fno-tree-loop-distribute-patterns")
#else
#pragma STDC FP_CONTRACT OFF
#endif
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 8 && defined(__AVX512F__)
#pragma GCC target ("prefer-vector-width=512") /* 64 bytes in all loops, as in those by hand */
#endif

#if defined(__GNUC__) && defined(__AVX512F__)
#define ALIGNED __attribute__((aligned(64)))
#define ROW 16
typedef float row __attribute__((vector_size(64), aligned(4), may_alias));
#else
#define ALIGNED
#endif
#if defined(__GNUC__) && defined(__AVX__)
#define LANES 8
typedef float lanes __attribute__((vector_size(32), aligned(4), may_alias));
#elif defined(__GNUC__) && (defined(__SSE2__) || defined(__aarch64__))
#define LANES 4
typedef float lanes __attribute__((vector_size(16), aligned(4), may_alias));
#else
#define LANES 1
typedef float lanes;
#endif
"""


def c_float(value: float | np.float32) -> str:
    """A float32 as a hexadecimal C99 literal: exact by construction.

    >>> c_float(0.1)
    '0x1.99999ap-4f'
    """
    mantissa, exponent = float(np.float32(value)).hex().split("p")
    digits = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{digits}p{exponent}f"


_P = [c_float(c) for c in arithmetic.TANH_P]
_Q = [c_float(c) for c in arithmetic.TANH_Q]
_LIMIT = c_float(arithmetic.TANH_LIMIT)
_SLOPE = c_float(LEAKY_SLOPE)

WIDE = """/* y = b + sum over i of w[i][.] * x[i], in the order of i, for `first` times LANES outputs from j on and
   `second` times LANES outputs from k on. */
static inline void wide_block(const float *x, int32_t n, const float *w, const float *b, int32_t m, float *y,
                              int32_t j, const int32_t first, int32_t k, const int32_t second)
{
  lanes sum[8];
  int32_t i, t;
  for (t = 0; t < first; ++t) sum[t] = *(const lanes *)(b + j + t * LANES);
  for (t = 0; t < second; ++t) sum[4 + t] = *(const lanes *)(b + k + t * LANES);
  for (i = 0; i < n; ++i, w += m) {
    const float v = x[i];
    for (t = 0; t < first; ++t) sum[t] += *(const lanes *)(w + j + t * LANES) * v;
    for (t = 0; t < second; ++t) sum[4 + t] += *(const lanes *)(w + k + t * LANES) * v;
  }
  for (t = 0; t < first; ++t) *(lanes *)(y + j + t * LANES) = sum[t];
  for (t = 0; t < second; ++t) *(lanes *)(y + k + t * LANES) = sum[4 + t];
}

#ifdef ROW
/* The same sums for 4 times ROW outputs from j on. */
static inline void wide_rows(const float *x, int32_t n, const float *w, const float *b, int32_t m, float *y, int32_t j)
{
  row sum[4];
  int32_t i, t;
  for (t = 0; t < 4; ++t) sum[t] = *(const row *)(b + j + t * ROW);
  for (i = 0; i < n; ++i, w += m) {
    const float v = x[i];
    for (t = 0; t < 4; ++t) sum[t] += *(const row *)(w + j + t * ROW) * v;
  }
  for (t = 0; t < 4; ++t) *(row *)(y + j + t * ROW) = sum[t];
}
#endif

/* y[m] = b[m] + w[n][m] x[n], vectorised across the outputs. The last block may overlap the one before it:
   the same sums once more, cheaper than doing what is left one by one. */
static void wide(const float *x, int32_t n, const float *w, const float *b, int32_t m, float *y)
{
  const int32_t block = 4 * LANES;
  int32_t j = 0, i;
#ifdef ROW
  for (; m - j >= 4 * ROW; j += 4 * ROW) wide_rows(x, n, w, b, m, y, j);
#endif
  if (m >= block) {
    for (; m - j > block; j += 2 * block)
      wide_block(x, n, w, b, m, y, j, 4, m - j < 2 * block ? m - block : j + block, 4);
    if (j < m) wide_block(x, n, w, b, m, y, m - block, 4, 0, 0);
    return;
  }
  for (; m - j >= LANES; j += LANES) wide_block(x, n, w, b, m, y, j, 1, 0, 0);
  for (; j < m; ++j) {
    float sum = b[j];
    for (i = 0; i < n; ++i) sum += w[i * m + j] * x[i];
    y[j] = sum;
  }
}
"""

NARROW = f"""/* y[m] = b[m] + w[m][n] x[n], vectorised across the inputs in {arithmetic.PARTIAL_SUMS} partial sums. */
static void narrow(const float *x, int32_t n, const float *w, const float *b, int32_t m, float *y)
{{
  const int32_t whole = n - n % 8;
  int32_t i, j, t;
  for (j = 0; j < m; ++j, w += n) {{
    lanes part[8 / LANES];
    float s[8];
    for (t = 0; t < 8; ++t) s[t] = 0x0p+0f;
    for (t = 0; t < 8 / LANES; ++t) part[t] = *(const lanes *)(s + t * LANES);
    for (i = 0; i < whole; i += 8)
      for (t = 0; t < 8 / LANES; ++t)
        part[t] += *(const lanes *)(w + i + t * LANES) * *(const lanes *)(x + i + t * LANES);
    for (t = 0; t < 8 / LANES; ++t) *(lanes *)(s + t * LANES) = part[t];
    for (t = 0; t < n - whole; ++t) s[t] += w[whole + t] * x[whole + t];
    y[j] = b[j] + (((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7])));
  }}
}}
"""

# Compilers turn eight conversions into eight scalar ones: each byte is moved to the top of a word and shifted down.
_BYTES = """#if LANES == 1
#define widened(w) ((float)*(w))
#elif (defined(__clang__) || __GNUC__ >= 12) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
typedef int8_t bytes __attribute__((vector_size(16)));
typedef int32_t words __attribute__((vector_size(16)));
#define SPREAD(a, i, j, k, l) \\
  ((words)__builtin_shufflevector(a, a, i, i, i, i, j, j, j, j, k, k, k, k, l, l, l, l) >> 24)
static inline lanes widened(const int8_t *w)
{
#if LANES == 8
  typedef int64_t all __attribute__((aligned(1), may_alias));
  typedef int64_t pair __attribute__((vector_size(16)));
  const bytes a = (bytes)(pair){*(const all *)w, 0};
  const words low = SPREAD(a, 0, 1, 2, 3), high = SPREAD(a, 4, 5, 6, 7);
  return __builtin_convertvector(__builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7), lanes);
#else
  typedef int32_t all __attribute__((aligned(1), may_alias));
  const bytes a = (bytes)(words){*(const all *)w, 0, 0, 0};
  return __builtin_convertvector(SPREAD(a, 0, 1, 2, 3), lanes);
#endif
}
#else
static inline lanes widened(const int8_t *w)
{
  float y[LANES];
  int32_t t;
  for (t = 0; t < LANES; ++t) y[t] = (float)w[t];
  return *(const lanes *)y;
}
#endif
"""


def _of_bytes(kernel: str) -> str:
    """The kernel for weights that are bytes times a step. Their product is the weight, exactly: the same bits."""
    kernel = re.sub(r"#ifdef ROW\n.*?#endif\n", "", kernel, flags=re.DOTALL)
    for floats, bytes_ in (
        (r"\bwide\b", "wide_bytes"),
        (r"\bwide_block\b", "wide_bytes_block"),
        (r"\bnarrow\b", "narrow_bytes"),
        (r"const float \*w,", "const int8_t *w,\n                        const float step,"),
        (r"\(x, n, w,", "(x, n, w, step,"),
        (r"\*\(const lanes \*\)\((w [^)]*)\)", r"(widened(\1) * step)"),
        (r"\bw(\[[^]]*\])(?= \*)", r"((float)w\1 * step)"),
    ):
        kernel = re.sub(floats, bytes_, kernel)
    return re.sub(r"/\*.*?\*/\n", "", kernel, flags=re.DOTALL)  # said above, where floats are


TANH_OF = f"""/* tanh, absolute error below 4.8e-7, relative below 7.8e-7 for normal floats. */
static inline float tanh_of(float x)
{{
  float u, v, p, q;
  x = x < {_LIMIT} ? x : {_LIMIT};
  x = x > -{_LIMIT} ? x : -{_LIMIT};
  u = x * x;
  v = u * u;
  p = ({_P[0]} + {_P[1]} * u) + v * ({_P[2]} + {_P[3]} * u);
  q = ({_Q[0]} + {_Q[1]} * u) + v * (({_Q[2]} + {_Q[3]} * u) + v * {_Q[4]});
  return x * p / q;
}}
"""


def _elementwise(name: str, body: str) -> str:
    return f"""static void {name}_all(float *y, int32_t n)
{{
  int32_t i;
  for (i = 0; i < n; ++i) {{
    {body}
  }}
}}
"""


KERNELS = {
    "wide": WIDE,
    "narrow": NARROW,
    "bytes": _BYTES,
    "wide_bytes": _of_bytes(WIDE),
    "narrow_bytes": _of_bytes(NARROW),
    "tanh_of": TANH_OF,
    "relu": _elementwise("relu", "y[i] = y[i] > 0x0p+0f ? y[i] : 0x0p+0f;"),
    "tanh": _elementwise("tanh", "y[i] = tanh_of(y[i]);"),
    "leaky_relu": _elementwise("leaky_relu", f"y[i] = y[i] > 0x0p+0f ? y[i] : y[i] * {_SLOPE};"),
    "elu": _elementwise(
        "elu",
        "const float t = tanh_of(y[i] * 0x1p-1f);\n    y[i] = y[i] > 0x0p+0f ? y[i] : (t + t) / (0x1p+0f - t);",
    ),
    "sigmoid": _elementwise("sigmoid", "y[i] = 0x1p-1f + 0x1p-1f * tanh_of(y[i] * 0x1p-1f);"),
    "silu": _elementwise("silu", "y[i] = y[i] * (0x1p-1f + 0x1p-1f * tanh_of(y[i] * 0x1p-1f));"),
}
