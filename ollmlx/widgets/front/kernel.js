/** The kernel behind a widget: a first word that reaches it, and word of its end. */

import { h } from "./dom.js";

const FIRST_MS = 500;
const LONGEST_MS = 60_000;
const ENDED = "The kernel behind this has ended. Run the cell again.";

/**
 * What a page tells its kernel, `greeting` first: again and again until `heard` is called, and the
 * rest only then.
 *
 * A front end makes the channel that leads past a running cell when it has the widget already; what
 * was said before that waits for the cell.
 */
export class Line {
  constructor(model, greeting) {
    this.model = model;
    this.greeting = greeting;
    this.wait = FIRST_MS;
    this.held = [];
    model.on("comm_live_update", () => this.end());
    this.greet();
  }

  greet() {
    this.model.send(this.greeting);
    this.timer = setTimeout(() => this.greet(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_MS);
  }

  heard() {
    this.end();
    for (const said of this.held ?? []) this.model.send(said);
    this.held = null;
  }

  tell(said) {
    if (this.held) this.held.push(said);
    else this.model.send(said);
  }

  end() {
    clearTimeout(this.timer);
  }
}

/**
 * Tells people when the kernel is gone, and calls `then` first.  ipywidgets knows of restarts,
 * JupyterLab's extension of every other end.
 */
export function whenEnded(model, element, then) {
  const end = () => {
    if (element.classList.contains("ollmlx-ended")) return;
    then();
    element.classList.add("ollmlx-ended");
    element.prepend(h("div", { class: "ollmlx-error", role: "alert" }, ENDED));
  };
  model.on("comm_live_update", end);
  element.addEventListener("ollmlx:kernel-ended", end);
}

/** Makes all that an element has now unusable. */
export function still(element) {
  for (const part of element.children) part.inert = true;
}
