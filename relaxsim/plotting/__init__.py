"""Pictures of a relaxation: curves of F, U, S and KL, laws beside the Gibbs law, and single trajectories.

Every function returns a matplotlib ``Figure`` that no global state holds: nothing has to be closed, nothing
opens a window, and ``figure.savefig("name.png")`` writes it. matplotlib is imported at the first call.
"""

from relaxsim.plotting.curves import relaxation
from relaxsim.plotting.laws import density
from relaxsim.plotting.paths import trajectories

__all__ = ["density", "relaxation", "trajectories"]
