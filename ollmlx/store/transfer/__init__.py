"""Models fetched from registries and from the hub, and sent there."""
