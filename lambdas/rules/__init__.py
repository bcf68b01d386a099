"""Rules for user input: photos, labels files, file names and document types.

The rules are pure: they call no AWS service, open no file and import no other package of this project. The pipeline,
the API, the command line and the local AWS share them, so each accepts and refuses the same input with the same
message.
"""
