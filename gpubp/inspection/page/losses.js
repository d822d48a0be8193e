// Losses of one row, each a function of expected values t and of outputs y or, where the loss is
// fused with an output activation, of its weighted sums z. `parts` are the terms that are summed.

import { softplus } from "./activations.js";

const add = (numbers) => numbers.reduce((a, b) => a + b, 0);
const clip = (value, bound) => Math.max(-bound, Math.min(bound, value));
const logSoftmax = (z) => {
  const top = Math.max(...z);
  const rest = Math.log(add(z.map((each) => Math.exp(each - top))));
  return z.map((each) => each - top - rest);
};
const smoothed = (t, share, classes) => t.map((each) => (1 - share) * each + share / classes);

const binary = {
  parts: (z, t) => z.map((each, j) => softplus(each) - each * t[j]),
  gradient: (z, t) => z.map((each, j) => Math.exp(-softplus(-each)) - t[j]),
};
const classes = {
  parts: (z, t) => logSoftmax(z).map((each, j) => -t[j] * each),
  gradient: (z, t) => {
    const total = add(t);
    return logSoftmax(z).map((each, j) => total * Math.exp(each) - t[j]);
  },
};

// -(1 - p)^gamma log(p), and p times its derivative by p
const focalValue = (logP, gamma) => -((-Math.expm1(logP)) ** gamma) * logP;
function focalSlope(logP, gamma) {
  const rest = -Math.expm1(logP);
  const ratio = rest === 0 ? -1 : logP / rest;
  return rest ** gamma * (gamma * (1 - rest) * ratio - 1);
}

export const LOSSES = {
  squared_error: {
    parts: (y, t) => y.map((each, j) => 0.5 * (each - t[j]) ** 2),
    gradient: (y, t) => y.map((each, j) => each - t[j]),
    text: "½ (t − y)²",
    direct: true,
  },
  absolute_error: {
    parts: (y, t) => y.map((each, j) => Math.abs(each - t[j])),
    gradient: (y, t) => y.map((each, j) => Math.sign(each - t[j])),
    text: "|t − y|",
  },
  huber: {
    parts: (y, t, delta) =>
      y.map((each, j) => {
        const held = clip(each - t[j], delta);
        return held * (each - t[j] - held / 2);
      }),
    gradient: (y, t, delta) => y.map((each, j) => clip(each - t[j], delta)),
    text: "½ d² (|d| ≤ δ), δ (|d| − δ/2) (|d| > δ), d = t − y",
  },
  quantile: {
    parts: (y, t, q) => y.map((each, j) => Math.max((1 - q) * (each - t[j]), q * (t[j] - each))),
    gradient: (y, t, q) =>
      y.map((each, j) => (each > t[j] ? 1 - q : each < t[j] ? -q : 0)),
    text: "(1 − q)(y − t) (y > t), q (t − y) (y ≤ t)",
  },
  poisson: {
    logits: true,
    parts: (z, t) =>
      z.map((each, j) => Math.exp(each) - t[j] + (t[j] ? t[j] * (Math.log(t[j]) - each) : 0)),
    gradient: (z, t) => z.map((each, j) => Math.exp(each) - t[j]),
    text: "y − t + t (log t − z)",
    direct: true,
  },
  binary_cross_entropy: {
    logits: true,
    ...binary,
    text: "−t log y − (1 − t) log(1 − y)",
    direct: true,
  },
  smoothed_binary_cross_entropy: {
    logits: true,
    parts: (z, t, s) => binary.parts(z, smoothed(t, s, 2)),
    gradient: (z, t, s) => binary.gradient(z, smoothed(t, s, 2)),
    text: "−t′ log y − (1 − t′) log(1 − y), t′ = (1 − s) t + s/2",
  },
  binary_focal: {
    logits: true,
    parts: (z, t, gamma) =>
      z.map(
        (each, j) =>
          t[j] * focalValue(-softplus(-each), gamma) +
          (1 - t[j]) * focalValue(-softplus(each), gamma),
      ),
    gradient: (z, t, gamma) =>
      z.map((each, j) => {
        const yes = -softplus(-each);
        const no = -softplus(each);
        return (
          t[j] * focalSlope(yes, gamma) * Math.exp(no) -
          (1 - t[j]) * focalSlope(no, gamma) * Math.exp(yes)
        );
      }),
    text: "−t (1 − y)^γ log y − (1 − t) y^γ log(1 − y)",
  },
  cross_entropy: { logits: true, ...classes, text: "−t log y", direct: true },
  smoothed_cross_entropy: {
    logits: true,
    parts: (z, t, s) => classes.parts(z, smoothed(t, s, z.length)),
    gradient: (z, t, s) => classes.gradient(z, smoothed(t, s, z.length)),
    text: "−t′ log y, t′ = (1 − s) t + s/k",
  },
  focal: {
    logits: true,
    parts: (z, t, gamma) => logSoftmax(z).map((each, j) => t[j] * focalValue(each, gamma)),
    gradient: (z, t, gamma) => {
      const logs = logSoftmax(z);
      const slopes = logs.map((each, j) => t[j] * focalSlope(each, gamma));
      const total = add(slopes);
      return logs.map((each, j) => slopes[j] - total * Math.exp(each));
    },
    text: "−t (1 − y)^γ log y",
  },
};
