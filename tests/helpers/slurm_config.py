"""The configuration files of the test cluster: pure text, no process."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ClusterPorts:
    """TCP ports on the loopback interface, one per daemon; `nodes` has one per slurmd."""

    database: int
    accounting: int
    controller: int
    node_default: int
    nodes: list[int]


SLURM_CONF = """\
ClusterName=mini
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports.controller}
SlurmdPort={ports.node_default}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits until its old credential has expired: 120 s by default.
AuthInfo=socket={folder}/munge/s,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
TmpFS={folder}/tmp/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
MailProg=/bin/true
# Job ids never come again, also not in the next cluster: submitit names folders by them.
FirstJobId={first_job_id}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
MpiDefault=none
# Believe this file, not the hardware.
SlurmdParameters=config_overrides
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=0
PriorityType=priority/basic
KillWait=5
MinJobAge=3600
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports.accounting}
AccountingStoragePass={folder}/munge/s
{node_lines}
PartitionName=batch Nodes={nodes} Default=YES MaxTime=INFINITE PriorityTier=1 PreemptMode=OFF State=UP
PartitionName=low Nodes={nodes} PriorityTier=1 PreemptMode=REQUEUE GraceTime=20 State=UP
PartitionName=high Nodes={nodes} PriorityTier=10 PreemptMode=OFF State=UP
"""

SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge/s
DbdHost=localhost
DbdPort={ports.accounting}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports.database}
StorageUser=root
StorageLoc=slurm
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/slurmdbd.pid
"""


def write_configuration(
    folder: Path, ports: ClusterPorts, node_names: list[str], cpus_per_node: int, gpus_per_node: int
) -> None:
    """Write slurm.conf, slurmdbd.conf, gres.conf and cgroup.conf into the cluster's folder."""
    host = socket.gethostname().split(".")[0]
    node_lines = "\n".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus_per_node} "
        f"RealMemory=8000 Gres=gpu:{gpus_per_node} State=UNKNOWN"
        for name, port in zip(node_names, ports.nodes, strict=True)
    )
    nodes = ",".join(node_names)
    slurm_conf = SLURM_CONF.format(
        host=host,
        folder=folder,
        ports=ports,
        node_lines=node_lines,
        nodes=nodes,
        first_job_id=int(time.time()) % 40_000_000 + 1,
    )
    (folder / "slurm.conf").write_text(slurm_conf)
    accounting = folder / "slurmdbd.conf"
    accounting.write_text(SLURMDBD_CONF.format(folder=folder, ports=ports))
    accounting.chmod(0o600)
    devices = f"{folder}/dev/nvidia[0-{gpus_per_node - 1}]"
    (folder / "gres.conf").write_text(f"NodeName={nodes} Name=gpu File={devices}\n")
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # may not be empty
