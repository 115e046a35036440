#!/usr/bin/env bash
# slurm/pack.sbatch: a job on two nodes that is stopped and comes back leaves the bytes of one rank that never was.
# shellcheck source=tests/slurm/expect.sh
source "$CFM_SOURCE/tests/slurm/expect.sh"
work=${work:?}
"$CFM_PYTHON" - <<'PYTHON'
import numpy as np
images = np.random.default_rng(0).integers(0, 256, (6000, 3, 64, 64), dtype=np.uint8)
np.savez("in.npz", images=images, labels=np.arange(6000) % 10)
PYTHON
flags=(--source="$work/in.npz" --shards=300 --threads=1)
"$CFM_BIN/cfm_pack" "${flags[@]}" --out="$work/alone" >alone.log 2>&1 || fail "packing alone"

job=$(sbatch --parsable --nodes=2 --ntasks=2 --time=10 --output="$work/job.log" "$CFM_SOURCE/slurm/pack.sbatch" "${flags[@]}" --out="$work/out")
shards_there() { [ "$(find "$work/out/train.partial" -name '*.h5' | wc -l)" -ge "$1" ]; }
within 60 shards_there 5
scancel --batch --signal=USR1 "$job"
job_ends "$job" 90
says job.log "stopped by the scheduler"
says job.log "start 2 on"
grep -qE "kept +[0-9]+ of 300 shards" job.log || fail "the second start kept nothing"
for file in alone/train/*.h5; do cmp "$file" "out/train/$(basename "$file")" || fail "$file differs"; done
[ "$(find out/train -name '*.h5' | wc -l)" = 300 ] || fail "not 300 shards"

# What would fail again the same way is not tried again.
job=$(sbatch --parsable --ntasks=1 --output="$work/bad.log" "$CFM_SOURCE/slurm/pack.sbatch" --source="$work/none.npz" --out="$work/bad")
within 60 state_is "$job" FAILED
says bad.log "none.npz"
says bad.log "cfm_pack ended with 2"
says_not bad.log "requeued"
