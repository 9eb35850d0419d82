"""A study in the layouts of other people's tools."""
