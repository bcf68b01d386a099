"""`ekyc doctor`: checks for problems that would make a deployment or a first job fail, and says how to solve them.

Each check is a function that takes a CheckContext and returns a Finding.
"""
