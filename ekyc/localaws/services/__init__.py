"""The AWS services that this project simulates itself, with a document detector, a workforce and the labelling page."""
