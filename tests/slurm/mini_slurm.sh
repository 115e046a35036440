#!/usr/bin/env bash
# mini_slurm.sh COMMAND...: a real Slurm (munge, slurmctld, $MS_NODES slurmd of $MS_CPUS cores) on this machine, in namespaces of its own
# (loopback, processes, host names, shared memory), so that nothing leaks or collides; runs COMMAND in it, tears it down, and ends with
# COMMAND's exit code. MS_GPUS: made up on each node. MS_EXTRA: more lines of slurm.conf. Root only. COMMAND may call start_node I.
set -euo pipefail
NODES=${MS_NODES:-2} CPUS=${MS_CPUS:-1} GPUS=${MS_GPUS:-0} PORT=16817  # of slurmctld; node I listens on PORT+I
if [ "${1:-}" != --inside ]; then
  # A new place each time: tests of several clones may run at once, and socket names must be short.
  MS_DIR=$(mktemp -d /tmp/mini-slurm-XXXXXX)
  export MS_DIR
  trap 'rm -rf "$MS_DIR"' EXIT
  unshare --net --pid --ipc --uts --mount --mount-proc --fork --kill-child bash "$(readlink -f "$0")" --inside "$@"
  exit
fi
shift
D=$MS_DIR
export SLURM_CONF=$D/etc/slurm.conf

configure() {
  mkdir -p "$D"/{etc,run,log,state,spool,tmp}; chmod a+rx "$D" "$D"/*
  cat > "$SLURM_CONF" <<CONF
ClusterName=mini
SlurmctldHost=ctl(127.0.0.1)
SlurmctldPort=$PORT
AuthType=auth/munge
# a requeued job may start again only after the credential of its last start has expired
AuthInfo=socket=$D/run/munge.socket,cred_expire=5
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool/%n
# per node: srun --mpi=pmix makes <TmpFS>/spmix_appdir_<uid>_<job>.<step> once per node and fails if it is there
TmpFS=$D/tmp/%n
SlurmctldPidFile=$D/run/slurmctld.pid
SlurmdPidFile=$D/run/slurmd-%n.pid
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd-%n.log
MailProg=/bin/true
# no usable cgroups are needed
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=pmix
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
# timers for tests
ReturnToService=2
SlurmdTimeout=10
KillWait=5
MinJobAge=3600
CompleteWait=0
# one rank dead before MPI_Init is through: without it srun waits for the others for ever
KillOnBadExit=1
JobRequeue=1
NodeName=n[1-$NODES] NodeAddr=127.0.0.1 Port=[$((PORT + 1))-$((PORT + NODES))] CPUs=$CPUS RealMemory=2000 State=UNKNOWN $([ "$GPUS" = 0 ] || echo "Gres=gpu:$GPUS")
GresTypes=gpu
PartitionName=train Nodes=ALL Default=YES MaxTime=INFINITE State=UP
${MS_EXTRA:-}
CONF
  # any character device will do
  for i in $(seq "$GPUS"); do
    mknod "$D/etc/gpu$i" c 1 3
    echo "NodeName=n[1-$NODES] Name=gpu File=$D/etc/gpu$i Flags=nvidia_gpu_env" >> "$D/etc/gres.conf"
  done
  # the default fence lets ranks out of MPI_Init early: one start in ten on several nodes crashes
  echo "PMIxCollFence=ring" > "$D/etc/mpi.conf"
  { echo "127.0.0.1 localhost ctl"; for i in $(seq "$NODES"); do echo "127.0.1.$i n$i"; done; } > "$D/etc/hosts"
  (umask 077; dd if=/dev/urandom of="$D/etc/munge.key" bs=1024 count=1 status=none)
}

start_node() {  # with a host name and a /dev/shm of its own: Open MPI names its segments by host name
  mkdir -p "$D/spool/n$1" "$D/tmp/n$1"
  unshare --uts --ipc --mount sh -c "hostname n$1; mount --bind '$D/etc/hosts' /etc/hosts
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm; exec slurmd -N n$1 -f '$SLURM_CONF'"
}
export D
export -f start_node

all_nodes_idle() { [ "$(timeout 2 sinfo -h -N -t idle -o %N 2>/dev/null | sort -u | wc -l)" -ge "$NODES" ]; }
wait_for_nodes() {
  for _ in $(seq 600); do
    if all_nodes_idle; then return; fi
    sleep 0.05
  done
  echo "mini_slurm: the nodes do not become idle" >&2
  tail -n 20 "$D"/log/*.log >&2
  return 1
}

# Node I's name is 127.0.1.I; with 127.0.0.1 alone glibc's AI_ADDRCONFIG would also make Slurm resolve nothing at all.
ip link set lo up
for i in $(seq "$NODES"); do ip addr add "127.0.1.$i/8" dev lo; done
hostname ctl
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
configure
mount --bind "$D/etc/hosts" /etc/hosts  # else every look-up of "ctl" waits for DNS
# --force: munged refuses a socket below a folder that not all may enter
munged --force --key-file="$D/etc/munge.key" --socket="$D/run/munge.socket" --pid-file="$D/run/munged.pid" \
       --log-file="$D/log/munged.log" --seed-file="$D/run/munge.seed"
slurmctld -f "$SLURM_CONF" -c
for i in $(seq "$NODES"); do start_node "$i"; done
wait_for_nodes
# Open MPI between nodes of one machine: it leaves loopback out by default, and it spins.
export OMPI_MCA_btl=self,vader,tcp OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo OMPI_MCA_mpi_yield_when_idle=1
# In /tmp another cluster's mpirun may have the same host name and process number.
export OMPI_MCA_orte_tmpdir_base=$D/tmp
code=0
"$@" || code=$?
# The end of this process ends all others of its namespace: daemons, steps and ranks.
exit $code
