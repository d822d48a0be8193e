// The numbers of a stage as a table, the largest first where there are too many.

import { $, element, link, renew } from "./elements.js";
import { idOf, valueOf } from "./explanations.js";
import { formatNumber } from "./formats.js";
import { model, page, stage } from "./session.js";
import { quantitiesOf } from "./stages.js";
import { count, nameOfQuantity, text, whatOf } from "./words.js";

const MOST_LISTED = 50;
const MOST_ON_DEMAND = 2000;

/** Return the quantities of the table: those of the stage, and what they are computed from. */
function listed() {
  const { state, selected } = page;
  const { kind, weight, layer } = stage();
  let all = quantitiesOf(stage(), state.layers, model().trained);
  if (weight && selected?.layer > 0 && all.length > MOST_LISTED) {
    all = all.filter((q) => q.layer === selected.layer && q.j === selected.j);
  }
  if (kind === "loss" || kind === "again") {
    all.push(...state.expected[state.row].map((_, j) => ({ kind: "t", layer: state.layers.length, j })));
  }
  if (kind === "sum") {
    const { inputs, outputs } = state.layers[layer - 1];
    if (inputs * outputs <= MOST_LISTED) all.push(...quantitiesOf({ weight: "old", layer }, state.layers));
  }
  return all;
}

const keyOf = (q) => `${q.of ?? ""}${idOf(q)}`;

function tableRow(q, value, choose) {
  const chosen = Boolean(page.selected) && keyOf(page.selected) === keyOf(q);
  const name = element("button", { type: "button", class: "link", "data-id": keyOf(q), "aria-pressed": String(chosen), onclick: () => choose(q) }, element("bdi", {}, nameOfQuantity(q)));
  return element("tr", { class: chosen && "chosen" },
    element("td", {}, name),
    element("td", { class: "quiet" }, whatOf(q)),
    element("td", { class: "number", dir: "ltr", "data-q": keyOf(q), "data-value": value }, formatNumber(value)));
}

/** Show the table; `choose` is called with the quantity picked. */
export function showNumbers(choose) {
  const all = listed();
  const values = all.map((q) => valueOf(page.state, q));
  const folded = all.length > MOST_LISTED && !page.every;
  let order = all.map((_, k) => k);
  if (folded) order = order.sort((a, b) => Math.abs(values[b]) - Math.abs(values[a])).slice(0, MOST_LISTED);
  const rows = order.map((k) => tableRow(all[k], values[k], choose));
  const heads = ["of", "what", "value"].map((key) => element("th", { scope: "col" }, text(`head_${key}`)));
  renew($("numbers"), element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows)));
  $("folded").replaceChildren(...(folded ? foldedWords(all.length, choose) : []));
}

function foldedWords(all, choose) {
  const listAll = () => {
    page.every = true;
    showNumbers(choose);
  };
  return [
    text("folded", { shown: count(MOST_LISTED), all: count(all) }),
    " ",
    all <= MOST_ON_DEMAND ? link(text("show_all"), listAll) : text("folded_choose"),
  ];
}
