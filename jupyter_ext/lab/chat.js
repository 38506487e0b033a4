/** A new notebook with a chat in it. */

const TO_RUN = "ollmlx:run";
const FRESH_MS = 60_000; // a page that never came must not run what is at its path later

/** The notebook's only cell. */
function source(model) {
  return `import ollmlx\n\nollmlx.Chat(${model ? JSON.stringify(model) : ""})`;
}

/** Makes the notebook in a folder, opens it and runs it. */
export async function chatNotebook(app, { PageConfig, URLExt }, folder, model) {
  const { contents, kernelspecs, serverSettings } = app.serviceManager;
  await kernelspecs.ready;
  const name = kernelspecs.specs?.default ?? "python3";
  const { path } = await contents.newUntitled({ path: folder, type: "notebook" });
  await contents.save(path, { type: "notebook", format: "json", content: notebook(name, source(model)) });
  if (PageConfig.getOption("notebookPage")) {
    openPage(URLExt.join(serverSettings.baseUrl, "notebooks", URLExt.encodeParts(path)), path);
    return;
  }
  const { context } = await app.commands.execute("docmanager:open", { path, factory: "Notebook" });
  await context.sessionContext.ready;
  await app.commands.execute("notebook:run-all-cells");
}

/**
 * Notebook 7 has a page for each document.  That this one may run is said where only pages of this
 * server can say it: an address could come from anybody.
 */
function openPage(address, path) {
  localStorage.setItem(TO_RUN, JSON.stringify({ path, until: Date.now() + FRESH_MS }));
  if (window.open(address, "_blank")) return;
  localStorage.removeItem(TO_RUN);
  throw new Error(`The browser did not let the page open.  The notebook is ${path}.`);
}

/** In the page that was opened: runs the notebook, once. */
export async function runOpened(app, { context }) {
  const { path, until } = JSON.parse(localStorage.getItem(TO_RUN)) ?? {};
  if (path !== context.path || Date.now() > until) return;
  localStorage.removeItem(TO_RUN);
  await context.sessionContext.ready;
  await app.commands.execute("notebook:run-all-cells");
}

function notebook(kernel, code) {
  const cell = { cell_type: "code", execution_count: null, metadata: {}, outputs: [], source: code };
  const kernelspec = { name: kernel, display_name: kernel };
  return { cells: [cell], metadata: { kernelspec }, nbformat: 4, nbformat_minor: 4 };
}
