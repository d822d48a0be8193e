// The network as a picture: neurons, weights, colour for the sign and thickness for the size.

import { renew } from "./elements.js";
import { idOf, valueOf } from "./explanations.js";
import { formatNumber, shortNumber } from "./formats.js";
import { shownAt } from "./stages.js";

const MOST = 8; // neurons of a layer that are drawn; the rest is folded, the largest first
const LABELLED = 12; // weights of a layer at most that have their numbers beside them
const ROW = 96;
const NARROW = 500;
const SYMBOLS = { z: "z", y: "y", error: "e", again: "y" };
const SVG = "http://www.w3.org/2000/svg";

/** Add an element to a picture. */
export function draw(tag, attributes, parent) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent?.append(element);
  return element;
}

export const newPicture = (attributes) => draw("svg", attributes, null);

/** Add text to a picture. */
export function write(parent, text, attributes) {
  draw("text", attributes, parent).textContent = text;
}

/** Shorten a text in its middle: names of one column differ at their ends. */
export function shorten(text, most) {
  const letters = [...text];
  if (letters.length <= most) return text;
  const last = Math.floor((most - 1) / 2);
  return `${letters.slice(0, most - 1 - last).join("")}…${letters.slice(-last).join("")}`;
}

const signOf = (value) => (value < 0 ? "negative" : value > 0 ? "positive" : "zero");

/** Return which neurons of each layer are drawn: all, or those of the largest outputs. */
function drawnNeurons(state) {
  const passes = state.step.before.rows[state.row].passes;
  return [passes[0].x, ...passes.map((pass) => pass.y)].map((values) => {
    const places = Array.from(values, (_, j) => j);
    if (places.length <= MOST) return places;
    places.sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]));
    return places.slice(0, MOST - 1).sort((a, b) => a - b);
  });
}

