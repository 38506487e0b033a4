/** The page's side of `ollmlx.ModelManager`. */

import { carried } from "./comm.js";
import { still, whenEnded } from "./kernel.js";
import { manager } from "./manager.js";

function render({ model, el }) {
  const end = manager(el, carried(model));
  whenEnded(model, el, () => still(el));
  return end;
}

export default { render };
