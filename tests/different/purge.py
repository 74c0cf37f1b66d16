"""The different backend's purge script: its server does the work, and this says what it did, a line for each asset."""

from __future__ import annotations

import argparse
import json
import urllib.request


def main() -> None:
    parser = argparse.ArgumentParser(description="Delete a season's imports from a web page.")
    parser.add_argument("server")
    parser.add_argument("show_id")
    parser.add_argument("season_number", type=int)
    parser.add_argument("page_url")
    parser.add_argument("--execute", action="store_true")
    options = vars(parser.parse_args())
    request = urllib.request.Request(options.pop("server"), json.dumps(options).encode())
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as response:
        found = json.load(response)
    for asset_id in found:
        print("deleted" if options["execute"] else "would delete", asset_id)
    print("That is all." if found else "There is nothing to delete.")


if __name__ == "__main__":
    main()
