"""Functions that EventBridge calls. An event is a hint; what the service says when asked is the truth."""
