"""Real FreeBSD and Linux in virtual machines, for the deploy and the scenarios."""
