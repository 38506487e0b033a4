/** Small forms that open below a row: what to do, what it means, and a way out by Escape. */

import { button, field, h } from "./dom.js";

/** Opens a form in a row, in the place of one that is open there; it gives back the focus. */
export function open(row, label, ...content) {
  const from = document.activeElement;
  row.querySelector(":scope > .ollmlx-panel")?.remove();
  const panel = h("div", { class: "ollmlx-panel", role: "group", "aria-label": label }, ...content);
  panel.close = () => {
    panel.remove();
    (from?.isConnected ? from : row.querySelector("button"))?.focus();
  };
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape") panel.close();
  });
  row.append(panel);
  panel.querySelector("input, select, button")?.focus();
  return panel;
}

/** Asks before something that cannot be taken back. */
export function confirm(row, question, word, act) {
  const yes = button(`Yes, ${word}`, () => (panel.close(), act()), { kind: "danger" });
  const no = button("No", () => panel.close());
  const panel = open(row, question, h("div", {}, question), h("div", { class: "ollmlx-bar" }, no, yes));
}

/** How a model is to be loaded, with what that takes of memory. */
export function loading(row, server, model, load) {
  const context = h("input", { type: "number", min: "1", step: "1", placeholder: "model's own" });
  const sum = h("div", { role: "status" }, "…");
  const go = button("Load", () => begin(), { kind: "primary", disabled: true });
  let fits = false;
  const begin = () => {
    if (!context.reportValidity()) return;
    panel.close();
    load({ model, options: context.value ? { num_ctx: Number(context.value) } : {}, anyway: !fits });
  };
  const estimate = async () => {
    if (!context.reportValidity()) return;
    try {
      const about = await server.estimate(model, Number(context.value) || 0);
      fits = about.fits;
      sum.replaceChildren(verdict(about), h("div", { class: "ollmlx-faint" }, about.arithmetic));
    } catch (error) {
      sum.replaceChildren(h("div", { class: "ollmlx-error" }, error.message));
    }
    go.textContent = fits ? "Load" : "Load anyway";
    go.disabled = false;
  };
  context.addEventListener("change", estimate);
  context.addEventListener("keydown", (event) => {
    if (event.key === "Enter") estimate();
  });
  const panel = open(
    row,
    `Load ${model}`,
    sum,
    h("div", { class: "ollmlx-fields" }, field("Context (tokens)", context)),
    h("div", { class: "ollmlx-bar" }, go, button("Cancel", () => panel.close())),
  );
  estimate();
}

/** Whether it fits; the arithmetic says how much that is. */
export function verdict({ fits, on_gpu }) {
  const where = on_gpu ? "graphics memory" : "memory";
  return h("div", { class: fits ? "" : "ollmlx-error" }, fits ? `Fits in ${where}.` : `Does not fit in ${where}.`);
}

const MLX_LEVELS = ["", "int4", "int8", "mxfp4", "mixed_4_6", "F16", "BF16"];
const GGUF_LEVELS = ["q4_K_M", "q4_0", "q5_K_M", "q6_K", "q8_0"];

/** Weights that can still be quantised: what has lost bits once is not rounded again. */
const WHOLE = ["F32", "F16", "BF16", "unknown"];

/** What can be made of a model: MLX out of GGUF, or either with fewer bits. */
export function makeable(format, level) {
  if (format === "GGUF") return WHOLE.includes(level) ? [["mlx", "MLX"], ["gguf", "GGUF, quantised"]] : [["mlx", "MLX"]];
  return format === "MLX" && WHOLE.includes(level) ? [["mlx", "MLX, quantised"]] : [];
}

export function converting(row, { name: model, details }, format, begin) {
  const kinds = makeable(format, details.quantization_level);
  const whole = WHOLE.includes(details.quantization_level);
  const kind = h("select", { "aria-label": "What to make" }, kinds.map(([value, text]) => h("option", { value }, text)));
  const level = h("select", { "aria-label": "Quantisation" });
  const name = h("input", { type: "text", required: true });
  const suggest = () => {
    const word = level.value || "mlx";
    name.value = model.includes(":") ? `${model}-${word}`.toLowerCase() : `${model}:${word}`.toLowerCase();
  };
  const levels = () => {
    const mlx = whole ? MLX_LEVELS.slice(format === "MLX" ? 1 : 0) : [""];
    const all = kind.value === "gguf" ? GGUF_LEVELS : mlx;
    level.replaceChildren(...all.map((value) => h("option", { value }, value || "as it is")));
    suggest();
  };
  kind.addEventListener("change", levels);
  level.addEventListener("change", suggest);
  const go = () => {
    if (!name.reportValidity()) return;
    panel.close();
    begin(job(kind.value, model, name.value.trim(), level.value));
  };
  name.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // the button that gets the focus back would take it for a click
    go();
  });
  const panel = open(
    row,
    `Convert ${model}`,
    h("div", { class: "ollmlx-fields" }, field("Make", kind), field("Quantisation", level), field("Name", name)),
    h("div", { class: "ollmlx-bar" }, button("Begin", go, { kind: "primary" }), button("Cancel", () => panel.close())),
  );
  levels();
}

function job(kind, source, model, quantize) {
  if (kind === "mlx") return { kind: "convert", source, model, quantize };
  return { kind: "create", model, request: { model, from: source, quantize } };
}
