"""One Lambda function per Task state: parse the request, call the pipeline, return a small named result."""
