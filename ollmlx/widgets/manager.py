"""`ollmlx.ModelManager`: models found, pulled, loaded, pinned, converted and deleted by hand."""

from ollmlx.client import Client
from ollmlx.markdown import inert
from ollmlx.widgets import modules
from ollmlx.widgets.carrying import Carrier
from ollmlx.widgets.widget import TROUBLES, words


class ModelManager(Carrier):
    """Shows what the server does, whoever asked for it."""

    _esm, _css = modules.script("models.js"), modules.style("manager.css")

    def markdown(self) -> str:
        """The installed models, or why they cannot be told."""
        try:
            with Client(self._host) as client:
                models = client.list().models
        except TROUBLES as error:
            return f"*{inert(words(error))}*"
        rows = [f"| {_cell(m.model or '')} | {(m.size or 0) / 1e6:,.0f} MB |" for m in models]
        return inert("\n".join(["| Model | Size |", "|---|--:|", *rows]))


def _cell(text: str) -> str:
    """A name as code, whatever characters it has."""
    return f"`{text.replace('`', ' ').replace('|', ' ')}`"
