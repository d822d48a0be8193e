// What is shown and what is computed: the model, the stage, the row, the number that is open, what
// was changed by hand, and the losses of the steps taken.

import { buildLayers, decodeNumbers, step } from "./arithmetic.js";
import { stagesOf } from "./stages.js";

export const MESSAGES = JSON.parse(document.getElementById("messages").textContent);
export const DATA = JSON.parse(document.getElementById("data").textContent);

export const page = {
  language: DATA.language,
  model: 0,
  at: 0, // place of the stage
  selected: null, // the quantity that is open
  whole: false, // long sums are written out
  every: false, // long tables are listed whole
  state: null, // numbers of the network: x, expected, layers, loss, rate, row, done, step
  stages: [],
  losses: [],
};

export const model = () => DATA.models[page.model];
export const stage = () => page.stages[page.at];

/** Begin with a model as it was given. */
export function load(index) {
  page.model = index;
  const given = model();
  page.state = {
    x: given.x.map((row) => [...row]),
    expected: given.expected.map((row) => [...row]),
    layers: buildLayers(given.layers, decodeNumbers(given.parameters)),
    loss: given.loss,
    rate: given.learning_rate,
    row: 0,
    done: 0,
  };
  page.stages = stagesOf(page.state.layers.length);
  moveTo(page.at);
  begin();
}

/** Compute the step of the network as it stands, and forget the steps before it. */
function begin() {
  compute();
  page.losses = [page.state.step.before.loss];
  page.state.done = 0;
}

function compute(before) {
  const { state } = page;
  state.step = step(state.layers, state.x, state.expected, state.loss, state.rate, model().trained, before);
}

/** Take so many steps. */
export function run(times) {
  const { state } = page;
  for (let k = 0; k < times; k += 1) {
    state.layers = state.step.after;
    state.done += 1;
    page.losses.push(state.step.again.loss);
    compute(state.step.again);
  }
}

/** Change a number that a person may change, and all that follows from it. */
export function edit(q, value) {
  if (!Number.isFinite(value)) return;
  const { state } = page;
  if (q.kind === "t") state.expected[state.row][q.j] = value;
  else if (q.layer === 0) state.x[state.row][q.j] = value;
  else {
    const layer = state.layers[q.layer - 1];
    layer[q.of][q.of === "weight" ? q.i * layer.outputs + q.j : q.j] = value;
  }
  begin();
}

/** Take another learning rate; one that is none changes nothing. */
export function takeRate(rate) {
  if (!(rate > 0) || !Number.isFinite(rate)) return;
  page.state.rate = rate;
  compute();
}

/** Show another stage, the nearest that there is. */
export function moveTo(at) {
  page.at = Math.max(0, Math.min(page.stages.length - 1, at));
  page.every = false;
  open(null);
}

/** Open a quantity. */
export function open(q) {
  page.selected = q;
  page.whole = false;
}
