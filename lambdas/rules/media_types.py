"""The project's own media types, which clients and the API use."""

SIGNED_REPORT = "application/vnd.ekyc.signed-report+json"
"""An audit report with its page and a signature."""
