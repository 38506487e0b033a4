/**
 * What JupyterLab loads of us: a container as Module Federation makes them, written by hand.
 *
 * https://webpack.js.org/concepts/module-federation/#dynamic-remote-containers: `init` is given the
 * modules that the page shares, as `{name: {version: {get}}}`; `get` answers with a factory.  The
 * rest of us are plain ES modules, so that nothing has to be built.
 */

"use strict";

(() => {
  let scope = {};

  /** A module of JupyterLab's own; undefined where the page has no such part. */
  async function shared(name) {
    const versions = Object.values(scope[name] ?? {});
    const found = versions.find((version) => version.loaded) ?? versions[0];
    return found && (await found.get())();
  }

  async function get() {
    const { NEEDED, plugin } = await import("./plugin.js");
    const modules = await Promise.all(NEEDED.map(shared));
    const made = plugin(Object.assign({}, ...modules));
    return () => ({ __esModule: true, default: made });
  }

  window._JUPYTERLAB ??= {};
  window._JUPYTERLAB.ollmlx = {
    get,
    init: (shareScope) => {
      scope = shareScope;
    },
  };
})();
