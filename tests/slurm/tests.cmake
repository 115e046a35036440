# Batch scripts, submitted to a real slurmctld with two real slurmd in namespaces of their own.
execute_process(COMMAND bash -c "command -v slurmctld slurmd munged sbatch ip && unshare --net --pid --ipc --uts --mount --mount-proc --fork true"
                RESULT_VARIABLE _no_slurm OUTPUT_QUIET ERROR_QUIET)
if(NOT _no_slurm EQUAL 0)
  message(STATUS "tests: no Slurm (scripts/setup --tests), or no right to make namespaces (root): the batch scripts' tests are not registered")
elseif(NOT CFM_PYTHON)
  message(STATUS "tests: no Python with numpy (scripts/setup --tests): the batch scripts' tests are not registered")
else()
  file(READ ${CMAKE_CURRENT_SOURCE_DIR}/slurm/preempt.conf _preempt)
  foreach(name pack train_staged time_limit hang stops lost_daemon lost_node mpirun refusals preemption submit watch gpus prometheus)
    add_test(NAME slurm/${name}_test
             COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/slurm/mini_slurm.sh ${CMAKE_CURRENT_SOURCE_DIR}/slurm/${name}_test.sh)
    set_tests_properties(slurm/${name}_test PROPERTIES TIMEOUT 600 ENVIRONMENT
      "MS_NODES=2;MS_CPUS=1;MS_GPUS=0;CFM_SOURCE=${PROJECT_SOURCE_DIR};CFM_BUILD=${PROJECT_BINARY_DIR};CFM_PYTHON=${CFM_PYTHON};MS_EXTRA=${_preempt}")
  endforeach()
  set_property(TEST slurm/gpus_test APPEND PROPERTY ENVIRONMENT MS_CPUS=2 MS_GPUS=2)
endif()
