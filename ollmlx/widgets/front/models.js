/** The page's side of `ollmlx.ModelManager`. */

import { carried } from "./comm.js";
import { manager } from "./manager.js";

export default { render: ({ model, el }) => manager(el, carried(model)) };
