/** Where a question is written: text, pictures, Send and Stop. */

import { button, h } from "./dom.js";

const LARGEST_MB = 5; // a picture travels to the kernel in one message
const BASE64_OF = /^data:[^,]*;base64,/;

export class Composer {
  constructor({ send, stop, say }) {
    this.sends = send;
    this.say = say;
    this.images = [];
    this.input = h("textarea", {
      rows: "2",
      placeholder: "Ask something (Enter sends, Shift+Enter begins a line)",
      "aria-label": "Your question",
      onkeydown: (event) => this.pressed(event),
      onpaste: (event) => this.take(event.clipboardData.files, event),
    });
    this.files = h("input", {
      type: "file",
      accept: "image/*",
      multiple: true,
      hidden: true,
      onchange: () => this.take(this.files.files),
    });
    this.previews = h("div", { class: "ollmlx-chat-images" });
    this.send = button("Send", () => this.ask(), { kind: "primary" });
    this.stop = button("Stop", stop, { kind: "danger", label: "Stop answering" });
    const attach = button("Image …", () => this.files.click(), { label: "Add images to the question" });
    this.element = h(
      "div",
      {
        class: "ollmlx-chat-composer",
        ondragover: (event) => event.preventDefault(),
        ondrop: (event) => this.take(event.dataTransfer.files, event),
      },
      this.previews,
      this.input,
      h("div", { class: "ollmlx-bar" }, this.send, this.stop, attach, this.files),
    );
    this.busy(false);
  }

  /** While a model answers, the next question waits in the field. */
  busy(busy) {
    const focused = [this.send, this.stop].includes(document.activeElement);
    this.answering = busy;
    this.send.hidden = busy;
    this.stop.hidden = !busy;
    if (focused) (busy ? this.stop : this.input).focus();
  }

  pressed(event) {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    // JupyterLab takes Shift+Enter away from fields in an output, so the line is put in by hand.
    if (event.shiftKey) breakLine(this.input);
    else if (!this.answering) this.ask();
  }

  ask() {
    const text = this.input.value.trim();
    if (!text && this.images.length === 0) return;
    this.sends(text, this.images);
    this.input.value = "";
    this.images = [];
    this.preview();
  }

  /** Takes the pictures among some files. */
  take(files, event = null) {
    const taken = [...files].filter((file) => file.type.startsWith("image/"));
    if (taken.length === 0) return;
    event?.preventDefault();
    for (const file of taken) this.read(file);
    this.files.value = "";
  }

  read(file) {
    if (file.size > LARGEST_MB * 1e6) {
      this.say(`${file.name} has more than ${LARGEST_MB} MB`, true);
      return;
    }
    const reader = new FileReader();
    reader.addEventListener("load", () => {
      this.images.push(reader.result.replace(BASE64_OF, ""));
      this.preview();
    });
    reader.addEventListener("error", () => this.say(`${file.name} cannot be read`, true));
    reader.readAsDataURL(file);
  }

  preview() {
    const shown = this.images.map((image, index) => {
      const remove = () => {
        this.images.splice(index, 1);
        this.preview();
      };
      return h(
        "span",
        {},
        h("img", { src: `data:image/png;base64,${image}`, alt: `Image ${index + 1} of the question` }),
        button("×", remove, { kind: "plain", label: `Remove image ${index + 1}` }),
      );
    });
    this.previews.replaceChildren(...shown);
  }
}

/** Begins a line in a text field where the cursor is. */
export function breakLine(field) {
  field.setRangeText("\n", field.selectionStart, field.selectionEnd, "end");
}
