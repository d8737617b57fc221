"""Who may do what: pure rules of passwords, limits, tokens and API keys. Nothing here reads or writes."""
