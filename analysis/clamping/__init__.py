"""From held labels to validated ones: clamps against matched controls, judged by a rule written down before."""
