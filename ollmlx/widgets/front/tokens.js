/** The page's side of `ollmlx.TokenView`: how sure a model was of each token, and what else it saw. */

import { h, root } from "./dom.js";

const INVISIBLE = { "\n": "⏎", "\t": "⇥" };
const STRONGEST = 75; // percent of colour where a token was as good as impossible
let views = 0;

/** A token as it can be seen; a line still ends where one ended. */
function visible(text) {
  const shown = text.replace(/[\n\t]/g, (character) => INVISIBLE[character] + (character === "\n" ? "\n" : ""));
  return shown === "" ? "∅" : shown;
}

function percent(probability) {
  if (probability > 0 && probability < 0.0005) return "< 0.1 %";
  return `${(probability * 100).toFixed(1)} %`;
}

class TokensView {
  constructor(element, tokens) {
    views += 1;
    this.name = `ollmlx-tokens-${views}`;
    this.tokens = tokens;
    this.at = -1;
    this.spans = tokens.map((token, index) => this.span(token, index));
    this.text = h(
      "div",
      {
        class: "ollmlx-tokens-text",
        role: "listbox",
        tabindex: "0",
        "aria-label": "Tokens; the arrow keys go from one to the next",
        onkeydown: (event) => this.pressed(event),
        onfocus: () => this.at < 0 && this.select(0),
        onmouseover: (event) => this.pointed(event),
      },
      this.spans,
    );
    const hint = h("p", { class: "ollmlx-faint" }, "Point at a token to see what else could have stood there.");
    this.detail = h("div", { class: "ollmlx-tokens-detail", role: "status" }, hint);
    root(element, "ollmlx-tokens").append(this.summary(), this.text, this.detail);
  }

  summary() {
    const count = this.tokens.length;
    const mean = this.tokens.reduce((sum, { probability }) => sum + probability, 0) / (count || 1);
    const text = count ? `${count} tokens, ${percent(mean)} sure on average; the redder, the less sure` : "no tokens";
    return h("div", { class: "ollmlx-faint" }, text);
  }

  span({ text, probability }, index) {
    const share = ((1 - probability) * STRONGEST).toFixed(1);
    return h(
      "span",
      {
        id: `${this.name}-${index}`,
        role: "option",
        "aria-selected": "false",
        "aria-label": `${visible(text)}, ${percent(probability)}`,
        style: `background: color-mix(in srgb, var(--heat) ${share}%, transparent)`,
        "data-index": String(index),
      },
      visible(text),
    );
  }

  pointed(event) {
    const index = event.target.dataset.index;
    if (index !== undefined) this.select(Number(index));
  }

  pressed(event) {
    const last = this.tokens.length - 1;
    const next = { ArrowRight: this.at + 1, ArrowLeft: this.at - 1, ArrowDown: this.at + 10, ArrowUp: this.at - 10, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    this.select(Math.max(0, Math.min(last, next)));
    this.spans[this.at]?.scrollIntoView({ block: "nearest" });
  }

  select(index) {
    if (index === this.at || !this.spans[index]) return;
    this.spans[this.at]?.setAttribute("aria-selected", "false");
    this.at = index;
    this.spans[index].setAttribute("aria-selected", "true");
    this.text.setAttribute("aria-activedescendant", this.spans[index].id);
    this.detail.replaceChildren(...this.alternatives(this.tokens[index]));
  }

  /** The token that was taken, and those that could have been. */
  alternatives({ text, probability, alternatives }) {
    const others = alternatives.filter((other) => other.text !== text);
    const rows = [{ text, probability, taken: true }, ...others].sort((a, b) => b.probability - a.probability);
    return rows.flatMap((row) => [
      h("code", { class: row.taken ? "taken" : "" }, visible(row.text)),
      h("span", {}, percent(row.probability)),
      h("div", { class: "ollmlx-tokens-bar", style: `width: ${(row.probability * 100).toFixed(1)}%` }),
    ]);
  }
}

export default { render: ({ model, el }) => void new TokensView(el, model.get("tokens")) };
