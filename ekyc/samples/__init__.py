"""Draws fictitious specimen documents and photographs of them, with labels."""

from ekyc.samples.dataset import write

__all__ = ["write"]
