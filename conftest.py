"""Makes the plugin known to every pytest run in this checkout; it stays idle where no suite and no smoke is run."""

pytest_plugins = ["conformance.plugin"]
