"""`python -m exporter` is `bokeh-exporter`."""

import sys

from exporter.cli import main

sys.exit(main())
