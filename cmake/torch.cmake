# LibTorch from a folder that has include/ and lib/: the PyPI wheel's torch/ (scripts/setup puts it there) or the zip.
# Hand-made targets: find_package(Torch) insists on a CUDA toolkit that matches the wheel, which we do not need.
#   torch_cpu_only   torch_cpu and c10
#   torch_nccl       the same with torch_cuda, NCCL and the CUDA runtime; only if their pip packages are there
set(_cache $ENV{CFM_CACHE})
if(NOT _cache)
  set(_cache $ENV{XDG_CACHE_HOME})
  if(NOT _cache)
    set(_cache $ENV{HOME}/.cache)
  endif()
  string(APPEND _cache /cfm)
endif()
file(GLOB _wheel ${_cache}/torch-2.15.0/lib/python3*/site-packages/torch)
set(CFM_TORCH "${_wheel}" CACHE PATH "folder of LibTorch 2.15: has include/ and lib/")
if(NOT EXISTS ${CFM_TORCH}/include/torch/headeronly/version.h)
  message(FATAL_ERROR "LibTorch: no include/torch/headeronly/version.h in CFM_TORCH='${CFM_TORCH}'. Run scripts/setup, or give the folder of LibTorch 2.15 by -DCFM_TORCH=DIR.")
endif()
file(STRINGS ${CFM_TORCH}/include/torch/headeronly/version.h _lines REGEX "#define TORCH_VERSION_(MAJOR|MINOR) ")
string(REGEX REPLACE "[^0-9]*([0-9]+)[^0-9]*([0-9]+).*" "\\1.\\2" _version "${_lines}")
if(NOT _version STREQUAL "2.15")
  message(FATAL_ERROR "LibTorch in ${CFM_TORCH} is ${_version}; cfm needs 2.15. Run scripts/setup, or give another folder by -DCFM_TORCH=DIR.")
endif()

add_library(torch_cpu_only INTERFACE)
target_include_directories(torch_cpu_only SYSTEM INTERFACE ${CFM_TORCH}/include ${CFM_TORCH}/include/torch/csrc/api/include)
target_compile_definitions(torch_cpu_only INTERFACE USE_DISTRIBUTED AT_PER_OPERATOR_HEADERS)
target_link_directories(torch_cpu_only INTERFACE ${CFM_TORCH}/lib)
target_link_libraries(torch_cpu_only INTERFACE torch_cpu c10)
list(APPEND CMAKE_BUILD_RPATH ${CFM_TORCH}/lib)
list(APPEND CMAKE_INSTALL_RPATH ${CFM_TORCH}/lib)  # installed programs run where they are

get_filename_component(_site ${CFM_TORCH} DIRECTORY)
if(EXISTS ${_site}/nvidia/nccl/include/nccl.h AND EXISTS ${_site}/nvidia/cu13/include)
  add_library(torch_nccl INTERFACE)
  target_compile_definitions(torch_nccl INTERFACE USE_C10D_NCCL USE_CUDA)
  target_include_directories(torch_nccl SYSTEM INTERFACE ${_site}/nvidia/nccl/include ${_site}/nvidia/cu13/include)
  target_link_libraries(torch_nccl INTERFACE torch_cpu_only -Wl,--no-as-needed torch_cuda c10_cuda
    ${_site}/nvidia/nccl/lib/libnccl.so.2 ${_site}/nvidia/cu13/lib/libcudart.so.13 -Wl,--as-needed)
  list(APPEND CMAKE_BUILD_RPATH ${_site}/nvidia/nccl/lib ${_site}/nvidia/cu13/lib)
  list(APPEND CMAKE_INSTALL_RPATH ${_site}/nvidia/nccl/lib ${_site}/nvidia/cu13/lib)
endif()
