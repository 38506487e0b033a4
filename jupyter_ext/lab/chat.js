/** A new notebook with a chat in it. */

/** The notebook's only cell. */
function source(model) {
  return `import ollmlx\n\nollmlx.Chat(${model ? JSON.stringify(model) : ""})`;
}

/** Makes the notebook in a folder, opens it, and runs it where it opens in this page. */
export async function chatNotebook(app, folder, model) {
  const { contents, kernelspecs } = app.serviceManager;
  await kernelspecs.ready;
  const name = kernelspecs.specs?.default ?? "python3";
  const { path } = await contents.newUntitled({ path: folder, type: "notebook" });
  await contents.save(path, { type: "notebook", format: "json", content: notebook(name, source(model)) });
  const opened = await app.commands.execute("docmanager:open", { path, factory: "Notebook" });
  if (!opened?.context) return; // Notebook opens it in a page of its own
  await opened.context.sessionContext.ready;
  await app.commands.execute("notebook:run-all-cells");
}

function notebook(kernel, code) {
  const cell = { cell_type: "code", execution_count: null, metadata: {}, outputs: [], source: code };
  const kernelspec = { name: kernel, display_name: kernel };
  return { cells: [cell], metadata: { kernelspec }, nbformat: 4, nbformat_minor: 4 };
}
