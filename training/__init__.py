"""How an SAE is learned: language models, corpora, the stream of activations between them, and the loop."""
