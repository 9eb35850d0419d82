"""One training step, computed in more than one way: the plain one is the truth, the others are faster."""
