/** What a server is doing, as curves over the last two minutes and as numbers. */

import { carried } from "./comm.js";
import { h, root } from "./dom.js";
import { still, whenEnded } from "./kernel.js";
import { short, size } from "./numbers.js";

const TICK_MS = 500; // the server tells no faster
const SAMPLES = 240;
const WIDTH = 240;
const HEIGHT = 90;
const SVG = "http://www.w3.org/2000/svg";
/** Told apart by people who see few colours, on light ground and on dark. */
const COLOURS = ["#3d8fd1", "#e07b00", "#2ca02c", "#c44e9c", "#8c6d31", "#17a2b8"];

/** What a chart shows: lines of one model, and how a value is written. */
const CHARTS = [
  { title: "Tokens a second", lines: [(model) => model.tokens_per_second], write: short },
  {
    title: "Batch (dashed: waiting)",
    lines: [(model) => model.batch, (model) => model.waiting],
    write: (value) => value.toFixed(0),
  },
  { title: "KV cache, tokens", lines: [(model) => model.kv_tokens], write: (value) => value.toFixed(0) },
  { title: "Memory of its process", lines: [(model) => model.memory], write: size },
];
const COLUMNS = [
  ["Model", (model) => model.model],
  ["Tokens/s", (model) => short(model.tokens_per_second)],
  ["Running", (model) => String(model.running)],
  ["Waiting", (model) => String(model.waiting)],
  ["Batch", (model) => String(model.batch)],
  ["KV", (model) => `${model.kv_tokens} of ${model.kv_capacity}`],
  ["Memory", (model) => size(model.memory)],
  ["Written", (model) => `${model.generated_tokens} tokens`],
];

class TelemetryView {
  constructor(element, transport) {
    this.latest = null;
    this.past = [];
    this.colours = new Map();
    this.said = h("div", { class: "ollmlx-said ollmlx-faint", role: "status" }, "asking the server …");
    this.charts = CHARTS.map((chart) => new Chart(chart));
    this.body = h("tbody");
    const head = h("thead", {}, h("tr", {}, COLUMNS.map(([title]) => h("th", { scope: "col" }, title))));
    root(element, "ollmlx-telemetry").append(
      h("div", { class: "ollmlx-telemetry-charts" }, this.charts.map((chart) => chart.element)),
      h("div", { class: "ollmlx-wide" }, h("table", { "aria-label": "Models" }, head, this.body)),
      this.said,
    );
    this.unfollow = transport.follow(
      (event) => this.hear(event),
      (text) => this.lost(text),
    );
    this.clock = setInterval(() => this.tick(), TICK_MS);
  }

  hear(event) {
    if (event.type !== "telemetry") return;
    this.latest = event.telemetry;
    const { waiting, memory_free, memory_total } = event.telemetry;
    const loads = waiting > 0 ? `${waiting} wait for a load; ` : "";
    this.said.textContent = `${loads}${size(memory_free)} of ${size(memory_total)} are free`;
    this.said.classList.remove("ollmlx-error");
  }

  lost(text) {
    this.latest = null;
    this.said.textContent = text;
    this.said.classList.add("ollmlx-error");
  }

  /** Time goes on even where nothing changes. */
  tick() {
    const curved = ({ model }) => this.past.some((models) => models.get(model)?.loaded);
    const models = (this.latest?.models ?? []).filter((model) => model.loaded || curved(model));
    this.past.push(new Map(models.map((model) => [model.model, model])));
    if (this.past.length > SAMPLES) this.past.shift();
    for (const { model } of models) {
      if (!this.colours.has(model)) this.colours.set(model, COLOURS[this.colours.size % COLOURS.length]);
    }
    for (const chart of this.charts) chart.draw(this.past, this.colours);
    this.body.replaceChildren(...models.map((model) => this.row(model)));
  }

  row(model) {
    const swatch = h("span", { class: "ollmlx-swatch", style: `background: ${this.colours.get(model.model)}` });
    const cells = COLUMNS.map(([title, write]) => h("td", { "data-title": title }, write(model)));
    cells[0].prepend(swatch);
    return h("tr", {}, cells);
  }

  end() {
    clearInterval(this.clock);
    this.unfollow();
  }
}

class Chart {
  constructor({ title, lines, write }) {
    this.title = title;
    this.lines = lines;
    this.write = write;
    this.plot = document.createElementNS(SVG, "svg");
    this.plot.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.plot.setAttribute("preserveAspectRatio", "none");
    this.plot.setAttribute("role", "img");
    this.most = h("span", {}, "0");
    this.element = h("figure", {}, h("figcaption", {}, h("span", {}, title), this.most), this.plot);
  }

  draw(past, colours) {
    const values = (line) => past.flatMap((models) => [...models.values()].map(line));
    const most = Math.max(0, ...this.lines.flatMap(values));
    this.most.textContent = `up to ${this.write(most)}`;
    const drawn = [...colours].flatMap(([model, colour]) =>
      this.lines.map((line, index) => curve(past, model, line, most, colour, index > 0)),
    );
    this.plot.replaceChildren(...drawn);
    const now = [...(past.at(-1)?.values() ?? [])].map((model) => `${model.model} ${this.write(this.lines[0](model))}`);
    this.plot.setAttribute("aria-label", `${this.title}: ${now.join(", ") || "nothing is loaded"}`);
  }
}

/** The newest sample is at the right edge; where a model was not there, it is at zero. */
function curve(past, model, line, most, colour, dashed) {
  const node = document.createElementNS(SVG, "polyline");
  const points = past.map((models, index) => {
    const value = models.has(model) ? line(models.get(model)) : 0;
    const x = WIDTH - ((past.length - 1 - index) * WIDTH) / (SAMPLES - 1);
    const y = HEIGHT - 2 - (most > 0 ? value / most : 0) * (HEIGHT - 8);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  node.setAttribute("points", points.join(" "));
  node.setAttribute("stroke", colour);
  if (dashed) node.setAttribute("class", "dashed");
  return node;
}

function render({ model, el }) {
  const view = new TelemetryView(el, carried(model));
  whenEnded(model, el, () => {
    clearInterval(view.clock);
    still(el);
  });
  return () => view.end();
}

export default { render };
