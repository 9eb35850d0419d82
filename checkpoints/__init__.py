"""The bundled weights: a small language model and an SAE trained on it. Runs made here by default are not in git."""