/** Draw the network at a stage into an element; `choose` is called with the quantity picked. */
export function drawDiagram(element, state, { stages, at, selected, lit, names, text, count, choose }) {
  const stage = stages[at];
  const drawn = drawnNeurons(state);
  const counts = [state.layers[0].inputs, ...state.layers.map((layer) => layer.outputs)];
  const tallest = Math.max(...drawn.map((places, k) => places.length + (places.length < counts[k])));
  const room = element.clientWidth || 720;
  const [radius, margin, apart] = room < NARROW ? [24, 40, 96] : [28, 75, 125];
  const width = Math.max(room, 2 * margin + apart * (drawn.length - 1));
  const letters = Math.min(16, Math.floor(Math.min(2 * margin, apart) / 6.5)); // of a name
  const height = Math.max(2, tallest) * ROW + 34;
  const box = { width, height, viewBox: `0 0 ${width} ${height}` };
  const svg = newPicture({ ...box, role: "group", "aria-label": text("diagram") });
  const x = (k) => margin + (k * (width - 2 * margin)) / (drawn.length - 1);
  const y = (k, place) => {
    const slots = drawn[k].length + (drawn[k].length < counts[k]);
    return 26 + ((place + 0.5) * (height - 34)) / slots - 14;
  };

  const edges = draw("g", {}, svg);
  const labels = draw("g", {}, svg); // above all edges
  state.layers.forEach((layer, k) => drawEdges(k + 1, layer));
  drawn.forEach((places, k) => {
    places.forEach((j, place) => drawNeuron(k, j, place));
    if (places.length < counts[k]) {
      const more = text("more", { count: count(counts[k] - places.length) });
      write(svg, more, { x: x(k), y: y(k, places.length), class: "folded" });
    }
  });
  renew(element, svg);

  function drawEdges(number, layer) {
    const kind = weightKind(number);
    const quantities = drawn[number].flatMap((j, place) =>
      drawn[number - 1].map((i, from) => ({ q: { kind, of: "weight", layer: number, i, j }, place, from })),
    );
    const values = quantities.map(({ q }) => valueOf(state, q));
    const largest = Math.max(...values.map(Math.abs)) || 1;
    quantities.forEach(({ q, place, from }, k) => {
      const ends = { x1: x(number - 1), y1: y(number - 1, from), x2: x(number), y2: y(number, place) };
      const share = Math.min(1, Math.abs(values[k]) / largest) || 0;
      const marks = [signOf(values[k]), isLit(q) && "lit", isChosen(q) && "chosen"].filter(Boolean);
      const edge = draw("line", { ...ends, class: `edge ${marks.join(" ")}` }, edges);
      edge.style.strokeWidth = `${1 + 5 * share}px`;
      edge.style.opacity = isLit(q) || isChosen(q) ? 1 : 0.25 + 0.6 * share;
      const target = draw("line", { ...ends, class: "edge-target" }, edges);
      target.addEventListener("click", () => choose(q));
      if (quantities.length <= LABELLED) {
        const length = Math.hypot(ends.x2 - ends.x1, ends.y2 - ends.y1);
        const straight = layer.inputs === layer.outputs && from === place;
        const along = straight ? 0.5 : Math.max(0.3, (radius + 20) / length);
        const towards = room < NARROW && !straight; // written from the neuron on, where room is scarce
        write(labels, shortNumber(values[k], room < NARROW ? 2 : 3), {
          x: ends.x1 + along * (ends.x2 - ends.x1),
          y: ends.y1 + along * (ends.y2 - ends.y1) - 5,
          class: `weight ${marks.join(" ")} ${towards ? "towards" : ""}`,
        });
      }
    });
  }

  /** What a weight shows: itself, its gradient once that is known, its new value. */
  function weightKind(number) {
    if (stage.kind === "again" || stage.kind === "update") return "update";
    if (stage.kind === "gradient" && stage.layer === number) return "gradient";
    return "old";
  }

  function drawNeuron(k, j, place) {
    const kind = shownAt(stages, at, k);
    const q = { kind: kind ?? "y", layer: k, j };
    const value = kind ? valueOf(state, q) : null;
    const active = stage.neuron && (stage.layer === k || stage.every);
    const marks = [
      kind ? signOf(value) : "unknown",
      active && "active",
      lit.has(`neuron:${k}:${j}`) && "lit",
      selected && selected.layer === k && selected.j === j && selected.i === undefined && "chosen",
    ].filter(Boolean);
    const name = names(k, j);
    const shown = kind ? shortNumber(value) : "?";
    const group = draw("g", { class: `neuron ${marks.join(" ")}`, transform: `translate(${x(k)} ${y(k, place)})` }, svg);
    draw("title", {}, group).textContent = name;
    draw("circle", { r: radius }, group);
    if (kind) write(group, k === 0 ? "x" : SYMBOLS[kind], { class: "symbol", y: -9 });
    write(group, shown, { class: shown.length > 6 ? "value longest" : shown.length > 5 ? "value long" : "value", y: 6 });
    write(group, shorten(name, letters), { class: "name", y: radius + 16 });
    if (k === counts.length - 1) {
      const expected = `t = ${shortNumber(state.expected[state.row][j])}`;
      write(group, expected, { class: "aside", x: 0, y: radius + 31 });
    } else if (k > 0) {
      const bias = weightKind(k) === "update" ? "update" : "old";
      const worth = valueOf(state, { kind: bias, of: "bias", layer: k, j });
      write(group, `b = ${shortNumber(worth)}`, { class: "aside", y: radius + 31 });
    }
    if (!kind) return;
    group.setAttribute("role", "button");
    group.setAttribute("tabindex", "0");
    group.setAttribute("data-id", idOf(q));
    group.setAttribute("aria-label", `${name}: ${text(`quantity_${kind}`)} ${formatNumber(value, 6)}`);
    group.addEventListener("click", () => choose(q));
    group.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose(q);
    });
  }

  function isLit(q) {
    return lit.has(`weight:${q.layer}:${q.i}:${q.j}`);
  }

  function isChosen(q) {
    return selected && selected.i === q.i && selected.j === q.j && selected.layer === q.layer && q.i !== undefined;
  }
}
