/** A model in memory: how much of it, how fast it writes, how long it stays. */

import { size, short, until } from "./numbers.js";
import { Row } from "./rows.js";

const FOREVER = -1;

export class RunningRow extends Row {
  constructor(transport, name) {
    super(name);
    const keep = (seconds) => transport.request("POST", "/api/ollmlx/keep", { model: name, keep_alive: seconds });
    const unload = (now) => transport.request("POST", "/api/ollmlx/unload", { model: name, now });
    this.pin = this.action("Pin", () => keep(this.model.pinned ? null : FOREVER));
    this.unload = this.action("Unload", () => unload(false));
    this.stop = this.action("Stop", () => unload(true), {
      kind: "danger",
      label: `Stop ${name}: end its load and its answers now`,
    });
  }

  update(model) {
    this.model = model;
    const { status, pinned } = model;
    this.offer(this.pin, status === "ready");
    this.pin.textContent = pinned ? "Unpin" : "Pin";
    this.pin.setAttribute("aria-label", `${pinned ? "Unpin" : "Pin"} ${model.name}`);
    this.pin.title = pinned ? "Let it go after its usual time" : "Keep it in memory";
    this.offer(this.unload, status === "ready");
    this.offer(this.stop, status !== "ready" || model.users > 0);
    this.tick();
  }

  /** What of it changes by itself. */
  tick() {
    this.facts.textContent = [size(this.model.size), this.state(), this.pace()].filter(Boolean).join(" · ");
  }

  state() {
    const { status, fraction, users, pinned, expires_at: expires } = this.model;
    if (status === "loading") return `loading ${Math.round(fraction * 100)} %`;
    if (status === "leaving") return "unloading";
    if (users > 0) return `${users} ${users === 1 ? "request" : "requests"}`;
    return pinned ? "pinned" : `unloads in ${until(expires)}`;
  }

  pace() {
    const pace = this.telemetry?.tokens_per_second;
    return pace ? `${short(pace)} tokens/s` : "";
  }
}
