"""`ollmlx.Telemetry`: tokens a second, queue, batch, KV cache and memory of every model, live."""

from ollmlx.widgets import modules
from ollmlx.widgets.carrying import Carrier


class Telemetry(Carrier):
    """Shows the last two minutes from the moment it is shown."""

    _esm, _css = modules.script("telemetry.js"), modules.style("telemetry.css")

    def markdown(self) -> str:
        """Nothing: it is live."""
        return ""
