# shellcheck shell=bash
# Sourced by the batch scripts of this folder: a program as a job that comes back until it is done, whatever ended it. A script sets
#
#   keep          folder where its starts are counted (docs/formats.md)
#   progress()    prints what changes when the job gets on
#   on_end()      removes what the program may have left, whatever ended it
#   forget_targets()   removes what tells Prometheus of the job; called before Slurm kills, too
#   left_undone() says what is not done although the program ended with 0
#
# after set_up, and ends in `run_job PROGRAM FLAGS...`, which does not return. Environment, of sbatch or set by CFM_SITE:
#
#   CFM_SITE            a file that is sourced first (site.example.sh): modules, containers, addresses
#   CFM_BIN             folder of the programs                                        default: they are looked for in PATH
#   CFM_CONTAINER       command that the program is handed to: `apptainer exec --nv cfm.sif`
#   CFM_LAUNCHER        srun or mpirun                                                default: srun
#   CFM_MPI             how srun's ranks find each other: pmix or pmi2                default: pmix
#   CFM_MAX_STARTS      starts in a row without progress after which the job ends     default: 5
#   CFM_RETRY_SECONDS   waited before a start after a failure                         default: 60
#   CFM_TASKS           of a job array: a file; its task K has the flags of line K besides
#
# Exit codes of a job: 0 done; 2 would fail again the same way, never requeued; anything else: it was cancelled, has given up, could
# not be requeued, or is a part of a chain (`submit --chain`), whose next part goes on.
set -uo pipefail
# shellcheck source=slurm/run_folder.sh
source "$CFM_SLURM/run_folder.sh"
script="" keep="" step="" stopped="" code=0
trap 'stopped=$SECONDS' USR1  # before the program is there: run_job minds it
stop_signal=USR1  # what asks the program to save and end
most_starts=5
progress() { :; }
on_end() { :; }
forget_targets() { :; }
left_undone() { :; }

log() { echo "$(date '+%F %T') $script: $*"; }
refuse() { log "$*"; exit 2; }

set_up() {  # SCRIPT: before anything else
  script=$1
  if [ -n "${CFM_SITE:-}" ]; then
    [ -r "$CFM_SITE" ] || refuse "CFM_SITE=$CFM_SITE cannot be read on $(hostname): give a file on a file system that all nodes share"
    set +u  # the shell code of modules is not ours
    # shellcheck disable=SC1090
    source "$CFM_SITE"
    set -u
    local name
    for name in "${!CFM_@}"; do export "${name?}"; done
  fi
  # As installed, the programs are in bin/ beside share/cfm/slurm.
  [ -n "${CFM_BIN:-}" ] || [ ! -x "$CFM_SLURM/../../../bin/cfm_train" ] || CFM_BIN=$CFM_SLURM/../../../bin
  most_starts=${CFM_MAX_STARTS:-5}
  export PATH=${CFM_BIN:+$CFM_BIN:}$PATH
  export SLURM_PMIX_FENCE=ring                         # the default fence crashes some starts on several nodes
  export SLURM_EXPORT_ENV=ALL                          # to the ranks too, whatever sbatch --export has kept from the job
  [ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK  # srun does not take it from the job by itself
  # What Slurm calls this very job: the bare number of an array's task may mean the whole array.
  job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
  job=${job:-$SLURM_JOB_ID}
  task_flags=()
  [ -n "${CFM_TASKS:-}" ] || return 0
  local line
  line=$(line_of_list "$CFM_TASKS" "${SLURM_ARRAY_TASK_ID:?CFM_TASKS is for job arrays: sbatch --array=1-N}")
  [ -n "$line" ] || refuse "CFM_TASKS=$CFM_TASKS has no line $SLURM_ARRAY_TASK_ID: give sbatch --array=1-$(lines_of_list "$CFM_TASKS")"
  # shellcheck disable=SC2034  # for the script
  read -ra task_flags <<<"$line"
}

# ---- starts without progress, counted in a file: for a job over its starts, for a chain over its parts ----
count_file() { echo "$keep/attempts/${CFM_CHAIN:-$job}"; }
read_count() {
  counted_progress="" starts=0 counted_restart=-1 ended=""
  [ -e "$(count_file)" ] || return 0
  local name value
  while IFS='=' read -r name value; do
    case $name in progress) counted_progress=$value ;; starts) starts=$value ;; restart) counted_restart=$value ;; ended) ended=$value ;; esac
  done <"$(count_file)"
}
write_count() {  # HOW: how the job has ended; empty while it goes on. False if that is not written down
  [ -d "$keep" ] || return 1  # a run that is yet to come: nothing of ours may look like it
  local file; file=$(count_file)
  { mkdir -p "$keep/attempts" &&
    printf 'progress=%s\nstarts=%d\nrestart=%d\nended=%s\n' "$counted_progress" "$starts" "${SLURM_RESTART_COUNT:-0}" "$1" >"$file.new" &&
    mv "$file.new" "$file"; } || { log "$file cannot be written"; return 1; }
}
forget_count() {
  rm -f "$(count_file)" "$(count_file).new"
  rmdir "$keep/attempts" 2>/dev/null || true
}

