# The suite with all that it needs but the GPU driver.
#
#   docker build --tag afm-recon .
#   docker run --rm --gpus all afm-recon                                   what works: python -m hpc.doctor
#   docker run --rm --gpus all -v "$PWD:/data" -w /data -u "$(id -u):$(id -g)" afm-recon \
#       mpiexec -n 4 python -m mpi4py -m afmsim.build --structures structures --store dataset.zarr
#   docker run --rm afm-recon afmsim.build --help                          modules by name, without `python -m`
#
# The base must have a Python of 3.11 or newer in its package sources; the default also brings the CUDA libraries.
# All versions of Python packages stand in constraints.txt. apptainer.def makes the same image for Apptainer.
ARG BASE=docker.io/nvidia/cuda:12.9.1-runtime-ubuntu24.04
FROM ${BASE}

# PyMOL's wheel links libGL; slurm-client lets a job inside the image requeue itself.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates libgl1 libgomp1 python3 python3-venv slurm-client \
    && rm -rf /var/lib/apt/lists/*

# mpich's cross-memory copy is forbidden by Docker's default seccomp profile, and MPI_Init would abort.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MPIR_CVAR_CH4_CMA_ENABLE=0

# Dependencies in a layer of their own: it is built again when the pins change, not when the code does.
WORKDIR /opt/afm-recon
COPY pyproject.toml constraints.txt ./
RUN mkdir hpc afmsim recon \
    && touch README.md LICENSE hpc/__init__.py afmsim/__init__.py recon/__init__.py \
    && python3 -m venv /opt/venv \
    && pip install --no-cache-dir --constraint constraints.txt --editable ".[build,train,gpu]"

COPY . .
RUN useradd --create-home afm
USER afm

# Compiled kernels are kept per user in a folder that can be written whoever runs the image (docker run --user).
ENTRYPOINT ["sh", "-c", "caches=${TMPDIR:-/tmp}/afm-recon-$(id -u); \
    export NUMBA_CACHE_DIR=${NUMBA_CACHE_DIR:-$caches/numba} CUPY_CACHE_DIR=${CUPY_CACHE_DIR:-$caches/cupy} \
    MPLCONFIGDIR=${MPLCONFIGDIR:-$caches/matplotlib}; \
    case $1 in hpc.*|afmsim.*|recon.*) exec python -m \"$@\" ;; *) exec \"$@\" ;; esac", "afm-recon"]
CMD ["hpc.doctor"]
HEALTHCHECK --interval=10m --timeout=2m CMD ["python", "-m", "hpc.doctor"]
