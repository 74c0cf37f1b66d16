# SCREENALYTICS: put this into your Makefile, or include it.
# The tool is an application with an environment of its own; --from names a release of it.
TRR_CONFORMANCE ?= uvx --from "git+https://github.com/trr/trr-conformance@v1" trr-conformance
CONFORMANCE_ARGS ?=

.PHONY: conformance

## check this service against the contract; it has to be running, as conformance.toml says
conformance:
	$(TRR_CONFORMANCE) run --target screenalytics --env-file conformance.toml --report-dir build/conformance $(CONFORMANCE_ARGS)
