"""Widgets of our own, where Textual has none that is as quiet on the wire. All text enters them as a Phrase."""
