#!/usr/bin/env bash
# slurm/rank.sh PROGRAM FLAGS...: a rank of a job whose metrics Prometheus finds. Adds what differs from node to node, where FLAGS do not
# say otherwise: the endpoint is bound to the node's own address, which is what Prometheus is told.
#
#   CFM_METRICS_TARGETS     folder that Prometheus' file_sd_configs watches
#   CFM_METRICS_INTERFACE   network interface whose address it is       default: what the node's name resolves to, or its first address
#   CFM_METRICS_PORT        port                                        default: 0, a free one
set -uo pipefail
# shellcheck source=slurm/run_folder.sh
source "$(dirname "$0")/run_folder.sh"
not_loopback() { grep -v '^127\.' | head -n 1; }
node_address() {
  local address="" named
  if [ -n "${CFM_METRICS_INTERFACE:-}" ]; then
    address=$(ip -4 -o addr show dev "$CFM_METRICS_INTERFACE" | awk '{sub("/.*", "", $4); print $4; exit}')
    [ -n "$address" ] || echo "rank.sh on $(hostname): CFM_METRICS_INTERFACE=$CFM_METRICS_INTERFACE has no IPv4 address: the run goes on with another" >&2
  fi
  named=$(getent ahostsv4 "$(hostname)" | awk '{print $1}' | sort -u)
  address=${address:-$(not_loopback <<<"$named")}
  address=${address:-$(hostname -I | tr ' ' '\n' | grep -F . | not_loopback)}
  address=${address:-$(head -n 1 <<<"$named")}  # a machine without a network
  echo "${address:-127.0.0.1}"
}
program=$1
shift
flags=("$@") found=""
given() { found=""; find_flag "$1" . "${flags[@]}"; }  # NAME: whether FLAGS or their flagfiles set it; `found`: to what
if ! given metrics; then
  address=$(node_address)
  set -- "$@" --metrics="$address:${CFM_METRICS_PORT:-0}"
  given metrics_advertise || set -- "$@" --metrics_advertise="$address"
fi
# An address of loopback that was asked for is for this node alone.
given metrics && [[ $found == 127.* || $found == "[::1]"* ]] || given metrics_targets || set -- "$@" --metrics_targets="$CFM_METRICS_TARGETS"
# CFM_CONTAINER is a command and its arguments.
# shellcheck disable=SC2086
exec ${CFM_CONTAINER:-} "$program" "$@"
