"""One suite a contract, run against everything that promises to keep it."""
