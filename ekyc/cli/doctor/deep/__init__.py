"""`ekyc doctor --deep`: asks AWS itself what no document settles, with things that it makes for that and deletes again.

Calls that a function makes in each job are made as a twin of its role, so that AWS judges the very policy that is
deployed. A policy simulation would judge it by the context that its caller makes up.
"""
