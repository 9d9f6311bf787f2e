"""The C functions that hold an adapted policy near its base: the arithmetic, and one pair for each kind of budget.

A pair is `approach`, which chooses the distribution of a step and returns what it may have used, and `spent`, which
says what it used. They follow `budget` and `ratio`, with two differences. They never fail: where a number is not
finite the base's own distribution is chosen, whose ratio is 1. And all that rounding did is on the safe side, so that
the budget is kept in exact arithmetic by the numbers as they are, not only as far as rounded formulas can tell:

- Every limit is kept with a margin of 2^-40 of it, as `log_max_ratio` computes it. That is a sum of terms which are not
  negative, each from a few operations that are wrong by 2^-53 relatively; so up to 4096 actions the margin is larger
  than the error. Nothing else in the search can do harm: its result is measured, and the base is what remains.
- What was spent is rounded up, by the margin times the sum of the magnitudes that were added, and what is left down.
- Single precision would not do: its error, 2^-24, would cost more of the budget than a step is worth.
"""

from __future__ import annotations

MOST_ACTIONS = 4096

ARITHMETIC = """#define MARGIN 0x1p-40 /* of a limit, to be kept in exact arithmetic whatever rounding did */
#define LEAST 1e-200 /* a smaller limit is none: squares below it could vanish */

/* A distribution of independent normal numbers, one for each action before the head. */
typedef struct {
  double mean[POLICY_ACTIONS], deviation[POLICY_ACTIONS];
} normal;

/* e^x for |x| <= 80: x = k ln 2 + r with |r| <= ln 2 / 2, a series in r, and 2^k by its bits. */
static double exponential(double x)
{
  const double turns = x * 0x1.71547652b82fep+0;
  union { uint64_t bits; double value; } power;
  double r, sum = 1.0;
  int32_t i, k;
  if (x != x) return x;
  k = (int32_t)(turns < 0.0 ? turns - 0.5 : turns + 0.5);
  r = (x - k * 0x1.62e42fee00000p-1) - k * 0x1.a39ef35793c76p-33;
  for (i = 14; i > 0; --i) sum = 1.0 + r / i * sum;
  power.bits = (uint64_t)(k + 1023) << 52;
  return sum * power.value;
}

/* The root of x >= 0 by Newton's method, from a guess that halves the exponent. */
static double root(double x)
{
  union { uint64_t bits; double value; } guess;
  int32_t i;
  if (!(x > 1e-300)) return 0.0;
  if (!(x < 1e308)) return x;
  guess.value = x;
  guess.bits = (guess.bits >> 1) + ((uint64_t)511 << 52) + ((uint64_t)1 << 51);
  for (i = 0; i < 6; ++i) guess.value = 0.5 * (guess.value + x / guess.value);
  return guess.value;
}

static double size_of(double x)
{
  return x < 0.0 ? -x : x;
}

/* from + far, rounded to the side of `from`. */
static double moved(double from, double far)
{
  union { uint64_t bits; double value; } to;
  to.value = from + far;
  if (!(size_of(to.value - from) > size_of(far))) return to.value;
  if (to.value == 0.0) return from;
  to.bits += (to.value < from) == (to.value > 0.0) ? (uint64_t)1 : ~(uint64_t)0;
  return to.value;
}

static void keep(const normal *base, normal *chosen)
{
  int32_t i;
  for (i = 0; i < POLICY_ACTIONS; ++i) {
    chosen->mean[i] = base->mean[i];
    chosen->deviation[i] = base->deviation[i];
  }
}
"""

