#!/usr/bin/env bash
# A training on two nodes is found by a real Prometheus over the nodes' own addresses, and gone from it with its job, a killed one too.
# shellcheck source=tests/slurm/expect.sh
source "$CFM_SOURCE/tests/slurm/expect.sh"
# shellcheck source=tests/slurm/training.sh
source "$CFM_SOURCE/tests/slurm/training.sh"
work=${work:?}
mkdir "$work/targets"
cat >prometheus.yml <<YML
global: {scrape_interval: 1s}
scrape_configs:
- job_name: cfm
  file_sd_configs:
  - files: ['$work/targets/*.json']
    refresh_interval: 1s
YML
prometheus --config.file=prometheus.yml --storage.tsdb.path="$work/tsdb" --web.listen-address=127.0.0.1:9090 --log.level=warn >prometheus.log 2>&1 &
ask() {  # QUERY: its series, one a line: labels that matter, and the value
  "$CFM_PYTHON" - "$1" <<'PYTHON'
import json, sys, urllib.parse, urllib.request
url = "http://127.0.0.1:9090/api/v1/query?query=" + urllib.parse.quote(sys.argv[1])
for one in json.load(urllib.request.urlopen(url, timeout=5))["data"]["result"]:
    print(one["metric"].get("node", ""), one["metric"].get("instance", "").split(":")[0], one["value"][1])
PYTHON
}
is() { [ "$(ask "$1" | sort)" = "$2" ]; }
cat >site.sh <<SITE
CFM_METRICS_TARGETS=$work/targets
SITE

job=$(CFM_SITE=$work/site.sh submit_training run 2 -- --steps=1000000)
within 60 is up $'n1 127.0.1.1 1\nn2 127.0.1.2 1'
within 30 is cfm_node_ranks $'n1 127.0.1.1 1\nn2 127.0.1.2 1'
step_is_beyond() { local step; step=$(ask cfm_step | awk '{print $3}'); [ "${step:-0}" -gt "$1" ]; }
within 30 step_is_beyond 0
seen=$(ask cfm_step | awk '{print $3}')
within 30 step_is_beyond "$seen"
pkill -KILL -f "^[^ ]*cfm_train .*--run_dir=$work/run"  # all at once: none removes anything
within 30 grep -q "cfm_train ended with" run.log
within 10 test -z "$(ls "$work/targets")"
scancel "$job"
within 30 is up ""
