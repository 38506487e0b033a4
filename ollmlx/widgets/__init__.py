"""What a notebook shows of the engine: models, a chat, telemetry, a token view."""
