"""The embedded local AWS: moto's services in one process, and what moto lacks, on one port of 127.0.0.1."""
