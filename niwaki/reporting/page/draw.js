// Elements, scales, axes and the one tooltip that all figures share.

const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}
const svg = (name, attributes, ...children) => filled(document.createElementNS(SVG, name), attributes, children);
const tag = (name, attributes, ...children) => filled(document.createElement(name), attributes, children);

// A picture; "group" where its parts can be reached and speak for themselves.
function plot(width, height, label, role = "img") {
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, role, "aria-label": label });
}

// ---- numbers as people read them

function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en-US").replace("-", "−");
  return String(Number(value.toPrecision(size >= 100 ? 4 : 3))).replace("-", "−");
}
const whole = (value) => Math.round(value).toLocaleString("en-US");
function percent(rate) {
  if (rate === null || rate === undefined) return "–";
  return `${Number((100 * rate).toPrecision(rate > 0.9 ? 4 : 2))} %`;
}

// ---- scales

function linear([low, high], [start, end]) {
  const slope = (end - start) / (high - low || 1);
  const scale = (value) => start + (value - low) * slope;
  scale.invert = (position) => low + (position - start) / slope;
  scale.domain = [low, high];
  return scale;
}
function logarithmic([low, high], range) {
  const inner = linear([Math.log10(low), Math.log10(high)], range);
  return (value) => inner(Math.log10(value));
}
function ticks(low, high, about) {
  const rough = (high - low) / Math.max(about, 1) || 1;
  const decade = 10 ** Math.floor(Math.log10(rough));
  const step = decade * [1, 2, 5, 10].find((factor) => factor * decade >= rough * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}
// 1, 2, 5, 10, 20, 50, ... within a range, for logarithmic axes.
function decades(low, high) {
  const found = [];
  for (let decade = 10 ** Math.floor(Math.log10(low)); decade <= high; decade *= 10) {
    found.push(...[1, 2, 5].map((factor) => factor * decade).filter((value) => value >= low && value <= high));
  }
  return found;
}
// Those of the marks that are so far apart on a scale, from the first one on.
function spaced(marks, scale, room) {
  const kept = [];
  for (const mark of marks) if (!kept.length || Math.abs(scale(mark) - scale(kept[kept.length - 1])) > room) kept.push(mark);
  return kept;
}
// A range with room at both ends; a single value gets a range around it.
function roomy(values, share = 0.06) {
  const finite = values.filter(Number.isFinite);
  let low = Math.min(...finite), high = Math.max(...finite);
  if (!finite.length) return [0, 1];
  if (low === high) { const room = Math.abs(low) * 0.1 || 1; return [low - room, high + room]; }
  const room = (high - low) * share;
  return [low - room, high + room];
}

// ---- axes

function yAxis(scale, { left, right, title, count = 5, show = number }) {
  const marks = ticks(...scale.domain, count);
  return svg("g", {},
    marks.map((value) => [
      svg("line", { class: "grid", x1: left, x2: right, y1: scale(value), y2: scale(value) }),
      svg("text", { x: left - 8, y: scale(value) + 4, "text-anchor": "end" }, show(value)),
    ]).flat(),
    title ? svg("text", { class: "strong", x: left, y: Math.min(...scale.domain.map(scale)) - 12 }, title) : null);
}
function xAxis(scale, { bottom, top, title, right, count = 6, show = number }) {
  return svg("g", {},
    ticks(...scale.domain, count).map((value) => [
      top === undefined ? null : svg("line", { class: "grid", x1: scale(value), x2: scale(value), y1: top, y2: bottom }),
      svg("line", { class: "axis", x1: scale(value), x2: scale(value), y1: bottom, y2: bottom + 4 }),
      svg("text", { x: scale(value), y: bottom + 18, "text-anchor": "middle" }, show(value)),
    ]).flat(),
    svg("line", { class: "axis", x1: scale(scale.domain[0]), x2: scale(scale.domain[1]), y1: bottom, y2: bottom }),
    title ? svg("text", { class: "strong", x: right, y: bottom + 36, "text-anchor": "end" }, title) : null);
}
function line(points) {
  let path = "", pen = false;
  for (const [x, y] of points) {
    if (!Number.isFinite(x) || !Number.isFinite(y)) { pen = false; continue; }
    path += `${pen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = true;
  }
  return path;
}
const withUnit = (name, unit) => (unit && unit !== "1" ? `${name} (${unit})` : name);

// ---- the tooltip

function tooltip(figure) {
  const box = tag("div", { class: "tip", role: "status", hidden: true });
  figure.append(box);
  return {
    show(picture, x, y, title, lines) {
      const frame = picture.getBoundingClientRect(), outer = figure.getBoundingClientRect();
      const scale = frame.width / picture.viewBox.baseVal.width;
      box.replaceChildren(tag("b", {}, title), lines.filter(Boolean).join("\n"));
      box.hidden = false;
      const px = frame.left - outer.left + x * scale, py = frame.top - outer.top + y * scale;
      const room = outer.width - box.offsetWidth;
      box.style.left = `${Math.max(0, Math.min(room, px + 14))}px`;
      box.style.top = `${py - box.offsetHeight - 12 < -20 ? py + 16 : py - box.offsetHeight - 12}px`;
    },
    hide() { box.hidden = true; },
  };
}
// A mark tells its numbers while it is pointed at, and while it has the focus; Escape silences it.
function heard(mark, tip, show) {
  for (const come of ["pointerenter", "focus"]) mark.addEventListener(come, show);
  for (const leave of ["pointerleave", "blur"]) mark.addEventListener(leave, tip.hide);
  mark.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hide(); });
}
// Where the pointer is, in the picture's own units.
function pointer(picture, event) {
  const frame = picture.getBoundingClientRect();
  const scale = picture.viewBox.baseVal.width / frame.width;
  return [(event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale];
}

// ---- figures: drawn now, and again whenever their width changes

function figure(name, draw) {
  const home = document.getElementById(name);
  if (!home) return;
  let width = 0;
  const redraw = () => {
    const now = Math.round(home.clientWidth);
    if (now && now !== width) draw(home, (width = now));
  };
  redraw();
  if (!window.matchMedia("print").matches) new ResizeObserver(redraw).observe(home);
}
function selector(label, names, chosen, change) {
  const choice = tag("select", { onchange: () => change(Number(choice.value)) },
    names.map((name, i) => tag("option", { value: i, selected: i === chosen }, name)));
  return tag("label", {}, `${label} `, choice);
}