SHIFT = """/* mu = mu_b + (mu_t - mu_b) min(1, m / |z|) with m^2 = `allowed` and z the way from base to task in the
   base's deviations, which are kept. Returns the most that it may have used: `allowed`, or 0 for the base itself. */
static double approach(const normal *task, const normal *base, double allowed, normal *chosen)
{
  const double goal = allowed * (1.0 - MARGIN);
  double way = 0.0, part = 1.0;
  int32_t i;
  keep(base, chosen);
  for (i = 0; i < POLICY_ACTIONS; ++i) {
    const double z = (task->mean[i] - base->mean[i]) / base->deviation[i];
    way += z * z;
  }
  if (!(allowed > LEAST && way - way == 0.0)) return 0.0;
  if (way > goal) part = root(goal / way);
  for (i = 0; i < POLICY_ACTIONS; ++i)
    chosen->mean[i] = moved(base->mean[i], (task->mean[i] - base->mean[i]) * part);
  return allowed;
}

/* The squared move in the base's deviations, rounded up; no more than `approach` has allowed. */
static double spent(const normal *chosen, const normal *base, double allowed)
{
  double sum = 0.0;
  int32_t i;
  for (i = 0; i < POLICY_ACTIONS; ++i) {
    const double z = (chosen->mean[i] - base->mean[i]) / base->deviation[i];
    sum += z * z;
  }
  sum *= 1.0 + MARGIN;
  return sum <= allowed ? sum : allowed;
}
"""

LOGARITHM = """/* 2 artanh(x) for |x| <= 1/3, the logarithm of (1 + x) / (1 - x): no two terms of the series cancel. */
static double twice_artanh(double x)
{
  const double q = x * x;
  double sum = 0.0;
  int32_t n;
  for (n = 35; n > 0; n -= 2) sum = 1.0 / n + q * sum;
  return 2.0 * x * sum;
}

/* ln x of a normal number x > 0: x = 2^k m with m between the roots of 1/2 and 2. */
static double logarithm(double x)
{
  union { uint64_t bits; double value; } m;
  int32_t k;
  m.value = x;
  k = (int32_t)(m.bits >> 52) - 1022;
  m.bits = (m.bits & 0xfffffffffffff) | ((uint64_t)1022 << 52);
  if (m.value < 0x1.6a09e667f3bcdp-1) {
    m.value *= 2.0;
    --k;
  }
  return k * 0x1.62e42fefa39efp-1 + twice_artanh((m.value - 1.0) / (m.value + 1.0));
}

/* -ln s of the quotient of two deviations, 0 < s <= 1, of which 1 - s is known better than s. */
static double narrowed(double s, double lack)
{
  return lack < 0.5 ? twice_artanh(lack / (2.0 - lack)) : -logarithm(s);
}
"""

_LARGEST_RATIO = """#define NEVER 1e300

/* The logarithm of the largest density ratio of chosen to base over all actions; NEVER where it has no bound. */
static double log_max_ratio(const normal *chosen, const normal *base)
{
  double sum = 0.0;
  int32_t i;
  for (i = 0; i < POLICY_ACTIONS; ++i) {
    const double s = chosen->deviation[i] / base->deviation[i];
    const double lack = (base->deviation[i] - chosen->deviation[i]) / base->deviation[i];
    const double off = chosen->mean[i] - base->mean[i];
    if (!(lack >= 0.0 && s > 1e-150)) return NEVER;
    sum += narrowed(s, lack);
    if (off != 0.0) {
      const double z = off / base->deviation[i];
      if (!(lack > 0.0)) return NEVER;
      sum += z * z / (2.0 * lack * (1.0 + s));
    }
  }
  return sum;
}
"""

