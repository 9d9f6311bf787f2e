// The reach tube of one signal: shipped policy as bands, teacher as lines.

function drawTube(home, width) {
  const tube = data.tube, s = (home.signal = home.signal ?? data.first_signal);
  const signal = data.signals[s], lines = data.limits.filter((limit) => limit.signal === signal.name);
  const left = 62, right = width - 16, top = 34, bottom = 330, height = 376;
  const time = tube.steps.map((step) => step * (data.step_seconds || 1));
  const ours = tube.policy.bands[s], theirs = tube.teacher.bands[s];
  const x = linear([0, time[time.length - 1] || 1], [left, right]);
  const y = linear(roomy([...ours.flat(), ...theirs.flat(), ...lines.map((l) => l.value)].filter((v) => v !== null), 0.06), [bottom, top]);
  const curve = (values) => line(time.map((t, m) => [x(t), values[m] === null ? NaN : y(values[m])]));
  const picture = plot(width, height, `Range of ${signal.name} over ${tube.episodes} episodes, teacher and shipped policy`);
  picture.append(
    yAxis(y, { left, right, title: withUnit(signal.name, signal.unit) }),
    xAxis(x, { bottom, right, title: data.step_seconds ? "time (s)" : "time (steps)", count: width < 500 ? 4 : 8 }),
    svg("path", { class: "band-wide", d: ribbon(time, ours[0], ours[4], x, y) }),
    svg("path", { class: "band-middle", d: ribbon(time, ours[1], ours[3], x, y) }),
    ...[0, 4].map((q) => svg("path", { class: "teacher-line dashed", d: curve(theirs[q]) })),
    svg("path", { class: "teacher-line", d: curve(theirs[2]) }),
    svg("path", { class: "policy-line", d: curve(ours[2]) }),
    ...lines.map((limit) => level(y(limit.value), limit.spec, "limit", "alarm", { left, right })));
  const swatch = (...inside) => svg("svg", { viewBox: "0 0 18 14", "aria-hidden": true }, ...inside);
  const legend = tag("div", { class: "legend" },
    tag("span", {}, swatch(svg("rect", { class: "band-wide", width: 18, height: 14 })), "shipped: smallest to largest"),
    tag("span", {}, swatch(svg("rect", { class: "band-wide", width: 18, height: 14 }), svg("rect", { class: "band-middle", width: 18, height: 14 })), "5 % to 95 %"),
    tag("span", {}, swatch(svg("path", { class: "policy-line", d: "M0 7h18" })), "median"),
    tag("span", {}, swatch(svg("path", { class: "teacher-line dashed", d: "M0 7h18" })), "teacher: smallest and largest"),
    tag("span", {}, swatch(svg("path", { class: "teacher-line", d: "M0 7h18" })), "median"));
  const change = (i) => { home.signal = i; drawTube(home, width); };
  home.replaceChildren(tag("div", { class: "controls" }, selector("signal", data.signals.map((n) => n.name), s, change)), legend, picture);
  hoverTube(home, picture, { time, x, top, bottom, ours, theirs });
}

function ribbon(time, low, high, x, y) {
  const seen = time.map((_, m) => m).filter((m) => low[m] !== null);
  const upper = seen.map((m) => [x(time[m]), y(high[m])]), lower = seen.map((m) => [x(time[m]), y(low[m])]).reverse();
  return upper.length ? `${line([...upper, ...lower])}Z` : "";
}

function hoverTube(home, picture, { time, x, top, bottom, ours, theirs }) {
  const tip = tooltip(home), cursor = svg("line", { class: "cursor", y1: top, y2: bottom, visibility: "hidden" });
  picture.append(cursor);
  const say = (name, bands, running, m) => bands[0][m] === null ? `${name}: no episode still runs` :
    `${name}: ${number(bands[0][m])} … ${number(bands[4][m])}, median ${number(bands[2][m])}, ${whole(running[m])} running`;
  picture.addEventListener("pointermove", (event) => {
    const t = x.invert(pointer(picture, event)[0]);
    const m = time.reduce((best, value, i) => (Math.abs(value - t) < Math.abs(time[best] - t) ? i : best), 0);
    filled(cursor, { x1: x(time[m]), x2: x(time[m]), visibility: "visible" }, []);
    tip.show(picture, x(time[m]), top + 40, data.step_seconds ? `${number(time[m])} s` : `step ${time[m]}`,
      [say("shipped", ours, data.tube.policy.running, m), say("teacher", theirs, data.tube.teacher.running, m)]);
  });
  picture.addEventListener("pointerleave", () => { tip.hide(); cursor.setAttribute("visibility", "hidden"); });
}
