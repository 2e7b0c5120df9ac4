#!/bin/bash
# System packages that the whole test suite uses on a fresh Debian 12 machine: libGL for PyMOL, Slurm for tests/slurm,
# buildah for tests/test_containers.py, a C++ compiler for the benchmarks' peers. As root; quick when all is there.
set -euo pipefail

packages=(
    libgl1
    munge slurmctld slurmd slurm-client slurmdbd slurm-wlm-mysql-plugin mariadb-server-core
    buildah runc mmdebstrap
    g++
)

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    echo "install.sh: all ${#packages[@]} packages are there"
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "install.sh: ${missing[*]} missing; run this script as root to install them" >&2
    exit 1
fi

export DEBIAN_FRONTEND=noninteractive
# Daemons are started by the tests, each in a folder of its own, never by the packages.
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}"
