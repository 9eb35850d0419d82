"""The stream of activations from a language model to the training step."""
