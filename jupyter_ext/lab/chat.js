/** A new notebook with a chat in it. */

/** The notebook's only cell. */
function source(model) {
  return `import ollmlx\n\nollmlx.Chat(${model ? JSON.stringify(model) : ""})`;
}

/** Makes the notebook in a folder and opens it; where that is in this page, it runs. */
export async function chatNotebook(app, { PageConfig, URLExt }, folder, model) {
  const { contents, kernelspecs, serverSettings } = app.serviceManager;
  await kernelspecs.ready;
  const name = kernelspecs.specs?.default ?? "python3";
  const { path } = await contents.newUntitled({ path: folder, type: "notebook" });
  await contents.save(path, { type: "notebook", format: "json", content: notebook(name, source(model)) });
  if (PageConfig.getOption("notebookPage")) {
    // Notebook 7 has a page for each document.
    window.open(URLExt.join(serverSettings.baseUrl, "notebooks", URLExt.encodeParts(path)), "_blank");
    return;
  }
  const { context } = await app.commands.execute("docmanager:open", { path, factory: "Notebook" });
  await context.sessionContext.ready;
  await app.commands.execute("notebook:run-all-cells");
}

function notebook(kernel, code) {
  const cell = { cell_type: "code", execution_count: null, metadata: {}, outputs: [], source: code };
  const kernelspec = { name: kernel, display_name: kernel };
  return { cells: [cell], metadata: { kernelspec }, nbformat: 4, nbformat_minor: 4 };
}
