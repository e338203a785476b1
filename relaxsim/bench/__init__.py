"""How fast the ensembles are, as ratios measured within one run: against C, against peers, against themselves.

Seconds depend on the machine and on who else uses it; ratios of runs that alternate depend on neither, or less. The
command ``relaxsim bench`` prints them.
"""
