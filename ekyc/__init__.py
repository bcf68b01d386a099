"""What runs on a person's machine: the command line, the embedded local AWS and the specimen photographs."""
