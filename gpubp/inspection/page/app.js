// The page: which stage, row and number are shown, what was edited, and what runs.

import { buildLayers, decodeNumbers, step } from "./arithmetic.js";
import { drawDiagram, shorten } from "./diagram.js";
import { explain, formatNumber, idOf, valueOf } from "./explanations.js";
import { drawCurve, paintSurface } from "./pictures.js";
import { quantitiesOf, stagesOf } from "./stages.js";

const MOST_LISTED = 50;
const MESSAGES = JSON.parse(document.getElementById("messages").textContent);
const DATA = JSON.parse(document.getElementById("data").textContent);
const DARK = matchMedia("(prefers-color-scheme: dark)");
const $ = (id) => document.getElementById(id);

const page = { language: DATA.language, model: 0, at: 0, selected: null, whole: false };
let state;
let stages;
let losses;

/** Return a text of the page's language, its {places} filled. */
function text(key, values = {}) {
  const message = MESSAGES[page.language][key] ?? MESSAGES.en[key] ?? key;
  return message.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

const count = (number) => number.toLocaleString(page.language);
const model = () => DATA.models[page.model];

/** Return what people call a neuron; layer 0 holds the inputs. */
function nameOf(layer, j) {
  if (layer === 0) return model().inputs?.[j] ?? text("name_input", { j: count(j + 1) });
  if (layer < state.layers.length) {
    const many = state.layers.length > 2;
    return text(many ? "name_hidden" : "name_only_hidden", { layer: count(layer), j: count(j + 1) });
  }
  return model().outputs?.[j] ?? text("name_output", { j: count(j + 1) });
}

function nameOfQuantity(q) {
  if (q.kind === "loss") return text("quantity_loss");
  if (q.of === "weight") return `${nameOf(q.layer - 1, q.i)} → ${nameOf(q.layer, q.j)}`;
  return nameOf(q.layer, q.j);
}

const whatOf = (q) => (q.of ? `${text(`quantity_${q.kind}`)} (${text(`of_${q.of}`)})` : text(`quantity_${q.kind}`));

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

// ---- what is computed

function load(index) {
  page.model = index;
  page.selected = null;
  const given = model();
  state = {
    x: given.x.map((row) => [...row]),
    expected: given.expected.map((row) => [...row]),
    layers: buildLayers(given.layers, decodeNumbers(given.parameters)),
    loss: given.loss,
    rate: given.learning_rate,
    row: 0,
    done: 0,
  };
  stages = stagesOf(state.layers.length);
  page.at = Math.min(page.at, stages.length - 1);
  compute();
  losses = [state.step.before.loss];
}

function compute(before) {
  state.step = step(state.layers, state.x, state.expected, state.loss, state.rate, model().trained, before);
}

function run(times) {
  for (let k = 0; k < times; k += 1) {
    state.layers = state.step.after;
    state.done += 1;
    losses.push(state.step.again.loss);
    compute(state.step.again);
  }
  show();
}

/** Change a number that a person may change, and all that follows from it. */
function edit(q, value) {
  if (!Number.isFinite(value)) return;
  if (q.kind === "t") state.expected[state.row][q.j] = value;
  else if (q.layer === 0) state.x[state.row][q.j] = value;
  else {
    const layer = state.layers[q.layer - 1];
    layer[q.of][q.of === "weight" ? q.i * layer.outputs + q.j : q.j] = value;
  }
  compute();
  losses = [state.step.before.loss];
  state.done = 0;
  show();
}

// ---- what is shown

function goTo(at) {
  const next = Math.max(0, Math.min(stages.length - 1, at));
  if (next === page.at && location.hash) return;
  page.at = next;
  page.selected = null;
  page.whole = false;
  history.replaceState(null, "", `#${hash()}`);
  show();
  $("spoken").textContent = `${stageTitle()}. ${stageWords()}`;
}

const hash = () => `stage=${page.at + 1}${DATA.models.length > 1 ? `&lesson=${model().id}` : ""}`;

function readHash() {
  const found = new URLSearchParams(location.hash.slice(1));
  const lesson = DATA.models.findIndex((each) => each.id === found.get("lesson"));
  page.at = Math.max(0, (Number.parseInt(found.get("stage"), 10) || 1) - 1);
  if (!state || (lesson >= 0 && lesson !== page.model)) load(Math.max(lesson, 0));
  page.at = Math.min(page.at, stages.length - 1);
}

const layerName = (layer) =>
  layer === state.layers.length
    ? text("layer_output")
    : text(state.layers.length > 2 ? "layer_hidden" : "layer_only_hidden", { layer: count(layer) });

function stageTitle() {
  const stage = stages[page.at];
  return text(`stage_${stage.kind}`, { layer: layerName(stage.layer) });
}

function stageWords() {
  const stage = stages[page.at];
  const loss = text(`loss_${state.loss.name}`);
  const activation = stage.layer ? state.layers[stage.layer - 1].activation : "";
  return text(`about_${stage.kind}`, { layer: layerName(stage.layer), loss, activation, rate: formatNumber(state.rate) });
}

function choose(q) {
  page.selected = q;
  page.whole = false;
  show();
}

/** Return the marks of all neurons and weights that a quantity came from. */
function litBy(q) {
  if (!q) return new Set();
  const from = explain(state, q).from;
  return new Set(from.map((each) => (each.of === "weight" ? `weight:${each.layer}:${each.i}:${each.j}` : `neuron:${each.layer}:${each.j}`)));
}

function show() {
  document.documentElement.lang = page.language;
  document.documentElement.dir = text("direction");
  for (const each of document.querySelectorAll("[data-text]")) each.textContent = text(each.dataset.text);
  for (const each of document.querySelectorAll("[data-label]")) each.setAttribute("aria-label", text(each.dataset.label));
  showHead();
  showStage();
  showFormula();
  showNumbers();
  showRun();
}

/** Tell whether the page is dark: as a person chose, else as the browser prefers. */
function isDark() {
  const { theme } = document.documentElement.dataset;
  return theme ? theme === "dark" : DARK.matches;
}

function showHead() {
  const given = model();
  const title = given.lesson ? text(`lesson_${given.lesson}`) : given.title || text("title");
  $("title").replaceChildren(element("bdi", {}, title));
  document.title = `${title} · gpubp`;
  $("about").textContent = given.lesson ? text(`lesson_${given.lesson}_words`) : text("title_words");
  const notes = [
    ...(given.target ? [text("note_target", { target: given.target })] : []),
    ...(given.optimizer ? [text("note_optimizer", { optimizer: given.optimizer })] : []),
    ...(given.lesson || given.optimizer ? [] : [text("note_optimizer_unknown")]),
    ...(given.before ?? []).map((kind) => text("note_before", { kind: text(`kind_${kind}`) })),
    ...(given.members > 1 ? [text("note_members", { members: count(given.members) })] : []),
  ];
  $("notes").replaceChildren(...notes.map((note) => element("li", { dir: "auto" }, note)));
  $("notes").hidden = !notes.length;
  $("theme").textContent = text(isDark() ? "light" : "dark");
  $("keys").textContent = text("keys");
  fill($("language"), Object.keys(MESSAGES).map((key) => [key, MESSAGES[key].language_name]), page.language);
  $("lesson-choice").hidden = DATA.models.length < 2;
  fill($("lesson"), DATA.models.map((each, k) => [k, text(`lesson_${each.lesson}`)]), page.model);
  $("row-choice").hidden = state.x.length < 2;
  fill($("row"), state.x.map((_, k) => [k, count(k + 1)]), state.row);
}

function fill(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, label]) => element("option", { value, selected: String(value) === String(chosen) }, label)));
}

