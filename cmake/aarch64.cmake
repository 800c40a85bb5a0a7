# SPDX-License-Identifier: Apache-2.0
# 64-bit ARM (NEON) on a machine of another kind: Debian's cross compiler, libraries unpacked by tools/neon_packages.sh, and
# qemu to run what was built. Used by the preset "neon".
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

get_filename_component(GROVE_NEON_ROOT ${CMAKE_CURRENT_LIST_DIR}/../build/neon-root ABSOLUTE)
set(CMAKE_FIND_ROOT_PATH ${GROVE_NEON_ROOT} /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)

# The libraries of the root need others of it; those of the compiler are in /usr/aarch64-linux-gnu.
set(CMAKE_EXE_LINKER_FLAGS_INIT -Wl,-rpath-link,${GROVE_NEON_ROOT}/usr/lib/aarch64-linux-gnu)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu
    -E LD_LIBRARY_PATH=${GROVE_NEON_ROOT}/usr/lib/aarch64-linux-gnu:/usr/aarch64-linux-gnu/lib)
