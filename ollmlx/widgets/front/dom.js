/** Elements of a page, made without ever parsing HTML: what a model says stays text. */

/**
 * An element with attributes, listeners (`onclick: f`) and children; null and false are left out.
 * Strings become text.
 */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") node.toggleAttribute(name, value);
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== false));
  // Jupyter asks the element that has the focus first, and it alone: a letter on a button changed cells.
  node.dataset.lmSuppressShortcuts = "true";
  return node;
}

/** A button with a text; `label` is what a screen reader says where the text alone is not enough. */
export function button(text, onclick, { label = null, kind = "", disabled = false } = {}) {
  return h(
    "button",
    { type: "button", class: `ollmlx-button ${kind}`, "aria-label": label, title: label, disabled, onclick },
    text,
  );
}

/** A form's field with its label around it. */
export function field(label, input) {
  return h("label", { class: "ollmlx-field" }, h("span", {}, label), input);
}

/** Options of a select, with one chosen that may be missing among them. */
export function choices(select, names, chosen, none = null) {
  const all = chosen && !names.includes(chosen) ? [chosen, ...names] : names;
  const options = all.map((name) => h("option", { value: name }, name));
  if (none !== null) options.unshift(h("option", { value: "" }, none));
  const same = options.length === select.length && options.every((option, index) => option.isEqualNode(select[index]));
  if (!same) select.replaceChildren(...options); // else it may be open just now
  select.value = chosen;
}

/** Text on the clipboard; false where the browser does not allow it. */
export async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // no permission, or a page that is not secure: the caller shows the text
  }
}

/** Makes an element a widget of a kind. */
export function root(element, kind) {
  element.classList.add("ollmlx", kind);
  return element;
}
