"""Evidence: what was done, in a form that others can check: canonical records, hashes in chains, SSH signatures.

``canonical`` fixes the bytes, ``sshsig`` signs them so that ``ssh-keygen -Y verify`` can check them, ``signer`` holds
the key, ``chain`` keeps the history of events, ``receipts`` and ``manifests`` are the two signed documents. The room
refuses to read anything whose bytes are not exactly those that its own writer would have made. It does not know where
the signing key is kept, and it cannot prove that whoever holds that key did not write another history.
"""
