"""The bundled model family: tokenizer, language models, PRM and router. `build.py` runs everything."""
