# What the scripts refuse: standard-library Python, as scripts/report.
find_program(CFM_PLAIN_PYTHON python3 DOC "Python for the tests of scripts/report: nothing but its standard library is used")
if(NOT CFM_PLAIN_PYTHON)
  message(STATUS "tests: no python3: the test of what scripts refuse is not registered")
else()
  add_test(NAME scripts/refusals_test COMMAND ${CFM_PLAIN_PYTHON} -B ${CMAKE_CURRENT_SOURCE_DIR}/scripts/refusals_test.py)
  set_tests_properties(scripts/refusals_test PROPERTIES TIMEOUT 120)
endif()
