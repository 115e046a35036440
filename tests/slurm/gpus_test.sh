#!/usr/bin/env bash
# A rank a GPU, bound to none: each sees all that the job has on its node, to take its own. The GPUs are made up, and so is the program.
# shellcheck source=tests/slurm/expect.sh
source "$CFM_SOURCE/tests/slurm/expect.sh"
work=${work:?}
mkdir programs
cat >programs/cfm_train <<'SH'
#!/bin/sh
echo "rank $SLURM_PROCID of $SLURM_NTASKS on $SLURMD_NODENAME sees GPUs ${CUDA_VISIBLE_DEVICES-of the node}"
SH
printf '#!/bin/sh\necho "srun $*"\nexec "%s" "$@"\n' "$(command -v srun)" >programs/srun
chmod +x programs/*
export CFM_BIN=$work/programs
submit() {  # NAME OPTIONS...: runs it to its end, with the log NAME.log
  "$CFM_SOURCE/slurm/submit" --time=10 --output="$1.log" "${@:2}" -- --run_dir="$work/$1" >submitted.out
  job_ends "$(sed -n 's/^submit: job \([0-9]*\) is train.*/\1/p' submitted.out)" 60
}
submit gpus --nodes=2 --gpus-per-node=2
for rank in 0 1; do says gpus.log "rank $rank of 4 on n1 sees GPUs 0,1"; done
for rank in 2 3; do says gpus.log "rank $rank of 4 on n2 sees GPUs 0,1"; done
submit one --nodes=2 --gpus-per-node=1
for rank in 0 1; do grep -qE "rank $rank of 2 on n$((rank + 1)) sees GPUs [01]$" one.log || fail "one GPU of two: $(cat one.log)"; done
submit bound --nodes=2 --ntasks-per-node=2 --gpus-per-task=1
says bound.log "srun --mpi=pmix --kill-on-bad-exit=1 --gpu-bind=none $CFM_SOURCE/slurm/rank.sh cfm_train"
for rank in 0 1 2 3; do says bound.log "rank $rank of 4 on n$((rank / 2 + 1)) sees GPUs of the node"; done
