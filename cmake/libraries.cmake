# Behind torch.cmake: the libraries that scripts/setup --no-root has built beside LibTorch, if it has: found before others, and again
# when the programs run.
if(EXISTS ${_cache}/libraries/built)
  list(PREPEND CMAKE_PREFIX_PATH ${_cache}/libraries)
  list(APPEND CMAKE_BUILD_RPATH ${_cache}/libraries/lib)
  list(APPEND CMAKE_INSTALL_RPATH ${_cache}/libraries/lib)
endif()
