# cmake -DROOT=DIR -P random_test.cmake: no random number comes from a generator that has a state (ATen's keep 32 bits of a seed, and
# what they give depends on what was drawn before): base/philox.h is asked. Fails with one line for each place that asks another.
# The one exception: cuda_dropout in models/dropout.cpp, ATen's dropout on CUDA, seeded for each call.
cmake_minimum_required(VERSION 3.25)
set(calls
  # ATen and torch: tensors of random numbers, filling in place, layers that draw
  "rand(n|int|perm|_like|n_like|int_like)?" normal "(log_)?normal_" uniform_ random_ exponential_ geometric_ cauchy_ "bernoulli_?"
  multinomial binomial poisson "(feature_|alpha_|feature_alpha_|native_)?dropout_?" "rrelu_?" "(kaiming|xavier)_(uniform|normal)_?"
  trunc_normal_ orthogonal_ "Dropout[123]?d?"
  # their generators
  manual_seed defaultGenerator "(get|create|make)[A-Za-z]*Generator" make_generator set_current_seed
  # C and C++
  "s?rand(om)?(_r)?" "[dlmej]rand48" getrandom shuffle random_shuffle)
set(patterns mt19937 minstd_rand default_random_engine random_device philox_engine GeneratorImpl "<random>"
  "<ATen/ops/[a-z_]*(rand|normal|dropout|bernoulli|multinomial|poisson|rrelu|uniform)")
foreach(call ${calls})
  list(APPEND patterns "(^|[^A-Za-z0-9_])${call}[ ]*\\(")
endforeach()
set(excepted_file models/dropout.cpp)
set(excepted "#include <ATen/ops/native_dropout.h>|at::Tensor cuda_dropout\\([^}]*}[^}]*}")  # to the end of its inner block, and then its own

set(faults "")
set(count 0)
set(exceptions 0)
foreach(folder base parallel data models flow metrics checkpoint trainer evaluator packer toy keeper)
  file(GLOB_RECURSE files RELATIVE ${ROOT} ${ROOT}/${folder}/*.h ${ROOT}/${folder}/*.cpp)
  foreach(file ${files})
    math(EXPR count "${count} + 1")
    file(READ ${ROOT}/${file} text)
    string(REGEX REPLACE "[][]" "!" text "${text}")  # brackets and semicolons mean something in CMake's lists
    string(REPLACE ";" " " text "${text}")
    string(REGEX REPLACE "//[^\n]*" "" text "${text}")
    if(file STREQUAL excepted_file)
      string(REGEX MATCHALL "${excepted}" found "${text}")
      list(LENGTH found exceptions)
      string(REGEX REPLACE "${excepted}" "" text "${text}")
    endif()
    foreach(pattern ${patterns})
      if(text MATCHES "${pattern}")
        string(REGEX MATCH "[^\n]*(${pattern})[^\n]*" line "\n${text}")
        string(STRIP "${line}" line)
        string(APPEND faults "\n  ${file}: ${line}")
      endif()
    endforeach()
  endforeach()
endforeach()
if(faults)
  message(FATAL_ERROR "random numbers that are not base/philox.h's:${faults}")
endif()
if(count LESS 100 OR NOT exceptions EQUAL 2)
  message(FATAL_ERROR "${count} files, ${exceptions} exceptions in ${excepted_file} under ${ROOT}: the scan is broken")
endif()
message("${count} files, random numbers by base/philox.h only")
