"""Case studies: what clamping a concept's label does to behaviour."""
