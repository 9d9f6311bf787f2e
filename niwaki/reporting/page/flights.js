// The hardest flights, teacher against shipped policy: a scene where there is one, signals over time always.

const ROWS = { scene: 4, alone: 6 };  // signals shown over time

function drawFlights(home, width) {
  const kind = SCENES[data.scene], player = (home.player = home.player || { chosen: 0, frame: 0, speed: 1, playing: false });
  player.stop?.();
  const narrow = width < 760, sceneWidth = narrow ? width : width - 330;
  const tip = tooltip(home);
  const list = tag("ol", { class: "cases" }, data.cases.map((one, i) => tag("li", {}, caseButton(one, i, () => choose(i)))));
  const stage = kind ? tag("div", { class: "stage" }) : null;
  const rows = tag("div", { class: "rows" });
  const slider = tag("input", { type: "range", min: 0, value: 0, "aria-label": "moment of the flight", oninput: () => { pause(); show(Number(slider.value)); } });
  const clock = tag("output", {});
  const play = tag("button", { class: "play", type: "button", onclick: () => (player.playing ? pause() : start()) }, "Play");
  const speed = tag("button", { class: "speed", type: "button", title: "speed", onclick: () => { player.speed = { 1: 2, 2: 4, 4: 0.5, 0.5: 1 }[player.speed]; speed.textContent = `${player.speed}×`; } }, `${player.speed}×`);
  const said = tag("p", { class: "said small" });
  home.replaceChildren(tag("div", { class: kind ? "player" : "player unseen" }, stage, list, tag("div", { class: "transport" }, play, slider, clock, speed), said, rows), home.lastChild);

  let one, drawScene, cursors;
  function choose(i) {
    const keep = player.playing;
    pause();
    player.chosen = i;
    one = data.cases[i];
    list.querySelectorAll("button").forEach((button, k) => button.setAttribute("aria-pressed", k === i));
    slider.max = one.steps.length - 1;
    drawScene = kind ? sceneOf(kind, one, stage, sceneWidth, narrow) : () => {};
    cursors = signalRows(rows, one, width, kind ? ROWS.scene : ROWS.alone, tip, (frame) => { pause(); show(frame); });
    said.replaceChildren(...saidOf(one));
    show(Math.min(player.frame, one.steps.length - 1));
    if (keep) { show(0); start(); }
  }
  function show(frame) {
    player.frame = frame;
    slider.value = frame;
    home.dataset.frame = frame;
    drawScene(frame);
    cursors(frame);
    const step = one.steps[frame];
    clock.textContent = data.step_seconds ? `${(step * data.step_seconds).toFixed(1)} s, step ${step}` : `step ${step}`;
  }
  function start() {
    player.playing = true;
    play.textContent = "Pause";
    if (player.frame >= one.steps.length - 1) player.frame = 0;
    let last = null, step = one.steps[player.frame];
    const perSecond = 1 / (data.step_seconds || 0.04);
    const tick = (now) => {
      if (!player.playing) return;
      step += last === null ? 0 : (Math.min(now - last, 100) / 1000) * perSecond * player.speed;
      last = now;
      let frame = player.frame;
      while (frame < one.steps.length - 1 && one.steps[frame + 1] <= step) frame++;
      if (frame !== player.frame) show(frame);
      if (frame >= one.steps.length - 1) pause();
      else player.request = requestAnimationFrame(tick);
    };
    player.request = requestAnimationFrame(tick);
  }
  function pause() {
    player.playing = false;
    play.textContent = "Play";
    cancelAnimationFrame(player.request);
  }
  player.stop = pause;
  choose(player.chosen);
  if (!player.seen) {
    player.seen = true;
    show(telling(one));
    playWhenSeen(home, () => { show(0); player.start(); });
    window.addEventListener("beforeprint", () => player.still());
  }
  player.start = start;
  player.still = () => { pause(); show(telling(one)); };
}

// The still that says most: the moment at which the shipped policy's flight ends.
const telling = (one) => Math.max(0, one.steps.findIndex((step) => step >= one.policy.length));

// Plays by itself the first time it is on the screen, for those who do not mind motion.
function playWhenSeen(home, start) {
  if (window.matchMedia("(prefers-reduced-motion: reduce)").matches || window.matchMedia("print").matches) return;
  const watch = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watch.disconnect();
    start();
  }, { threshold: 0.4 });
  watch.observe(home.querySelector(".stage, .rows"));
}

