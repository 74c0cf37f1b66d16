"""The suites, by target."""
