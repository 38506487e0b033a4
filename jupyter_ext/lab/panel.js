/** The side panel: the model manager that notebooks show, over HTTP instead of a kernel. */

import { manager } from "./front/manager.js";

/** The panel's class; it shows nothing and asks the server nothing before it is seen. */
export function panelClass(Widget) {
  return class extends Widget {
    constructor(transport, style) {
      super();
      this.addClass("ollmlx-side");
      this.transport = transport;
      this.style = style;
    }

    onAfterShow() {
      this.begin();
    }

    onAfterAttach() {
      if (this.isVisible) this.begin();
    }

    onActivateRequest() {
      this.node.querySelector("button:not([hidden]), input")?.focus();
    }

    begin() {
      if (this.end) return;
      this.style("front/shared.css");
      this.style("front/manager.css");
      const element = document.createElement("div");
      this.node.append(element);
      this.end = manager(element, this.transport);
    }

    dispose() {
      this.end?.();
      super.dispose();
    }
  };
}