count_start() {
  read_count
  local restart=${SLURM_RESTART_COUNT:-0} part=${CFM_PART:-1}
  if [ "$part" -gt 1 ] && [ -n "$ended" ]; then
    log "part $part of the chain: nothing is left to do, an earlier part has ended with: $ended"
    [ "$part" != "$CFM_PARTS" ] || forget_count
    case $ended in complete) exit 0 ;; "exit code 2") exit 2 ;; *) exit 1 ;; esac
  fi
  [ "$restart" != 0 ] || counted_restart=-1
  if [ "$restart" = 0 ] && [ "$part" = 1 ] || [ -n "$ended" ]; then counted_progress="" starts=0; fi  # a user's own new start
  local now; now=$(progress)
  [ "$now" = "$counted_progress" ] || starts=0
  local since_counted=$((starts + restart - counted_restart))
  counted_progress=$now starts=$((starts + 1))
  if ! write_count "" && [ "$since_counted" -gt "$starts" ]; then  # nor could the starts before this one: Slurm has counted those
    starts=$since_counted
    log "by Slurm's restarts it is start $starts since one was counted"
  fi
  if [ "$starts" -gt "$most_starts" ]; then  # the last ones did not live to say so
    log "given up: $most_starts starts in a row have brought nothing new (CFM_MAX_STARTS); the same command tries again"
    end_as "gave up" 1
  fi
  log "start $((restart + 1))${CFM_PART:+ of part $CFM_PART of $CFM_PARTS} on $SLURM_JOB_NODELIST, ${SLURM_NTASKS:-?} tasks, $starts since the last progress"
}

# ---- the program, and the signals that its job gets ----
# A node whose step daemon was killed keeps that step's folder and socket, and refuses a later step of the same number; numbers begin anew
# with each start. The folder is ours; past root's socket the numbers are counted up.
clear_pmix() {
  [ "${SLURM_RESTART_COUNT:-0}" != 0 ] && [ "${CFM_LAUNCHER:-srun}" = srun ] && [[ ${CFM_MPI:-pmix} == pmix* ]] || return 0
  local config last number
  config=$(scontrol show config)
  setting() { sed -n "s/^$1 *= *//p" <<<"$config"; }
  # shellcheck disable=SC2016  # on each node
  last=$(timeout 60 srun --mpi=none --ntasks-per-node=1 --ntasks="$SLURM_JOB_NUM_NODES" bash -c '
    here() { local folder=${1//%n/$SLURMD_NODENAME}; echo "${folder//%h/$(hostname -s)}"; }
    rm -rf "$(here "$1")/spmix_appdir_"*"_$SLURM_JOB_ID".*
    ls "$(here "$2")" 2>/dev/null | sed -n "s/^stepd\.slurm\.pmix\.$SLURM_JOB_ID\.\([0-9]*\)$/\1/p"' \
    - "$(setting TmpFS)" "$(setting SlurmdSpoolDir)" | sort -n | tail -n 1)
  for ((number = 1; number <= ${last:-0}; ++number)); do timeout 60 srun --mpi=none --nodes=1 --ntasks=1 true; done  # 0 was the one above
}

launch() {  # PROGRAM FLAGS...
  local start=()
  case ${CFM_LAUNCHER:-srun} in
    srun)
      start=(srun --mpi="${CFM_MPI:-pmix}" --kill-on-bad-exit=1)
      # Each rank sees all that the job has on its node, and takes its own: Slurm's default, unless sbatch was told to bind. With `none`
      # it leaves CUDA_VISIBLE_DEVICES unset: where devices are not walled off, ranks see other jobs' too.
      [ -z "${SLURM_GPUS_PER_TASK:-}${SLURM_TRES_PER_TASK:-}${SLURM_GPU_BIND:-}" ] || start+=(--gpu-bind=none) ;;
    mpirun) start=(mpirun --bind-to none) ;;
    *) refuse "CFM_LAUNCHER=$CFM_LAUNCHER: expected srun or mpirun" ;;
  esac
  if [ "$1" = cfm_train ]; then
    start+=("$CFM_SLURM/rank.sh")
  elif [ -n "${CFM_CONTAINER:-}" ]; then
    local container; read -ra container <<<"$CFM_CONTAINER"
    start+=("${container[@]}")
  fi
  [ -n "${CFM_CONTAINER:-}" ] || command -v "$1" >/dev/null || refuse "$1 is not found on $(hostname): set CFM_BIN to its folder, or PATH"
  "${start[@]}" "$@" &
  step=$!
}

