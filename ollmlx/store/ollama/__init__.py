"""Ollama's own store: manifests, blobs, and what they are made of."""
