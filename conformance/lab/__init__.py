"""The lab: the suite's own servers, in a process that the run's controller owns and every worker scripts and reads.

The lab plays the backend for the app and for Screenalytics, and for the backend it serves pages to scrape and plays the
vision service. Scripts and journal are keyed by fresh ids in the path or body (person for photos and images, episode
for the cast, link for toggles, asset, page address, first segment of a page's or image's path), so that any number of
workers share the addresses. The suite's side of it is `conformance.lab.client`.
"""

from __future__ import annotations

from conformance.lab.addresses import LISTENERS
from conformance.lab.answers import Answer
from conformance.lab.journal import UNSCRIPTED, Call

__all__ = ["LISTENERS", "UNSCRIPTED", "Answer", "Call"]
