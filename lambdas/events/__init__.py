"""Functions that EventBridge invokes. An event is a trigger; each function asks the service for its state."""
