"""`python -m conformance`: the same as `trr-conformance`."""

import sys

from conformance.cli import main

sys.exit(main())