const outcome = (flight) => (flight.broken.length ? `breaks ${flight.broken.join(", ")}` : `keeps the rules (${flight.ending.replaceAll("_", " ")})`);
const came = { drawn: "drawn start", searched: "start from the search's ranges", counterexample: "counterexample of the run" };

function caseButton(one, i, click) {
  return tag("button", { type: "button", "aria-pressed": false, onclick: click },
    tag("b", { class: one.policy.broken.length ? "broke" : null }, `${i + 1}. ${outcome(one.policy)}`),
    tag("small", {}, `return ${number(one.policy.total)}; teacher ${number(one.teacher.total)}${one.teacher.broken.length ? `, ${outcome(one.teacher)}` : ""}`),
    tag("small", {}, came[one.origin]));
}

function saidOf(one) {
  const moved = Object.entries(one.scenario).map(([name, value]) => `${name} ${name === "seed" ? value : number(value)}`).join(", ");
  const time = (step) => (data.step_seconds ? `${number(step * data.step_seconds)} s` : `step ${step}`);
  const parts = [`Scenario: ${moved || "nominal"}. Shipped: ${time(one.policy.length)}, ${outcome(one.policy)}. Teacher: ${time(one.teacher.length)}, ${outcome(one.teacher)}.`];
  if (one.recovery !== null) parts.push(tag("b", {}, ` Recovery state at ${time(one.recovery)}: the last from which the teacher still flies safely.`));
  return parts;
}

const frameOf = (one, flight, frame) => ({
  signal: (name) => flight.signals[frame][signalIndex(name)],
  action: flight.actions[frame],
  running: one.steps[frame] < flight.length,
});

function sceneOf(kind, one, stage, width, narrow) {
  const height = narrow ? Math.round(width * 0.72) : 400;
  const picture = plot(width, height, "The shipped policy, and its teacher as an outline, at this moment of the flight");
  picture.style.overflow = "hidden";
  const still = svg("g", {}), moving = svg("g", {});
  picture.append(still, moving);
  stage.replaceChildren(picture);
  const view = kind.view([one.policy, one.teacher]);
  const backdrop = (world) => still.replaceChildren(...kind.backdrop(world), ...trails(kind, one, world));
  if (!kind.follow) backdrop(worldOf(view, width, height, 0));
  return (frame) => {
    const ours = frameOf(one, one.policy, frame), theirs = frameOf(one, one.teacher, frame);
    const world = worldOf(view, width, height, kind.follow ? kind.follow(ours) : 0);
    if (kind.follow) backdrop(world);
    moving.replaceChildren(
      svg("g", { class: "ghost" }, kind.pose(world, theirs, "teacher")),
      svg("g", {}, kind.pose(world, ours, "policy")),
      ...(kind.follow ? [ghostOutside(kind.follow(theirs) - kind.follow(ours), width)] : []),
      recoveryNote(one, frame, height));
  };
}

function trails(kind, one, world) {
  if (!kind.trail) return [];
  const path = (flight, cls) => svg("path", { class: `trail ${cls}`, d: line(flight.signals.map((_, f) => kind.trail(frameOf(one, flight, f))).map(([x, y]) => [world.x(x), world.y(y)])) });
  return [path(one.teacher, "teacher-line dashed"), path(one.policy, "policy-line")];
}

// A camera that follows the shipped policy may lose the teacher: say where it is.
function ghostOutside(ahead, width) {
  if (Math.abs(ahead) < 4.5) return svg("g", {});
  const left = ahead < 0;
  return svg("text", { x: left ? 12 : width - 12, y: 24, "text-anchor": left ? "start" : "end" }, `${left ? "← " : ""}teacher ${number(Math.abs(ahead))} m ${left ? "behind" : "ahead"}${left ? "" : " →"}`);
}

function recoveryNote(one, frame, height) {
  const near = one.recovery !== null && one.steps[frame] >= one.recovery;
  return svg("text", { class: near ? "alarm" : "", x: 12, y: height - 11 }, one.recovery === null ? "" : near ? "past the recovery state" : "the teacher could still save it");
}

// ---- signals over time