function showStage() {
  $("counter").textContent = text("counter", { at: count(page.at + 1), all: count(stages.length) });
  $("stage-title").textContent = stageTitle();
  $("stage-words").textContent = stageWords();
  $("back").textContent = text("back");
  $("forth").textContent = text("forth");
  $("back").disabled = page.at === 0;
  $("forth").disabled = page.at === stages.length - 1;
  $("stage").max = stages.length - 1;
  $("stage").value = page.at;
  $("stage").setAttribute("aria-valuetext", `${count(page.at + 1)}: ${stageTitle()}`);
  const known = stages[page.at].kind;
  const chips = [];
  if (page.at >= stages.findIndex((each) => each.kind === "loss")) {
    chips.push(["loss_before", "loss", state.step.before.loss]);
  }
  if (known === "again") chips.push(["loss_after", "loss-after", state.step.again.loss]);
  $("losses").replaceChildren(
    ...chips.map(([key, id, value]) =>
      element("p", { class: "chip", id, "data-value": value }, text(key), " ", element("b", { dir: "ltr" }, formatNumber(value)))),
  );
  drawDiagram($("diagram"), state, { stages, at: page.at, selected: page.selected, lit: litBy(page.selected), names: nameOf, text, choose });
}

/** The numbers of a stage, the largest first where there are too many. */
function listed() {
  const stage = stages[page.at];
  let all = quantitiesOf(stage, state.layers, model().trained);
  const wanted = page.selected;
  if (stage.weight && wanted && wanted.layer > 0 && all.length > MOST_LISTED) {
    all = all.filter((q) => q.layer === wanted.layer && q.j === wanted.j);
  }
  if (stage.kind === "loss" || stage.neuron === "again") {
    all.push(...state.expected[state.row].map((_, j) => ({ kind: "t", layer: state.layers.length, j })));
  }
  if (stage.kind === "sum") {
    const layer = state.layers[stage.layer - 1];
    if (layer.inputs * layer.outputs <= MOST_LISTED) {
      for (let j = 0; j < layer.outputs; j += 1) {
        for (let i = 0; i < layer.inputs; i += 1) all.push({ kind: "old", of: "weight", layer: stage.layer, i, j });
        all.push({ kind: "old", of: "bias", layer: stage.layer, j });
      }
    }
  }
  return all;
}

