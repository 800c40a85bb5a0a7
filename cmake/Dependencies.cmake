# SPDX-License-Identifier: Apache-2.0
# Every outside library, in one place. Debian package names are in the Makefile. A GPU host may have Highway, utf8proc and
# zstd only in an unpacked prefix: name it in CMAKE_PREFIX_PATH.
find_package(Threads REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)

# The torch wheel brings fmt headers of another version than the system's library; header-only use fits either.
add_library(grove_fmt INTERFACE)
target_link_libraries(grove_fmt INTERFACE $<IF:$<BOOL:${GROVE_CUDA}>,fmt::fmt-header-only,fmt::fmt>)

# Highway, utf8proc and zstd are found by file: Debian's Highway package has no usable CMake target for a moved prefix.
function(grove_find_library target header library)
  find_path(${target}_INCLUDE ${header} REQUIRED)
  find_library(${target}_LIBRARY NAMES ${library} REQUIRED)
  add_library(${target} INTERFACE IMPORTED GLOBAL)
  target_include_directories(${target} SYSTEM INTERFACE ${${target}_INCLUDE})
  target_link_libraries(${target} INTERFACE ${${target}_LIBRARY})
endfunction()
grove_find_library(grove_hwy hwy/highway.h hwy)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  # Kernels keep tiles of vectors in arrays, which vectors of unknown length (SVE) cannot be: NEON is compiled.
  target_compile_definitions(grove_hwy INTERFACE "HWY_DISABLED_TARGETS=(HWY_SVE|HWY_SVE2|HWY_SVE_256|HWY_SVE2_128)")
endif()
grove_find_library(grove_utf8proc utf8proc.h utf8proc)
grove_find_library(grove_zstd zstd.h zstd)

if(GROVE_SERVE)
  find_package(dnnl REQUIRED)
endif()
if(GROVE_TRAIN)
  # LibTorch is Debian's package or the torch wheel of the python3 on the PATH; for CUDA the wheel comes first. Torch's own
  # configuration enables the CUDA language where the wheel has CUDA, so it must be read at this level, not in a function.
  if(NOT GROVE_CUDA)
    find_package(Torch QUIET)
  endif()
  if(NOT Torch_FOUND)
    execute_process(COMMAND python3 -c "import torch; print(torch.utils.cmake_prefix_path)"
                    OUTPUT_VARIABLE GROVE_TORCH_PREFIX OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    list(PREPEND CMAKE_PREFIX_PATH ${GROVE_TORCH_PREFIX})
    find_package(Torch REQUIRED)
  endif()
  add_library(grove_torch INTERFACE)
  target_link_libraries(grove_torch INTERFACE ${TORCH_LIBRARIES})
  target_include_directories(grove_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
  separate_arguments(GROVE_TORCH_FLAGS UNIX_COMMAND "${TORCH_CXX_FLAGS}")  # the wheel's _GLIBCXX_USE_CXX11_ABI
  target_compile_options(grove_torch INTERFACE ${GROVE_TORCH_FLAGS})
  # Training with several processes needs the headers of the libraries that LibTorch was built with: Gloo's are Debian's
  # libgloo-dev, NCCL's stand beside the torch wheel. Without them grove-train says so when it is asked to.
  find_path(GROVE_GLOO_INCLUDE gloo/rendezvous/store.h)
  if(GROVE_CUDA)
    find_path(GROVE_NCCL_INCLUDE nccl.h HINTS ${TORCH_INSTALL_PREFIX}/../nvidia/nccl/include)
  endif()
  # Gloo's headers must be of the Gloo inside LibTorch: Debian's of Debian's. Defined for all, so that all files that know
  # torch share one precompiled header.
  if(GROVE_GLOO_INCLUDE AND TORCH_INSTALL_PREFIX MATCHES "^/usr")
    target_compile_definitions(grove_torch INTERFACE GROVE_GLOO)
  endif()
  if(GROVE_CUDA AND GROVE_NCCL_INCLUDE)
    target_compile_definitions(grove_torch INTERFACE GROVE_NCCL)
    if(NOT GROVE_NCCL_INCLUDE MATCHES "^/usr/(local/)?include$")  # searched anyway, and later
      target_include_directories(grove_torch SYSTEM INTERFACE ${GROVE_NCCL_INCLUDE})
    endif()
  endif()
endif()
if(GROVE_CUDA)
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
endif()
if(GROVE_TESTS)
  find_package(GTest REQUIRED)
  find_package(Python3 COMPONENTS Interpreter)
endif()
