"""IAM of the local AWS: a deployed function can make only the calls that its role and the resources' policies allow.

``policies`` evaluates statements and conditions, ``needs`` lists the actions that a call needs, ``guard`` denies calls.
"""
