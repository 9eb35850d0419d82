"""Worlds whose truth is known, to see what the journeys make of them."""
