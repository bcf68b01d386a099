"""IAM of the local AWS: each call of a deployed function needs what its role and the resources' policies allow.

``policies`` evaluates statements and conditions, ``needs`` says which actions a call needs, ``guard`` refuses the rest.
"""
