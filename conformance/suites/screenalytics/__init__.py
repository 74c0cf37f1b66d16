"""The suite of the target screenalytics: the suite plays the backend, and watches an import."""
