"""The extension around a real room whose only model is echo."""

from typing import Any

from jupyter_ext.app import OllmlxApp
from ollmlx.room import Room
from ollmlx.settings import Settings
from tests.echo import EchoLibrary


class EchoingApp(OllmlxApp):
    def make_room(self, settings: Settings) -> Room:
        return Room(settings, EchoLibrary())


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": __name__, "app": EchoingApp}]