function showNumbers() {
  const all = listed();
  $("numbers-title").textContent = text("numbers");
  const values = all.map((q) => valueOf(state, q));
  let order = all.map((_, k) => k);
  const folded = all.length > MOST_LISTED && !page.every;
  if (folded) order = order.sort((a, b) => Math.abs(values[b]) - Math.abs(values[a])).slice(0, MOST_LISTED);
  const rows = order.map((k) => {
    const q = all[k];
    const chosen = page.selected && idOf(page.selected) === idOf(q) && page.selected.of === q.of;
    return element("tr", { class: chosen && "chosen" },
      element("td", {}, element("button", { type: "button", class: "link", "data-id": `${q.of ?? ""}${idOf(q)}`, "aria-pressed": String(Boolean(chosen)), onclick: () => choose(q) }, element("bdi", {}, nameOfQuantity(q)))),
      element("td", { class: "quiet" }, whatOf(q)),
      element("td", { class: "number", dir: "ltr", "data-q": `${q.of ?? ""}${idOf(q)}`, "data-value": values[k] }, formatNumber(values[k])));
  });
  const heads = ["of", "what", "value"].map((key) => element("th", { scope: "col" }, text(`head_${key}`)));
  const focused = document.activeElement?.dataset?.id;
  $("numbers").replaceChildren(element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows)));
  if (focused) [...$("numbers").querySelectorAll("[data-id]")].find((each) => each.dataset.id === focused)?.focus();
  const parts = folded ? [text("folded", { shown: count(MOST_LISTED), all: count(all.length) })] : [];
  if (folded && all.length <= 2000) {
    parts.push(" ", element("button", { type: "button", class: "link", onclick: () => { page.every = true; showNumbers(); } }, text("show_all")));
  } else if (folded) parts.push(" ", text("folded_choose"));
  $("folded").replaceChildren(...parts);
}

const ltr = (tag, className, content) => element(tag, { dir: "ltr", class: className }, content);

