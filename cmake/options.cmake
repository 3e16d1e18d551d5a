# Build options and the flags that every target shares.
option(HEADGATE_TESTS "Build the tests" ON)
option(HEADGATE_STATIC "Link archives of the Debian packages (see static.cmake)" OFF)
set(HEADGATE_SANITIZE "" CACHE STRING "Sanitizers for every target: address,undefined or thread")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

# How what is built more than it runs is compiled: tests, subcommands, all that a sanitizer checks
# (-O1 takes half as long again to build, and ASan's tests run no faster).
set(HEADGATE_QUICK_BUILD -Og)
if(HEADGATE_SANITIZE STREQUAL "thread")
  # -Og leaves std::unique_lock::unlock whole in our programs, where Debian's libgloo finds it and
  # unlocks with it, before TSan's eyes, what it locked outside of them.
  set(HEADGATE_QUICK_BUILD -O1)
endif()

if(HEADGATE_SANITIZE)
  add_compile_options(-fsanitize=${HEADGATE_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer ${HEADGATE_QUICK_BUILD})
  add_link_options(-fsanitize=${HEADGATE_SANITIZE})
  if(HEADGATE_SANITIZE STREQUAL "thread")
    # Debian's gRPC and Abseil are not instrumented; tests/sanitizer/ deals with that.
    add_compile_options(-Wno-tsan)
  endif()
endif()
