// The page as a whole: it is shown anew after everything that a person does.

import { drawDiagram } from "./diagram.js";
import { $, element, fill, renew } from "./elements.js";
import { litBy } from "./explanations.js";
import { formatNumber } from "./formats.js";
import { showFormula } from "./formula.js";
import { showRun } from "./running.js";
import { DATA, load, MESSAGES, model, moveTo, open, page, run, stage, takeRate } from "./session.js";
import { showNumbers } from "./table.js";
import { count, nameOf, notesOn, rowName, stageTitle, stageWords, text, titleOf } from "./words.js";

const DARK = matchMedia("(prefers-color-scheme: dark)");
const ROOT = document.documentElement;

// ---- what is shown

function show() {
  ROOT.lang = page.language;
  ROOT.dir = text("direction");
  for (const each of document.querySelectorAll("[data-text]")) each.textContent = text(each.dataset.text);
  for (const each of document.querySelectorAll("[data-label]")) each.setAttribute("aria-label", text(each.dataset.label));
  showHead();
  showStage();
  showFormula(show, choose);
  showNumbers(choose);
  showRun();
}

function choose(q) {
  open(q);
  show();
}

/** Tell whether the page is dark: as a person chose, else as the browser prefers. */
const isDark = () => (ROOT.dataset.theme ? ROOT.dataset.theme === "dark" : DARK.matches);

function showHead() {
  const given = model();
  const title = titleOf(given);
  $("title").replaceChildren(element("bdi", {}, title));
  document.title = `${title} · gpubp`;
  $("about").textContent = given.lesson ? text(`lesson_${given.lesson}_words`) : text("title_words");
  const notes = notesOn(given);
  $("notes").replaceChildren(...notes.map((note) => element("li", { dir: "auto" }, note)));
  $("notes").hidden = !notes.length;
  $("theme").textContent = text(isDark() ? "light" : "dark");
  fill($("language"), Object.keys(MESSAGES).map((key) => [key, MESSAGES[key].language_name]), page.language);
  $("lesson-choice").hidden = DATA.models.length < 2;
  fill($("lesson"), DATA.models.map((each, k) => [k, text(`lesson_${each.lesson}`)]), page.model);
  $("row-choice").hidden = page.state.x.length < 2;
  fill($("row"), page.state.x.map((_, k) => [k, rowName(k)]), page.state.row);
}

function showStage() {
  const { state, stages, at, selected } = page;
  $("counter").textContent = text("counter", { at: count(at + 1), all: count(stages.length) });
  $("stage-title").textContent = stageTitle();
  $("stage-words").textContent = stageWords();
  $("back").disabled = at === 0;
  $("forth").disabled = at === stages.length - 1;
  $("stage").max = stages.length - 1;
  $("stage").value = at;
  $("stage").setAttribute("aria-valuetext", `${count(at + 1)}: ${stageTitle()}`);
  const chips = [];
  if (at >= stages.findIndex((each) => each.kind === "loss")) chips.push(["loss", state.step.before.loss]);
  if (stage().kind === "again") chips.push(["loss_again", state.step.again.loss]);
  renew($("losses"),
    ...chips.map(([kind, value]) =>
      element("button", { type: "button", class: "chip", id: kind, "data-id": kind, "data-value": value, onclick: () => choose({ kind, layer: state.layers.length }) },
        text(`quantity_${kind}`), " ", element("b", { dir: "ltr" }, formatNumber(value)))),
  );
  drawDiagram($("diagram"), state, { stages, at, selected, lit: litBy(state, selected), names: nameOf, text, count, choose });
}

// ---- the address, which keeps the stage

const address = () => `stage=${page.at + 1}${DATA.models.length > 1 ? `&lesson=${model().id}` : ""}`;

function readAddress() {
  const found = new URLSearchParams(location.hash.slice(1));
  const lesson = DATA.models.findIndex((each) => each.id === found.get("lesson"));
  if (!page.state || (lesson >= 0 && lesson !== page.model)) load(Math.max(lesson, 0));
  moveTo((Number.parseInt(found.get("stage"), 10) || 1) - 1);
}

function goTo(at) {
  moveTo(at);
  history.replaceState(null, "", `#${address()}`);
  show();
  $("spoken").textContent = `${stageTitle()}. ${stageWords()}`;
}

// ---- what a person does

/** Do something when a control is used, and show what has come of it. */
function on(id, event, act) {
  $(id).addEventListener(event, ({ target }) => {
    act(target);
    show();
  });
}

$("back").addEventListener("click", () => goTo(page.at - 1));
$("forth").addEventListener("click", () => goTo(page.at + 1));
$("stage").addEventListener("input", ({ target }) => goTo(Number(target.value)));
$("lesson").addEventListener("change", ({ target }) => {
  load(Number(target.value));
  goTo(0);
});
on("row", "change", ({ value }) => { page.state.row = Number(value); });
on("language", "change", ({ value }) => { page.language = value; });
on("theme", "click", () => { ROOT.dataset.theme = isDark() ? "light" : "dark"; });
on("rate", "input", ({ value }) => takeRate(Number((10 ** Number(value)).toPrecision(2))));
on("rate-number", "change", ({ valueAsNumber }) => takeRate(valueAsNumber));
on("one", "click", () => run(1));
on("hundred", "click", () => run(100));
on("reset", "click", () => load(page.model));
$("surface-output").addEventListener("change", showRun);
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const moves = { ArrowRight: page.at + 1, ArrowLeft: page.at - 1, Home: 0, End: page.stages.length - 1 };
  if (!(event.key in moves)) return;
  event.preventDefault();
  goTo(moves[event.key]);
});
addEventListener("hashchange", () => {
  readAddress();
  show();
});
let pending;
addEventListener("resize", () => {
  cancelAnimationFrame(pending);
  pending = requestAnimationFrame(showStage);
});
DARK.addEventListener("change", show);

readAddress();
show();
