# SPDX-License-Identifier: Apache-2.0
# Two commands for a fresh Debian 12 machine with git and make:
#   make demo    install what is missing, build, and run the main job     (TEXT=file.txt[.zst]: train on your own text)
#   make test    install what is missing, build, and run every test
# Everything else is in ./dev.

BUILD := build/release
TEXT ?=

# The build and the demo. grove-train needs libtorch-dev; without OpenBLAS its matrix products fall back to a library
# eight times slower. grove needs libdnnl-dev, whose CMake file asks for OpenCL's.
PACKAGES := ca-certificates cmake g++ git libcli11-dev libdnnl-dev libfmt-dev libgloo-dev libgtest-dev libhwy-dev \
            libopenblas0-pthread libtorch-dev libutf8proc-dev libzstd-dev ninja-build nlohmann-json3-dev \
            ocl-icd-opencl-dev python3 zstd
# The tests compare with PyTorch, and with the packages `tokenizers`, `tensorboard` and `transformers` from PyPI; the last must
# be old enough for Debian's PyTorch.
TEST_PACKAGES := $(PACKAGES) binutils python3-pip python3-torch python3-venv
PYPI_PACKAGES := tokenizers>=0.15,<1 transformers>=4.45,<4.48 safetensors>=0.4,<1 tensorboard>=2.10,<3

.PHONY: help demo test packages test-packages build-demo venv
help:
	@sed -n 's/^#   //p' Makefile

demo: packages build-demo
	@BUILD=$(BUILD) TEXT="$(TEXT)" tools/demo.sh

test: test-packages venv
	@cmake --preset release --log-level=WARNING -DGROVE_TESTS=ON
	@cmake --build $(BUILD)
	@cd $(BUILD) && ctest --output-on-failure --no-tests=error --parallel $$(nproc)

build-demo:
	@test -f $(BUILD)/build.ninja || cmake --preset release --log-level=WARNING
	@cmake --build $(BUILD) --target grove grove-train

packages:
	@tools/install_packages.sh $(PACKAGES)

test-packages:
	@tools/install_packages.sh $(TEST_PACKAGES)

# Without a network the tests that need the packages skip with a clear word.
venv:
	@tools/install_venv.sh .venv $(foreach package,$(PYPI_PACKAGES),"$(package)")
