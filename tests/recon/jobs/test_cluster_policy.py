import argparse
import subprocess
from pathlib import Path

import pytest

from recon.jobs.cluster_policy import ClusterPolicy, add_policy_arguments, policy_from, read_policy

EXAMPLE = Path(__file__).parents[3] / "slurm" / "cluster.example.toml"


def policy_of(*options: str) -> ClusterPolicy:
    parser = argparse.ArgumentParser()
    add_policy_arguments(parser)
    return policy_from(parser.parse_args(options))


@pytest.fixture
def site_file(tmp_path):
    path = tmp_path / "cluster.toml"
    path.write_text('partition = "gpu"\nnodes = 3\nbinds = ["/data", "/scratch:/work"]\n')
    return path


def test_the_example_is_a_valid_file_and_names_every_setting():
    assert read_policy(EXAMPLE).partition == "gpu"
    text = EXAMPLE.read_text()
    assert all(f"\n{name} = " in text for name in ClusterPolicy.__dataclass_fields__)


def test_options_win_over_the_file_and_the_file_over_the_defaults(site_file):
    policy = policy_of("--policy", str(site_file), "--nodes", "2", "--timeout-min", "30")
    assert (policy.partition, policy.nodes, policy.timeout_min) == ("gpu", 2, 30)
    assert policy.binds == ("/data", "/scratch:/work")
    assert policy.cpus_per_task == ClusterPolicy().cpus_per_task


def test_the_file_of_the_site_is_found_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert policy_of() == ClusterPolicy()
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "cluster.toml").write_text('account = "p7"')
    assert policy_of().account == "p7"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 1", "unknown setting colour .*expected some of partition, account"),
        ('nodes = "two"', "expected nodes as int, got 'two'"),
        ("nodes = 0", "expected nodes of at least 1, got 0"),
        ("binds = 'a'", "expected binds as tuple, got 'a'"),
        ("nodes = ", "expected TOML"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "cluster.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_policy(path)


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="copy slurm/cluster.example.toml"):
        read_policy(tmp_path / "absent.toml")


def test_slurm_is_asked_only_for_what_there_is():
    parameters = ClusterPolicy(gpus_per_node=0).parameters()
    assert not {"gpus_per_node", "slurm_partition", "slurm_account", "slurm_dependency"} & set(parameters)
    assert parameters["tasks_per_node"] == 1
    parameters = ClusterPolicy(gpus_per_node=4, nodes=2).parameters("afterok:7")
    assert (parameters["nodes"], parameters["tasks_per_node"], parameters["gpus_per_node"]) == (2, 4, 4)
    assert parameters["slurm_dependency"] == "afterok:7"
    report = ClusterPolicy(gpus_per_node=4, nodes=2).parameters(is_report=True)
    assert (report["nodes"], report["tasks_per_node"], report.get("gpus_per_node")) == (1, 1, None)


@pytest.mark.parametrize(
    ("policy", "python"),
    [
        (ClusterPolicy(), None),
        (ClusterPolicy(image="s.sif", gpus_per_node=0), "apptainer exec s.sif python"),
        (
            ClusterPolicy(image="my s.sif", binds=("/a", "/b:/c")),
            "apptainer exec --nv --bind /a,/b:/c 'my s.sif' python",
        ),
    ],
)
def test_jobs_run_in_the_image(policy, python):
    assert policy.python == python


@pytest.mark.parametrize(
    ("status", "state", "restarts", "is_requeued"),
    [
        (143, "RUNNING", "0", True),
        (0, "RUNNING", "0", False),
        (1, "RUNNING", "0", False),
        (75, "RUNNING", "0", True),
        (137, "RUNNING", "1", True),
        (75, "COMPLETING", "0", False),
        (75, "RUNNING", "2", False),
    ],
)
def test_an_interrupted_job_is_queued_again_unless_others_end_it(tmp_path, status, state, restarts, is_requeued):
    for name, says in (("squeue", f"echo {state}"), ("scontrol", 'echo "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{says}\n")
        (tmp_path / name).chmod(0o755)
    teardown = ClusterPolicy(max_restarts=2).parameters()["slurm_teardown"]
    script = "\n".join([f"(exit {status})", *teardown])
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": restarts}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert done.stdout == ("requeue 7\n" if is_requeued else "")
    in_array = env | {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1"}
    done = subprocess.run(["bash", "-c", script], env=in_array, capture_output=True, text=True, check=False)
    assert done.stdout == ("requeue 7_1\n" if is_requeued else "")


def test_methods_that_need_no_gpu_have_a_rank_on_each_core_of_a_training():
    parameters = ClusterPolicy(gpus_per_node=4, cpus_per_task=8, nodes=2).parameters(is_on_cores=True)
    assert (parameters["nodes"], parameters["tasks_per_node"], parameters["cpus_per_task"]) == (2, 32, 1)
    assert "gpus_per_node" not in parameters
    assert ClusterPolicy(gpus_per_node=0, cpus_per_task=6).parameters(is_on_cores=True)["tasks_per_node"] == 6
