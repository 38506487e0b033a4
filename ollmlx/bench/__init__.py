"""Measures servers of local models, side by side: `python -m ollmlx.bench`.

Everything is a ratio of rounds that ran in turn, because machines are never quiet.  It drives any
Ollama- or OpenAI-compatible server over HTTP; only `engines` imports an engine, and only to
measure it bare.
"""
