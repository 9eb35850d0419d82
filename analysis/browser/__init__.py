"""The web app over a study: pages, their JSON twins, and live clamping where a model is at hand."""
