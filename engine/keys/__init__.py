"""Keys: the master key and the keyring that holds it, sealed values, wrapped data keys, the recovery code.

Secrets live in memory only while they are used. The room writes no file, puts no secret on a command line or into an
environment, and never makes a new master key because an old one cannot be found: it fails closed, each way with a code
of its own.
"""
