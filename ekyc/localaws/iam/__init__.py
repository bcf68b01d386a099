"""IAM of the local AWS: each call of a deployed function needs what its role and the resources' policies allow.

``policies`` evaluates statements and conditions, ``needs`` lists the actions a call needs, ``guard`` denies the rest.
"""
