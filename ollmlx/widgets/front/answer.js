/** One model's answer while it is written: its thoughts, its text, its pace. */

import { h } from "./dom.js";
import { Growing } from "./markdown.js";
import { short } from "./numbers.js";

export class Answer {
  /** `painted` is called when there is something to paint. */
  constructor(reply, painted) {
    this.painted = painted;
    this.body = h("div", { class: "ollmlx-text" });
    this.growing = new Growing(this.body);
    this.thoughts = h("div", { class: "ollmlx-chat-thinking" });
    this.folded = h("details", { hidden: true }, h("summary", {}, "Thinking"), this.thoughts);
    this.footer = h("footer", {}, "…");
    this.header = h("header", {}, reply.model);
    this.element = h(
      "article",
      { class: "ollmlx-chat-reply", "aria-label": "Answer" },
      this.header,
      this.folded,
      this.body,
      this.footer,
    );
    this.changed = this.over = false;
    this.add(reply.text, reply.thinking);
    if (reply.done_reason) this.end(reply);
  }

  add(text, thinking) {
    if (!text && !thinking) return;
    if (thinking) {
      this.folded.hidden = false;
      this.thoughts.append(thinking);
    }
    this.growing.add(text);
    this.changed = true;
    this.painted();
  }

  end(reply) {
    this.over = true;
    this.header.textContent = reply.model;
    const stopped = { length: "cut off at the limit", stopped: "stopped" }[reply.done_reason];
    const facts = [stopped, reply.tokens > 0 && `${reply.tokens} tokens`];
    if (reply.tokens_per_second) facts.push(`${short(reply.tokens_per_second)} tokens/s`);
    this.footer.textContent = facts.filter(Boolean).join(" · ");
    this.changed = true;
    if (reply.error) {
      this.footer.textContent = reply.error;
      this.footer.classList.add("ollmlx-error");
    }
  }

  /** The kernel has ended, and the answer with it, whole or not. */
  leave() {
    if (!this.over) this.footer.textContent = "not finished";
  }

  paint() {
    if (!this.changed) return;
    this.changed = false;
    this.growing.paint(this.over);
  }
}
