"""Functions that EventBridge invokes. An event is only a trigger: each function reads the state from the service."""
