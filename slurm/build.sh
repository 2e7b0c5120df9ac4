#!/bin/bash
# Build a dataset on a Slurm cluster: structure files in, one Zarr store out, written by all ranks of all nodes.
#
#   sbatch --nodes=4 --ntasks-per-node=8 --cpus-per-task=4 --partition=NAME slurm/build.sh
#   STRUCTURES=list.txt STORE=/scratch/me/dataset.zarr sbatch --gres=gpu:4 --ntasks-per-node=4 slurm/build.sh
#   sbatch slurm/build.sh --num-views 50 --surface ses          more options of python -m afmsim.build
#
# What sbatch decides (partition, account, nodes, ranks, GPUs, time) is given on its command line or edited here.
# One rank per GPU, or one per four cores or so without GPUs, is a good start.
#SBATCH --job-name=afm-build
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --time=04:00:00
#SBATCH --output=slurm-%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
# Before the time limit or a preemption the ranks (not this script) are told to finish what they hold and stop;
# they then end with status 75, the job goes back to the queue and continues from the store's journals.
# Allow as many seconds as one shard of your largest proteins takes.
#SBATCH --signal=USR1@120
# Sites that ask for more; remove one # to use a line (an empty value is refused by sbatch):
##SBATCH --partition=
##SBATCH --account=
##SBATCH --gres=gpu:4

# ---- Settings: edit here, or set them in the environment of sbatch --------------------------------------------
# Relative paths count from the folder where sbatch was called; all nodes must see it.
STRUCTURES=${STRUCTURES:-examples/structures}   # folder of .pdb/.cif[.gz] files, or a text list of paths
STORE=${STORE:-dataset.zarr}                    # the result, on a file system that all nodes share
VENV=${VENV:-.venv}                             # virtual environment; not used with an image
IMAGE=${IMAGE:-}                                # Apptainer image (.sif); empty: run from VENV
BINDS=${BINDS:-}                                # more folders for the image, as /data,/scratch:/work
AFM_MPI=${AFM_MPI:-pmi2}                        # Slurm's plugin that fits the MPI library: pmi2 for mpich (as the
                                                # project installs it), pmix for Open MPI; `srun --mpi=list`
# ---------------------------------------------------------------------------------------------------------------

set -uo pipefail
: "${SLURM_JOB_ID:?this is a job script: submit it with sbatch}"

launcher=(srun "--mpi=$AFM_MPI")
# Slurm 22.05 and newer do not hand sbatch's --cpus-per-task on to srun.
[ -n "${SLURM_CPUS_PER_TASK:-}" ] && launcher+=("--cpus-per-task=$SLURM_CPUS_PER_TASK")

if [ -n "$IMAGE" ]; then
    launcher+=(apptainer exec)
    [ -n "${SLURM_GPUS_ON_NODE:-}" ] && launcher+=(--nv)
    [ -n "$BINDS" ] && launcher+=(--bind "$BINDS")
    launcher+=("$IMAGE" python)
else
    launcher+=("$VENV/bin/python")
fi
# Unprivileged containers forbid the cross-memory copy with which mpich starts.
export MPIR_CVAR_CH4_CMA_ENABLE=0

echo "job $SLURM_JOB_ID, start $((${SLURM_RESTART_COUNT:-0} + 1)): $SLURM_NTASKS ranks on $SLURM_JOB_NODELIST"
"${launcher[@]}" -m mpi4py -m afmsim.build --structures "$STRUCTURES" --store "$STORE" "$@"
status=$?

case $status in
0)
    echo "finished: every protein is in $STORE"
    ;;
1)
    echo "finished with failures: the reasons are in $STORE/proteins.csv (or, if ranks broke off, above)"
    ;;
75 | 138 | 143) # 138, 143: the signal came before the ranks were ready to note it
    echo "to be continued: the job goes back to the queue"
    scontrol requeue "$SLURM_JOB_ID"
    ;;
*)
    echo "failed with status $status: nothing is lost, the same command continues once the cause above is removed"
    ;;
esac
exit $status
