// What each number is: its words (a key of the messages), its formula, the formula with numbers
// put in, and the numbers it came from, so that the page can light them up.
//
// A quantity has a kind, the number of its layer from 1 (0: the inputs), its neuron j and, for a
// weight, the neuron i it comes from.

import { ACTIVATIONS } from "./activations.js";
import { factorText, formatNumber } from "./formats.js";
import { LOSSES } from "./losses.js";

const TERMS = 6; // shown of a long sum, the largest first, until all are asked for

export const idOf = ({ kind, layer, j, i }) => [kind, layer, j, i].filter((x) => x !== undefined).join(":");

const n = (value) => formatNumber(value);

/** Put numbers into the right-hand side of a formula; one of several cases is what it is `called`. */
function putIn(formula, called, numbers) {
  const side = formula.slice(formula.indexOf("=") + 1).trim();
  if (/[=<>≤ⱼ]/.test(side)) return called;
  const filled = side.replace(/\b[zyt]\b/g, (letter) => factorText(numbers[letter]));
  return filled.replace(/([\d)]) (?=\(|log)/g, "$1 × ");
}

/** Return a sum of products as text, long ones folded with the largest terms first. */
function sumOf(terms, whole) {
  const values = terms.map(([a, b]) => a * b);
  let order = terms.map((_, k) => k);
  const long = terms.length > TERMS && !whole;
  if (long) order = order.sort((a, b) => Math.abs(values[b]) - Math.abs(values[a])).slice(0, TERMS);
  const shown = order.map((k) => terms[k].map(factorText).join(" × "));
  if (!long) return { text: shown.join(" + "), folded: 0 };
  const rest = values.reduce((a, b) => a + b, 0) - order.reduce((sum, k) => sum + values[k], 0);
  const folded = terms.length - TERMS;
  return { text: `${shown.join(" + ")} + [${folded}: ${n(rest)}]`, folded };
}

/** Return the value of a quantity in a step, of one row. */
export function valueOf(state, q) {
  const { step, row, x, expected } = state;
  const passes = (q.kind.endsWith("again") ? step.again : step.before).rows[row].passes;
  const pass = passes[q.layer - 1];
  const layer = state.layers[q.layer - 1];
  const place = q.i === undefined ? q.j : layer && q.i * layer.outputs + q.j;
  const readers = {
    x: () => x[row][q.j],
    t: () => expected[row][q.j],
    z: () => pass.z[q.j],
    y: () => (q.layer === 0 ? x[row][q.j] : pass.y[q.j]),
    sum_again: () => pass.z[q.j],
    again: () => (q.layer === 0 ? x[row][q.j] : pass.y[q.j]),
    part: () => step.before.rows[row].parts[q.j],
    slope: () => pass.slope[q.j],
    error: () => pass.error[q.j],
    old: () => layer[q.of][place],
    gradient: () => step.slopes[q.layer - 1][q.of][place],
    update: () => step.after[q.layer - 1][q.of][place],
    loss: () => step.before.loss,
    loss_again: () => step.again.loss,
  };
  return readers[q.kind]();
}

/** Return the layer of a quantity and its numbers for the row shown. */
function layerOf(state, q) {
  const passes = state.step.before.rows[state.row].passes;
  return { layer: state.layers[q.layer - 1], pass: passes[q.layer - 1] };
}

function explainSum(state, q, whole) {
  const { layer, pass } = layerOf(state, q);
  const weight = (i) => layer.weight[i * layer.outputs + q.j];
  const { text, folded } = sumOf(Array.from(pass.x, (x, i) => [x, weight(i)]), whole);
  const scaled = layer.factor !== 1;
  return {
    folded,
    words: "words_sum",
    symbols: scaled ? "z = (x₁ w₁ + x₂ w₂ + …) / √k + b" : "z = x₁ w₁ + x₂ w₂ + … + b",
    numbers: `${scaled ? `${n(layer.factor)} × (${text})` : text} + ${factorText(layer.bias[q.j])}`,
    from: [
      ...Array.from(pass.x, (_, i) => ({ kind: "y", layer: q.layer - 1, j: i })),
      ...Array.from(pass.x, (_, i) => ({ kind: "old", of: "weight", layer: q.layer, i, j: q.j })),
    ],
  };
}

function explainOutput(state, q, whole) {
  const { layer, pass } = layerOf(state, q);
  const f = ACTIVATIONS[layer.activation];
  if (f.rows) return explainShare(pass, q, f.text, whole);
  let numbers = putIn(f.text, `${layer.activation}(${n(pass.z[q.j])})`, { z: pass.z[q.j] });
  let symbols = f.text;
  if (layer.mix) {
    numbers = `${n(pass.z[q.j])} + ${factorText(layer.mix[q.j])} × (${n(pass.f[q.j])} − ${factorText(pass.z[q.j])})`;
    symbols = `${f.text.replace(/^y/, "f")};  y = z + a (f − z)`;
  }
  if (layer.residual) {
    numbers = `${numbers} + ${factorText(pass.x[q.j])}`;
    symbols += ";  y + x";
  }
  return { words: "words_output", symbols, numbers, from: [{ ...q, kind: "z" }] };
}

