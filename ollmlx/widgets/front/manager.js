/** The models of a server: installed, running, on their way, and to be found. */

import { button, copied, h, root } from "./dom.js";
import { duration, size, until } from "./numbers.js";
import { confirm, converting, loading, makeable, open, verdict } from "./panels.js";
import { Rows } from "./rows.js";
import { Server } from "./server.js";
import { Table } from "./table.js";

/** What can be converted; the API calls MLX's models by what their weights lie in. */
const FORMATS = { gguf: "GGUF", safetensors: "MLX" };
const BY_NAME = new Intl.Collator("en", { numeric: true });
const TRANSFERS = ["pull", "push"];
const NOUNS = { convert: "conversion", create: "making" };
const TICK_MS = 1000; // between two looks at the clock, for what expires

/** Shows the manager in an element; `Server` says what a transport is.  Gives back what ends it. */
export function manager(element, transport) {
  const view = new Manager(root(element, "ollmlx-manager"), transport);
  return () => view.end();
}

class Manager {
  constructor(element, transport) {
    this.server = new Server(transport, (text, wrong) => this.say(text, wrong));
    this.tables = { jobs: new Table("id"), models: new Table("name"), running: new Table("name") };
    this.fits = new Map();
    this.estimated = new Set(); // since a model was loaded or unloaded: memory is another then
    this.resident = "";
    this.known = false;
    this.estimating = false;
    this.ended = false;
    this.inSight = new Set(); // rows of installed models that can be seen
    this.sight = new IntersectionObserver((entries) => this.saw(entries));
    this.build(element);
    const hear = (event) => this.hear(event);
    this.unfollow = transport.follow(hear, (text) => this.lost(text));
    this.clock = setInterval(() => this.known && this.running.show(this.tables.running.all), TICK_MS);
  }

  build(element) {
    const minute = ({ expires_at }) => (expires_at ? until(expires_at) : "");
    this.running = new Rows("Running models", "name", (model) => this.runningRow(model), "No model is loaded.", minute);
    this.jobs = new Rows("Jobs", "id", (job, row) => this.jobRow(job, row), "Nothing is on its way.");
    const remove = button("Remove all that are done", () => this.done.forEach((job) => this.server.cancel(job)));
    this.tidy = h("div", { class: "ollmlx-bar", hidden: true }, remove);
    this.installed = new Rows(
      "Installed models",
      "name",
      (model, row) => this.modelRow(model, row),
      "No model is installed: search for one, or pull one by its name.",
      ({ name }) => [this.fits.get(name), this.tables.running.rows.has(name)],
    );
    this.found = new Rows("Found models", "name", (found, row) => this.foundRow(found, row), "");
    this.found.show([]);
    this.said = h("div", { class: "ollmlx-said ollmlx-faint", role: "status" });
    const copy = button("Copy endpoint", () => this.copy(), { label: "Copy the address for other programs" });
    this.sections = [
      section("Running", this.running.element, this.running.empty),
      section("Downloads and conversions", this.jobs.element, this.jobs.empty, this.tidy),
      section("Installed", h("div", { class: "ollmlx-many" }, this.installed.element), this.installed.empty),
      section("Find models", this.searching(), this.hub, h("div", { class: "ollmlx-many" }, this.found.element)),
    ];
    const head = h("div", { class: "ollmlx-bar ollmlx-head" }, h("h3", {}, "Models"), this.said, copy);
    element.append(head, ...this.sections);
    this.say("asking the server …");
  }

  searching() {
    this.query = h("input", {
      type: "search",
      class: "ollmlx-search",
      placeholder: "Words, or a name to pull",
      "aria-label": "Search for models",
      onkeydown: (event) => event.key === "Enter" && this.search(),
    });
    this.hub = h("div", { class: "ollmlx-faint", role: "status" });
    const search = button("Search", () => this.search());
    const pull = button("Pull", () => this.pull(this.query.value.trim()), { label: "Pull the model of this name" });
    return h("div", { class: "ollmlx-bar" }, this.query, search, pull);
  }

