"""The program around the engine: command line, console, worker, demo."""
