/** The side panel: the model manager that notebooks show, over HTTP instead of a kernel. */

import { h, root } from "./front/dom.js";
import { manager } from "./front/manager.js";
import { ABSENT } from "./mount.js";

/** The panel's class; it shows nothing and asks the server nothing before it is seen. */
export function panelClass(Widget) {
  return class extends Widget {
    constructor(mount, style) {
      super();
      this.addClass("ollmlx-side");
      this.mount = mount;
      this.style = style;
    }

    onAfterShow() {
      this.begin();
    }

    onAfterAttach() {
      if (this.isVisible) this.begin();
    }

    onActivateRequest() {
      this.begin();
      this.node.querySelector("button:not([hidden]), input")?.focus();
    }

    begin() {
      if (this.node.firstChild) return;
      this.style("front/shared.css");
      this.style("front/manager.css");
      const element = document.createElement("div");
      this.node.append(element);
      if (this.mount.present) this.end = manager(element, this.mount.transport());
      else root(element, "ollmlx-absent").append(h("p", { role: "alert" }, ABSENT));
    }

    dispose() {
      this.end?.();
      super.dispose();
    }
  };
}
