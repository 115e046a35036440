# scripts/verify_resume on the digits: standard-library Python, as scripts/report.
find_program(CFM_PLAIN_PYTHON python3 DOC "Python for the tests of scripts/report: nothing but its standard library is used")
if(NOT CFM_PLAIN_PYTHON)
  message(STATUS "tests: no python3: the test of scripts/verify_resume is not registered")
else()
  add_test(NAME verify/resume_test COMMAND ${CFM_PLAIN_PYTHON} -B ${CMAKE_CURRENT_SOURCE_DIR}/verify/resume_test.py)
  set_tests_properties(verify/resume_test PROPERTIES TIMEOUT 600
    ENVIRONMENT "CFM_BIN=${PROJECT_BINARY_DIR}/bin;OMP_NUM_THREADS=1;OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
endif()
