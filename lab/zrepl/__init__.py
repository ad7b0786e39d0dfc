"""zrepl as the lab plays it: push and sink jobs over TCP, on the virtual clock and the lab's ZFS.

Behaviour and wording follow zrepl 0.7.0; what it has beyond that (pull, snap, TLS, hooks, ...) is not simulated.
"""
