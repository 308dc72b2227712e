"""`python -m cmlp` is the command `cmlp`."""

import sys

from cmlp.cli import main

sys.exit(main())
