"""One module for each loader, run in an environment that has it: `python -m loaders.readers.NAME WAY EXPORT OUT`."""
