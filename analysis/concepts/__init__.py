"""Concepts: what an emotion is, with texts that carry it and texts that do not."""
