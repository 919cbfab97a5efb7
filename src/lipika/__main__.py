"""`python -m lipika`."""

from lipika.cli import main

main()
