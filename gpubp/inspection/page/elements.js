// Elements of the page: how they are found and made.

export const $ = (id) => document.getElementById(id);

/** Return an element with attributes (`onclick` and the like listen) and children. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** Return an element of formulas and numbers, which run from left to right in every language. */
export const leftToRight = (tag, className, content) => element(tag, { dir: "ltr", class: className }, content);

export const link = (label, onclick) => element("button", { type: "button", class: "link", onclick }, label);

/** Replace what an element holds; what had the focus has it again, where there is one of its data-id. */
export function renew(parent, ...children) {
  const focused = parent.contains(document.activeElement) && document.activeElement.dataset.id;
  parent.replaceChildren(...children);
  if (focused) parent.querySelector(`[data-id="${focused}"]`)?.focus({ preventScroll: true });
}

/** Put options into a list, each a value and what a person reads. */
export function fill(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, label]) => element("option", { value, selected: String(value) === String(chosen) }, label)));
}
