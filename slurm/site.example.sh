# shellcheck shell=bash disable=SC2034
# A copy of this file, with what is right for your cluster, is named to every job by `submit --site=FILE` or CFM_SITE=FILE: bash, on a file
# system that all nodes share, sourced before a program is started. slurm/job.sh lists all that can be set.

# Modules that the programs were built with:
# module purge
# module load gcc/12 openmpi/4.1 hdf5

# Where the programs are (cmake --install --prefix), if not in PATH:
# CFM_BIN=/sw/cfm/bin

# Or a container that has them in its PATH:
# CFM_CONTAINER="apptainer exec --nv --bind /data,/scratch /sw/cfm.sif"

# How ranks are started: srun with pmix (or pmi2, if that is what your Open MPI was built for), or mpirun.
# CFM_LAUNCHER=srun
# CFM_MPI=pmix

# The folder on a shared file system that Prometheus watches (docs/metrics.md; default: ~/.cache/cfm/targets), and the network that it reaches nodes by:
# CFM_METRICS_TARGETS=/scratch/me/targets
# CFM_METRICS_INTERFACE=eth0
