"""What an SAE learned: which latents carry which emotion concept, whether clamping proves it, and pages to look at it."""
