"""What every module stands on: checks, declared values, files, optional dependencies. It knows no network."""
