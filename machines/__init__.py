"""Real FreeBSD and Linux in virtual machines: the deploy and the scenarios on what they are made for."""
