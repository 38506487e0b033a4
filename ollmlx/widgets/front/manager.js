/** The model manager: what runs, what is being pulled, what is installed, what there is to pull. */

import { button, copied, h, root } from "./dom.js";
import { InstalledRow } from "./installed.js";
import { JobRow } from "./jobs.js";
import { Pulling } from "./pulling.js";
import { Rows } from "./rows.js";
import { RunningRow } from "./running.js";
import { take } from "./tables.js";

const TICK_MS = 1000;

/**
 * Shows the manager in an element until the returned function is called.  `transport` has
 *
 * - `endpoint`, the address to copy;
 * - `request(method, path, body)`, a promise of the JSON that the server's API answers; it rejects
 *   with an `Error` that has a message for people;
 * - `watch(hear)`, which calls `hear` with each frame of /api/ollmlx/events, and with
 *   `{type: "lost", error}` while there is no connection, and returns a function that ends it;
 * - perhaps `chat(model)`, which opens a chat.
 */
export function view(element, transport) {
  const manager = new Manager(root(element, "ollmlx-manager"), transport);
  return () => manager.end();
}

class Manager {
  constructor(element, transport) {
    this.tables = { jobs: new Map(), models: new Map(), running: new Map() };
    this.telemetry = new Map();
    this.lost = h("p", { class: "ollmlx-error", role: "alert" });
    this.running = new Rows("Running", "No model is in memory.", ({ name }) => new RunningRow(transport, name));
    this.jobs = new Rows("Under way", "", (job) => new JobRow(transport, job));
    this.installed = new Rows("Installed", "No model is installed.", (model) => new InstalledRow(transport, model));
    this.pulling = new Pulling(transport);
    const lists = [this.running, this.jobs, this.pulling, this.installed].map((part) => part.element);
    element.append(this.lost, ...lists, endpoint(transport.endpoint));
    this.stopWatching = transport.watch((frame) => this.hear(frame));
    this.ticking = setInterval(() => this.tick(), TICK_MS);
  }

  hear(frame) {
    this.lost.textContent = frame.type === "lost" ? frame.error : "";
    if (frame.type === "telemetry") {
      this.telemetry = new Map(frame.telemetry.models.map((model) => [model.model, model]));
      this.tick();
    } else if (frame.type in this.tables) {
      take(this.tables[frame.type], frame);
      this.show();
    }
  }

  show() {
    const { jobs, models, running } = this.tables;
    this.running.show(running);
    this.jobs.show(new Map([...jobs].sort(newest)));
    this.jobs.element.hidden = jobs.size === 0;
    this.installed.show(models);
    for (const [name, row] of this.installed.rows) row.running(running.has(name));
    this.tick();
  }

  tick() {
    for (const [name, row] of this.running.rows) {
      row.telemetry = this.telemetry.get(name);
      row.tick();
    }
  }

  end() {
    clearInterval(this.ticking);
    this.pulling.end();
    this.stopWatching();
  }
}

function newest([, one], [, other]) {
  return other.created_at.localeCompare(one.created_at);
}

/** The address of the API, to be given to other programs. */
function endpoint(address) {
  const text = h("input", { type: "text", readonly: true, value: address, "aria-label": "Address of the API" });
  const said = h("span", { class: "ollmlx-faint", role: "status" });
  const copy = async () => {
    const done = await copied(address);
    if (!done) text.select();
    said.textContent = done ? "copied" : "press Ctrl+C to copy it";
  };
  const bar = h("div", { class: "ollmlx-bar" }, text, button("Copy", copy, { label: "Copy the address" }), said);
  return h("section", {}, h("h3", {}, "Endpoint"), bar);
}
