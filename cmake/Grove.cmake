# SPDX-License-Identifier: Apache-2.0
# Helpers that keep each folder's CMakeLists.txt to a list of files.

if(GROVE_TESTS)
  include(GoogleTest)
endif()
if(GROVE_SANITIZE)
  # LibTorch is not instrumented and keeps memory until the process ends: grove_test() looks for leaks in the others.
  set(GROVE_TEST_ENVIRONMENT "ASAN_OPTIONS=detect_leaks=0")
  if(GROVE_SANITIZE MATCHES thread)
    set(GROVE_TEST_ENVIRONMENT "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/cmake/tsan.supp")
  endif()
endif()

add_library(grove_flags INTERFACE)
target_include_directories(grove_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(grove_flags INTERFACE -Wall -Wextra -Wshadow -Wno-psabi -fno-math-errno)
if(GROVE_SANITIZE)
  target_compile_options(grove_flags INTERFACE -fsanitize=${GROVE_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(grove_flags INTERFACE -fsanitize=${GROVE_SANITIZE})
  if(GROVE_SANITIZE MATCHES undefined)
    target_compile_options(grove_flags INTERFACE -fno-sanitize-recover=undefined)
  endif()
endif()

# grove_library(name SOURCES a.cc b.cc DEPS grove_base ...)
function(grove_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC grove_flags ${ARG_DEPS})
endfunction()

# grove_unity(name): with GROVE_UNITY the target's files are compiled six at a time, for headers that take longer to parse than
# the code behind them takes to compile. Names in anonymous namespaces are then shared by the files of a target.
function(grove_unity name)
  set_target_properties(${name} PROPERTIES UNITY_BUILD ${GROVE_UNITY} UNITY_BUILD_BATCH_SIZE 6)
endfunction()

# grove_test(name [UNITY] SOURCES a_test.cc DEPS grove_io ...): one binary; each TEST() is a ctest case named <binary>.<suite>.<test>.
# A golden test (*_fixture_test) is one case as a whole: CTest keeps a binary's list of cases until the binary changes, so
# that with another folder in GROVE_FIXTURES it would run names that no longer exist, and call that a pass.
function(grove_test name)
  if(NOT GROVE_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "UNITY" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE grove_flags ${ARG_DEPS} GTest::gtest GTest::gtest_main)
  if(ARG_UNITY)
    grove_unity(${name})
  endif()
  target_compile_definitions(${name} PRIVATE GROVE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  set(environment "${GROVE_TEST_ENVIRONMENT}")
  if(GROVE_SANITIZE MATCHES address AND NOT "${ARG_DEPS}" MATCHES "grove_nn|grove_train")
    set(environment "ASAN_OPTIONS=detect_leaks=1")
  endif()
  if(name MATCHES "_fixture_test$")
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES TIMEOUT 600 ENVIRONMENT "${environment}"
                         SKIP_REGULAR_EXPRESSION "no golden files at .*; set GROVE_FIXTURES")
    return()
  endif()
  gtest_discover_tests(${name} TEST_PREFIX ${name}. DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
                       PROPERTIES TIMEOUT 600 ENVIRONMENT "${environment}")
endfunction()

# grove_fuzzer(name SOURCES x_fuzz.cc DEPS ...): a libFuzzer binary, part of the target "fuzzers"; corpora live in the build folder.
function(grove_fuzzer name)
  if(NOT GROVE_FUZZ)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_libraries(${name} PRIVATE grove_flags ${ARG_DEPS} -fsanitize=fuzzer)
  if(NOT TARGET fuzzers)
    add_custom_target(fuzzers)
  endif()
  add_dependencies(fuzzers ${name})
endfunction()

# For tests that need Python packages, which skip (exit code 77) where the interpreter lacks them.
if(GROVE_TESTS)
  set(GROVE_PYTHON "" CACHE FILEPATH "Python for tests that need packages; empty: that of .venv if it exists, else any")
  set(GROVE_TEST_PYTHON ${GROVE_PYTHON})
  if(NOT GROVE_TEST_PYTHON AND EXISTS ${PROJECT_SOURCE_DIR}/.venv/bin/python)
    set(GROVE_TEST_PYTHON ${PROJECT_SOURCE_DIR}/.venv/bin/python)
  elseif(NOT GROVE_TEST_PYTHON)
    set(GROVE_TEST_PYTHON ${Python3_EXECUTABLE})
  endif()
endif()
