"""What a sparse autoencoder is: tensors in, tensors out; knows no language model."""
