"""Changing a contract: what breaks, for whom, and with which payload.

`linking` brings schema documents into one space, `subschema` proves that one schema takes no more than another,
`witness` looks for a payload that shows the opposite, `schemas` compares two versions of a schema, `openapi` two
documents, `policy` holds the changes against the version, `report` prints them.
"""
