"""From firings to labels: scores, the frozen choice, its check on held-out texts."""
