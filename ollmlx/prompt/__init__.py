"""Messages into a prompt's text, and a model's text into a message."""
