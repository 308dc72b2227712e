"""The command `cmlp`, one file a subcommand; `main` has the arguments."""
