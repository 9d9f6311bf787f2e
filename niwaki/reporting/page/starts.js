// The map of start states.

const SHAPES = {
  safe: (x, y) => svg("circle", { class: "safe", cx: x, cy: y, r: 3.2 }),
  counterexample: (x, y) => svg("path", { class: "counterexample", d: `M${x - 4} ${y - 4}l8 8m0 -8l-8 8` }),
  both: (x, y) => svg("path", { class: "both", d: `M${x} ${y - 5}l5 5l-5 5l-5 -5z` }),
  teacher: (x, y) => svg("path", { class: "teacher", d: `M${x - 4} ${y}h8m-4 -4v8` }),
};
const OUTCOME_WORDS = {
  safe: "safe", counterexample: "counterexample: only the shipped policy fails",
  both: "the teacher fails too", teacher: "only the teacher fails",
};

function drawStarts(home, width) {
  const map = data.starts;
  home.axes = home.axes || [map.first, map.second];
  const [a, b] = home.axes;
  const left = 62, right = width - 16, top = 30, bottom = Math.min(470, Math.max(300, width * 0.5)), height = bottom + 46;
  const column = (i) => map.values.map((row) => row[i]);
  const x = linear(roomy(column(a), 0.04), [left, right]), y = linear(roomy(column(b), 0.04), [bottom, top]);
  const picture = plot(width, height, `${map.values.length} start states by ${map.names[a]} and ${map.names[b]}`);
  picture.append(
    yAxis(y, { left, right, title: withUnit(map.names[b], map.units[b]) }),
    xAxis(x, { bottom, top, right, title: withUnit(map.names[a], map.units[a]), count: width < 500 ? 4 : 8 }),
    drawnBox(map, x, y, a, b));
  const order = map.values.map((_, i) => i).sort((i, j) => (map.outcomes[i] > 0) - (map.outcomes[j] > 0));
  for (const i of order) picture.append(SHAPES[data.outcomes[map.outcomes[i]]](x(map.values[i][a]), y(map.values[i][b])));

  const change = (axis) => (i) => { home.axes[axis] = i; drawStarts(home, width); };
  const legend = tag("div", { class: "legend" }, data.outcomes.map((name, k) =>
    [map.outcomes.filter((o) => o === k).length, name]).filter(([n]) => n).map(([n, name]) =>
    tag("span", {}, svg("svg", { viewBox: "0 0 18 14", "aria-hidden": true }, SHAPES[name](9, 7)), `${OUTCOME_WORDS[name]}: ${whole(n)}`)));
  home.replaceChildren(
    tag("div", { class: "controls" }, selector("across", map.names, a, change(0)), selector("up", map.names, b, change(1))),
    legend, picture);
  hoverStarts(home, picture, x, y, a, b);
}

// A dashed frame around what was drawn from the task's own distribution, when the search went further.
function drawnBox(map, x, y, a, b) {
  const drawn = map.values.filter((_, i) => map.origins[i] === 0);
  if (!drawn.length || drawn.length === map.values.length) return null;
  const span = (i) => [Math.min(...drawn.map((r) => r[i])), Math.max(...drawn.map((r) => r[i]))];
  const [[x0, x1], [y0, y1]] = [span(a).map(x), span(b).map(y)];
  return svg("rect", { class: "box", x: x0 - 6, y: y1 - 6, width: x1 - x0 + 12, height: y0 - y1 + 12 });
}

function hoverStarts(home, picture, x, y, a, b) {
  const map = data.starts, tip = tooltip(home), ring = svg("circle", { class: "chosen", r: 8, visibility: "hidden" });
  picture.append(ring);
  picture.addEventListener("pointermove", (event) => {
    const [px, py] = pointer(picture, event);
    let best = -1, nearest = 26 ** 2;
    map.values.forEach((row, i) => {
      const distance = (x(row[a]) - px) ** 2 + (y(row[b]) - py) ** 2;
      if (distance < nearest) [best, nearest] = [i, distance];
    });
    if (best < 0) { tip.hide(); ring.setAttribute("visibility", "hidden"); return; }
    const row = map.values[best], cx = x(row[a]), cy = y(row[b]);
    filled(ring, { cx, cy, visibility: "visible" }, []);
    tip.show(picture, cx, cy, OUTCOME_WORDS[data.outcomes[map.outcomes[best]]], [
      ...[...new Set([a, b])].map((i) => `${map.names[i]} ${number(row[i])} ${map.units[i] === "1" ? "" : map.units[i]}`),
      `return ${number(map.policy_returns[best])}, teacher ${number(map.teacher_returns[best])}`,
      { drawn: "drawn from the task's distribution", searched: "from the search's wider ranges", counterexample: "found by the search during the run" }[data.origins[map.origins[best]]],
    ]);
  });
  picture.addEventListener("pointerleave", () => { tip.hide(); ring.setAttribute("visibility", "hidden"); });
}
