"""The machinery behind a network: its program, its memory, and the loops that train it. It knows no user interface."""
