"""The code that runs on a user's machine: the command line, the embedded local AWS and the specimen photos."""
