"""The recovery kit: what has to lie beside the artifacts so that a person with the recovery code needs nothing else.

``holdings`` is what the bundle of an installation holds, sealed to the recovery key; ``gathering`` reads it out of the
catalog; ``shelf`` lays the kit down at a destination; ``texts`` are the files that a person reads and runs. The room
refuses to keep a secret of its own, to touch anything at a destination but ``RECOVERY/``, and to delete there.
"""
