/** Requests of a page that a kernel carries to the server: the transport of `server.js`. */

import { Line } from "./kernel.js";

let pages = 0;

/** What a page says has its own name, so that the answers find it; `end` says goodbye. */
export function carried(model) {
  pages += 1;
  const page = `${Date.now().toString(36)}-${pages}`;
  const waiting = new Map();
  let hears = () => {};
  let loses = () => {};
  let line = null;
  let count = 0;

  const hear = (message) => {
    if (message.kind === "error") loses(message.text);
    if (message.page !== page) return;
    line.heard();
    if (message.kind === "event") hears(message.event);
    else if (message.kind === "lost") loses(message.text);
    else {
      const { resolve, reject } = waiting.get(message.id);
      waiting.delete(message.id);
      if (message.error) reject(new Error(message.error));
      else resolve(message.answer);
    }
  };
  const ask = (request) =>
    new Promise((resolve, reject) => {
      count += 1;
      waiting.set(count, { resolve, reject });
      line.tell({ page, id: count, ...request });
    });

  model.on("msg:custom", hear);
  return {
    call: (method, path, body) => ask({ kind: "call", method, path, body }),
    endpoint: () => ask({ kind: "endpoint" }),
    follow(hearer, loser) {
      hears = hearer;
      loses = loser;
      line = new Line(model, { kind: "follow", page });
      return () => {
        line.end();
        model.off("msg:custom", hear);
        try {
          model.send({ kind: "leave", page });
        } catch {
          // the kernel has ended, and needs no goodbye
        }
      };
    },
  };
}
