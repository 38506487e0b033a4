/** A pull, push, create or conversion of the server's: how far it is, and what can be done to it. */

import { h } from "./dom.js";
import { duration, size } from "./numbers.js";
import { Row } from "./rows.js";

export class JobRow extends Row {
  constructor(transport, job) {
    super(job.model);
    this.progress = h("progress", { "aria-label": `${job.kind} ${job.model}` });
    this.element.insertBefore(this.progress, this.bar);
    const path = `/api/ollmlx/jobs/${encodeURIComponent(job.id)}`;
    this.pause = this.action("Pause", () => transport.request("POST", `${path}/pause`));
    this.resume = this.action("Resume", () => transport.request("POST", `${path}/resume`));
    const end = () => transport.request("DELETE", path);
    this.cancel = this.action("Cancel", end, { kind: "danger", label: `Cancel the ${job.kind} of ${job.model}` });
    this.remove = this.action("Remove", end, { kind: "plain", label: `Take ${job.model} off the list` });
  }

  update(job) {
    const ended = ["done", "failed", "cancelled"].includes(job.status);
    this.offer(this.resume, job.status !== "running" && job.status !== "done");
    this.offer(this.pause, job.status === "running");
    this.resume.textContent = job.status === "failed" ? "Try again" : "Resume";
    this.offer(this.remove, ended);
    this.offer(this.cancel, !ended);
    this.progress.hidden = ended;
    if (job.total > 0) {
      this.progress.max = job.total;
      this.progress.value = job.completed;
    } else {
      this.progress.removeAttribute("value");
    }
    this.facts.textContent = `${job.kind}: ${described(job)}`;
    this.facts.classList.toggle("ollmlx-error", job.status === "failed");
  }
}

function described(job) {
  if (job.status === "failed") return job.error;
  const far = job.total ? `${size(job.completed)} of ${size(job.total)}` : "";
  if (job.status !== "running") return [job.status, job.status === "done" ? "" : far].filter(Boolean).join(", ");
  if (!job.speed) return [job.step, far].filter(Boolean).join(", ");
  const left = job.eta === null ? "" : `, ${duration(job.eta)} left`;
  return `${far}, ${size(job.speed)}/s${left}`;
}
