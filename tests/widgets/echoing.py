"""The extension around a room with a real store, and beside it models that echo."""

from typing import Any

from jupyter_ext.app import OllmlxApp
from ollmlx.room import Room
from ollmlx.settings import Settings
from ollmlx.store.library import Library
from ollmlx.store.model import Model
from tests.echo import echo_model

NAMES = ("echo:latest", "parrot:latest", "evil:<img src=x onerror=document.title='owned'>")


class EchoesToo(Library):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.echoes = [echo_model(name) for name in NAMES]

    def find(self, name: str) -> Model:
        found = [model for model in self.echoes if name in (model.name, model.name[:-7])]
        return found[0] if found else super().find(name)

    def list(self) -> list[Model]:
        return [*self.echoes, *super().list()]


class EchoingApp(OllmlxApp):
    def make_room(self, settings: Settings) -> Room:
        return Room(settings, EchoesToo(settings))


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": __name__, "app": EchoingApp}]
