"""The labelling page: static files that a label provider serves beside the HTTP contract of docs/labelling-page.md."""
