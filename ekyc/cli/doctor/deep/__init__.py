"""`ekyc doctor --deep`: tests AWS behaviour that AWS does not document, with temporary resources.

A check that tests a function's call uses a copy of the function's role. AWS then evaluates the deployed
policy in a real request context. The IAM policy simulator would use a context that its caller invents.
"""
