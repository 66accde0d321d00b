"""Image and compose file, run for real: `make containers`. Base images are stand-ins of ours, made from Debian's packages: test equipment,
which shows that our files are right and not that the official images are."""
