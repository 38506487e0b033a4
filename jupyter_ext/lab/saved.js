/** Widgets of a saved notebook, whose kernel is gone: their Markdown in the place of an error. */

const MISSING = "Error displaying widget: model not found"; // what ipywidgets 8 shows for them

export function showSaved(tracker) {
  tracker.widgetAdded.connect((_, { content }) => {
    const look = (records) => {
      for (const { target, addedNodes } of records) {
        if (addedNodes[0]?.data === MISSING) show(content, target);
      }
    };
    new MutationObserver(look).observe(content.node, { childList: true, subtree: true });
  });
}

/** Widgets of others have no Markdown, and stay as they are. */
async function show(notebook, node) {
  const within = (parts) => parts.findIndex((part) => part.node.contains(node));
  const area = notebook.widgets[within(notebook.widgets)].outputArea;
  const at = within(area.widgets);
  const output = area.model.get(at);
  if (!("text/markdown" in output.data)) return;
  const parts = area.widgets[at].widgets;
  const renderer = notebook.rendermime.createRenderer("text/markdown");
  node.textContent = "";
  parts[within(parts)].addWidget(renderer);
  await renderer.renderModel(output);
}