# What Slurm does with this job: `running`; or it ends it: `returns` (a failed node, a preemption, an administrator: it comes back
# by itself), `time limit`, `preempted` (where that means cancelled), `cancelled`.
slurm_does() {
  local facts
  facts=$(scontrol show job -o "$job" 2>&1) || { echo running; return; }  # slurmctld does not answer: nothing speaks against
  fact() { sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" <<<"$facts"; }
  if [ "$(fact Restarts)" -gt "${SLURM_RESTART_COUNT:-0}" ]; then echo returns; return; fi
  case $(fact JobState) in COMPLETING | CANCELLED | TIMEOUT | PREEMPTED | DEADLINE | FAILED) ;; *) echo running; return ;; esac
  if [ "$(fact Reason)" = TimeLimit ]; then echo "time limit"
  elif [ "$(fact PreemptTime)" != None ]; then echo preempted
  else echo cancelled; fi
}

wait_for_step() {  # a trap ends a wait, not the step
  while :; do
    wait "$step"
    code=$?
    kill -0 "$step" 2>/dev/null || break
  done
  wait "$step" 2>/dev/null  # the code that a trap may have hidden
  code=$?
}

# ---- its end ----
# A cancelled job would come back too if it were requeued: whoever is told to end asks first.
come_back() {
  if [ -n "${CFM_PART:-}" ]; then
    log "part $CFM_PART of $CFM_PARTS ends; the next one goes on"
    [ "$CFM_PART" != "$CFM_PARTS" ] || log "it was the last one: the same command goes on"
    exit "$code"
  fi
  local refused until=$((SECONDS + 600))
  while ! refused=$(scontrol requeue "$job" 2>&1); do
    log "$refused"
    case $refused in *contact* | *onnect* | *"timed out"* | *ommunication*) ;; *) until=0 ;; esac  # of a slurmctld that may come back, or not
    [ "$SECONDS" -lt "$until" ] || { log "Slurm refuses to requeue the job: the same command goes on; submit --chain=N needs no requeueing"; exit "$code"; }
    sleep 5 & wait $!
  done
  log "requeued"
  exit 0
}
end_as() {  # HOW CODE
  if [ "$1" = complete ] && [ -z "${CFM_PART:-}" ]; then forget_count; else write_count "$1"; fi
  exit "$2"
}
# What this start has written down of errors that would come again.
refusals() {
  tail -n +$((failures_before + 1)) "$keep/failures.jsonl" 2>/dev/null |
    grep "\"slurm_job\":\"$SLURM_JOB_ID\",\"slurm_restart\":\"${SLURM_RESTART_COUNT:-0}\"" | grep '"cause":"error"' | grep '"exit_code":2[,}]'
}
# A launcher that kills the other ranks may return 137 for them: what a rank has said on this node counts, or else a refusal in the run's folder.
believe_the_program() {
  local said=""
  [ ! -e "${CFM_EXIT_FILE:-}" ] || said=$(<"$CFM_EXIT_FILE")
  case $code in 0 | 2 | 75) return ;; esac
  case $said in 0 | 2 | 75) code=$said ;; *) [ -z "$(refusals)" ] || code=2 ;; esac
}
brings_nothing() { [ "$(progress)" = "$counted_progress" ] && [ "$starts" -ge "$most_starts" ]; }
obey_slurm() {  # if it ends the job
  case $(slurm_does) in
    returns) log "Slurm starts it again"; exit "$code" ;;
    cancelled) log "cancelled; the same command goes on"; end_as cancelled "$code" ;;
    "time limit" | preempted) come_back ;;
  esac
}
finish() {
  if [ "$code" = 0 ]; then
    local left; left=$(left_undone)
    [ -z "$left" ] || { log "$left"; end_as "gave up" 1; }
    end_as complete 0
  fi
  [ "$code" != 2 ] || { log "it would fail again the same way: see above"; end_as "exit code 2" 2; }
  obey_slurm
  if brings_nothing; then
    log "given up: $starts starts in a row have brought nothing new (CFM_MAX_STARTS); the same command tries again"
    end_as "gave up" "$code"
  fi
  if [ "$code" != 75 ] && [ -z "$stopped" ]; then
    log "tried again after ${CFM_RETRY_SECONDS:-60} s"
    sleep "${CFM_RETRY_SECONDS:-60}" & wait $!  # a signal ends the wait
    obey_slurm
  fi
  come_back
}

