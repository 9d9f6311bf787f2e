// Sparsity against return and violation rate: every stage of the run, the shipped one circled.

function drawPath(home, width) {
  const stages = data.path, teacher = data.teacher, narrow = width < 640;
  const left = 62, right = width - (narrow ? 16 : 120), top = 40, returnBottom = 290, rateTop = 350, rateBottom = 480, height = 548;
  const most = Math.max(teacher.nonzero_weights, ...stages.map((s) => s.nonzero_weights));
  const least = Math.max(1, Math.min(...stages.map((s) => s.nonzero_weights), teacher.nonzero_weights));
  const x = logarithmic([most * 1.25, least / 1.5], [left, right]);
  const at = (stage) => x(Math.max(stage.nonzero_weights, least / 1.4));
  const returns = [teacher.return_mean, data.threshold, ...stages.flatMap((s) => [s.return_mean, s.return_low, s.return_high])];
  const y = linear(roomy(returns.filter((v) => v !== null), 0.1), [returnBottom, top]);
  const worst = Math.max(0.002, teacher.violation_rate || 0, ...stages.map((s) => s.violation_rate || 0));
  const rate = linear([0, worst * 1.08], [rateBottom, rateTop]);

  const picture = plot(width, height, `Mean return and violation rate of ${stages.length} networks against the weights left`);
  const label = (place, text, kind, cls, below) => level(place, text, kind, cls, { left, right, below, outside: !narrow });
  picture.append(
    yAxis(y, { left, right, title: "mean return", count: 5 }),
    yAxis(rate, { left, right, title: "violation rate", count: 3, show: percent }),
    weightAxis(x, { left, right, most, least, bottom: rateBottom }),
    label(rate(teacher.violation_rate || 0), `teacher ${percent(teacher.violation_rate || 0)}`, "teacher-line dashed", "", false));
  if (teacher.return_mean !== null) {
    picture.append(label(y(teacher.return_mean), `teacher ${number(teacher.return_mean)}`, "teacher-line dashed", "", data.threshold > teacher.return_mean));
  }
  if (data.threshold !== null) {
    picture.append(label(y(data.threshold), `asked for ${number(data.threshold)}`, "limit", "alarm", data.threshold <= teacher.return_mean));
  }
  const kept = [teacher, ...stages.filter((s) => s.passed !== false)].sort((a, b) => b.nonzero_weights - a.nonzero_weights);
  for (const place of [(s) => y(s.return_mean ?? NaN), (s) => rate(s.violation_rate || 0)]) {
    picture.append(
      svg("path", { class: "policy-line", opacity: 0.5, d: line(kept.map((s) => [at(s), place(s)])) }),
      svg("circle", { class: "teacher-dot", cx: at(teacher), cy: place(teacher) || 0, r: 5 }));
  }
  const tip = tooltip(home), labels = [];  // places of numbers, so that none covers another
  const free = (px, py) => labels.every(([a, b]) => Math.hypot(a - px, b - py) > 15) && labels.push([px, py]);
  const order = [...stages].sort((a, b) => b.shipped - a.shipped);
  const drawn = new Map(order.map((stage) => [stage, marks(stage, at(stage), y, rate, picture, tip, free(at(stage), y(stage.return_mean)))]));
  picture.append(...stages.map((stage) => drawn.get(stage)));
  home.replaceChildren(picture, ...home.querySelectorAll(".tip"));
}

// A line across, with its name beside the plot where there is room; else above its left end, where the teacher is.
function level(height, label, line, text, { left, right, below = false, outside = false }) {
  const place = outside ? { x: right + 8, y: height + (below ? 13 : 0) } : { x: left + 4, y: height + (below ? 15 : -9) };
  return svg("g", {},
    svg("line", { class: line, x1: left, x2: right, y1: height, y2: height }),
    svg("text", { class: `halo ${text}`, ...place }, label));
}

function weightAxis(x, { left, right, most, least, bottom }) {
  const total = data.teacher.weights;
  const shown = spaced(decades(least / 1.5, most * 1.25).reverse(), x, 74);
  return svg("g", {},
    svg("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }),
    shown.map((w) => [
      svg("line", { class: "axis", x1: x(w), x2: x(w), y1: bottom, y2: bottom + 4 }),
      svg("text", { x: x(w), y: bottom + 19, "text-anchor": "middle" }, whole(w)),
      svg("text", { x: x(w), y: bottom + 35, "text-anchor": "middle", opacity: 0.8 }, percent(Math.max(0, 1 - w / total))),
    ]).flat(),
    svg("text", { class: "strong", x: right, y: bottom + 56, "text-anchor": "end" }, "weights left, and the share that was pruned"));
}

function marks(stage, x, y, rate, picture, tip, labelled) {
  const group = svg("g", { class: "stage-mark", tabindex: 0, role: "img", "aria-label": `${stage.number}: ${stage.title}, return ${number(stage.return_mean)}` });
  heard(group, tip, () => tip.show(picture, x, y(stage.return_mean), `${stage.number}. ${stage.title}`, described(stage)));
  if (stage.return_low !== null && stage.return_high !== null) {
    group.append(svg("line", { class: "whisker", x1: x, x2: x, y1: y(stage.return_low), y2: y(stage.return_high) }));
  }
  const places = [y(stage.return_mean), rate(stage.violation_rate || 0)];
  for (const place of places) {
    group.append(
      svg("circle", { cx: x, cy: place, r: 12, fill: "transparent" }),
      svg("circle", { class: stage.passed ? "path-dot passed" : "path-dot", cx: x, cy: place, r: 4.5 }));
    if (stage.shipped) group.append(svg("circle", { class: "ring shipped-ring", cx: x, cy: place, r: 10 }));
  }
  if (labelled) group.append(svg("text", { class: stage.shipped ? "halo accent" : "halo", x, y: places[0] + (stage.shipped ? -17 : 22), "text-anchor": "middle" },
    stage.shipped ? `${stage.number} shipped` : String(stage.number)));
  return group;
}

function described(stage) {
  const broken = Object.entries(stage.violations || {}).map(([name, n]) => `  ${name}: ${whole(n)}`);
  return [
    `${whole(stage.nonzero_weights)} weights left (${percent(1 - stage.nonzero_weights / data.teacher.weights)} pruned)`,
    `return ${number(stage.return_mean)}` + (stage.return_low === null ? "" : ` [${number(stage.return_low)}, ${number(stage.return_high)}]`),
    `violations ${percent(stage.violation_rate)} of ${whole(stage.episodes)} episodes`, ...broken,
    stage.counterexamples === null ? "" : `counterexamples ${whole(stage.counterexamples)}`,
    stage.passed === null ? "" : stage.passed ? "passed its gate" : "did not pass its gate",
  ];
}
