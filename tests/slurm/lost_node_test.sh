#!/usr/bin/env bash
# Slurm loses a node, first its daemon alone, then all that runs on it. It requeues the job itself, which goes on when the node is back, with
# the bits of one that was never stopped.
# shellcheck source=tests/slurm/expect.sh
source "$CFM_SOURCE/tests/slurm/expect.sh"
# shellcheck source=tests/slurm/training.sh
source "$CFM_SOURCE/tests/slurm/training.sh"
work=${work:?}
slurmd_of() { cat "$MS_DIR/run/slurmd-n$1.pid"; }
# What runs on node I is in its daemon's namespace.
processes_of() {
  local namespace process
  namespace=$(readlink "/proc/$(slurmd_of "$1")/ns/uts")
  for process in /proc/[0-9]*; do [ "$(readlink "$process/ns/uts")" != "$namespace" ] || echo "${process#/proc/}"; done
}
ranks() { pkill "$1" -f "^[^ ]*cfm_train .*--run_dir=$work/run"; }

job=$(submit_training run 2 -- --steps=90)
train_alone 2 90
within 60 step_reached run 22
ranks -STOP  # so that it does not get done before the loss is seen
kill -KILL "$(slurmd_of 2)"
within 90 node_is n2 down
within 30 state_is "$job" PENDING
says run.log "Slurm ends the job: returns"
says_not run.log "requeued"
ranks -CONT || true  # that of the lost node, which goes on alone
start_node 2
within 30 node_is n2 idle
starts_again "$job" run.log 2
within 60 step_reached run 52
mapfile -t gone < <(processes_of 2)
[ ${#gone[@]} -ge 3 ] || fail "a daemon, its step and a rank: ${gone[*]}"
kill -KILL "${gone[@]}"
# Either Slurm misses the node first, or the other rank its peer.
within 90 state_is "$job" PENDING
start_node 2
within 30 node_is n2 idle
for number in 0 1; do touch "$MS_DIR/spool/n2/stepd.slurm.pmix.$job.$number"; done  # its steps' sockets, which Slurm does not always remove
starts_again "$job" run.log 3
job_ends "$job" 60
same_training run 000000090
