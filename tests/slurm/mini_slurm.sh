#!/usr/bin/env bash
# A real Slurm (Debian 12: munge, slurmctld, several slurmd) on ONE machine, all of it in one directory.
#   mini_slurm.sh run CMD...   whole cluster in private namespaces (own loopback, own pids: nothing can
#                              leak or collide), run CMD in it, tear down, exit with CMD's status. Root only.
#   mini_slurm.sh up | down    the same on the host's loopback; then: eval "$(mini_slurm.sh env)"
#   mini_slurm.sh kill-node I | freeze-node I | thaw-node I | start-node I | ready [TIMEOUT_S]
# Settings: MS_DIR MS_NODES MS_CPUS MS_MEM MS_GPUS MS_PORT MS_EXTRA (lines added to slurm.conf) MS_SLURMD_TIMEOUT
#           MS_KILLWAIT MS_CRED_EXPIRE MS_FENCE MS_ISOLATE (1: each node gets its own hostname, /dev/shm and SysV IPC; default if root)
set -euo pipefail
D=${MS_DIR:-${TMPDIR:-/tmp}/mini-slurm}
NODES=${MS_NODES:-4} CPUS=${MS_CPUS:-2} MEM=${MS_MEM:-2000}
PORT=${MS_PORT:-16817}        # slurmctld; node I listens on PORT+I
CTL=$(hostname -s); ME=$(id -un)
if [ "$(id -u)" = 0 ]; then ISO=${MS_ISOLATE:-1}; else ISO=0; fi
export SLURM_CONF=$D/etc/slurm.conf

conf() {
  mkdir -p "$D"/{etc,run,log,state,spool,tmp}; chmod a+rx "$D" "$D"/*
  cat > "$SLURM_CONF" <<CONF
ClusterName=mini
SlurmctldHost=$CTL(127.0.0.1)
SlurmctldPort=$PORT
# bind the nodes' addresses, not 0.0.0.0 (without it every daemon and srun listens on all interfaces)
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket=$D/run/munge.socket,cred_expire=${MS_CRED_EXPIRE:-5}
CredType=cred/munge
SlurmUser=$ME
SlurmdUser=$ME
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool/%n
# per node: srun --mpi=pmix makes <TmpFS>/spmix_appdir_<uid>_<job>.<step> once per NODE and fails on EEXIST
TmpFS=$D/tmp/%n
SlurmctldPidFile=$D/run/slurmctld.pid
SlurmdPidFile=$D/run/slurmd-%n.pid
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd-%n.log
SlurmctldDebug=info
SlurmdDebug=info
MailProg=/bin/true
# a sandbox without usable cgroups: no cgroup.conf is needed or read
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$D/log/jobcomp.txt
MpiDefault=pmix
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
# timers for tests [default]
ReturnToService=2
SlurmdTimeout=${MS_SLURMD_TIMEOUT:-10}
KillWait=${MS_KILLWAIT:-5}
MinJobAge=3600
CompleteWait=0
# one rank dead before MPI_Init is through: without it srun waits for the others for ever
KillOnBadExit=1
JobRequeue=1
NodeName=n[1-$NODES] $([ "$ISO" = 1 ] || echo "NodeHostname=$CTL") NodeAddr=127.0.0.1 Port=[$((PORT+1))-$((PORT+NODES))] CPUs=$CPUS RealMemory=$MEM${MS_GPUS:+ Gres=gpu:$MS_GPUS} State=UNKNOWN
PartitionName=train Nodes=ALL Default=YES MaxTime=INFINITE State=UP
${MS_GPUS:+GresTypes=gpu}
${MS_EXTRA:-}
CONF
  # the default fence (mixed: tree) lets ranks out of MPI_Init early: 1 in 10 starts on 4x2 crashed; ring: 0 of 270
  echo "PMIxCollFence=${MS_FENCE:-ring}" > "$D/etc/mpi.conf"
  # pretend GPUs: must be character devices; jobs get CUDA_VISIBLE_DEVICES, nothing is constrained
  if [ -n "${MS_GPUS:-}" ]; then
    for i in $(seq 0 $((MS_GPUS-1))); do [ -e "$D/etc/gpu$i" ] || mknod "$D/etc/gpu$i" c 1 3; done
    echo "NodeName=n[1-$NODES] Name=gpu File=$D/etc/gpu[0-$((MS_GPUS-1))] Flags=nvidia_gpu_env" > "$D/etc/gres.conf"
  fi
  { echo "127.0.0.1 localhost $CTL"; for i in $(seq "$NODES"); do echo "127.0.0.1 n$i"; done; } > "$D/etc/hosts"
  [ -e "$D/etc/munge.key" ] || (umask 077; dd if=/dev/urandom of="$D/etc/munge.key" bs=1024 count=1 status=none)
}

start_node() {
  mkdir -p "$D/spool/n$1" "$D/tmp/n$1"
  if [ "$ISO" = 1 ]; then   # own hostname + own /dev/shm: Open MPI's vader names its segments by hostname
    unshare --uts --ipc --mount sh -c "hostname n$1; mount --bind '$D/etc/hosts' /etc/hosts
      mount -t tmpfs -o mode=1777 tmpfs /dev/shm; exec slurmd -N n$1 -f '$SLURM_CONF'"
  else
    slurmd -N "n$1" -f "$SLURM_CONF"
  fi
}

ready() {
  local end=$((SECONDS + ${1:-30}))
  while [ $SECONDS -lt $end ]; do
    [ "$(timeout 2 sinfo -h -N -t idle -o %N 2>/dev/null | sort -u | wc -l)" -ge "$NODES" ] && return 0
    sleep 0.05
  done
  sinfo -N -l >&2 || true; for f in "$D"/log/*.log; do echo "== $f"; tail -n 5 "$f"; done >&2; return 1
}

up() {
  conf
  # --force: munged refuses a socket below a directory that not all may enter (mktemp -d, /root)
  munged --force --key-file="$D/etc/munge.key" --socket="$D/run/munge.socket" --pid-file="$D/run/munged.pid" \
         --log-file="$D/log/munged.log" --seed-file="$D/run/munge.seed"
  slurmctld -f "$SLURM_CONF" -c        # -c: forget old state
  for i in $(seq "$NODES"); do start_node "$i"; done
  ready
}

alive() {  # a zombie counts as gone (PID 1 of a container may reap late)
  local st; st=$(sed 's/.*) //;s/ .*//' "/proc/$1/stat" 2>/dev/null) && [ "$st" != Z ]
}
stop_pidfile() {
  [ -s "$1" ] || return 0
  local p; p=$(cat "$1"); kill "$p" 2>/dev/null || true
  for _ in $(seq 200); do alive "$p" || break; sleep 0.02; done
  if alive "$p"; then kill -9 "$p"; fi
  rm -f "$1"
}
down() {
  scancel -u "$ME" 2>/dev/null || true
  for _ in $(seq 100); do [ -z "$(squeue -h 2>/dev/null)" ] && break; sleep 0.1; done
  for f in "$D"/run/slurmd-*.pid; do stop_pidfile "$f"; done
  stop_pidfile "$D/run/slurmctld.pid"; stop_pidfile "$D/run/munged.pid"
}

