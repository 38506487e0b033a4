/** The page's side of `ollmlx.Chat`: what is said, the place to say something, the settings. */

import { button, copied, h, root } from "./dom.js";
import { Line, whenEnded } from "./kernel.js";
import { Painter } from "./markdown.js";
import { Answer } from "./answer.js";
import { breakLine, Composer } from "./composer.js";
import { Settings } from "./settings.js";

const NEAR = 40; // pixels from the end at which the log still follows the answer

/** Shows a conversation.  `transport.tell(message)` reaches the kernel. */
class ChatView {
  constructor(element, transport) {
    this.transport = transport;
    this.turns = [];
    this.over = false;
    this.follows = true;
    this.answers = [];
    this.text = "";
    this.painter = new Painter(() => this.paint());
    this.composer = new Composer({
      send: (text, images) => this.ask(text, images),
      stop: () => transport.tell({ kind: "stop" }),
      say: (text) => this.say(text),
    });
    this.settings = new Settings(
      (settings) => transport.tell({ kind: "configure", ...settings }),
      () => transport.tell({ kind: "look" }),
    );
    this.build(root(element, "ollmlx-chat"));
  }

  build(element) {
    this.turnsShown = h("div");
    this.log = h(
      "div",
      {
        class: "ollmlx-chat-log",
        role: "log",
        tabindex: "0",
        "aria-label": "Conversation",
        onscroll: () => this.scrolled(),
      },
      this.turnsShown,
    );
    // Text comes, pictures and formulas take their place: the end of the log stays in sight.
    this.growth = new ResizeObserver(() => this.follows && this.toEnd());
    this.growth.observe(this.turnsShown);
    this.said = h("div", { class: "ollmlx-said ollmlx-faint", role: "status" });
    const toggle = button("Settings", () => this.toggle(toggle));
    toggle.setAttribute("aria-expanded", "false");
    this.settings.panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.toggle(toggle);
      toggle.focus();
    });
    this.takers = this.taking();
    this.clear = button("", () => this.transport.tell({ kind: this.cleared ? "restore" : "clear" }), { kind: "plain" });
    this.undoes(false);
    const bar = h(
      "div",
      { class: "ollmlx-bar" },
      ...this.settings.selects,
      toggle,
      h("div", { class: "ollmlx-bar ollmlx-end" }, ...this.takers, this.clear),
    );
    element.append(bar, this.settings.panel, this.log, this.said, this.composer.element);
    this.element = element;
  }

  /** Clear becomes Undo in its place, with the focus, until something else is said. */
  undoes(cleared) {
    this.cleared = cleared;
    this.clear.textContent = cleared ? "Undo" : "Clear";
    this.clear.ariaLabel = this.clear.title = cleared ? "Bring the conversation back" : "Clear the conversation";
  }

  /** What takes the conversation elsewhere, when it is whole. */
  taking() {
    return [
      button("Copy", () => this.copy(), { label: "Copy the conversation as Markdown", kind: "plain" }),
      button("Save", () => this.save(), { label: "Save the conversation as a Markdown file", kind: "plain" }),
      button("Keep", () => this.keep(), { label: "Keep the conversation in the notebook", kind: "plain" }),
    ];
  }

  toggle(button) {
    this.settings.panel.hidden = !this.settings.panel.hidden;
    button.setAttribute("aria-expanded", String(!this.settings.panel.hidden));
  }

  /** What the kernel says. */
  hear(message) {
    if (message.kind === "state") this.state(message);
    else if (message.kind === "settings") this.settings.answer(message.settings);
    else if (message.kind === "delta") this.delta(message);
    else if (message.kind === "end") this.end(message);
    else if (message.kind === "idle") this.idle(message);
    else this.say(message.text, message.kind === "error");
  }

  /** The turns from one on: those before it stay as they are, long as they may be. */
  state({ since, turns, cleared, settings, busy, markdown }) {
    this.settings.show(settings);
    if (since > this.turns.length) return; // all of them come with the answer to our greeting
    this.turns.splice(since, Infinity, ...turns);
    this.text = markdown;
    this.answers.length = since;
    for (const gone of [...this.turnsShown.children].slice(since)) gone.remove();
    this.turnsShown.append(...turns.map((turn, index) => this.turn(turn, since + index)));
    this.busy(busy);
    this.undoes(cleared);
    this.say(cleared ? "cleared; Undo brings it back" : "");
    this.painter.now();
    this.toEnd();
  }

  turn(turn, index) {
    const answers = turn.replies.map((reply) => new Answer(reply, () => this.painter.ask()));
    this.answers[index] = answers;
    return h(
      "div",
      { class: "ollmlx-chat-turn" },
      this.question(turn, index),
      h(
        "div",
        { class: `ollmlx-chat-replies ${answers.length > 1 ? "two" : ""}` },
        answers.map((answer) => answer.element),
      ),
      button("Regenerate", () => this.transport.tell({ kind: "regenerate" }), { kind: "plain", label: "Answer the last question again" }),
    );
  }

  question(turn, index) {
    const place = h("div", { class: "ollmlx-chat-question", role: "group", "aria-label": "Question" });
    const edit = button("Edit", () => this.edit(place, turn, index), { kind: "plain", label: "Edit this question" });
    place.append(h("div", {}, turn.question), ...pictures(turn.images), edit);
    return place;
  }

  /** The question as a field; Escape leaves it as it was. */
  edit(place, turn, index) {
    const input = h("textarea", { rows: "3", "aria-label": "The question" });
    input.value = turn.question;
    const back = () => {
      const shown = this.question(turn, index);
      place.replaceWith(shown);
      shown.querySelector("button").focus();
    };
    const send = () => {
      const text = input.value.trim();
      if (text || turn.images.length > 0) this.transport.tell({ kind: "edit", turn: index, text });
    };
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") back();
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      if (event.shiftKey) breakLine(input);
      else send();
    });
    place.replaceChildren(input, button("Ask", send, { kind: "primary" }), button("Cancel", back));
    input.focus();
  }

  ask(text, images) {
    this.transport.tell({ kind: "ask", text, images });
  }

  delta({ turn, side, text, thinking }) {
    this.answers[turn]?.[side]?.add(text, thinking);
  }

  end({ turn, side, reply }) {
    this.answers[turn]?.[side]?.end(reply);
    this.painter.ask();
  }

  idle({ markdown }) {
    this.text = markdown;
    this.busy(false);
    this.painter.now();
  }

  busy(busy) {
    this.composer.busy(busy);
    for (const taker of this.takers) taker.disabled = busy || this.turns.length === 0;
    // A screen reader says an answer when it is whole, not word by word.
    this.log.setAttribute("aria-busy", String(busy));
  }

  paint() {
    for (const answer of this.answers.flat()) answer.paint();
  }

  scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.log;
    this.follows = scrollHeight - scrollTop - clientHeight < NEAR;
  }

  toEnd() {
    this.log.scrollTop = this.log.scrollHeight;
  }

  say(text, wrong = false) {
    this.said.textContent = text;
    this.said.classList.toggle("ollmlx-error", wrong);
  }

  async copy() {
    const done = await copied(this.text);
    this.say(done ? "copied" : "the browser does not allow copying; Save writes a file", !done);
  }

  save() {
    const address = URL.createObjectURL(new Blob([this.text], { type: "text/markdown" }));
    h("a", { href: address, download: "chat.md" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  /** A page that can make cells takes the event; else the kernel writes it below the widget. */
  keep() {
    const detail = { markdown: this.text };
    const event = new CustomEvent("ollmlx:insert-cell", { bubbles: true, cancelable: true, detail });
    if (!this.element.dispatchEvent(event)) this.say("kept in the cell below");
    else if (this.over) this.say("the kernel has ended; Copy and Save still work", true);
    else this.transport.tell({ kind: "keep" });
  }

  /** The kernel is gone: what was said can still be read, copied and saved. */
  close() {
    this.over = true;
    for (const answer of this.answers.flat()) answer.leave();
    this.busy(false);
    const { panel, selects } = this.settings;
    const dead = [...selects, panel, this.clear, this.composer.element, ...this.log.querySelectorAll("button")];
    for (const part of dead) part.inert = true;
  }
}

/** None, or one element with all of them. */
function pictures(images) {
  const shown = images.map((image, index) =>
    h("img", { src: `data:image/png;base64,${image}`, alt: `Image ${index + 1}` }),
  );
  return shown.length > 0 ? [h("div", { class: "ollmlx-chat-images" }, shown)] : [];
}

function render({ model, el }) {
  const line = new Line(model, { kind: "hello" });
  const view = new ChatView(el, line);
  const hear = (message) => {
    line.heard();
    view.hear(message);
  };
  model.on("msg:custom", hear);
  whenEnded(model, el, () => view.close());
  return () => {
    line.end();
    model.off("msg:custom", hear);
  };
}

export default { render };