_OPTIMUM = """/* Where a policy stands beside its base, in units of the base's deviation. */
typedef struct {
  double shift[POLICY_ACTIONS];
  double narrowing[POLICY_ACTIONS]; /* what its variance lacks to the base's */
  double variance[POLICY_ACTIONS];
} place;

/* The multiplier from which on a component is the base's, for a task at distance d with variance tau. */
static double multiplier_at_base(double d, double tau)
{
  const double r = 1.0 / tau, twice = 2.0 * d * r;
  const double far = root((r - 1.0) * (r - 1.0) + twice * twice);
  if (r >= 1.0) return (r - 1.0 + far) / 2.0;
  return d == 0.0 ? 0.0 : 2.0 * (d * r) * (d * r) / (1.0 - r + far);
}

/* One component's optimum under a multiplier lam: the root y of a falling convex function by Newton's method, from a
   lower bound of it. Adds to the log ratio and to its derivative. */
static void optimum(double lam, double d, double tau, double at_base, double *shift, double *narrowing,
                    double *variance, double *ratio, double *slope)
{
  const double top = 1.0 + lam * tau;
  double y = lam * tau, w = 0.0, u = 1.0, p, turn;
  int32_t i;
  if (lam < at_base) {
    if (1.0 - tau > y) y = 1.0 - tau;
    if (d != 0.0) {
      const double alone = 2.0 * top / (1.0 + root(1.0 + 4.0 * (1.0 + lam) / lam * (top / d / d)));
      if (alone > y) y = alone;
    }
    for (i = 0; i < 60; ++i) {
      const double pull = lam * (d / y) * (d / y), push = 1.0 / tau + pull;
      const double step = (push * (top - y) - (1.0 + lam)) / (push + 2.0 * pull * ((top - y) / y));
      if (!(step > 4e-16 * y)) break;
      y += step;
    }
    u = (1.0 + lam) / (1.0 / tau + lam * (d / y) * (d / y));
    if (!(u < 1.0)) u = 1.0;
    w = y < 1.0 ? y - lam * tau : 1.0 - u;
    w = w > 0.0 ? w < 1.0 ? w : 1.0 : 0.0;
  }
  *shift = d * (w / y);
  *narrowing = w;
  *variance = w < 0.5 ? 1.0 - w : u;
  if (!(w > 0.0)) return;
  u = *variance;
  p = d / y;
  *ratio += (narrowed(u, w) + p * p * w) / 2.0;
  turn = (p * p * (1.0 - 2.0 * lam * tau / y) - 1.0 / u) / (2.0 * lam * p * p / y + (1.0 + lam) / u / u);
  *slope += (1.0 / (2.0 * u) + p * p * ((y - 2.0 * w) / y) / 2.0) * turn - p * p * (w / y) * tau;
}

static double within(double x, double low, double high)
{
  return x < low ? low : x > high ? high : x;
}

/* The optimum where the task itself is not allowed: safeguarded Newton on ln ratio against ln lam. `high` is always on
   the allowed side, and `best` is what is known of it. */
static void search(const normal *task, const normal *base, double goal, place *best)
{
  double d[POLICY_ACTIONS], tau[POLICY_ACTIONS], at_base[POLICY_ACTIONS], low = 0.0, high = 0.0, lam;
  place here;
  int32_t i, k;
  for (i = 0; i < POLICY_ACTIONS; ++i) {
    const double s = within(task->deviation[i] / base->deviation[i], 0x1.58576f7889ed7p-125, 0x1.7ca5342cf485ap+124);
    d[i] = within((task->mean[i] - base->mean[i]) / base->deviation[i], -1e75, 1e75);
    tau[i] = s * s;
    at_base[i] = multiplier_at_base(d[i], tau[i]);
    if (at_base[i] > high) high = at_base[i];
    best->shift[i] = best->narrowing[i] = 0.0;
    best->variance[i] = 1.0;
  }
  lam = high / 2.0;
  for (k = 0; k < 200 && lam > low && lam < high && lam > 1e-200; ++k) {
    double ratio = 0.0, slope = 0.0, step, guess;
    for (i = 0; i < POLICY_ACTIONS; ++i)
      optimum(lam, d[i], tau[i], at_base[i], here.shift + i, here.narrowing + i, here.variance + i, &ratio, &slope);
    if (ratio <= goal) {
      high = lam;
      for (i = 0; i < POLICY_ACTIONS; ++i) {
        best->shift[i] = here.shift[i];
        best->narrowing[i] = here.narrowing[i];
        best->variance[i] = here.variance[i];
      }
      if (ratio >= goal * (1.0 - 4e-13)) return;
    } else {
      low = lam;
    }
    step = logarithm(goal * (1.0 - 2e-13) / ratio) * ratio / (slope * lam);
    guess = lam * exponential(within(step, -7.0, 7.0));
    lam = guess > low && guess < high ? guess : low > 0.0 ? root(low) * root(high) : high / 64.0;
  }
}
"""

