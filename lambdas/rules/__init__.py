"""The rules of what people supply: photos, labels files, file names and document types.

Pure: no AWS, no files, nothing of ours is imported. The pipeline, the API, the command line, the local AWS and the
specimen reader all call these rules, so that each of them accepts and refuses the same input in the same words.
"""
