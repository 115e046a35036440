cfm_test(toy/checkerboard_test DEPS toy)
# scripts/reproduce_2d: standard-library Python, so any python3 runs its tests.
find_program(CFM_PLAIN_PYTHON python3)
if(CFM_PLAIN_PYTHON)
  foreach(name untrained reproduce_2d)
    add_test(NAME toy/${name}_test COMMAND ${CFM_PLAIN_PYTHON} -B ${CMAKE_CURRENT_SOURCE_DIR}/toy/${name}_test.py)
    set_tests_properties(toy/${name}_test PROPERTIES RUN_SERIAL ON TIMEOUT 300 ENVIRONMENT "CFM_BIN=${PROJECT_BINARY_DIR}/bin;OMP_NUM_THREADS=1")
  endforeach()
endif()
