/** Which models answer, and how: the system prompt and the API's options. */

import { choices, field, h } from "./dom.js";

const NUMBERS = [
  ["temperature", "Temperature", 0.1],
  ["top_p", "Top p", 0.05],
  ["top_k", "Top k", 1],
  ["min_p", "Min p", 0.01],
  ["repeat_penalty", "Repeat penalty", 0.05],
  ["seed", "Seed", 1],
  ["num_predict", "Most tokens", 1],
  ["num_ctx", "Context", 1],
];
const THINKING = [
  ["", "model's own"],
  ["true", "on"],
  ["false", "off"],
  ["low", "low"],
  ["medium", "medium"],
  ["high", "high"],
];

/** What a select says about thinking, as the API takes it. */
function thinks(value) {
  return { "": null, true: true, false: false }[value] ?? (value || null);
}

export class Settings {
  /**
   * `changed` gets the models, system prompt, options and thinking after every change; `look` asks
   * for the names of models, which are about to be chosen from.
   */
  constructor(changed, look) {
    this.unanswered = 0;
    this.changed = () => {
      this.unanswered += 1;
      changed(this.given());
    };
    const select = (label) =>
      h("select", { "aria-label": label, onchange: this.changed, onpointerenter: look, onfocus: look });
    this.first = select("Model");
    this.second = select("Compare with");
    this.selects = [this.first, this.second];
    this.system = h("textarea", { rows: "2", onchange: this.changed });
    this.think = h("select", { onchange: this.changed });
    this.think.append(...THINKING.map(([value, text]) => h("option", { value }, text)));
    this.numbers = new Map(
      NUMBERS.map(([name, , step]) => [
        name,
        h("input", { type: "number", step: String(step), placeholder: "model's own", onchange: this.changed }),
      ]),
    );
    this.stops = h("input", { type: "text", placeholder: "model's own", title: "texts, with commas between", onchange: this.changed });
    this.others = {};
    this.panel = this.build();
  }

  build() {
    const fields = NUMBERS.map(([name, label]) => field(label, this.numbers.get(name)));
    return h(
      "div",
      { class: "ollmlx-chat-settings", role: "group", "aria-label": "Settings", hidden: true },
      field("System prompt", this.system),
      h("div", { class: "ollmlx-chat-options" }, fields, field("Stop at", this.stops), field("Thinking", this.think)),
    );
  }

  /** What the kernel says to a change, or to somebody else's. */
  answer(settings) {
    this.unanswered = Math.max(0, this.unanswered - 1);
    this.show(settings);
  }

  /** Nothing while a change is on its way to the kernel, which knows less than the page then. */
  show({ models, installed, system, options, think }) {
    if (this.unanswered > 0) return;
    const put = (input, value) => {
      if (!input.matches(":focus")) input.value = value; // somebody is writing in it
    };
    choices(this.first, installed, models[0] ?? "", models[0] ? null : "choose a model");
    choices(this.second, installed, models[1] ?? "", "compare with …");
    put(this.system, system);
    this.think.value = think === null ? "" : String(think);
    this.others = Object.fromEntries(
      Object.entries(options).filter(([name]) => name !== "stop" && !this.numbers.has(name)),
    );
    for (const [name, input] of this.numbers) put(input, options[name] ?? "");
    put(this.stops, [options.stop ?? []].flat().join(","));
  }

  given() {
    const options = { ...this.others };
    for (const [name, input] of this.numbers) {
      if (input.value !== "") options[name] = Number(input.value);
    }
    const stops = this.stops.value.split(",").filter((text) => text !== "");
    if (stops.length > 0) options.stop = stops;
    return {
      models: [this.first.value, this.second.value],
      system: this.system.value,
      options,
      think: thinks(this.think.value),
    };
  }
}
