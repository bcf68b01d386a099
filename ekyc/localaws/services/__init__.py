"""The AWS services that the local AWS plays itself, and what belongs to them: a detector, people who label, a page."""