/** Explain an output of softmax, whose denominator has a term for every weighted sum. */
function explainShare(pass, q, symbols, whole) {
  const powers = pass.z.map((z) => Math.exp(z));
  const { text, folded } = sumOf(powers.map((power) => [power]), whole);
  const written = powers.every(Number.isFinite);
  return {
    folded,
    words: "words_output_softmax",
    symbols,
    numbers: written ? `exp(${n(pass.z[q.j])}) / (${text})` : `softmax(${n(pass.z[q.j])})`,
    from: pass.z.map((_, j) => ({ kind: "z", layer: q.layer, j })),
  };
}

function explainSlope(state, q) {
  const { layer, pass } = layerOf(state, q);
  const f = ACTIVATIONS[layer.activation];
  const own = putIn(f.slopeText, `f′(${n(pass.z[q.j])})`, { z: pass.z[q.j], y: pass.f[q.j] });
  return {
    words: "words_slope",
    symbols: layer.mix ? `${f.slopeText};  1 + a (f′ − 1)` : f.slopeText,
    numbers: layer.mix ? `1 + ${factorText(layer.mix[q.j])} × (${own} − 1)` : own,
    from: [{ ...q, kind: "y" }],
  };
}

function explainPart(state, q) {
  const { pass } = layerOf(state, q);
  const symbols = LOSSES[state.loss.name].text;
  const numbers = { y: pass.y[q.j], t: state.expected[state.row][q.j], z: pass.z[q.j] };
  return {
    words: "words_loss",
    symbols: `L = ${symbols}`,
    numbers: partText(symbols, numbers),
    from: [{ kind: "y", layer: q.layer, j: q.j }],
  };
}

/** Return a part of the loss with its numbers put in, where no logarithm is without a value. */
function partText(symbols, { y, t, z }) {
  const called = `L(y = ${n(y)}, t = ${n(t)})`;
  const inLogarithm = symbols.includes("log t") ? t : symbols.includes("log(1") ? y * (1 - y) : y;
  if (/[γδq′]/.test(symbols) || (symbols.includes("log") && !(inLogarithm > 0))) return called;
  return putIn(`L = ${symbols}`, called, { y, t, z });
}

function explainError(state, q, whole) {
  const { layer, pass } = layerOf(state, q);
  const slope = factorText(pass.slope[q.j]);
  const own = { kind: "y", layer: q.layer, j: q.j };
  if (q.layer < state.layers.length) {
    const above = state.layers[q.layer];
    const next = state.step.before.rows[state.row].passes[q.layer];
    const terms = next.error.map((error, k) => [above.weight[q.j * above.outputs + k], error]);
    let { text, folded } = sumOf(terms, whole);
    if (above.factor !== 1) text = `${n(above.factor)} × (${text})`;
    if (above.residual) text += ` + ${factorText(next.signal[q.j])}`;
    const rows = ACTIVATIONS[layer.activation].rows;
    return {
      folded,
      words: rows ? "words_error_softmax" : "words_error_hidden",
      symbols: rows ? "e = y (s − Σ sₖ yₖ), s = Σ w e" : "e = f′ (w₁ e₁ + w₂ e₂ + …)",
      numbers: rows
        ? `s = ${text} = ${n(pass.signal[q.j])},  e`
        : `(${text}) × ${slope}`,
      from: [
        own,
        ...next.error.map((_, k) => ({ kind: "error", layer: q.layer + 1, j: k })),
        ...next.error.map((_, k) => ({ kind: "old", of: "weight", layer: q.layer + 1, i: q.j, j: k })),
      ],
    };
  }
  const loss = LOSSES[state.loss.name];
  const t = state.expected[state.row][q.j];
  const difference = `${n(t)} − ${factorText(pass.y[q.j])}`;
  if (loss.logits) {
    return {
      words: loss.direct ? "words_error_direct" : "words_error_loss",
      symbols: loss.direct ? "e = t − y" : "e = −∂L/∂z",
      numbers: loss.direct ? difference : `y = ${n(pass.y[q.j])}, t = ${n(t)},  e`,
      from: [own],
    };
  }
  const rows = ACTIVATIONS[layer.activation].rows;
  const signal = loss.direct ? `(${difference})` : factorText(pass.signal[q.j]);
  return {
    words: rows ? "words_error_softmax" : loss.direct ? "words_error_output" : "words_error_loss",
    symbols: rows ? "e = y (s − Σ sₖ yₖ), s = −∂L/∂y" : loss.direct ? "e = (t − y) f′" : "e = −∂L/∂y f′",
    numbers: rows ? `s = ${n(pass.signal[q.j])}, y = ${n(pass.y[q.j])},  e` : `${signal} × ${slope}`,
    from: [own],
  };
}

