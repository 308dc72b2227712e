"""`python -m cmlp` is the command `cmlp`."""

import sys

from cmlp.cli.main import main

sys.exit(main())