ompi_env() {  # Open MPI 4.1 between "nodes" of one machine: it leaves loopback out by default, and it spins
  echo "export OMPI_MCA_btl=$([ "$ISO" = 1 ] && echo self,vader,tcp || echo self,tcp) OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo"
  echo "export OMPI_MCA_mpi_yield_when_idle=1"
}

kill_node() {  # power off: kill -9 slurmd and, where it has its own UTS namespace, all its steps and ranks
  local p ns; p=$(cat "$D/run/slurmd-n$1.pid"); ns=$(readlink "/proc/$p/ns/uts")
  rm -f "$D/run/slurmd-n$1.pid"
  if [ "$ISO" = 1 ] && [ "$ns" != "$(readlink /proc/$$/ns/uts)" ]; then
    for q in /proc/[0-9]*; do
      if [ "$(readlink "$q/ns/uts" 2>/dev/null)" = "$ns" ]; then kill -9 "${q#/proc/}" 2>/dev/null || true; fi
    done
  else kill -9 "$p"; fi
}

case ${1:-} in
  up) up;; down) down;; ready) ready "${2:-30}";;
  env) echo "export SLURM_CONF='$SLURM_CONF'"; ompi_env;;
  start-node) start_node "$2";;
  kill-node) kill_node "$2";;
  freeze-node) kill -STOP "$(cat "$D/run/slurmd-n$2.pid")";;
  thaw-node) kill -CONT "$(cat "$D/run/slurmd-n$2.pid")";;
  run) shift
    # a new place each time: tests of several clones may run at once, and socket names must be short
    if [ -z "${MS_DIR:-}" ]; then MS_DIR=$(mktemp -d /tmp/mini-slurm-XXXXXX); export MS_DIR MS_REMOVE=1; fi
    exec unshare --net --pid --ipc --uts --mount --mount-proc --fork --kill-child \
         bash "$(readlink -f "$0")" _inside "$@";;
  _inside) shift
    # a 2nd loopback address: with 127.0.0.1 alone glibc's AI_ADDRCONFIG makes Slurm resolve nothing at all
    ip link set lo up; ip addr add 127.0.1.1/8 dev lo; hostname ctl; mount -t tmpfs -o mode=1777 tmpfs /dev/shm; CTL=ctl
    conf; mount --bind "$D/etc/hosts" /etc/hosts   # else every look-up of "ctl" waits for DNS
    rm -rf "$D"/run/* "$D"/state/* "$D"/spool/* "$D"/tmp/*                # left by a killed run
    eval "$(ompi_env)"; up; rc=0; "$@" || rc=$?; down
    [ -z "${MS_REMOVE:-}" ] || rm -rf "$D"
    exit "$rc";;
  *) sed -n '2,10p' "$0" >&2; exit 2;;
esac