RATIO = (
    _LARGEST_RATIO
    + "\n"
    + _OPTIMUM
    + """
/* The policy at a place, moved to the base by a part of the distance in mean and variance. A deviation next to the
   base's is rounded by much of what it lacks to it: the component's shift gives way as far as it must. */
static void settle(const place *at, double nearer, const normal *base, normal *chosen)
{
  int32_t i;
  for (i = 0; i < POLICY_ACTIONS; ++i) {
    const double b = base->deviation[i], shift = (1.0 - nearer) * at->shift[i];
    const double w = (1.0 - nearer) * at->narrowing[i], s = root(at->variance[i] + nearer * at->narrowing[i]);
    const double deviation = w < 0.5 ? b - b * (w / (1.0 + s)) : b * s;
    const double lack = (b - deviation) / b;
    const double part = -logarithm(s) + (w > 0.0 ? shift * shift / w / 2.0 : 0.0);
    const double rest = part - narrowed(deviation / b, lack);
    const double room = rest > 0.0 ? root(2.0 * lack * (1.0 + deviation / b) * rest) : 0.0;
    const double far = size_of(shift) < room ? shift : shift < 0.0 ? -room : room;
    chosen->deviation[i] = deviation;
    chosen->mean[i] = moved(base->mean[i], b * far);
  }
}

static int32_t usable(const normal *given)
{
  int32_t i;
  for (i = 0; i < POLICY_ACTIONS; ++i) {
    const double m = given->mean[i], s = given->deviation[i];
    if (!(m - m == 0.0 && s - s == 0.0 && s > 0.0)) return 0;
  }
  return 1;
}

/* The normal distribution nearest to the task's whose log ratio to the base is nowhere above `allowed`. Returns the
   most that a drawn action may use of it: `allowed`, or 0 for the base itself. */
static double approach(const normal *task, const normal *base, double allowed, normal *chosen)
{
  const double goal = allowed * (1.0 - MARGIN);
  double nearer = 0.0;
  place best;
  int32_t i;
  keep(base, chosen);
  if (!(allowed > LEAST) || !usable(task) || !usable(base)) return 0.0;
  for (i = 0; i < POLICY_ACTIONS; ++i) {
    chosen->mean[i] = task->mean[i];
    if (task->deviation[i] < base->deviation[i]) chosen->deviation[i] = task->deviation[i];
  }
  if (log_max_ratio(chosen, base) <= goal) return allowed;
  search(task, base, goal, &best);
  while (nearer < 1.0) {
    settle(&best, nearer, base, chosen);
    if (log_max_ratio(chosen, base) <= goal) return allowed;
    nearer = nearer > 0.0 ? 2.0 * nearer : 0x1p-52;
  }
  keep(base, chosen);
  return 0.0;
}

/* The log ratio of chosen to base at what was drawn from `last` with this noise, rounded up; no more than `approach`
   has allowed. It may be negative; below -1e6 no normal noise leads. */
static double spent(const normal *chosen, const normal *base, double allowed, const normal *last, const double *noise)
{
  double sum = 0.0, size = 0.0;
  int32_t i;
  for (i = 0; i < POLICY_ACTIONS; ++i) {
    const double s = chosen->deviation[i] / base->deviation[i];
    const double lack = (base->deviation[i] - chosen->deviation[i]) / base->deviation[i];
    const double off = (chosen->mean[i] - base->mean[i]) / base->deviation[i];
    const double apart = last->mean[i] - chosen->mean[i], thrown = last->deviation[i] * noise[i];
    const double z = (apart + thrown) / chosen->deviation[i];
    const double most = (size_of(apart) + size_of(thrown)) / chosen->deviation[i];
    const double log_width = narrowed(s, lack);
    sum += log_width + 0.5 * (off - z * lack) * (off + z * (1.0 + s));
    size += log_width + 0.5 * (size_of(off) + most * lack) * (size_of(off) + most * (1.0 + s));
  }
  sum += MARGIN * size;
  return sum > -1e6 && sum <= allowed ? sum : allowed;
}
"""
)
