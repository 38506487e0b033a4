/** The server's routes below /api/ollmlx, whoever carries the requests. */

/**
 * `transport.call(method, path, body)` gives the answer's JSON, or throws an `Error` with what the
 * server says; `transport.follow(hear, lost)` passes on the stream of changes, tells when it is
 * lost, and gives back what ends it; `transport.endpoint()` gives the address for other programs.
 */
export class Server {
  /** `say(text, wrong)` shows people what happened. */
  constructor(transport, say) {
    this.transport = transport;
    this.say = say;
  }

  /** The answer, or null after an error, which is said. */
  async call(method, path, body = null) {
    try {
      return await this.transport.call(method, path, body);
    } catch (error) {
      this.say(error.message, true);
      return null;
    }
  }

  /** Does something, and says so when it is done. */
  async act(done, method, path, body = null) {
    const answer = await this.call(method, path, body);
    if (answer !== null) this.say(done);
    return answer;
  }

  /** What a model would take; throws what the server says. */
  estimate(model, context) {
    const about = new URLSearchParams({ model });
    if (context) about.set("num_ctx", String(context));
    return this.transport.call("GET", `/api/ollmlx/estimate?${about}`, null);
  }

  search(text) {
    return this.call("GET", `/api/ollmlx/search?${new URLSearchParams({ q: text, limit: "40" })}`);
  }

  begin(job) {
    return this.act(`began to ${job.kind} ${job.model}`, "POST", "/api/ollmlx/jobs", job);
  }

  job(id, what) {
    return this.call("POST", `/api/ollmlx/jobs/${encodeURIComponent(id)}/${what}`);
  }

  cancel(job) {
    return this.call("DELETE", `/api/ollmlx/jobs/${encodeURIComponent(job.id)}`);
  }

  load(request) {
    this.say(`loading ${request.model}`);
    return this.act(`loaded ${request.model}`, "POST", "/api/ollmlx/load", { ...request, stream: false });
  }

  unload(model, now = false) {
    return this.act(`unloaded ${model}`, "POST", "/api/ollmlx/unload", { model, now });
  }

  keep(model, pinned) {
    const body = { model, keep_alive: pinned ? -1 : null };
    return this.act(pinned ? `${model} stays loaded` : `${model} goes after its time`, "POST", "/api/ollmlx/keep", body);
  }

  /** A model that is loaded is unloaded first: once deleted, nobody could name it. */
  async remove(model, loaded) {
    if (loaded && (await this.unload(model)) === null) return null;
    return this.act(`deleted ${model}`, "DELETE", "/api/delete", { model });
  }
}
