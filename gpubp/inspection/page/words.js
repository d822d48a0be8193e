// What things are called, in the language of the page.

import { factorText, formatNumber } from "./formats.js";
import { MESSAGES, model, page, stage } from "./session.js";

/** Return a text of the page's language, its {places} filled. */
export function text(key, values = {}) {
  const message = MESSAGES[page.language][key] ?? MESSAGES.en[key] ?? key;
  return message.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export const count = (number) => number.toLocaleString(page.language);

/** Return a text that keeps its own direction within a sentence of the other. */
const apart = (name) => `\u2068${name}\u2069`;

/** Return what a model is called. */
export function titleOf({ lesson, title, row }) {
  if (lesson) return text(`lesson_${lesson}`);
  if (!title) return text("title");
  return row ? text("title_row", { title: apart(title), row: count(row) }) : title;
}

/** Return what is to be known of a model beforehand, a sentence or two each. */
export function notesOn(given) {
  const target = apart(given.target);
  const expected = apart(given.expected_text);
  return [
    ...(given.target ? [text("note_target", { target })] : []),
    ...(given.row ? [text(given.is_own ? "note_own" : "note_expected", { target, expected })] : []),
    ...(given.units ? [text("note_units", { formula: inUnits(given) })] : []),
    ...(given.optimizer ? [text("note_optimizer", { optimizer: given.optimizer })] : []),
    ...(given.lesson || given.optimizer ? [] : [text("note_plain")]),
    ...(given.before ?? []).map((kind) => text("note_before", { kind: text(`kind_${kind}`) })),
    ...(given.members > 1 ? [text("note_members", { members: count(given.members) })] : []),
  ];
}

/** Return how an output becomes a number of the column: a formula, from left to right. */
function inUnits({ target, units: [scale, shift] }) {
  const [factor, term] = [scale, shift].map((value) => Number(value.toPrecision(6)));
  return `\u2066${apart(target)} = ${formatNumber(factor)} × y + ${factorText(term)}\u2069`;
}

/** Return what people call a neuron; layer 0 holds the inputs. */
export function nameOf(layer, j) {
  const depth = page.state.layers.length;
  if (layer === 0) return model().inputs?.[j] ?? text("name_input", { j: count(j + 1) });
  if (layer < depth) {
    return text(depth > 2 ? "name_hidden" : "name_only_hidden", { layer: count(layer), j: count(j + 1) });
  }
  return model().outputs?.[j] ?? text("name_output", { j: count(j + 1) });
}

/** Return whose number a quantity is: a neuron's, a weight's or all rows'. */
export function nameOfQuantity(q) {
  if (q.kind === "loss" || q.kind === "loss_again") return text("all_rows");
  if (q.of !== "weight") return nameOf(q.layer, q.j);
  return text("from_to", { from: apart(nameOf(q.layer - 1, q.i)), to: apart(nameOf(q.layer, q.j)) });
}

/** Return what kind of number a quantity is. */
export function whatOf(q) {
  const kind = q.layer === 0 && q.kind !== "old" ? "x" : q.kind;
  return q.of ? `${text(`quantity_${kind}`)} (${text(`of_${q.of}`)})` : text(`quantity_${kind}`);
}

function layerName(layer) {
  const depth = page.state.layers.length;
  if (layer === depth) return text("layer_output");
  return text(depth > 2 ? "layer_hidden" : "layer_only_hidden", { layer: count(layer) });
}

export const stageTitle = () => text(`stage_${stage().kind}`, { layer: layerName(stage().layer) });

export function stageWords() {
  const { kind, layer } = stage();
  return text(`about_${kind}`, {
    layer: layerName(layer),
    loss: text(`loss_${page.state.loss.name}`),
    activation: layer ? page.state.layers[layer - 1].activation : "",
    rate: formatNumber(page.state.rate),
  });
}

/** Return a row's number with what it holds, where that is little. */
export function rowName(row) {
  const { x, expected } = page.state;
  const [inputs, outputs] = [x[row], expected[row]].map((values) => values.map((value) => formatNumber(value, 3)).join(", "));
  const short = x[row].length + expected[row].length <= 4;
  return short ? `${count(row + 1)}: ${apart(`${inputs} → ${outputs}`)}` : count(row + 1);
}
