// Drawings of the bundled simulators from their named signals. A scene says what part of the world to show
// (metres), what stands there, and how a body lies; `at` reads one frame of one flight.

const turn = ([x, y], angle) => [x * Math.cos(angle) - y * Math.sin(angle), x * Math.sin(angle) + y * Math.cos(angle)];
const placed = (points, [x, y], angle) => points.map((p) => { const [u, v] = turn(p, angle); return [x + u, y + v]; });

function polygon(world, points, attributes) {
  return svg("path", { ...attributes, d: `${line(points.map(([x, y]) => [world.x(x), world.y(y)]))}Z` });
}
function stroke(world, points, width, attributes) {
  return svg("path", { ...attributes, fill: "none", "stroke-width": Math.max(1.5, width * world.scale), d: line(points.map(([x, y]) => [world.x(x), world.y(y)])) });
}
function disc(world, [x, y], radius, attributes) {
  return svg("circle", { ...attributes, cx: world.x(x), cy: world.y(y), r: Math.max(2, radius * world.scale) });
}
// The teacher is an outline, the shipped policy solid.
const ink = (role) => ({ class: `body-${role}`, "stroke-width": role === "teacher" ? 1.6 : 1 });
const box = (w, h) => [[-w, -h], [w, -h], [w, h], [-w, h]];
const farthest = (flights, name) => Math.max(...flights.flatMap((f) => f.signals.map((row) => Math.abs(row[signalIndex(name)]))));
const signalIndex = (name) => data.signals.findIndex((signal) => signal.name === name);

const SCENES = {
  cartpole: {
    view: (flights) => { const half = Math.min(6, Math.max(2.7, farthest(flights, "x") + 0.6)); return [-half, half, -0.45, 1.35]; },
    backdrop: (world) => [
      stroke(world, [[world.left, 0], [world.right, 0]], 0, { class: "ground" }),
      ...[-2.4, 2.4].map((x) => stroke(world, [[x, -0.14], [x, 0.14]], 0, { class: "pad" })),
    ],
    pose: (world, at, role) => {
      const x = at.signal("x"), tip = turn([0, 1], -at.signal("theta"));
      return [
        polygon(world, placed(box(0.25, 0.12), [x, 0], 0), ink(role)),
        stroke(world, [[x, 0.12], [x + tip[0], 0.12 + tip[1]]], role === "teacher" ? 0.02 : 0.05, { class: `body-${role}` }),
        disc(world, [x, 0.12], 0.035, { class: `body-${role}` }),
      ];
    },
  },

  pendulum: {
    view: () => [-1.9, 1.9, -1.2, 1.2],
    backdrop: (world) => [disc(world, [0, 0], 1, { class: "furniture dotted" }), disc(world, [0, 0], 0.03, { class: "flag" })],
    pose: (world, at, role) => {
      const tip = turn([0, 1], at.signal("theta"));
      return [
        stroke(world, [[0, 0], tip], role === "teacher" ? 0.02 : 0.06, { class: `body-${role}` }),
        disc(world, tip, 0.09, ink(role)),
      ];
    },
  },

  acrobot: {
    view: () => [-2.6, 2.6, -2.2, 2.2],
    backdrop: (world) => [stroke(world, [[world.left, 1], [world.right, 1]], 0, { class: "furniture dashed" }), disc(world, [0, 0], 0.05, { class: "flag" })],
    pose: (world, at, role) => {
      const first = turn([0, -1], at.signal("theta1")), second = turn([0, -1], at.signal("theta1") + at.signal("theta2"));
      const end = [first[0] + second[0], first[1] + second[1]];
      return [stroke(world, [[0, 0], first, end], role === "teacher" ? 0.02 : 0.09, { class: `body-${role}` }), disc(world, first, 0.07, ink(role))];
    },
  },

  hill: {
    view: () => [-1.25, 0.65, -0.1, 1.15],
    backdrop: (world) => [
      stroke(world, Array.from({ length: 80 }, (_, i) => -1.2 + (1.8 * i) / 79).map((x) => [x, hillHeight(x)]), 0, { class: "ground" }),
      stroke(world, [[0.5, hillHeight(0.5)], [0.5, hillHeight(0.5) + 0.14]], 0, { class: "pad" }),
    ],
    pose: (world, at, role) => {
      const x = at.signal("position"), slope = Math.atan(1.35 * Math.cos(3 * x));
      return [polygon(world, placed([[-0.06, 0.02], [0.06, 0.02], [0.04, 0.07], [-0.04, 0.07]], [x, hillHeight(x)], slope), ink(role))];
    },
  },

  lander: {
    view: (flights) => [-Math.max(5, 10 * farthest(flights, "x") + 1), Math.max(5, 10 * farthest(flights, "x") + 1), -0.8, 6.667 * farthest(flights, "y") + 1.6],
    backdrop: (world) => [
      stroke(world, [[world.left, 0], [world.right, 0]], 0, { class: "ground" }),
      stroke(world, [[-2, 0], [2, 0]], 0, { class: "pad" }),
      ...[-2, 2].flatMap((x) => [
        stroke(world, [[x, 0], [x, 1.2]], 0, { class: "furniture" }),
        polygon(world, [[x, 1.2], [x, 0.8], [x + 0.6, 1]], { class: "flag" }),
      ]),
    ],
    trail: (at) => [10 * at.signal("x"), 6.667 * at.signal("y") + 0.6],
    pose: (world, at, role) => {
      const angle = at.signal("angle"), centre = [10 * at.signal("x"), 6.667 * at.signal("y") + 0.6];
      const part = (points) => placed(points, centre, angle);
      const [main, side] = thrust(at.action);
      return [
        main > 0 && at.running ? polygon(world, part([[-0.18, -0.33], [0.18, -0.33], [0, -0.5 - 0.9 * main]]), { class: "flame" }) : null,
        side && at.running ? polygon(world, part([[-0.55 * side, 0.32], [-0.55 * side, 0.12], [-(0.75 + 0.5 * Math.abs(side)) * Math.sign(side), 0.22]]), { class: "flame" }) : null,
        ...[-1, 1].map((s) => stroke(world, part([[0.5 * s, -0.2], [0.78 * s, -0.58], [0.62 * s, -0.6], [0.94 * s, -0.6]]), 0.06, { class: `body-${role}` })),
        polygon(world, part([[-0.47, 0.57], [-0.57, 0], [-0.57, -0.33], [0.57, -0.33], [0.57, 0], [0.47, 0.57]]), ink(role)),
      ];
    },
  },

  walker: {
    view: () => [-4.2, 4.2, -0.95, 3.2],
    follow: (at) => at.signal("hull_x"),
    backdrop: (world) => [
      stroke(world, [[world.left, 0], [world.right, 0]], 0, { class: "ground" }),
      ...Array.from({ length: Math.ceil(world.right - world.left) + 1 }, (_, i) => Math.ceil(world.left) + i).map((x) => svg("g", {},
        stroke(world, [[x, 0], [x, -0.1]], 0, { class: "furniture" }),
        x % 5 ? null : svg("text", { x: world.x(x), y: world.y(-0.33), "text-anchor": "middle" }, `${x} m`))),
    ],
    pose: (world, at, role) => {
      const lean = at.signal("hull_angle"), x = at.signal("hull_x");
      const legs = [1, 2].map((leg) => walkerLeg(lean, at.signal(`hip_${leg}_angle`), at.signal(`knee_${leg}_angle`)));
      const hull = [[-1, 0.3], [0.2, 0.3], [1.13, 0.03], [1.13, -0.27], [-1, -0.27]].map((p) => turn(p, lean));
      // The hull's height is no signal: whatever is lowest stands on the ground.
      const lift = -Math.min(...legs.flat().map((p) => p[1] - 0.1), ...hull.map((p) => p[1]));
      const stand = (points) => points.map(([u, v]) => [x + u, v + lift]);
      return [
        stroke(world, stand(legs[1]), 0.2, { class: `body-${role} far` }),
        polygon(world, stand(hull), ink(role)),
        stroke(world, stand(legs[0]), 0.24, { class: `body-${role}` }),
      ].map((shape, i) => { if (role === "teacher" && i !== 1) shape.setAttribute("stroke-width", 2); return shape; });
    },
  },
};

