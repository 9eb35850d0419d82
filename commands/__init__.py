"""What a person types: one file a verb, imported only when it is asked for."""
