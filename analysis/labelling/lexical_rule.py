"""The rule for a lexical label: by numbers alone, so that who reads a study need not open what measured them."""

MOST_SHARE = 0.5
MOST_LOST = 0.5


def is_lexical(lexical_share: float, checking: float, masked: float) -> bool:
    """The rule: more than half of the firing on checking texts falls on words that name the concept, or masking them
    takes away more than half of what the AUROC has above chance, where it has anything."""
    return lexical_share > MOST_SHARE or (checking > 0.5 and masked - 0.5 < (1 - MOST_LOST) * (checking - 0.5))
