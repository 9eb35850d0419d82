"""Storyworld: an unlimited supply of short plain-English stories about people with feelings, and workshop transcripts."""
