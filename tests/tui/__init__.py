"""The console driven as an operator drives it, over real installations."""
