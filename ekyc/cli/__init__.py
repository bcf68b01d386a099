"""The `ekyc` command."""