function signalRows(rows, one, width, most, tip, seek) {
  const narrow = width < 640, wide = narrow ? width : (width - 36) / 2;
  const shown = data.signals.map((_, s) => s).filter((s) => [one.policy, one.teacher].some((f) => f.signals.some((row) => row[s] !== f.signals[0][s])));
  const first = new Set(data.limits.map((limit) => signalIndex(limit.signal)));
  const chosen = [...shown.filter((s) => first.has(s)), ...shown.filter((s) => !first.has(s))].slice(0, most);
  const movers = chosen.map((s) => signalRow(rows, one, s, wide, tip, seek));
  rows.replaceChildren(...movers.map((mover) => mover.picture));
  return (frame) => movers.forEach((mover) => mover.move(frame));
}

function signalRow(rows, one, s, width, tip, seek) {
  const signal = data.signals[s], lines = data.limits.filter((limit) => limit.signal === signal.name);
  const left = 52, right = width - 10, top = 28, bottom = 118, height = 142;
  const unit = data.step_seconds || 1, time = one.steps.map((step) => step * unit);
  const values = (flight) => flight.signals.map((row, f) => (one.steps[f] <= flight.length ? row[s] : NaN));
  const ours = values(one.policy), theirs = values(one.teacher);
  const x = linear([0, time[time.length - 1] || 1], [left, right]);
  const seen = [...ours, ...theirs].filter(Number.isFinite), span = Math.max(...seen) - Math.min(...seen);
  const near = lines.map((l) => l.value).filter((v) => v < Math.max(...seen) + 1.5 * span && v > Math.min(...seen) - 1.5 * span);
  const y = linear(roomy([...seen, ...near], 0.08), [bottom, top]);
  const picture = plot(width, height, `${signal.name} over time, teacher and shipped policy`);
  picture.append(
    yAxis(y, { left, right, title: withUnit(signal.name, signal.unit), count: 4 }),
    xAxis(x, { bottom, right, count: width < 420 ? 4 : 6 }),
    ...near.map((value) => svg("line", { class: "limit", x1: left, x2: right, y1: y(value), y2: y(value) })),
    svg("path", { class: "teacher-line", d: line(time.map((t, f) => [x(t), y(theirs[f])])) }),
    svg("path", { class: "policy-line", d: line(time.map((t, f) => [x(t), y(ours[f])])) }),
    endMark(one, one.policy, ours, time, x, y), recoveryLine(one, unit, x, top, bottom));
  const cursor = svg("line", { class: "cursor", y1: top, y2: bottom });
  const dots = [svg("circle", { class: "teacher-dot", r: 3 }), svg("circle", { class: "path-dot passed", r: 3 })];
  picture.append(cursor, ...dots);
  const frameAt = (event) => { const t = x.invert(pointer(picture, event)[0]); return time.reduce((best, v, f) => (Math.abs(v - t) < Math.abs(time[best] - t) ? f : best), 0); };
  picture.addEventListener("pointermove", (event) => {
    const f = frameAt(event);
    tip.show(picture, x(time[f]), top, data.step_seconds ? `${number(time[f])} s` : `step ${one.steps[f]}`,
      [`shipped ${Number.isFinite(ours[f]) ? number(ours[f]) : "has ended"}`, `teacher ${Number.isFinite(theirs[f]) ? number(theirs[f]) : "has ended"}`]);
  });
  picture.addEventListener("pointerleave", tip.hide);
  picture.addEventListener("click", (event) => seek(frameAt(event)));
  return {
    picture,
    move(frame) {
      filled(cursor, { x1: x(time[frame]), x2: x(time[frame]) }, []);
      [theirs, ours].forEach((line, i) => filled(dots[i], Number.isFinite(line[frame]) ? { cx: x(time[frame]), cy: y(line[frame]), visibility: "visible" } : { visibility: "hidden" }, []));
    },
  };
}

function endMark(one, flight, values, time, x, y) {
  const f = one.steps.findIndex((step) => step >= flight.length);
  if (f < 0 || !flight.broken.length) return svg("g", {});
  return SHAPES.counterexample(x(time[f]), y(values[f]));
}

function recoveryLine(one, unit, x, top, bottom) {
  if (one.recovery === null) return svg("g", {});
  const at = x(one.recovery * unit);
  return svg("g", { class: "recovery-state" },
    svg("line", { class: "recovery", x1: at, x2: at, y1: top, y2: bottom }),
    svg("title", {}, "recovery state: the last from which the teacher still flies safely"));
}
