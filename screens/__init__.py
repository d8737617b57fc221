"""What the operator sees. Screens know the engine's door, its model and its errors, and nothing behind them."""