# Slurm tells the ranks by itself, but not those of mpirun on this node. It kills all, this script too, KillWait seconds from here:
# what must not wait for ranks that hang is done now.
on_term() {
  [ -z "$step" ] || kill -"$stop_signal" "$step" 2>/dev/null
  forget_targets
  rm -f "${CFM_EXIT_FILE:-}"
  local does; does=$(slurm_does)
  log "Slurm ends the job: $does"
  case $does in
    "time limit") [ -n "${CFM_PART:-}" ] || brings_nothing || ! scontrol requeue "$job" || log "requeued" ;;
    cancelled) write_count cancelled ;;
  esac
}

run_job() {  # PROGRAM FLAGS...
  count_start
  trap 'stopped=$SECONDS; log "stopped by the scheduler"; [ -z "$step" ] || kill -"$stop_signal" "$step" 2>/dev/null' USR1
  trap on_term TERM
  trap 'forget_targets; rm -f "${CFM_EXIT_FILE:-}"' EXIT
  clear_pmix
  failures_before=$(wc -l 2>/dev/null <"$keep/failures.jsonl") || failures_before=0
  code=75
  if [ -z "$stopped" ]; then
    CFM_EXIT_FILE=$(mktemp -t cfm-exit-code-XXXXXX) && export CFM_EXIT_FILE
    launch "$@"
    [ -z "$stopped" ] || kill -"$stop_signal" "$step"  # it came in between
    wait_for_step
    step=""
    forget_targets
    on_end
    believe_the_program
  fi
  log "$1 ended with $code"
  [ -z "$stopped" ] || [ "$((2 * (SECONDS - stopped)))" -le "${CFM_LEAD_SECONDS:-120}" ] ||
    log "warning: that took $((SECONDS - stopped)) s from the signal on, of a lead of ${CFM_LEAD_SECONDS:-120} s: give a longer one (submit --lead=SECONDS)"
  finish
}

run_evaluator() {  # PROGRAM FLAGS...: its count is the run's, its progress whatever grows among the results
  local program=$1 run_dir results watched words
  shift
  if [ -n "${CFM_RUNS:-}" ]; then
    read -ra words <<<"$(line_of_list "$CFM_RUNS" "$SLURM_ARRAY_TASK_ID")"
    set -- "$@" --run_dir="$(flag_value run_dir "${words[@]}")"
  fi
  watched=$(flag_value watch "$@")
  run_dir=$(flag_value run_dir "$@")$watched
  results=$(flag_value results_dir "$@")
  keep=${run_dir:-${results:-.}} results=${results:-$keep/results}
  progress() { find "$results" -type f ! -name '*.claim' -printf '%f %s\n' 2>/dev/null | sort | cksum; }
  left_undone() {  # a watching evaluator ends too when nothing has come for --watch_idle
    [ -z "$watched" ] || run_is_complete "$watched" || echo "$watched is not complete, and no checkpoint has come for long: the same command goes on from here"
  }
  run_job "$program" "$@"
}
