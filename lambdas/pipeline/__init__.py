"""The pipeline's logic, shared by the stages, the events and the API. It has no handler and reads no environment."""
