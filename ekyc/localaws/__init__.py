"""The embedded local AWS: moto's services, and services that moto lacks, in one process on one port of 127.0.0.1."""
