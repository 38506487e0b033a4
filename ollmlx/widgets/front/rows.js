/** Lists that follow the server: a row is changed, not made anew, so that the focus stays in it. */

import { button, h } from "./dom.js";

/** A titled list with one row for each key; `make(value)` gives rows with `element` and `update`. */
export class Rows {
  constructor(title, empty, make) {
    this.make = make;
    this.rows = new Map();
    this.list = h("ul", { class: "ollmlx-rows", "aria-label": title, tabindex: "-1" });
    this.empty = h("p", { class: "ollmlx-faint" }, empty);
    this.element = h("section", {}, h("h3", {}, title), this.list, this.empty);
  }

  /** Shows values by key, in their order. */
  show(values) {
    for (const [key, row] of this.rows) {
      if (!values.has(key)) this.remove(key, row);
    }
    let before = null;
    for (const [key, value] of values) {
      const row = this.row(key, value);
      row.update(value);
      const place = before ? before.nextSibling : this.list.firstChild;
      if (row.element !== place) this.list.insertBefore(row.element, place);
      before = row.element;
    }
    this.empty.hidden = values.size > 0;
  }

  row(key, value) {
    if (!this.rows.has(key)) this.rows.set(key, this.make(value));
    return this.rows.get(key);
  }

  remove(key, row) {
    const focused = row.element.contains(document.activeElement);
    row.element.remove();
    this.rows.delete(key);
    if (focused) this.list.focus();
  }
}

/** What all rows have: a name, faint facts, buttons, a place for questions, and one for errors. */
export class Row {
  constructor(name) {
    this.name = name;
    this.facts = h("span", { class: "ollmlx-faint" });
    this.bar = h("div", { class: "ollmlx-bar" });
    this.below = h("div", { hidden: true });
    this.wrong = h("div", { class: "ollmlx-error", role: "alert" });
    const title = h("strong", { class: "ollmlx-name", title: name }, name);
    const head = h("div", {}, title, " ", this.facts);
    this.element = h("li", { class: "ollmlx-row" }, head, this.bar, this.below, this.wrong);
  }

  /** A button that does some work, and does not begin it twice at a time. */
  action(text, work, { kind = "", label = `${text} ${this.name}` } = {}) {
    const made = button(text, () => this.run(made, work), { kind, label });
    this.bar.append(made);
    return made;
  }

  /** Does the work of a button and tells what went wrong; the button keeps the focus meanwhile. */
  async run(pressed, work) {
    if (pressed.getAttribute("aria-busy") === "true") return;
    pressed.setAttribute("aria-busy", "true");
    this.wrong.textContent = "";
    try {
      await work();
    } catch (error) {
      this.wrong.textContent = error.message;
    } finally {
      pressed.removeAttribute("aria-busy");
    }
  }

  /** Shows or hides a button; one that goes hands its focus to the next that is there. */
  offer(made, wanted) {
    const focused = made === document.activeElement;
    made.hidden = !wanted;
    if (focused && !wanted) this.bar.querySelector("button:not([hidden])")?.focus();
  }

  /** Shows something below the row until the returned function is called. */
  open(content) {
    const back = document.activeElement;
    const close = () => {
      if (!content.isConnected) return;
      this.below.hidden = true;
      content.remove();
      this.wrong.textContent = "";
      back?.focus();
    };
    content.addEventListener("keydown", (event) => event.key === "Escape" && close());
    this.below.replaceChildren(content);
    this.below.hidden = false;
    return close;
  }

  /** Asks before work is done. */
  ask(question, yes, work, { kind = "danger", no = "Cancel" } = {}) {
    const not = button(no, () => close());
    const done = async () => {
      await work();
      close();
    };
    const doIt = button(yes, () => this.run(doIt, done), { kind });
    const bar = h("div", { class: "ollmlx-bar" }, doIt, not);
    const close = this.open(h("div", { class: "ollmlx-ask", role: "group", "aria-label": question }, question, bar));
    not.focus();
  }

  /** Asks for more before work is done: fields of a form. */
  form(text, work, ...fields) {
    const doIt = h("button", { type: "submit", class: "ollmlx-button primary" }, text);
    const done = async () => {
      await work();
      close();
    };
    const onsubmit = (event) => {
      event.preventDefault();
      this.run(doIt, done);
    };
    const bar = h("div", { class: "ollmlx-bar" }, doIt, button("Cancel", () => close()));
    const close = this.open(h("form", { class: "ollmlx-ask", onsubmit }, fields, bar));
    fields[0].querySelector("input, select").focus();
  }
}
