"""GGUFs in the form in which Ollama's library published them, as llama.cpp wants to read them."""
