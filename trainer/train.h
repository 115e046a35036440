#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/stop_signal.h"
#include "checkpoint/safetensors.h"
#include "data/hdf5_process.h"
#include "flow/coupling.h"
#include "flow/draws.h"
#include "flow/objective.h"
#include "flow/sampler.h"
#include "models/ema.h"
#include "models/unet.h"
#include "parallel/mpi_session.h"
#include "trainer/lr_schedule.h"
#include "trainer/optimizer.h"

namespace cfm::trainer {

// Everything a run is made of. flags.cpp fills it; a field, its flag and its document use the same word.
struct TrainConfig {
  // run
  std::string run_dir;
  int64_t steps = 0;
  uint64_t seed = 0;
  std::string init_from;    // weights file to start from; empty: fresh weights
  std::string branch_from;  // RUN@STEP: checkpoint of another run to start from
  bool check = false;       // trains nothing: trainer/check.h
  std::string device = "auto";
  int threads = 0;            // of the network on each rank; 0: OMP_NUM_THREADS, or this node's cores over its ranks
  double step_timeout = 600;  // seconds
  double lease_seconds = 60;  // a run whose trainer has shown no life for so long is free

  // data
  std::string train_data, val_data;
  int64_t global_batch = 0;
  int64_t micro_batch = 0;
  int loader_threads = 1;
  std::string data_mode = "auto";  // auto, pread, ram
  bool verify_data = false;
  int64_t data_groups = 0;  // 0: what the run has, 1 for a new one
  std::string stage_dir;
  int ranks_per_node = 0;  // 0: as the ranks are placed
  bool allow_other_data = false;

  // science
  flow::FlowConfig flow_config;
  flow::TimeSampling times;
  flow::Coupling coupling;
  bool horizontal_flip = true;
  double label_drop = 0;
  models::UNetConfig model;  // channels, image size and classes are the data's

  // optimization
  OptimizerConfig optimizer;
  LrSchedule schedule;
  double clip_norm = 1.0;  // 0: none
  models::EmaConfig ema;
  std::string precision = "fp32";  // fp32 or bf16 (autocast)
  bool channels_last = false;
  int64_t max_skipped = 10;  // non-finite gradients in a row that end the run

  // what is written, and when (in steps; 0: never)
  int64_t log_every = 10;
  int64_t checkpoint_every = 1000;
  bool async_checkpoints = true;
  int64_t keep_last = 2;
  int64_t keep_every = 0;
  int64_t keep_unevaluated = 4;
  int64_t val_every = 0;
  int64_t val_images = 10000;
  int64_t sample_every = 0;
  flow::SampleConfig sample;

  // who may watch (trainer/run_metrics.h)
  std::string metrics = "127.0.0.1:0";  // address:port of the endpoint; empty: none
  std::string metrics_advertise, metrics_targets, metrics_textfile, metrics_run;

  checkpoint::Metadata flags;  // all of the above as they were given, for the manifest
  std::string settings;        // and as a table, for people

  Problems validate() const;
};

// Trains from the newest checkpoint of run_dir, or from the start, to config.steps. Returns kDone, or kRequeue after
// saving because a signal asked to stop. `hdf5` opens the shards. Collective over the session's ranks; throws Error.
ExitCode train(const TrainConfig& config, const parallel::MpiSession& session, const StopSignal& stop,
               data::Hdf5Process& hdf5);

}  // namespace cfm::trainer
