"""The monthly Restore Drill Report: its description in plain words, and text, HTML and PDF made from that."""
