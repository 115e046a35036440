# shellcheck shell=bash
# Sourced by the tests that run inside tests/slurm/mini_slurm.sh: waiting, and failing with what there is to see.
# $work is a new folder, removed at the end.
set -euo pipefail
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 CFM_BIN=$CFM_BUILD/bin CFM_RETRY_SECONDS=1 OMP_NUM_THREADS=1
work=$(mktemp -d); chmod 755 "$work"
remove_work() {  # a job that has just ended may still write there
  for _ in 1 2 3 4 5; do
    rm -rf "$work" 2>/dev/null && return
    sleep 1
  done
  echo "left behind: $work" >&2
}
trap remove_work EXIT
cd "$work"

fail() {
  echo "FAILED: $*" >&2
  squeue -t all -o '%i %T %r %N' >&2 || true
  for log in "$MS_DIR"/log/*.log "$work"/*.log; do [ ! -e "$log" ] || { echo "== $log" >&2; tail -n 60 "$log" >&2; }; done
  exit 1
}
# within SECONDS COMMAND...: repeats the command until it succeeds
within() {
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || fail "not within the time: $*"
    sleep 0.2
  done
}
state_is() { [ "$(squeue -h -t all -j "$1" -o %T | sort -u)" = "$2" ]; }
node_is() { [[ $(sinfo -h -N -n "$1" -o %T | head -n 1) == "$2"* ]]; }  # `down*`: it does not answer
job_ends() { within "$2" state_is "$1" COMPLETED; }
says() { grep -qF -- "$2" "$1" || fail "$1 does not say: $2"; }
says_not() { ! grep -qF -- "$2" "$1" || fail "$1 says: $2"; }
# A job that waits to be started again does it soon: Slurm would let the credential of its last start expire first. Not at once: what
# is started within the second in which a node has ended the job counts as ended there.
starts_again() {  # JOB LOG NTH
  local end=$((SECONDS + 60)) pending=""
  until grep -q "start $3 on" "$2"; do
    [ $SECONDS -lt $end ] || fail "job $1 has not come back for its start $3"
    if ! state_is "$1" PENDING; then
      pending=""  # what it waited for before an earlier start does not count
    elif [ -z "$pending" ]; then
      pending=$SECONDS
    elif [ $((SECONDS - pending)) -ge 5 ]; then
      scontrol update jobid="$1" StartTime=now 2>/dev/null || true
    fi
    sleep 0.3
  done
}