  hear(event) {
    if (!(event.type in this.tables)) return;
    if (event.whole && event.type === "models") {
      this.say("");
      this.usable(true);
      this.known = true;
    }
    this.tables[event.type].take(event);
    if (!this.known) return; // of what is listed, the models come last
    this.running.show(this.tables.running.all);
    this.jobs.show(this.tables.jobs.all.sort((one, other) => other.created_at.localeCompare(one.created_at)));
    this.tidy.hidden = this.done.length < 2;
    this.installed.show(this.models);
    if (event.type === "jobs") return;
    const resident = this.tables.running.all.map(({ name, status }) => `${name} ${status}`).join();
    if (resident !== this.resident) this.estimated.clear();
    this.resident = resident;
    this.estimate();
  }

  lost(text) {
    this.say(text, true);
    this.usable(false);
  }

  /** What was known of a server that is lost can be read, and not acted on. */
  usable(yes) {
    for (const section of this.sections) section.inert = !yes;
  }

  say(text, wrong = false) {
    this.said.textContent = text;
    this.said.classList.toggle("ollmlx-error", wrong);
  }

  end() {
    this.ended = true;
    this.sight.disconnect();
    clearInterval(this.clock);
    this.unfollow();
  }

  saw(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.inSight.add(target);
      else this.inSight.delete(target);
      if (!target.isConnected) this.sight.unobserve(target);
    }
    this.estimate();
  }

  /** Asks for the installed models in sight whether they fit, one after the other. */
  async estimate() {
    if (this.estimating) return;
    this.estimating = true;
    const { models, running } = this.tables;
    const asks = (name) => models.rows.has(name) && !running.rows.has(name) && !this.estimated.has(name);
    const unknown = () => [...this.inSight].map(({ dataset }) => dataset.model).find(asks);
    for (let name = unknown(); name && !this.ended; name = unknown()) {
      this.estimated.add(name);
      this.fits.set(name, await this.fit(name));
      this.installed.show(this.models);
    }
    this.estimating = false;
  }

  get done() {
    return this.tables.jobs.all.filter(({ status }) => status === "done");
  }

  get models() {
    return this.tables.models.all.sort((one, other) => BY_NAME.compare(one.name, other.name));
  }

  /** Kind, words and reason of a badge. */
  async fit(name) {
    try {
      const { fits, arithmetic } = await this.server.estimate(name, 0);
      return fits ? ["yes", "fits", arithmetic] : ["no", "too large", arithmetic];
    } catch (error) {
      return ["no", "unknown size", error.message];
    }
  }

  runningRow(model) {
    const { name, status, pinned } = model;
    const loads = status === "loading";
    const leaves = pinned ? "stays loaded" : model.expires_at && `goes in ${until(model.expires_at)}`;
    const state = loads ? `loading, ${Math.round(model.fraction * 100)} %` : leaves;
    const facts = [state, size(model.size), `${model.context_length} tokens of context`];
    if (model.users > 0) facts.push(`${model.users} at work`);
    const buttons = [
      button(pinned ? "Unpin" : "Pin", () => this.server.keep(name, !pinned), { label: `${pinned ? "Unpin" : "Pin"} ${name}`, disabled: status !== "ready" }),
      button(loads ? "Stop" : "Unload", () => this.server.unload(name, loads), { label: `${loads ? "Stop loading" : "Unload"} ${name}` }),
    ];
    if (model.users > 0 && status === "ready") {
      buttons.push(button("Stop now", () => this.server.unload(name, true), { kind: "danger", label: `Stop ${name} and all its answers now` }));
    }
    return [row(name, facts, buttons)];
  }

  jobRow(job, place) {
    const { id, status } = job;
    const how = status === "running" ? job.step : status;
    const done = status === "done";
    const transfer = TRANSFERS.includes(job.kind);
    const facts = [how, !done && job.total > 0 && `${size(job.completed)} of ${size(job.total)}`];
    if (status === "running" && job.total > 0) {
      facts.push(job.speed > 0 ? `${size(job.speed)}/s` : transfer && "waiting for data");
      if (job.eta !== null) facts.push(`${duration(job.eta)} left`);
    }
    const name = `${NOUNS[job.kind] ?? job.kind} of ${job.model}`;
    const over = done || status === "failed";
    const cancel = () => this.server.cancel(job);
    const ask = () => confirm(place, `Cancel the ${name}?`, "cancel it", cancel);
    const buttons = [
      status === "running" && button("Pause", () => this.server.job(id, "pause"), { label: `Pause the ${name}` }),
      status !== "running" && !done && button("Resume", () => this.server.job(id, "resume"), { label: `Resume the ${name}` }),
      over ? button("Remove", cancel, { label: `Remove the ${name}` }) : button("Cancel", ask, { label: `Cancel the ${name}` }),
    ];
    const parts = [row(`${job.kind} ${job.model}`, facts, buttons)];
    const share = String(job.total ? job.completed / job.total : 0);
    if (!over || (!done && job.total)) parts.push(h("progress", { max: "1", value: share, "aria-label": name }));
    if (job.error) parts.push(h("div", { class: "ollmlx-error" }, job.error));
    return parts;
  }

  modelRow(model, place) {
    const { name, details } = model;
    place.dataset.model = name;
    this.sight.observe(place);
    const running = this.tables.running.rows.has(name);
    const [kind, word, reason] = (!running && this.fits.get(name)) || [];
    const badge = kind && h("span", { class: `ollmlx-badge ${kind}`, title: reason }, word);
    const format = FORMATS[details.format];
    const level = details.quantization_level;
    const facts = [size(model.size), level !== "unknown" && level, details.parameter_size, format ?? details.format];
    const convertible = makeable(format, level).length > 0;
    const loaded = () => this.tables.running.rows.has(name);
    const remove = () => confirm(place, `Delete ${name} from the disk?`, "delete it", () => this.server.remove(name, loaded()));
    const convert = () => this.convert(this.tables.models.rows.get(name), place);
    const buttons = [
      button("Load", () => loading(place, this.server, name, (request) => this.server.load(request)), { label: `Load ${name}`, disabled: running }),
      convertible && button("Convert", convert, { label: `Convert or quantise ${name}` }),
      button("Delete", remove, { kind: "danger", label: `Delete ${name}` }),
    ];
    return [row(name, facts, buttons, badge)];
  }

  convert(model, place) {
    converting(place, model, FORMATS[model.details.format], (job) => this.server.begin(job));
  }

  foundRow(found, place) {
    const facts = [
      found.source === "hub" ? "Hugging Face" : "curated",
      found.format,
      found.parameters,
      found.size > 0 && `about ${size(found.size)}`,
      found.downloads > 0 && `${found.downloads} downloads`,
      found.gated && "needs an account",
    ];
    const buttons = [
      button("Fits?", () => this.look(found.name, place), { label: `What ${found.name} takes` }),
      button("Pull", () => this.pull(found.name), { label: `Pull ${found.name}` }),
    ];
    return [row(found.name, facts, buttons)];
  }

  /** What a model that is not here would take of memory and disk. */
  async look(name, place) {
    const about = await this.server.estimate(name, 0).catch((error) => this.say(error.message, true));
    if (!about) return;
    const disk = `${size(about.download)} to fetch, ${size(about.disk_free)} are free on the disk`;
    const panel = open(
      place,
      `What ${name} takes`,
      verdict(about),
      h("div", { class: "ollmlx-faint" }, about.arithmetic),
      h("div", { class: "ollmlx-faint" }, disk),
      h("div", { class: "ollmlx-bar" }, button("Close", () => panel.close())),
    );
  }

  pull(model) {
    if (!model) return this.say("write the name of a model first", true);
    // Who writes `http://` means a registry without encryption; Ollama wants that said twice.
    return this.server.begin({ kind: "pull", model, insecure: model.startsWith("http://") });
  }

  async search() {
    this.hub.textContent = "searching …";
    const answer = await this.server.search(this.query.value.trim());
    const count = answer?.models.length;
    this.hub.textContent = answer ? answer.hub_error || `${count || "nothing"} found` : "";
    this.found.show(answer?.models ?? []);
  }

  async copy() {
    const endpoint = await this.server.transport.endpoint();
    const done = await copied(endpoint);
    this.say(done ? `copied: ${endpoint.replace(/\/t\/[^/]+/, "/t/…")}` : endpoint);
  }
}

function section(title, ...content) {
  return h("section", { "aria-label": title }, h("h3", {}, title), ...content);
}

function row(name, facts, buttons, badge = null) {
  return h(
    "div",
    { class: "ollmlx-row" },
    h("span", { class: "ollmlx-name" }, name, " ", badge),
    h("span", { class: "ollmlx-facts" }, facts.filter(Boolean).join(" · ")),
    h("div", { class: "ollmlx-bar" }, buttons),
  );
}
