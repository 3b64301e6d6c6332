# Everything lives in .venv; stamps inside it make a second call instant and free of network.
# Names are relative, so the checkout may lie in a path with spaces.

VENV   := .venv
PYTHON ?=
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEMO   := demo-out
# One process more than there are cores, as tests wait for boards, cameras and services. Tests of one file stay together,
# as they share what they built, and files keep the order of tests/conftest.py, which begins with those that take longest.
PROCESSES ?= $(shell expr $$(nproc) + 1)
PARALLEL ?= -n $(PROCESSES) --dist loadfile --no-loadscope-reorder
SITE   := site

PACKAGES := core devices runtime calibration converters firmware_gen
EXTRAS_torch := dev,torch
EXTRAS_mutants := dev,mutants
EXTRAS_audit := dev,audit
EXTRAS_fuzzing := dev,fuzzing
METADATA := setup.cfg pyproject.toml $(wildcard setup.py packaging/demo/*)

.DEFAULT_GOAL := help
.PHONY: help demo test test-torch check docs dev bench fleet jtop offload-faults triton attack kills cuts flash-cuts audit fuzz fuzz-readers fuzz-binary binary-oracle binary-zoo x86 compilers systemd soak mutants deb wheels firmware-tools arm64 armv7 arm-instructions clean FORCE
.DELETE_ON_ERROR:

help:
	@echo "make demo        set up on a fresh machine, run the whole job, write $(DEMO)/"
	@echo "make test        all tests"
	@echo "make test-torch  the tests that need PyTorch (installs it: some GB from the default index)"
	@echo "make check       ruff, formatting, mypy --strict"
	@echo "make docs        the pages as a site to read offline: $(SITE)/index.html"
	@echo "make bench       latency, memory and accuracy figures of this machine"
	@echo "make fleet       10,000 sites in an S3 that runs here, by this process, Dask and Beam, with faults (FILES=1000; half an hour)"
	@echo "make jtop        power meters through jetson-stats' real service, two versions, on two emulated Jetsons"
	@echo "make offload-faults  300 frames to KServe that is killed, started again and slowed (root, the network once; minutes)"
	@echo "make triton      the rest of a task on NVIDIA's Triton, with our client (python3-venv of Debian 12, the network once)"
	@echo "make attack      30,000 damaged files of every kind that travels, through what opens them (an hour; ATTACK=\"--only onnx\")"
	@echo "make kills       kill -9 at random moments of build, collect, graft and firmware, and run again (KILLS=60)"
	@echo "make cuts        500 deployments cut at random points: killed, connection cut, disk full (CUTS=500; half an hour)"
	@echo "make fuzz-readers  what opens bundles, models, frames and settings, fuzzed by atheris (MINUTES=60 each)"
	@echo "make audit       known vulnerabilities of what is installed and pinned (needs the network)"
	@echo "make fuzz        2,000 random small ONNX graphs through the whole job, against onnxruntime (GRAPHS=2000; half an hour)"
	@echo "make flash-cuts  200 updates of each STM32F4 board cut off at random points, in Unicorn (arm-none-eabi-gcc; minutes)"
	@echo "make fuzz-binary  10,000 damaged binary networks, with sanitisers in the delegate (gcc; minutes)"
	@echo "make binary-oracle  1,000 random binary networks against Larq Compute Engine's interpreter (Python 3.11, the network)"
	@echo "make binary-zoo  QuickNet, Bi-Real Net and others through Larq Compute Engine's converter, beside its interpreter (likewise; an hour)"
	@echo "make x86         the binary delegate's tests on emulated processors without AVX-512 and without AVX2 (apt: qemu-user; minutes)"
	@echo "make systemd     the service in a container of Debian 12 under a real systemd (root, the network once; minutes);"
	@echo "                 with DEB=dist/NAME.deb that package: installed, upgraded, a bad bundle, removed, purged"
	@echo "make compilers   every operator's C by gcc and clang at every level, in QEMU (COMPILERS=\"--core m3\"; half an hour)"
	@echo "make arm64       the device tests on an emulated Pi 4 and Pi 5 under Debian 12 (qemu-user, the network once)"
	@echo "make armv7       numbers and answers on an emulated 32-bit Pi, likewise"
	@echo "make arm-instructions  instructions a multiplication on Cortex-A53 and A72: bits, int8, float32 (apt: qemu-user; minutes)"
	@echo "make soak        a service that answers 200,000 frames and may not grow (FRAMES=200000)"
	@echo "make mutants     faults put into the code one by one, each of which a test has to notice (an hour; docs/mutants.md)"
	@echo "make firmware-tools  compilers and QEMU for the firmware tests (apt; make test does it, too)"
	@echo "make deb         a Debian package in dist/ (DEBIAN=12 or 13, ARCH=arm64 or amd64; needs debhelper and the network)"
	@echo "make wheels      a wheel per processor in dist/, with the delegate for binary networks (the network once; WHEELS=\"--only aarch64\")"
	@echo "make dev         environment for development: $(BIN)/multigraft runs this checkout"
	@echo "make clean       remove what make made (the converter's environment stays in the user's cache folder)"

demo: $(VENV)/.ready-convert
	$(BIN)/multigraft setup-onnx2tf
	$(BIN)/multigraft demo -o $(DEMO)

# A tool that cannot be installed here does not stop the tests: those that need it say so.
test: $(VENV)/.ready-dev
	@.ci/firmware-tools || echo "The tests that build or run firmware will be skipped."
	$(BIN)/python -m pytest $(PARALLEL)

test-torch: $(VENV)/.ready-torch
	CI=true MULTIGRAFT_WITH_TORCH=1 $(BIN)/python -m pytest

check: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

# Strict: a link that leads nowhere is an error. Pages that are made from the code are made first.
docs: $(VENV)/.ready-dev
	$(BIN)/python -m docs.pages
	$(BIN)/python -m sphinx -q -W --keep-going -E -b html -d $(SITE)/.doctrees docs $(SITE)
	@echo "Wrote $(SITE)/index.html"

bench: $(VENV)/.ready-dev
	$(BIN)/python -m tests.benchmarks

# Opt-in: some minutes. The tests hold a short form of it.
attack: $(VENV)/.ready-dev
	nice $(BIN)/python -m tests.attack $(if $(MUTANTS),--mutants $(MUTANTS)) $(ATTACK) $(MODELS)

# Opt-in: takes gcc with its sanitisers' runtime, which Debian's has.
fuzz-binary: $(VENV)/.ready-dev
	nice $(BIN)/python -m tests.attack.sanitised $(if $(MUTANTS),--mutants $(MUTANTS)) $(ATTACK)

# Opt-in: asks a service for advisories, so it needs the network; without, it says that nothing was looked at.
audit: $(VENV)/.ready-audit
	.ci/audit $(BIN)

# Opt-in: a quarter of an hour on two idle cores.
kills: $(VENV)/.ready-dev
	$(BIN)/multigraft setup-onnx2tf
	nice $(BIN)/python -m tests.attack.kills --kills $(or $(KILLS),60)

# Opt-in: updates of STM32F4 boards by their own flash driver, cut off at random points, in Unicorn.
flash-cuts: $(VENV)/.ready-dev
	nice $(BIN)/python -m tests.firmware_gen.slots.campaign --board netduinoplus2-slots --cuts $(or $(CUTS),200)
	nice $(BIN)/python -m tests.firmware_gen.slots.campaign --board nucleo-f446re-slots --cuts $(or $(CUTS),200)

# Opt-in: half an hour. As root a full disk is among them, and with OpenSSH's server real connections.
cuts: $(VENV)/.ready-dev
	nice $(BIN)/python -m tests.runtime.deploy.cuts --deploys $(or $(CUTS),500)

# Opt-in: jetson-stats' real service, an old version and a new one, over two emulated boards. Needs the network once.
jtop: $(VENV)/.ready-dev
	for version in 4.3.2 7.2.2; do \
		test -d build/jtop/$$version || $(PIP) install --target build/jtop/$$version jetson-stats==$$version || exit 1; \
		PYTHONPATH=build/jtop/$$version $(BIN)/python -m pytest tests/devices/power/test_jtop.py || exit 1; \
	done

# Opt-in: half an hour on two idle cores; a second run goes on where the first ended. Apache Beam gets an environment of its own.
fleet: $(VENV)/.ready-dev
	test -e build/beam/.ready || { $(BIN)/python -m venv build/beam && \
		build/beam/bin/python -m pip install --quiet '.[beam]' 'numpy<2' && touch build/beam/.ready; }
	nice $(BIN)/python -m tests.benchmarks fleet $(or $(FILES),10000) --beam build/beam/bin/python

# Opt-in: some minutes, as root for the link's devices. KServe gets an environment of its own.
offload-faults: $(VENV)/.ready-dev
	test -x build/kserve/bin/python || $(BIN)/python -m venv build/kserve
	build/kserve/bin/python -m pip --disable-pip-version-check --quiet install kserve==0.21.0 onnxruntime
	$(BIN)/python -m tests.runtime.offload.link_faults --kserve build/kserve/bin/python

# Opt-in: a minute. PyTriton needs the system's own Python, whose shared library its server loads.
triton: $(VENV)/.ready-dev
	test -x build/triton/bin/python || /usr/bin/python3 -m venv build/triton
	build/triton/bin/python -m pip --disable-pip-version-check --quiet install nvidia-pytriton==0.7.0 onnxruntime
	$(BIN)/python -m tests.runtime.offload.triton_tail --triton build/triton/bin/python

# Opt-in: MINUTES for each reader, one after the other.
fuzz-readers: $(VENV)/.ready-fuzzing
	for reader in bundle_reader tflite_check frame_decoder settings_reader; do \
		nice $(BIN)/python -m tests.attack.fuzzing $$reader --minutes $(or $(MINUTES),60) --keep build/fuzzing || exit 1; \
	done

# Opt-in: half an hour on one core. Graph NUMBER alone: --first NUMBER --graphs 1.
fuzz: $(VENV)/.ready-dev
	nice $(BIN)/python -m tests.fuzz --graphs $(or $(GRAPHS),2000) $(FUZZ)

# An interpreter beside the one that is installed, to run what that runs.
build/litert-2.1: | $(VENV)/.ready-dev
	$(PIP) install --no-deps --target $@ 'ai-edge-litert==2.1.*'

# Opt-in: minutes. The oracle's interpreter gets an environment of its own (2 GB with the TensorFlow that it asks for).
binary-oracle: $(VENV)/.ready-dev build/litert-2.1
	test -x build/lce/bin/python || { $(BIN)/python -m venv build/lce && \
		build/lce/bin/python -m pip install --quiet --no-deps larq-compute-engine==0.16.0 'numpy<2'; }
	nice $(BIN)/python -m tests.runtime.delegate --python build/lce/bin/python --litert build/litert-2.1 \
		--networks $(or $(NETWORKS),1000)

# Opt-in: minutes for each network. Converter, TensorFlow and networks get an environment of their own (1.5 GB).
binary-zoo: $(VENV)/.ready-dev build/litert-2.1
	test -e build/lce-zoo/.ready || { $(BIN)/python -m venv build/lce-zoo && \
		build/lce-zoo/bin/python -m pip install --quiet tensorflow-cpu==2.15.1 larq==0.13.3 larq-zoo==2.4.0 \
		larq-compute-engine==0.16.0 'numpy<2' && touch build/lce-zoo/.ready; }
	nice $(BIN)/python -m tests.runtime.delegate.zoo --python build/lce-zoo/bin/python --litert build/litert-2.1 \
		--keep build/lce-zoo/networks $(ZOO)

# Opt-in: minutes. An emulated processor has AVX2 at most.
x86: $(VENV)/.ready-dev
	nice $(BIN)/python -m tests.runtime.delegate.processors $(X86)

# Opt-in: half an hour. The tests hold a short form of it. Clang's rows take the Debian packages clang and lld.
compilers: $(VENV)/.ready-dev firmware-tools
	nice $(BIN)/python -m tests.firmware_gen.compilers.matrix $(COMPILERS)

# Opt-in: takes root, systemd-nspawn and debootstrap; the container's root stays in the user's cache folder.
systemd: $(VENV)/.ready-dev
	$(BIN)/python -m tests.systemd $(if $(KEEP),--keep $(KEEP)) $(if $(DEB),--deb $(DEB))

# Opt-in: takes mmdebstrap, qemu-user-static and Linux 6.7; the roots stay in the user's cache folder.
arm64: $(VENV)/.ready-dev
	nice $(BIN)/python -m tests.arm arm64 $(ARM)

armv7: $(VENV)/.ready-dev
	nice $(BIN)/python -m tests.arm armhf $(ARM)

# Opt-in: minutes. Takes what arm64 does, gcc, and qemu-user beside the static one, which has no plugins.
arm-instructions: $(VENV)/.ready-dev
	nice $(BIN)/python -m tests.arm.instructions

# Opt-in: some minutes. The tests hold a short form of it.
soak: $(VENV)/.ready-dev
	nice $(BIN)/python -m tests.runtime.service.soak --frames $(or $(FRAMES),200000)

mutants: $(VENV)/.ready-mutants
	nice $(BIN)/python -m tests.mutants.campaign
	nice $(BIN)/python -m tests.mutants.left_out

# Any machine with debhelper packs for any of them: wheels are fetched, nothing is compiled.
# Opt-in: zig (100 MB) compiles for every processor. The network once.
wheels:
	test -x build/wheels/bin/python || { $(or $(PYTHON),python3) -m venv build/wheels && \
		build/wheels/bin/python -m pip install --quiet build 'setuptools>=77' wheel ziglang pyelftools; }
	nice build/wheels/bin/python packaging/wheels.py $(WHEELS)

deb: $(VENV)/.made
	PYTHON=$(BIN)/python packaging/make-deb $(or $(DEBIAN),12) $(or $(ARCH),$(shell dpkg --print-architecture))

dev: $(VENV)/.ready-dev

firmware-tools:
	.ci/firmware-tools

clean:
	rm -rf $(VENV) .venv-3.12 .venv-3.13 $(DEMO) $(SITE) build dist multigraft.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made: .ci/environment
	.ci/environment $(VENV) $(PYTHON)
	touch $@

# Strict editable: mypy and import checks see exactly the files a wheel would hold, edits show at once. setuptools
# stays installed and builds without isolation, so that linking new files needs no network. Bytecode of the packages is
# made where they are imported: most of it never is.
$(VENV)/.ready-%: $(VENV)/.made $(METADATA) $(VENV)/.sources
	@echo "Installing multigraft[$(or $(EXTRAS_$*),$*)] into $(VENV) (the first time needs the network and some minutes)"
	$(PIP) install 'setuptools>=77'
	$(PIP) install --no-compile --no-build-isolation --config-settings editable_mode=strict -e '.[$(or $(EXTRAS_$*),$*)]'
	$(PIP) install --no-build-isolation --no-deps ./packaging/demo
	touch $@

# The list of packaged files; its time changes only when a file comes or goes.
$(VENV)/.sources: FORCE | $(VENV)/.made
	@find $(PACKAGES) -type f -not -name '*.pyc' | LC_ALL=C sort > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

FORCE:
