// Where a number comes from: its formula in words, in symbols and with its numbers put in.

import { $, element, leftToRight, link } from "./elements.js";
import { explain, partsOf, valueOf } from "./explanations.js";
import { formatNumber } from "./formats.js";
import { edit, page } from "./session.js";
import { count, nameOfQuantity, text, whatOf } from "./words.js";

/** Show the formula of the quantity that is open; `show` shows the page anew, `choose` opens another. */
export function showFormula(show, choose) {
  const q = page.selected;
  $("formula").replaceChildren(
    ...(q
      ? [...partsOf(q).flatMap((part) => formulaLines(part, show, choose)), ...changing(q, show, choose)]
      : [element("p", { class: "quiet" }, text("formula_none"))]),
  );
}

function formulaLines(q, show, choose) {
  const found = explain(page.state, q, page.whole);
  const result = formatNumber(found.result);
  const lines = [
    element("h3", {}, element("bdi", {}, nameOfQuantity(q)), " · ", whatOf(q)),
    element("p", {}, text(found.words)),
  ];
  if (found.symbols) lines.push(leftToRight("p", "symbols", found.symbols));
  lines.push(leftToRight("p", "sentence", found.numbers ? `${found.numbers} = ${result}` : result));
  if (found.folded) {
    const unfold = () => {
      page.whole = true;
      showFormula(show, choose);
    };
    lines.push(link(text("unfold", { count: count(found.folded) }), unfold));
  }
  return lines;
}

/** Return what changes a number that a person may change, or leads to it. */
function changing(q, show, choose) {
  if (q.kind === "t" || q.kind === "old" || (q.layer === 0 && q.kind !== "again")) {
    const onchange = (event) => {
      edit(q, event.target.valueAsNumber);
      show();
    };
    const field = element("input", { type: "number", step: "any", value: valueOf(page.state, q), id: "edit", onchange });
    return [element("label", { class: "edit" }, element("span", {}, text("edit")), field)];
  }
  return q.of ? [link(text("edit_weight"), () => choose({ ...q, kind: "old" }))] : [];
}
