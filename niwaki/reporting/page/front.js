// Policies of every size, side by side: return or violation rate against parameters, bytes or time.

const SIZES = [["nonzero_parameters", "parameters that are not zero"], ["bytes", "bytes of constants"], ["ns_per_call", "nanoseconds of a call"]];
const MERITS = [["return_mean", "mean return"], ["violation_rate", "violation rate"]];
const FRONT_MARKS = {
  disc: (x, y) => svg("circle", { class: "path-dot passed", cx: x, cy: y, r: 4.5 }),
  triangle: (x, y) => svg("path", { class: "path-dot passed", d: `M${x} ${y - 5.5}l5 9h-10z` }),
  cross: (x, y) => svg("path", { class: "policy-line", d: `M${x - 4.5} ${y - 4.5}l9 9m0 -9l-9 9` }),
  square: (x, y) => svg("rect", { class: "direct", x: x - 4, y: y - 4, width: 8, height: 8 }),
  ring: (x, y) => svg("circle", { class: "ring shipped-ring", cx: x, cy: y, r: 10 }),
  knee: (x, y) => svg("path", { class: "knee", d: `M${x} ${y - 17}l17 17l-17 17l-17 -17z` }),
};
const BASELINE = "direct distillation";
const FRONT_SHAPES = new Map([["whittled", "triangle"], ["mended", "cross"], [BASELINE, "square"]]);
const shapeOf = (series) => FRONT_MARKS[FRONT_SHAPES.get(series) || "disc"];

function drawFront(home, width) {
  const sizes = SIZES.filter(([key]) => data.fronts.rows.some((row) => row[key] !== null));
  home.axes = home.axes || [0, 0];
  if (!home.plot) {  // the choices stay where they are, so that they keep the focus
    home.plot = tag("div", { class: "plot" });
    const change = (axis) => (i) => { home.axes[axis] = i; plotFront(home, home.wide, sizes); };
    home.replaceChildren(
      tag("div", { class: "controls" },
        selector("across", sizes.map(([, name]) => name), 0, change(0)), selector("up", MERITS.map(([, name]) => name), 0, change(1))),
      frontLegend(), home.plot);
  }
  home.wide = width;
  plotFront(home, width, sizes);
}

function plotFront(home, width, sizes) {
  const [[across, acrossName], [up, upName]] = [sizes[home.axes[0]], MERITS[home.axes[1]]];
  const rows = data.fronts.rows.filter((row) => row[across] !== null && row[up] !== null), teacher = data.fronts.teacher;
  const narrow = width < 640, left = 62, right = width - (narrow ? 16 : 120), top = 44, bottom = narrow ? 330 : 400, height = bottom + 50;
  const least = Math.max(1, Math.min(...rows.map((row) => row[across]))), most = Math.max(least, ...rows.map((row) => row[across]));
  const x = logarithmic([least / 1.5, most * 1.5], [left, right]), at = (row) => x(Math.max(row[across], least / 1.4));
  const edges = frame(rows, teacher, up), seen = (value) => y(within(value, edges));
  const y = linear(up === "violation_rate" ? [0, 1.08 * edges[1]] : roomy(edges, 0.13), [bottom, top]);
  const show = up === "violation_rate" ? percent : number;
  const picture = plot(width, height, `${upName} of ${rows.length} policies against their ${acrossName}`, "group");
  picture.append(yAxis(y, { left, right, title: upName, show }), sizeAxis(x, { left, right, least, most, bottom, title: acrossName }));
  if (teacher[up] !== null) picture.append(teacherLevel(teacher, up, y, show, { left, right, narrow }));
  for (const name of across === "ns_per_call" ? [] : seriesNames()) {  // times have no order worth a line
    const kin = rows.filter((row) => row.series === name).sort((a, b) => a[across] - b[across]);
    picture.append(svg("path", { class: name === BASELINE ? "direct-line" : "policy-line", opacity: 0.5, d: line(kin.map((row) => [at(row), seen(row[up])])) }));
  }
  home.plot.replaceChildren(picture);
  const tip = tooltip(home.plot);
  const order = [...rows].sort((a, b) => (a.shipped || a.knee) - (b.shipped || b.knee) || a[across] - b[across]);
  picture.append(
    ...order.map((row) => frontMark(row, at(row), seen(row[up]), interval(row, up).map(seen), picture, tip)),
    ...rows.map((row) => frontWord(row, at(row), y(row[up]), { left, right })).filter(Boolean),
    ...rows.filter((row) => row[up] !== within(row[up], edges)).map((row) => beyond(row[up], show, at(row), seen(row[up]), right)));
}

// From where to where values are drawn: about the front and the teacher. A baseline that is far off is drawn at the edge,
// or nobody sees what sets the others apart.
function frame(rows, teacher, up) {
  const values = (row) => [row[up], ...interval(row, up)].filter((value) => value !== null);
  const near = [teacher, ...rows.filter((row) => row.series !== BASELINE)].flatMap(values), all = [...near, ...rows.flatMap(values)];
  const [low, high, least, most] = [Math.min(...near), Math.max(...near), Math.min(...all), Math.max(...all)];
  if (up === "violation_rate") return [0, Math.max(0.002, high, Math.min(most, Math.max(0.05, 3 * high)))];
  return [Math.max(least, low - 1.5 * Math.max(high - low, 0.1 * Math.abs(low))), most];
}

const within = (value, [low, high]) => Math.min(high, Math.max(low, value));

