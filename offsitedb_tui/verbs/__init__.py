"""The verbs of the command line, one file per noun. Each calls the engine's door and words the answer."""
