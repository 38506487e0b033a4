/** What there is to pull: a name of one's own, or what the table and the hub's search know. */

import { button, h } from "./dom.js";
import { estimated } from "./installed.js";
import { size } from "./numbers.js";
import { Row, Rows } from "./rows.js";

const TYPING_MS = 400;

export class Pulling {
  constructor(transport) {
    this.transport = transport;
    this.input = h("input", {
      type: "search",
      placeholder: "name to pull, or words to search for",
      "aria-label": "Model to pull, or words to search for",
      oninput: () => this.typed(),
    });
    this.direct = new PullRow(transport, () => this.input.value.trim());
    this.found = new Rows("Found", "Nothing was found.", ({ name }) => new FoundRow(transport, name));
    this.found.element.hidden = true;
    this.hub = h("p", { class: "ollmlx-faint", role: "status" });
    const onsubmit = (event) => {
      event.preventDefault();
      this.direct.begin();
    };
    const browse = button("Browse", () => this.search(), { label: "Search for models" });
    const form = h("form", { class: "ollmlx-bar", role: "search", onsubmit }, this.input, this.direct.pull, browse);
    this.element = h("section", {}, h("h3", {}, "Pull"), form, this.direct.element, this.found.element, this.hub);
  }

  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.input.value.trim() ? this.search() : this.clear()), TYPING_MS);
  }

  clear() {
    this.found.element.hidden = true;
    this.hub.textContent = "";
  }

  async search() {
    const query = this.input.value.trim();
    this.hub.textContent = "searching …";
    try {
      const { models, hub_error: error } = await this.transport.request(
        "GET",
        `/api/ollmlx/search?q=${encodeURIComponent(query)}`,
      );
      if (query !== this.input.value.trim()) return; // a later search is on its way
      this.found.element.hidden = false;
      this.found.show(new Map(models.map((model) => [model.name, model])));
      this.hub.textContent = error;
    } catch (error) {
      this.hub.textContent = error.message;
    }
  }

  /** Takes the timer away. */
  end() {
    clearTimeout(this.timer);
  }
}

/** Pulls what `named` says; asks first where it would not fit. */
class PullRow extends Row {
  constructor(transport, named) {
    super("");
    this.transport = transport;
    this.named = named;
    this.element = h("div", {}, this.below, this.wrong);
    this.pull = h("button", { type: "submit", class: "ollmlx-button primary" }, "Pull");
  }

  begin() {
    return this.run(this.pull, () => pulled(this, this.named()));
  }
}

class FoundRow extends Row {
  constructor(transport, name) {
    super(name);
    this.transport = transport;
    this.action("Pull", () => pulled(this, name), { kind: "primary" });
  }

  update({ source, format, parameters, size: bytes, downloads, gated }) {
    const asked = downloads ? `${downloads.toLocaleString()} downloads` : "";
    const facts = [parameters, bytes ? size(bytes) : "", format, source, asked, gated ? "asks for consent" : ""];
    this.facts.textContent = facts.filter(Boolean).join(" · ");
  }
}

/** Begins a pull as a job, or asks in the row whether to pull what does not fit. */
async function pulled(row, model) {
  const begin = () => row.transport.request("POST", "/api/ollmlx/jobs", { kind: "pull", model });
  if (!model) throw new Error("write the name of a model first");
  const trouble = await unfit(row.transport, model);
  if (trouble) row.ask(trouble, "Pull anyway", begin);
  else await begin();
}

/** Why a model would not fit, in words; empty where it does or nobody can say. */
async function unfit(transport, model) {
  let estimate;
  try {
    estimate = await estimated(transport, model);
  } catch {
    return ""; // the pull meets the same trouble, and its job tells it
  }
  const { fits, arithmetic, download, disk_free: free } = estimate;
  if (download > free) return `It takes ${size(download)} of disk, and ${size(free)} are free.`;
  return fits ? "" : `It does not seem to fit in memory: ${arithmetic}`;
}
