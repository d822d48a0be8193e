// The loss from step to step, and what a network of two inputs answers everywhere.

import { forward } from "./arithmetic.js";
import { draw, newPicture, write } from "./diagram.js";
import { shortNumber } from "./formats.js";

const CELLS = 60;

/** Draw the losses after each step as a line. */
export function drawCurve(element, losses, label) {
  const [width, height, edge] = [420, 200, 34];
  const finite = losses.filter(Number.isFinite);
  const top = Math.max(...finite) || 1;
  const x = (k) => edge + 30 + (k * (width - 2 * edge - 10)) / Math.max(1, losses.length - 1);
  const y = (value) => height - edge - (Math.min(value, top) / top) * (height - 1.6 * edge);
  const svg = newPicture({ viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  draw("path", { d: `M${edge + 30} ${edge / 2} V${height - edge} H${width - 8}`, class: "axis" }, svg);
  const points = losses.map((value, k) => [x(k), y(value)]).filter(([, at]) => Number.isFinite(at));
  const path = points.map((point) => point.join(",")).join(" ");
  draw("polyline", { points: path, class: "curve" }, svg);
  const last = points.at(-1);
  if (last) draw("circle", { cx: last[0], cy: last[1], r: 4, class: "curve-end" }, svg);
  write(svg, shortNumber(top), { x: edge + 24, y: edge / 2 + 8, class: "tick end" });
  write(svg, "0", { x: edge + 24, y: height - edge, class: "tick end" });
  write(svg, String(losses.length - 1), { x: width - 12, y: height - 12, class: "tick end" });
  element.replaceChildren(svg);
}

/** Return the lowest and highest value of both inputs on a plane around the rows. */
export function planeOf(x) {
  const columns = [0, 1].map((k) => x.map((row) => row[k]));
  const ends = columns.map((values) => [Math.min(...values), Math.max(...values)]);
  const half = 0.75 * Math.max(...ends.map(([low, high]) => high - low), 1);
  return ends.map(([low, high]) => [(low + high) / 2 - half, (low + high) / 2 + half]);
}

/**
 * Paint one output of a network of two inputs over the plane, and the rows as points.
 *
 * Return the values of the strongest colours: the least and the most.
 */
export function paintSurface(canvas, state, output, colours) {
  const [across, up] = planeOf(state.x);
  const at = ([low, high], share) => low + share * (high - low);
  const shareOf = ([low, high], value) => (value - low) / (high - low);
  const values = [];
  for (let v = 0; v < CELLS; v += 1) {
    for (let u = 0; u < CELLS; u += 1) {
      const point = [at(across, (u + 0.5) / CELLS), at(up, 1 - (v + 0.5) / CELLS)];
      values.push(forward(state.layers, point).at(-1).y[output]);
    }
  }
  const bounded = ["sigmoid", "softmax", "hard_sigmoid"].includes(state.layers.at(-1).activation);
  const finite = values.filter(Number.isFinite);
  const [least, most] = bounded ? [0, 1] : [Math.min(...finite), Math.max(...finite)];
  const pen = canvas.getContext("2d");
  const size = canvas.width / CELLS;
  values.forEach((value, k) => {
    const share = Number.isFinite(value) ? (value - least) / (most - least || 1) : 0.5;
    pen.fillStyle = share < 0.5 ? colours.negative : colours.positive;
    pen.globalAlpha = 0.08 + 1.5 * Math.abs(share - 0.5);
    pen.clearRect((k % CELLS) * size, Math.floor(k / CELLS) * size, size, size);
    pen.fillRect((k % CELLS) * size, Math.floor(k / CELLS) * size, size, size);
  });
  pen.globalAlpha = 1;
  state.x.forEach(([a, b], r) => {
    pen.beginPath();
    pen.arc(shareOf(across, a) * canvas.width, (1 - shareOf(up, b)) * canvas.height, 8, 0, 2 * Math.PI);
    pen.fillStyle = state.expected[r][output] > (least + most) / 2 ? colours.positive : colours.negative;
    pen.fill();
    pen.lineWidth = r === state.row ? 5 : 2.5;
    pen.strokeStyle = colours.text;
    pen.stroke();
  });
  return { least, most };
}