// An arrow towards a value that is beyond the edge, and the value.
function beyond(value, show, x, y, right) {
  const up = y < 100 ? -1 : 1, [anchor, aside] = right - x < 60 ? ["end", -10] : ["start", 10];
  return svg("g", { class: "beyond" },
    svg("path", { class: "direct-arrow", d: `M${x - 3.5} ${y + up * 8}l3.5 ${up * 5}l3.5 ${-up * 5}` }),
    svg("text", { class: "halo", x: x + aside, y: y + 4, "text-anchor": anchor }, show(value)));
}

const seriesNames = () => [...new Set(data.fronts.rows.map((row) => row.series))];

// The interval of what is drawn upwards; a rate has none here.
function interval(row, up) {
  return up === "return_mean" && row.return_low !== null && row.return_high !== null ? [row.return_low, row.return_high] : [];
}

function sizeAxis(x, { left, right, least, most, bottom, title }) {
  return svg("g", {},
    svg("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }),
    spaced(decades(least / 1.5, most * 1.5), x, 44).map((value) => [
      svg("line", { class: "axis", x1: x(value), x2: x(value), y1: bottom, y2: bottom + 4 }),
      svg("text", { x: x(value), y: bottom + 19, "text-anchor": "middle" }, number(value)),
    ]).flat(),
    svg("text", { class: "strong", x: right, y: bottom + 40, "text-anchor": "end" }, title));
}

// The teacher as a line with its interval as a band; on a narrow page the legend has its number.
function teacherLevel(teacher, up, y, show, { left, right, narrow }) {
  const place = y(teacher[up]), [low, high] = interval(teacher, up);
  return svg("g", {},
    low === undefined ? null : svg("rect", { class: "teacher-band", x: left, width: right - left, y: y(high), height: Math.max(1, y(low) - y(high)) }),
    svg("line", { class: "teacher-line dashed", x1: left, x2: right, y1: place, y2: place }),
    narrow ? null : svg("text", { class: "halo", x: right + 8, y: place + 4 }, `teacher ${show(teacher[up])}`));
}

const frontWords = (row) => [row.shipped ? "shipped" : "", row.knee ? "the knee" : ""].filter(Boolean).join(", ");

function frontMark(row, x, y, whisker, picture, tip) {
  const what = frontWords(row), lines = frontLines(row);
  const title = row.series + (what && what !== row.series ? `: ${what}` : "");
  const group = svg("g", { class: "front-mark", tabindex: 0, role: "img", "aria-label": [title, ...lines].join(", ") });
  heard(group, tip, () => tip.show(picture, x, y, title, lines));
  group.append(svg("circle", { cx: x, cy: y, r: 10, fill: "transparent" }));
  if (whisker.length) group.append(svg("line", { class: "whisker", x1: x, x2: x, y1: whisker[0], y2: whisker[1] }));
  group.append(shapeOf(row.series)(x, y));
  if (row.shipped) group.append(FRONT_MARKS.ring(x, y));
  if (row.knee) group.append(FRONT_MARKS.knee(x, y));
  return group;
}

// What is shipped is named above its mark, the knee below: so the two words never meet.
function frontWord(row, x, y, { left, right }) {
  if (!row.shipped && !row.knee) return null;
  const [anchor, aside] = x - left < 50 ? ["start", -8] : right - x < 50 ? ["end", 8] : ["middle", 0];
  const place = row.shipped ? y - (row.knee ? 23 : 17) : y + 32;
  return svg("text", { class: row.shipped ? "halo accent" : "halo strong", x: x + aside, y: place, "text-anchor": anchor }, frontWords(row));
}

function frontLines(row) {
  const [low, high] = interval(row, "return_mean");
  return [
    `${whole(row.nonzero_parameters)} parameters, ${whole(row.nonzero_weights)} of them weights`,
    `${whole(row.bytes)} bytes, ${number(row.ns_per_call)} ns a call`,
    `return ${number(row.return_mean)}` + (low === undefined ? "" : ` [${number(low)}, ${number(high)}]`),
    `violations ${percent(row.violation_rate)} of ${whole(row.episodes)} episodes`,
    row.file || "",
  ].filter(Boolean);
}

function frontLegend() {
  const swatch = (...inside) => svg("svg", { viewBox: "0 0 18 14", "aria-hidden": true }, ...inside);
  const teacher = data.fronts.teacher, [low, high] = interval(teacher, "return_mean");
  const range = low === undefined ? "" : ` [${number(low)}, ${number(high)}]`;
  const smaller = (mark) => svg("g", { transform: "translate(9 7) scale(.45)" }, mark(0, 0));
  return tag("div", { class: "legend" },
    seriesNames().filter((name) => name !== "shipped").map((name) => tag("span", {}, swatch(shapeOf(name)(9, 7)), `${name}: ${whole(data.fronts.rows.filter((row) => row.series === name).length)}`)),
    tag("span", {}, swatch(svg("rect", { class: "teacher-band", width: 18, height: 14 }), svg("path", { class: "teacher-line dashed", d: "M0 7h18" })),
      `teacher: ${whole(teacher.parameters)} parameters, return ${number(teacher.return_mean)}${range}`),
    data.fronts.rows.some((row) => row.shipped) ? tag("span", {}, swatch(svg("circle", { class: "ring", cx: 9, cy: 7, r: 6 })), "shipped") : null,
    data.fronts.rows.some((row) => row.knee) ? tag("span", {}, swatch(smaller(FRONT_MARKS.knee)), "the knee") : null);
}
