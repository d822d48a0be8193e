// Forward, backward and a step of gradient descent in float64, as gpubp does them.
//
// A layer has inputs, outputs, activation, weight (inputs x outputs, row by row), bias, and where
// it has them: mix (trained factors), residual (adds its inputs), factor (what products with the
// weights are multiplied by).

import { ACTIVATIONS, activate, activateBackward } from "./activations.js";
import { LOSSES } from "./losses.js";

/** Return the numbers that base64 text holds, 8 bytes each, the lowest byte first. */
export function decodeNumbers(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float64Array.from({ length: bytes.length / 8 }, (_, i) => view.getFloat64(8 * i, true));
}

/** Return layers with their parameters, cut from one array: weight, bias and mix of each. */
export function buildLayers(described, numbers) {
  let start = 0;
  const take = (count) => numbers.slice(start, (start += count));
  return described.map((layer) => ({
    ...layer,
    weight: take(layer.inputs * layer.outputs),
    bias: take(layer.outputs),
    mix: layer.mixing ? take(layer.outputs) : null,
  }));
}

const copyLayer = (layer) => ({
  ...layer,
  weight: layer.weight.slice(),
  bias: layer.bias.slice(),
  mix: layer.mix && layer.mix.slice(),
});

/** Return one layer's numbers for a row: inputs x, weighted sums z, f = f(z), outputs y. */
function forwardLayer(layer, x) {
  const z = new Array(layer.outputs).fill(0);
  for (let i = 0; i < layer.inputs; i += 1) {
    const from = i * layer.outputs;
    if (x[i] !== 0) {
      for (let j = 0; j < layer.outputs; j += 1) z[j] += x[i] * layer.weight[from + j];
    }
  }
  for (let j = 0; j < layer.outputs; j += 1) z[j] = z[j] * layer.factor + layer.bias[j];
  const f = activate(layer.activation, z);
  let y = layer.mix ? f.map((each, j) => z[j] + layer.mix[j] * (each - z[j])) : f;
  if (layer.residual) y = y.map((each, j) => each + x[j]);
  return { x, z, f, y };
}

/** Return the numbers of every layer for one row. */
export function forward(layers, x) {
  const passes = [];
  for (const layer of layers) {
    passes.push(forwardLayer(layer, passes.length ? passes[passes.length - 1].y : x));
  }
  return passes;
}

/** Return the terms of one row's loss, one an output. */
export function lossParts(loss, last, expected) {
  const entry = LOSSES[loss.name];
  return entry.parts(entry.logits ? last.z : last.y, expected, loss.parameter);
}

/** Write into each pass: slope, signal (what comes from above), error; all with loss's sign turned. */
export function backward(layers, passes, expected, loss) {
  const entry = LOSSES[loss.name];
  const top = layers.length - 1;
  for (let l = top; l >= 0; l -= 1) {
    const layer = layers[l];
    const pass = passes[l];
    const f = ACTIVATIONS[layer.activation];
    pass.slope = pass.z.map((z, j) => {
      const slope = f.slope(z, pass.f[j]);
      return layer.mix ? 1 + layer.mix[j] * (slope - 1) : slope;
    });
    if (l === top && entry.logits) {
      pass.signal = entry.gradient(pass.z, expected, loss.parameter).map((each) => -each);
      pass.error = pass.signal;
    } else {
      pass.signal =
        l === top
          ? entry.gradient(pass.y, expected, loss.parameter).map((each) => -each)
          : signalBelow(layers[l + 1], passes[l + 1]);
      pass.error = layer.mix
        ? pass.signal.map((each, j) => each * pass.slope[j])
        : activateBackward(layer.activation, pass.z, pass.f, pass.signal);
    }
  }
}

/** Return what a layer hands back: errors times weights, and its own signal if it is residual. */
function signalBelow(layer, pass) {
  const signal = new Array(layer.inputs);
  for (let i = 0; i < layer.inputs; i += 1) {
    let sum = 0;
    const from = i * layer.outputs;
    for (let j = 0; j < layer.outputs; j += 1) sum += layer.weight[from + j] * pass.error[j];
    signal[i] = layer.factor * sum + (layer.residual ? pass.signal[i] : 0);
  }
  return signal;
}

/** Return the gradients of the mean loss of all rows, by layer: weight, bias, mix. */
export function gradients(layers, rows) {
  return layers.map((layer, l) => {
    const weight = new Float64Array(layer.weight.length);
    const bias = new Float64Array(layer.outputs);
    const mix = layer.mix && new Float64Array(layer.outputs);
    for (const row of rows) {
      const { x, error, signal, z, f } = row.passes[l];
      for (let i = 0; i < layer.inputs; i += 1) {
        const share = (-layer.factor * x[i]) / rows.length;
        const from = i * layer.outputs;
        if (share !== 0) {
          for (let j = 0; j < layer.outputs; j += 1) weight[from + j] += share * error[j];
        }
      }
      for (let j = 0; j < layer.outputs; j += 1) {
        bias[j] -= error[j] / rows.length;
        if (mix) mix[j] -= (signal[j] * (f[j] - z[j])) / rows.length;
      }
    }
    return { weight, bias, mix };
  });
}

/** Return layers a step down the gradients; `trained` names what moves. */
export function updated(layers, slopes, rate, trained) {
  return layers.map((layer, l) => {
    const next = copyLayer(layer);
    for (const name of trained) {
      if (next[name]) slopes[l][name].forEach((slope, i) => (next[name][i] -= rate * slope));
    }
    return next;
  });
}

/** Return all rows forward: for each its passes and the terms of its loss; and the mean loss. */
export function forwardRows(layers, x, expected, loss) {
  const rows = x.map((each, r) => {
    const passes = forward(layers, each);
    return { passes, parts: lossParts(loss, passes[passes.length - 1], expected[r]) };
  });
  const total = rows.reduce((sum, row) => sum + row.parts.reduce((a, b) => a + b, 0), 0);
  return { rows, loss: total / rows.length };
}

/**
 * Return one step: everything before it, the gradients, the layers after it and their passes.
 *
 * `before` is what the rows are in these layers, where it is known: `again` of the step before.
 */
export function step(
  layers, x, expected, loss, rate,
  trained = ["weight", "bias", "mix"],
  before = forwardRows(layers, x, expected, loss),
) {
  before.rows.forEach((row, r) => backward(layers, row.passes, expected[r], loss));
  const slopes = gradients(layers, before.rows);
  const after = updated(layers, slopes, rate, trained);
  return { before, slopes, after, again: forwardRows(after, x, expected, loss) };
}