function showFormula() {
  $("formula-title").textContent = text("formula");
  const q = page.selected;
  if (!q) {
    $("formula").replaceChildren(element("p", { class: "quiet" }, text("formula_none")));
    return;
  }
  const kinds = q.kind === "error" ? ["slope", "error"] : [q.kind];
  const blocks = kinds.flatMap((kind) => {
    const found = explain(state, { ...q, kind }, page.whole);
    const lines = [
      element("h3", {}, element("bdi", {}, nameOfQuantity(q)), " · ", whatOf({ ...q, kind })),
      element("p", {}, text(found.words)),
    ];
    if (found.symbols) lines.push(ltr("p", "symbols", found.symbols));
    const sentence = found.numbers ? `${found.numbers} = ${formatNumber(found.result)}` : formatNumber(found.result);
    lines.push(ltr("p", "sentence", sentence));
    if (found.folded) {
      const label = text("unfold", { count: count(found.folded) });
      lines.push(element("button", { type: "button", class: "link", onclick: () => { page.whole = true; showFormula(); } }, label));
    }
    return lines;
  });
  const editable = q.kind === "t" || q.kind === "old" || (q.layer === 0 && q.kind !== "again");
  if (editable) {
    const field = element("input", { type: "number", step: "any", value: valueOf(state, q), id: "edit", onchange: (event) => edit(q, event.target.valueAsNumber) });
    blocks.push(element("label", { class: "edit" }, element("span", {}, text("edit")), field));
  } else if (q.of) {
    blocks.push(element("button", { type: "button", class: "link", onclick: () => choose({ ...q, kind: "old" }) }, text("edit_weight")));
  }
  $("formula").replaceChildren(...blocks);
}

function showRun() {
  $("rate").value = Math.log10(state.rate);
  $("rate").setAttribute("aria-valuetext", formatNumber(state.rate));
  $("rate-number").value = Number(state.rate.toPrecision(6));
  const value = losses.at(-1);
  $("progress").replaceChildren(
    text("progress", { steps: count(state.done) }), " ", element("b", { dir: "ltr", id: "loss-now", "data-value": value }, formatNumber(value)),
    Number.isFinite(value) ? "" : ` ${text("diverged")}`,
  );
  drawCurve($("curve"), losses, text("curve_label", { first: formatNumber(losses[0], 4), last: formatNumber(value, 4) }));
  const flat = state.layers[0].inputs === 2;
  $("surface-figure").hidden = !flat;
  if (!flat) return;
  const outputs = state.layers.at(-1).outputs;
  const chosen = Math.min(Number($("surface-output").value) || 0, outputs - 1);
  fill($("surface-output"), Array.from({ length: outputs }, (_, j) => [j, shorten(nameOf(state.layers.length, j), 24)]), chosen);
  $("surface").setAttribute("aria-label", text("surface_label", { output: nameOf(state.layers.length, chosen) }));
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  paintSurface($("surface"), state, chosen, { positive: colour("positive"), negative: colour("negative"), text: colour("text") });
}

// ---- what a person does

$("back").addEventListener("click", () => goTo(page.at - 1));
$("forth").addEventListener("click", () => goTo(page.at + 1));
$("stage").addEventListener("input", (event) => goTo(Number(event.target.value)));
$("row").addEventListener("change", (event) => { state.row = Number(event.target.value); show(); });
$("language").addEventListener("change", (event) => { page.language = event.target.value; show(); });
$("lesson").addEventListener("change", (event) => { page.at = 0; load(Number(event.target.value)); history.replaceState(null, "", `#${hash()}`); show(); });
$("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  show();
});
function takeRate(rate) {
  if (!(rate > 0) || !Number.isFinite(rate)) return;
  state.rate = rate;
  compute();
  show();
}
$("rate").addEventListener("input", (event) => takeRate(Number((10 ** Number(event.target.value)).toPrecision(2))));
$("rate-number").addEventListener("change", (event) => takeRate(event.target.valueAsNumber));
$("one").addEventListener("click", () => run(1));
$("hundred").addEventListener("click", () => run(100));
$("reset").addEventListener("click", () => { load(page.model); show(); });
$("surface-output").addEventListener("change", showRun);
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const moves = { ArrowRight: page.at + 1, ArrowLeft: page.at - 1, Home: 0, End: stages.length - 1 };
  if (!(event.key in moves)) return;
  event.preventDefault();
  goTo(moves[event.key]);
});
addEventListener("hashchange", () => { readHash(); show(); });
let pending;
addEventListener("resize", () => { cancelAnimationFrame(pending); pending = requestAnimationFrame(showStage); });
DARK.addEventListener("change", show);

readHash();
show();
