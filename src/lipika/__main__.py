"""`python -m lipika`."""

from lipika.cli.main import main

main()