const hillHeight = (x) => Math.sin(3 * x) * 0.45 + 0.55;
// Hip, knee and foot of one leg from the hull's centre: two segments of 34/30 m (Gymnasium's BipedalWalker).
function walkerLeg(lean, hip, knee) {
  const joint = turn([0, -0.267], lean), thigh = turn([0, -1.133], lean + hip), shin = turn([0, -1.133], lean + hip + knee);
  return [joint, [joint[0] + thigh[0], joint[1] + thigh[1]], [joint[0] + thigh[0] + shin[0], joint[1] + thigh[1] + shin[1]]];
}
// Main engine in [0, 1] and side engine in [-1, 1] of a lander, continuous or one of four.
function thrust(action) {
  if (action.length === 1) return [action[0] === 2 ? 1 : 0, action[0] === 1 ? -1 : action[0] === 3 ? 1 : 0];
  return [action[0] > 0 ? 0.5 + action[0] / 2 : 0, Math.abs(action[1]) > 0.5 ? action[1] : 0];
}

// The part of the world around `centre` in a picture of width x height, one scale for both axes.
function worldOf([x0, x1, y0, y1], width, height, centre) {
  const scale = Math.min(width / (x1 - x0), height / (y1 - y0));
  const middle = centre + (x0 + x1) / 2, half = width / scale / 2;
  return {
    scale, left: middle - half, right: middle + half,
    x: (value) => width / 2 + (value - middle) * scale,
    y: (value) => height - (value - y0) * scale - Math.max(0, (height - (y1 - y0) * scale) / 2),
  };
}
