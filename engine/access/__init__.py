"""Rules of who gets in: passwords, tokens, API keys, and how long somebody waits who guesses.

Pure: the room neither reads nor writes the catalog, and it keeps no password, no token and no key.
"""
