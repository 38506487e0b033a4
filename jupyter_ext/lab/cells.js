/** What widgets in a notebook's cells ask of the page around them, as events that bubble. */

/**
 * `ollmlx:insert-cell` puts its `detail.markdown` below the cell that it comes from; who takes it
 * prevents its default.  `ollmlx:typeset` has the maths in its target shown.
 */
export function serveCells(tracker, typesetter) {
  document.addEventListener("ollmlx:insert-cell", (event) => {
    if (insertBelow(tracker, event.target, event.detail.markdown)) event.preventDefault();
  });
  if (typesetter) {
    document.addEventListener("ollmlx:typeset", (event) => typeset(typesetter, event.target));
  }
  tracker.widgetAdded.connect((_, panel) => tellEnds(panel));
}

/** False where there is no cell, as in an output that has a tab of its own. */
function insertBelow(tracker, element, source) {
  const panel = tracker.find(({ node }) => node.contains(element));
  const cells = panel?.content.widgets ?? [];
  const at = cells.findIndex(({ node }) => node.contains(element));
  if (at < 0) return false;
  const cell = { cell_type: "markdown", source, metadata: {} };
  panel.content.model.sharedModel.insertCell(at + 1, cell);
  return true;
}

/** MathJax leaves code alone, so that each formula goes into an element of its own. */
function typeset(typesetter, element) {
  for (const code of element.querySelectorAll(".ollmlx-maths")) {
    const display = "display" in code.dataset;
    const place = document.createElement(display ? "div" : "span");
    place.className = "ollmlx-typeset";
    place.textContent = display ? `\\[${code.textContent}\\]` : `\\(${code.textContent}\\)`;
    code.replaceWith(place);
    typesetter.typeset(place);
  }
}

const ENDS = ["restarting", "autorestarting", "terminating", "dead"];

/** Widgets know only of restarts by themselves. */
function tellEnds({ node, sessionContext }) {
  const tell = () => {
    for (const widget of node.querySelectorAll(".ollmlx")) {
      widget.dispatchEvent(new CustomEvent("ollmlx:kernel-ended"));
    }
  };
  sessionContext.statusChanged.connect((_, status) => ENDS.includes(status) && tell());
  sessionContext.kernelChanged.connect((_, { oldValue }) => oldValue && tell());
}
