"""A model behind an OpenAI-compatible API plays the analyst, and logs what it does line by line."""
