/** A model on the disk: loaded, deleted, copied under another name, made into another form. */

import { button, choices, field, h } from "./dom.js";
import { size } from "./numbers.js";
import { Row } from "./rows.js";

/** By the form that is made; the first leaves the numbers as they are. */
const QUANTIZATIONS = {
  mlx: ["", "int8", "int6", "int4", "mxfp4", "mixed_4_6"],
  gguf: ["q8_0", "q4_K_M", "q4_K_S"],
};

/** What a model would take of memory, as the server reckons it. */
export function estimated(transport, model) {
  return transport.request("GET", `/api/ollmlx/estimate?model=${encodeURIComponent(model)}`);
}

export class InstalledRow extends Row {
  constructor(transport, { name, details }) {
    super(name);
    this.transport = transport;
    this.format = details.format;
    this.load = this.action("Load", () => this.begin(), { kind: "primary" });
    if (transport.chat) this.action("Chat", () => transport.chat(name), { label: `Chat with ${name}` });
    this.action("Memory", () => this.explain(), { label: `Memory that ${name} needs` });
    this.action("Copy as …", async () => this.copy(), { label: `Copy ${name} under another name` });
    this.action("Convert …", async () => this.convert(), { label: `Convert or quantise ${name}` });
    const remove = () => this.request("DELETE", "/api/delete", { model: name });
    this.action("Delete", async () => this.ask(`Delete ${name}?`, "Delete", remove, { no: "Keep" }), { kind: "danger" });
  }

  request(method, path, body) {
    return this.transport.request(method, path, body);
  }

  update({ size: bytes, details }) {
    const facts = [size(bytes), details.parameter_size, details.quantization_level, details.format];
    this.facts.textContent = facts.filter(Boolean).join(" · ");
  }

  /** Whether it is in memory, or on its way there. */
  running(is) {
    this.offer(this.load, !is);
  }

  async begin() {
    const estimate = await estimated(this.transport, this.name);
    const load = (anyway) =>
      this.request("POST", "/api/ollmlx/load", { model: this.name, anyway, stream: false });
    if (estimate.fits || estimate.loaded) await load(false);
    else this.ask(`It does not seem to fit: ${estimate.arithmetic}`, "Load anyway", () => load(true));
  }

  async explain() {
    const { fits, loaded, arithmetic } = await estimated(this.transport, this.name);
    const verdict = loaded ? "It is loaded." : fits ? "It fits." : "It does not seem to fit.";
    const mark = h("strong", { class: fits || loaded ? "ollmlx-good" : "ollmlx-error" }, verdict);
    const shut = button("Close", () => close(), { kind: "plain", label: "Close the sum" });
    const close = this.open(h("div", { class: "ollmlx-ask", role: "status" }, mark, ` ${arithmetic} `, shut));
    shut.focus();
  }

  copy() {
    const name = h("input", { type: "text", required: true });
    const copy = () => this.request("POST", "/api/copy", { source: this.name, destination: name.value.trim() });
    this.form("Copy", copy, field("New name", name));
  }

  /** As a job: MLX out of both forms, and GGUF quantised. */
  convert() {
    const form = h("select", {});
    choices(form, this.format === "gguf" ? ["mlx", "gguf"] : ["mlx"], "mlx");
    const quantize = h("select", {});
    const offer = () => {
      const names = QUANTIZATIONS[form.value].filter((name) => name || this.format === "gguf");
      quantize.replaceChildren(...names.map((value) => h("option", { value }, value || "as it is")));
    };
    form.addEventListener("change", offer);
    offer();
    const name = h("input", { type: "text", required: true, value: `${this.name.replace(":", "-")}-new` });
    const begin = () => this.request("POST", "/api/ollmlx/jobs", this.job(form.value, quantize.value, name.value.trim()));
    this.form("Convert", begin, field("Form", form), field("Quantisation", quantize), field("New name", name));
  }

  job(form, quantize, model) {
    if (form === "mlx") return { kind: "convert", source: this.name, model, quantize };
    return { kind: "create", model, request: { model, from: this.name, quantize } };
  }
}
