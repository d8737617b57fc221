"""Rules of who gets in: passwords, tokens, and how long somebody waits who guesses.

Pure: the room neither reads nor writes the catalog, and it keeps no password and no token.
"""
