"""What a cluster must survive, told as stories that run on the simulated cluster, on machines and on a real site."""
