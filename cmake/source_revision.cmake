# cmake -DROOT=DIR -DFILE=source_revision.cpp -P source_revision.cmake: writes FILE, the definition of what
# base/source_revision.h declares, if it would change, so that a commit recompiles nothing else.
find_package(Git QUIET)
set(revision "")
if(GIT_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} -C ${ROOT} describe --always --dirty --abbrev=12 --exclude=*
    OUTPUT_VARIABLE revision OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(revision STREQUAL "")
  set(revision unknown)
endif()
set(text "#include \"base/source_revision.h\"\n\nconst char* cfm::source_revision() { return \"${revision}\"; }\n")
set(before "")
if(EXISTS ${FILE})
  file(READ ${FILE} before)
endif()
if(NOT text STREQUAL before)
  file(WRITE ${FILE} "${text}")
endif()
