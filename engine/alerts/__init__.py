"""Alerts: what counts as an incident, what is said of it, and how it is said to the outside.

``rules`` and ``drift`` are pure: facts and an instant in, incidents out. ``guard`` and ``sending`` reach out, to
exactly the address that was judged. The room reads no catalog, keeps no state and opens no seal: it is handed what it
needs.
"""
