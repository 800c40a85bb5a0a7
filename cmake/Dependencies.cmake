# SPDX-License-Identifier: Apache-2.0
# Every outside library, in one place. Debian package names are in the Makefile. A GPU host may have Highway, utf8proc and
# zstd only in an unpacked prefix: name it in CMAKE_PREFIX_PATH.
find_package(Threads REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)

# Highway, utf8proc and zstd are found by file: Debian's Highway package has no usable CMake target for a moved prefix.
function(grove_find_library target header library)
  find_path(${target}_INCLUDE ${header} REQUIRED)
  find_library(${target}_LIBRARY NAMES ${library} REQUIRED)
  add_library(${target} INTERFACE IMPORTED GLOBAL)
  target_include_directories(${target} SYSTEM INTERFACE ${${target}_INCLUDE})
  target_link_libraries(${target} INTERFACE ${${target}_LIBRARY})
endfunction()
grove_find_library(grove_hwy hwy/highway.h hwy)
grove_find_library(grove_utf8proc utf8proc.h utf8proc)
grove_find_library(grove_zstd zstd.h zstd)

if(GROVE_SERVE)
  find_package(dnnl REQUIRED)
endif()
if(GROVE_TRAIN)
  find_package(Torch REQUIRED)
endif()
if(GROVE_TESTS)
  find_package(GTest REQUIRED)
  find_package(Python3 COMPONENTS Interpreter)
endif()
