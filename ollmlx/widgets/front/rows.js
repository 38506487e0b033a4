/** Lists whose rows stay in their place while they change: the focus stays with them. */

import { h } from "./dom.js";

export class Rows {
  /**
   * `draw(item)` gives the parts of a row.  Parts are made anew only when the item, or what
   * `look(item)` tells of its surroundings, is another.
   */
  constructor(label, key, draw, nothing, look = () => null) {
    this.key = key;
    this.draw = draw;
    this.look = look;
    this.element = h("ul", { class: "ollmlx-rows", "aria-label": label });
    this.empty = h("div", { class: "ollmlx-faint", hidden: true }, nothing); // until that is known
    this.drawn = new Map();
  }

  show(items) {
    const before = this.drawn;
    this.drawn = new Map(items.map((item) => [item[this.key], this.row(item, before)]));
    const wanted = [...this.drawn.values()].map(({ node }) => node);
    for (const [key, { node }] of before) if (!this.drawn.has(key)) node.remove();
    wanted.forEach((node, index) => {
      const there = this.element.children[index];
      if (there !== node) this.element.insertBefore(node, there ?? null);
    });
    this.empty.hidden = items.length > 0;
  }

  row(item, before) {
    const state = JSON.stringify([item, this.look(item)]);
    const old = before.get(item[this.key]);
    if (old?.state === state) return old;
    const node = old?.node ?? h("li", {}, h("div"));
    const focused = node.contains(document.activeElement) && document.activeElement;
    renew(node.firstChild, this.draw(item, node).filter(Boolean)); // an open panel stands behind it
    if (focused && !focused.isConnected) refocus(node, focused.ariaLabel);
    return { node, state };
  }
}

/**
 * Gives an element these children, and leaves alone what is as it was: a button may be pressed just
 * now.  It keeps its listener, so that attributes have to tell buttons apart that do other things.
 */
function renew(element, fresh) {
  const before = [...element.childNodes];
  fresh.forEach((part, index) => {
    const there = before[index];
    if (!there) element.append(part);
    else if (!there.cloneNode(false).isEqualNode(part.cloneNode(false))) there.replaceWith(part);
    else renew(there, [...part.childNodes]);
  });
  for (const gone of before.slice(fresh.length)) gone.remove();
}

/** The button that was focused has a successor with the same label, or else another one. */
function refocus(node, label) {
  const buttons = [...node.querySelectorAll("button, input, select")];
  (buttons.find((one) => one.ariaLabel === label) ?? buttons[0])?.focus();
}
