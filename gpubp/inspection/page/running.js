// Steps taken one after the other: the learning rate, the loss curve, and for two inputs the
// output over their plane.

import { $, element, fill } from "./elements.js";
import { formatNumber } from "./formats.js";
import { shorten } from "./diagram.js";
import { drawCurve, paintSurface, planeOf } from "./pictures.js";
import { page } from "./session.js";
import { count, nameOf, text } from "./words.js";

export function showRun() {
  const { state, losses } = page;
  $("rate").value = Math.log10(state.rate);
  $("rate").setAttribute("aria-valuetext", formatNumber(state.rate));
  $("rate-number").value = Number(state.rate.toPrecision(6));
  const value = losses.at(-1);
  $("progress").replaceChildren(
    text("progress", { steps: count(state.done) }), " ", element("b", { dir: "ltr", id: "loss-now", "data-value": value }, formatNumber(value)),
    Number.isFinite(value) ? "" : ` ${text("diverged")}`,
  );
  drawCurve($("curve"), losses, text("curve_label", { first: formatNumber(losses[0], 4), last: formatNumber(value, 4) }));
  $("surface-figure").hidden = state.layers[0].inputs !== 2;
  if (!$("surface-figure").hidden) showSurface();
}

function showSurface() {
  const { state } = page;
  const depth = state.layers.length;
  const { outputs } = state.layers[depth - 1];
  const chosen = Math.min(Number($("surface-output").value) || 0, outputs - 1);
  fill($("surface-output"), Array.from({ length: outputs }, (_, j) => [j, shorten(nameOf(depth, j), 24)]), chosen);
  $("surface-choice").hidden = outputs < 2;
  $("surface").setAttribute("aria-label", text("surface_label", { output: nameOf(depth, chosen) }));
  const style = getComputedStyle(document.documentElement);
  const [positive, negative, line] = ["positive", "negative", "text"].map((name) => style.getPropertyValue(`--${name}`).trim());
  const { least, most } = paintSurface($("surface"), state, chosen, { positive, negative, text: line });
  const axes = planeOf(state.x).map(([low, high]) => `${formatNumber(low, 3)} … ${formatNumber(high, 3)}`);
  $("surface-words").textContent = text("surface_words", {
    across: shorten(nameOf(0, 0), 24), up: shorten(nameOf(0, 1), 24),
    across_range: `\u2066${axes[0]}\u2069`, up_range: `\u2066${axes[1]}\u2069`,
    least: formatNumber(least, 3), most: formatNumber(most, 3),
  });
}
