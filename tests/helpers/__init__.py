"""What several test files share; found through `pythonpath` in pyproject.toml."""
