/** The item in the status bar: what is loaded, how fast it writes, what it takes of memory. */

import { size, short } from "./front/numbers.js";
import { Table } from "./front/table.js";

/** The item's class; a click or Enter calls `open`. */
export function statusClass(Widget) {
  return class extends Widget {
    constructor(mount, open) {
      const button = document.createElement("button");
      button.type = "button";
      button.addEventListener("click", open);
      const node = document.createElement("div");
      node.append(button);
      super({ node });
      this.addClass("ollmlx-status");
      this.button = button;
      this.mount = mount;
      this.tables = { running: new Table("name"), jobs: new Table("id") };
      this.telemetry = [];
    }

    onAfterAttach() {
      this.stop = this.mount.follow(
        (frame) => this.hear(frame),
        () => this.say("ollmlx: no connection"),
      );
    }

    onBeforeDetach() {
      this.stop();
    }

    hear(frame) {
      if (frame.type === "telemetry") this.telemetry = frame.telemetry.models;
      else this.tables[frame.type]?.take(frame);
      this.say(this.words());
    }

    say(text) {
      if (this.button.textContent === text) return;
      this.button.textContent = text;
      this.button.title = `Local models: ${text}`;
    }

    words() {
      const pulling = this.tables.jobs.all.filter((job) => job.status === "running");
      return [this.loaded(), ...pulling.map(progress)].join(" · ");
    }

    loaded() {
      const models = this.tables.running.all;
      if (models.length === 0) return "no model loaded";
      const names = models.length === 1 ? models[0].name : `${models.length} models`;
      const pace = sum(this.telemetry, (model) => model.tokens_per_second);
      const memory = size(sum(models, (model) => model.size));
      return [names, pace ? `${short(pace)} tokens/s` : "", memory].filter(Boolean).join(" · ");
    }
  };
}

function progress({ model, completed, total }) {
  return total ? `${model} ${Math.floor((100 * completed) / total)} %` : `${model} …`;
}

function sum(values, of) {
  return values.reduce((total, value) => total + of(value), 0);
}
