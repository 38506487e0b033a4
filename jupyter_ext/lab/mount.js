/** The API of the server that this page comes from, with the page's own authentication. */

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 10_000; // somebody may be watching a server start
export const ABSENT =
  "This Jupyter server runs without ollmlx.  Switch it on with " +
  "`jupyter server extension enable jupyter_ext`, and start the server again.";
const EVENTS = "/api/ollmlx/events";

export class Mount {
  constructor({ ServerConnection, PageConfig, URLExt }, settings) {
    this.requests = ServerConnection;
    this.settings = settings;
    const prefix = PageConfig.getOption("ollmlxPrefix");
    this.present = prefix !== "";
    this.root = URLExt.join(settings.baseUrl, prefix || "ollama");
    this.address = new URL(this.root, location.href).href;
    this.followers = new Set();
    this.connection = null;
    document.addEventListener("visibilitychange", () => this.connect());
  }

  /** What the model manager needs: see `front/server.js`. */
  transport() {
    return {
      call: (method, path, body) => this.call(method, path, body),
      endpoint: async () => this.address,
      follow: (hear, lost) => this.follow(hear, lost),
    };
  }

  /** The JSON of an answer.  Throws an `Error` with a message for people. */
  async call(method, path, body) {
    const response = await this.fetch(path, { method, body: body && JSON.stringify(body) });
    const text = await response.text();
    return text ? JSON.parse(text) : {};
  }

  async fetch(path, init) {
    if (!this.present) throw new Error(ABSENT);
    let response;
    try {
      response = await this.requests.makeRequest(this.root + path, init, this.settings);
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new Error("The Jupyter server does not answer.", { cause: error });
    }
    if (!response.ok) throw new Error(await reason(response));
    return response;
  }

  async unloadAll() {
    const { models } = await this.call("GET", "/api/ollmlx/running");
    const unload = ({ name }) => this.call("POST", "/api/ollmlx/unload", { model: name });
    await Promise.all(models.map(unload));
  }

  /** Calls `hear` with each change, or `lost` with words, until the returned function is called. */
  follow(hear, lost) {
    const follower = { hear, lost };
    this.followers.add(follower);
    this.connect(); // anew: the first frames have everything
    return () => {
      this.followers.delete(follower);
      this.connect();
    };
  }

  /**
   * Reads the stream of changes while there are followers and the page is seen: browsers allow six
   * connections to a server from all of their tabs together.
   */
  connect() {
    this.connection?.abort();
    this.connection = null;
    if (this.followers.size === 0 || document.hidden) return;
    this.connection = new AbortController();
    this.read(this.connection.signal);
  }

  async read(signal) {
    let wait = FIRST_WAIT_MS;
    while (!signal.aborted) {
      try {
        for await (const frame of this.frames(signal)) {
          wait = FIRST_WAIT_MS;
          for (const { hear } of this.followers) hear(frame);
        }
        this.lose(signal, "The connection ended; trying again …");
      } catch (error) {
        this.lose(signal, error.message);
      }
      await sleep(wait, signal);
      wait = Math.min(2 * wait, LONGEST_WAIT_MS);
    }
  }

  lose(signal, text) {
    if (signal.aborted) return;
    for (const { lost } of this.followers) lost(text);
  }

  async *frames(signal) {
    const response = await this.fetch(EVENTS, { method: "GET", signal });
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    let rest = "";
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (signal.aborted) return;
      const lines = (rest + decoder.decode(part.value, { stream: true })).split("\n");
      rest = lines.pop();
      for (const line of lines) yield JSON.parse(line);
    }
  }
}

/** What a refusal says, in the API's words where it has some. */
async function reason(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error ?? `${response.status} ${response.statusText}`;
  } catch {
    return `${response.status} ${response.statusText}`; // a proxy's page, not our JSON
  }
}

/** Resolves after some time, or at once when the signal is given. */
function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
