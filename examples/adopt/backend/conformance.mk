# TRR-Backend: put this into your Makefile, or include it.
# The tool is an application with an environment of its own; --from names a release of it.
TRR_CONFORMANCE ?= uvx --from "git+https://github.com/trr/trr-conformance@v1" trr-conformance
CONFORMANCE_ARGS ?=

.PHONY: conformance contract-drift

## check this service against the contract; it has to be running, as conformance.toml says
conformance:
	$(TRR_CONFORMANCE) run --target backend --env-file conformance.toml --report-dir build/conformance $(CONFORMANCE_ARGS)

## a first, instant check that needs no server: does our own OpenAPI document promise what the contract does?
OPENAPI ?= openapi.json

contract-drift:
	$(TRR_CONFORMANCE) drift $(OPENAPI)
