"""Other people's dictionaries on disk, each translated into SAELens' settings and tensors, which `saes.checkpoint` reads."""