function explainGradient(state, q, whole) {
  const { rows } = state.step.before;
  const { factor } = state.layers[q.layer - 1];
  const many = rows.length > 1;
  const terms = rows.map(({ passes }) => {
    const pass = passes[q.layer - 1];
    if (q.of === "bias") return [-1, pass.error[q.j]];
    if (q.of === "mix") return [-pass.signal[q.j], pass.f[q.j] - pass.z[q.j]];
    return [-pass.x[q.i], pass.error[q.j]];
  });
  let { text, folded } = sumOf(terms, whole);
  if (q.of === "weight" && factor !== 1) text = `${n(factor)} × (${text})`;
  const symbols = { weight: "g = −x e", bias: "g = −e", mix: "g = −s (f − z)" }[q.of];
  return {
    folded,
    words: many ? "words_gradient_mean" : `words_gradient_${q.of}`,
    symbols: many ? `${symbols.replace("= ", "= mean(")})` : symbols,
    numbers: many ? `(${text}) / ${rows.length}` : text,
    from: [
      { kind: "error", layer: q.layer, j: q.j },
      ...(q.of === "weight" ? [{ kind: "y", layer: q.layer - 1, j: q.i }] : []),
    ],
  };
}

function explainUpdate(state, q) {
  const old = valueOf(state, { ...q, kind: "old" });
  const gradient = valueOf(state, { ...q, kind: "gradient" });
  return {
    words: "words_update",
    symbols: "w ← w − η g",
    numbers: `${n(old)} − ${n(state.rate)} × ${factorText(gradient)}`,
    from: [{ ...q, kind: "old" }],
  };
}

/** Explain the loss of all rows, before the step or after it. */
const explainLoss = (when) => (state) => {
  const { rows } = state.step[when];
  const sums = rows.map((row) => row.parts.reduce((a, b) => a + b, 0));
  const parts = rows.length === 1 ? rows[0].parts.filter((part) => part !== 0) : sums;
  const { text } = sumOf(parts.map((part) => [part]), false);
  return {
    words: rows.length === 1 ? "words_total" : "words_total_mean",
    symbols: rows.length === 1 ? "L = L₁ + L₂ + …" : "L = (L₁ + L₂ + …) / k",
    numbers: rows.length === 1 ? text || "0" : `(${text}) / ${rows.length}`,
    from: rows[0].parts.map((_, j) => ({ kind: "y", layer: state.layers.length, j })),
  };
};

/** Return what the forward pass with the new weights is: the same formulas, other numbers. */
const afterStep = (state) => ({ ...state, layers: state.step.after, step: { ...state.step, before: state.step.again } });

const given = (words) => () => ({ words, symbols: "", numbers: "", from: [] });
const EXPLAINERS = {
  x: given("words_input"),
  t: given("words_expected"),
  old: given("words_weight"),
  z: explainSum,
  y: (state, q) => (q.layer ? explainOutput(state, q) : given("words_input")()),
  sum_again: (state, q, whole) => explainSum(afterStep(state), q, whole),
  again: (state, q, whole) => (q.layer ? explainOutput(afterStep(state), q, whole) : given("words_input")()),
  part: explainPart,
  loss: explainLoss("before"),
  loss_again: explainLoss("again"),
  slope: explainSlope,
  error: explainError,
  gradient: explainGradient,
  update: explainUpdate,
};

/** Return words, symbols, numbers, result and origins of a quantity; `whole` unfolds long sums. */
export function explain(state, q, whole = false) {
  return { folded: 0, ...EXPLAINERS[q.kind](state, q, whole), result: valueOf(state, q) };
}

// What is needed to understand a quantity stands before it.
const BEFORE = { error: "slope", again: "sum_again" };

/** Return a quantity with the one that must be understood before it. */
export function partsOf(q) {
  const earlier = q.layer > 0 && BEFORE[q.kind];
  return earlier ? [{ ...q, kind: earlier }, q] : [q];
}

/** Return the marks of all neurons and weights that a quantity came from. */
export function litBy(state, q) {
  const from = q ? partsOf(q).flatMap((part) => explain(state, part).from) : [];
  return new Set(from.map((each) => (each.of === "weight" ? `weight:${each.layer}:${each.i}:${each.j}` : `neuron:${each.layer}:${each.j}`)));
}
