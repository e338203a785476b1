"""Pictures of a relaxation: curves of F, U, S and KL, laws, currents, modes, trajectories, fields, moving pictures.

Every function but `animate` returns a matplotlib ``Figure`` that no global state holds: nothing has to be closed,
nothing opens a window, and ``figure.savefig("name.png")`` writes it. matplotlib is imported at the first call.
"""

from relaxsim.plotting.animation import animate
from relaxsim.plotting.cell_values import cell_values
from relaxsim.plotting.curves import relaxation
from relaxsim.plotting.fields import kl_tail, kramers_moyal, reconstruction
from relaxsim.plotting.flows import current
from relaxsim.plotting.laws import density
from relaxsim.plotting.modes import spectrum
from relaxsim.plotting.paths import trajectories
from relaxsim.plotting.proximal import proximal, proximal_convergence
from relaxsim.plotting.snapshots import snapshots

__all__ = [
    "animate",
    "cell_values",
    "current",
    "density",
    "kl_tail",
    "kramers_moyal",
    "proximal",
    "proximal_convergence",
    "reconstruction",
    "relaxation",
    "snapshots",
    "spectrum",
    "trajectories",
]
