/** What JupyterLab and Notebook show of ollmlx: a panel, a status-bar item, launcher cards, commands. */

import { serveCells } from "./cells.js";
import { chatNotebook, runOpened } from "./chat.js";
import { ICON } from "./icon.js";
import { Mount } from "./mount.js";
import { panelClass } from "./panel.js";
import { showSaved } from "./saved.js";
import { statusClass } from "./status.js";

/** JupyterLab's modules that we use; what they export is handed to `plugin` in one object. */
export const NEEDED = [
  "@jupyterlab/application",
  "@jupyterlab/apputils",
  "@jupyterlab/coreutils",
  "@jupyterlab/launcher",
  "@jupyterlab/notebook",
  "@jupyterlab/rendermime",
  "@jupyterlab/services",
  "@jupyterlab/statusbar",
  "@jupyterlab/ui-components",
  "@lumino/widgets",
];
const PLACES = ["ICommandPalette", "ILatexTypesetter", "ILauncher", "ILayoutRestorer", "INotebookTracker", "IStatusBar"];
const CATEGORY = "Local models";
const PANEL_RANK = 650; // below the panels that JupyterLab brings itself
const STATUS_RANK = 100;

export function plugin(lab) {
  const places = PLACES.filter((name) => lab[name]);
  return {
    id: "ollmlx:plugin",
    description: "Local language models: a manager, what runs now, a chat.",
    autoStart: true,
    optional: places.map((name) => lab[name]),
    activate: (app, ...found) => {
      activate(lab, app, Object.fromEntries(places.map((name, index) => [name, found[index]])));
    },
  };
}

function activate(lab, app, places) {
  const { ICommandPalette, ILatexTypesetter, ILauncher, ILayoutRestorer, INotebookTracker, IStatusBar } = places;
  const icon = new lab.LabIcon({ name: "ollmlx:models", svgstr: ICON });
  const mount = new Mount(lab, app.serviceManager.serverSettings);
  style("lab.css");
  const panel = new (panelClass(lab.Widget))(mount, style);
  panel.id = "ollmlx-models";
  panel.title.icon = icon;
  panel.title.caption = "Local models (ollmlx)";
  app.shell.add(panel, "left", { rank: PANEL_RANK, type: "Local models" });
  ILayoutRestorer?.add(panel, panel.id);
  commands(app, lab, { icon, mount, panel });
  for (const command of ["ollmlx:open", "ollmlx:chat", "ollmlx:unload", "ollmlx:copy-address"]) {
    ICommandPalette?.addItem({ command, category: CATEGORY });
  }
  ILauncher?.add({ command: "ollmlx:chat", category: CATEGORY, rank: 1 });
  ILauncher?.add({ command: "ollmlx:open", category: CATEGORY, rank: 2 });
  if (mount.present) {
    const item = new (statusClass(lab.Widget))(mount, () => app.commands.execute("ollmlx:open"));
    IStatusBar?.registerStatusItem("ollmlx:status", { item, align: "right", rank: STATUS_RANK });
  }
  if (INotebookTracker) {
    serveCells(INotebookTracker, ILatexTypesetter);
    showSaved(INotebookTracker);
    INotebookTracker.widgetAdded.connect((_, panel) => runOpened(app, panel));
  }
}

function commands(app, lab, { icon, mount, panel }) {
  const add = (id, label, caption, execute, more = {}) => {
    // A palette or a launcher shows nothing of a rejected promise.
    const shown = async (args) => {
      try {
        return await execute(args);
      } catch (error) {
        return lab.showErrorMessage(label, error);
      }
    };
    app.commands.addCommand(`ollmlx:${id}`, { label, caption, execute: shown, ...more });
  };
  const open = () => app.shell.activateById(panel.id);
  add("open", "Local models", "Install, load and watch local language models", open, { icon });
  const chat = ({ cwd, model }) => chatNotebook(app, lab, cwd ?? "", model ?? "");
  add("chat", "Local chat", "A notebook with a chat with a local language model", chat, { icon });
  add("unload", "Unload all local models", "Free the memory of models that nobody uses", () => mount.unloadAll());
  const copy = () => lab.Clipboard.copyToSystem(mount.address);
  add("copy-address", "Copy the address of the Ollama API", "For other programs", copy);
}

/** Adds a style sheet that lies beside us. */
function style(name) {
  const href = new URL(name, import.meta.url).href;
  if (document.querySelector(`link[href="${href}"]`)) return;
  const link = document.createElement("link");
  Object.assign(link, { rel: "stylesheet", href });
  document.head.append(link);
}
