"""`ekyc doctor`: looks, before a deployment or a first job, at whatever would make it fail, and says what to do.

Each check is a function of the account that answers a Finding.
"""
