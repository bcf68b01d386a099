"""The pipeline's logic: what the stages, the events and the API share. It knows no handler and reads no environment."""
