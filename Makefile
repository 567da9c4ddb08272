# make            everything, into build/
# make check      the tests (SAN=1: under address and undefined-behaviour sanitizers, SAN=thread: under ThreadSanitizer; T=name: only tests whose name holds it)
# make bench      the speed of the filters beside their peers' (tests/bench/filters.md)
# make bench-infer the speed of sa-serve beside its peers' (tests/bench/infer.md)
# make bench-train the speed of sa-train beside torch's (tests/bench/train.md)
# make demo       the main job on the bundled models (what pipelines/quickstart.sh runs after installing)
# make soak       200,000 records past a server with every fault, about two minutes
# make nano       train the two bundled models again from nothing (up to two hours on two cores)
# make nano-check measure them on held-out prompts
# make fuzz       every fuzz target for SECONDS=60 (FUZZ=name: one of them), into build-fuzz/; needs clang
# make check-cuda the CUDA operations on the CPU, at length: ThreadSanitizer, more orders, mutants, NVIDIA's own headers where they are installed
# make cuda       sa-cuda.so, which sa-train and sa-serve --device cuda load, and the tests of the CUDA operations, by nvcc; make check-gpu runs them on one
# make torture    each filter again and again with another allocation or file call failing (MOST=1500 runs a filter and way at most)
# make lint       dependency directions, man pages, the README's file map
CC = cc
CXX = g++
SAN =
SECONDS = 60
THREAD = $(filter thread,$(SAN))
B = build$(if $(SAN),-$(if $(THREAD),t)san)

WARN = -Wall -Wextra -Wvla -Wshadow -Wstrict-prototypes -Wmissing-prototypes
OPT = $(if $(SAN),-O1 -g -fsanitize=$(if $(THREAD),thread,address$(,)undefined -fno-sanitize-recover=all) -fno-omit-frame-pointer,-O2 -g)
, := ,
CFLAGS = -std=gnu11 $(WARN) $(OPT) -ffp-contract=off
CPPFLAGS = -D_GNU_SOURCE -Ilib -Itrainer/ops -Itrainer/model -Itrainer/serve -Itrainer/train -Itrainer/eval -Itrainer/report -Itrainer/train/cuda -Itrainer/model/cuda -Itrainer/ops/cuda
NET = -lcurl -luv
BASE = -ljansson -lxxhash -llmdb -lpthread -lm
MODEL = -lutf8proc
YAML = -lyaml
TEXT = -lutf8proc -lpcre2-8

FILTERS = sa-intent sa-expand sa-regen sa-ppl sa-judge sa-pick
PROGRAMS = $(FILTERS) sa-serve sa-train sa-eval sa-report
NANO = nano-corpus nano-bpe

# libsa.a: what every program shares.  libmodel.a: the transformer, its operations, tokenizer and templates.
LIB = $(patsubst %.c,$B/%.o,$(wildcard lib/*.c))
MOD = $(patsubst %.c,$B/%.o,$(wildcard trainer/model/*.c trainer/ops/*.c trainer/ops/plain/*.c trainer/ops/cpu/*.c))
SERVE = $(patsubst %.c,$B/%.o,$(wildcard trainer/serve/*.c))
TRAIN = $(patsubst %.c,$B/%.o,$(filter-out trainer/train/comm_mpi.c,$(wildcard trainer/train/*.c)) trainer/train/cuda/place.c trainer/ops/cuda/arena.c trainer/ops/cuda/scratch.c)
EVAL = $(patsubst %.c,$B/%.o,$(wildcard trainer/eval/*.c))
UNIT = $(patsubst tests/unit/%.c,$B/unit/%,$(wildcard tests/unit/*.c))

# What sa-train loads when it is one of several processes; without an mpicc it is left out, and sa-train says so then.
MPICC = $(shell command -v mpicc)
MPI = $(if $(MPICC),$B/sa-mpi.so)

all: $(PROGRAMS:%=$B/%) $(NANO:%=$B/%) $(MPI)

$B/libsa.a: $(LIB)
$B/libmodel.a: $(MOD)
$B/%.a:
	rm -f $@ && ar rcs $@ $^

$(FILTERS:%=$B/%): $B/%: $B/filters/%.o $B/libsa.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(NET) $(BASE)
$B/sa-serve: $B/trainer/sa-serve.o $(SERVE) $B/libmodel.a $B/libsa.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lmicrohttpd $(MODEL) $(BASE)
$B/sa-train: $B/trainer/sa-train.o $(TRAIN) $B/libmodel.a $B/libsa.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(MODEL) $(YAML) $(BASE)
$B/sa-mpi.so: trainer/train/comm_mpi.c trainer/train/comm.h lib/err.h
	@mkdir -p $(@D)
	$(MPICC) $(CPPFLAGS) $(CFLAGS) -fPIC -shared -o $@ $<
$B/sa-eval: $B/trainer/sa-eval.o $(EVAL) $B/libsa.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(NET) $(TEXT) $(BASE)
$B/sa-report: $B/trainer/sa-report.o $(patsubst %.c,$B/%.o,$(wildcard trainer/report/*.c)) $B/libsa.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(BASE)
$B/nano-corpus: $B/pipelines/nano/bank.o $B/pipelines/nano/turns.o
$(NANO:%=$B/%): $B/%: $B/pipelines/nano/%.o $B/libmodel.a $B/libsa.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(MODEL) $(BASE)
$B/fault: $(patsubst %.c,$B/%.o,$(wildcard tests/fault/*.c)) $B/libsa.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(NET) -lssl -lcrypto $(BASE)
$B/bench-server: $B/tests/bench/server.o $B/libsa.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(NET) $(BASE)
$B/bench-timed: $B/tests/bench/timed.o $B/libsa.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -l:libjansson.a	# no shared libraries: its own memory counts as the command's least
$B/bench-encode: $B/tests/bench/encode.o $B/libmodel.a $B/libsa.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(MODEL) $(BASE)
$B/bench-roof: $B/tests/bench/roof.o $B/libsa.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(BASE)
$B/bench-model: $B/tests/bench/model.o $B/trainer/eval/mt19937.o $B/libmodel.a $B/libsa.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(MODEL) $(BASE)
$B/bench-ops: $B/tests/bench/ops.o $B/libmodel.a $B/libsa.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(BASE)
$B/torture: $B/tests/torture/torture.o $B/libsa.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(BASE)
$B/kill.so: tests/torture/kill.c
$B/fail.so: tests/torture/fail.c tests/torture/torture.h
$B/fail.so $B/kill.so:
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(WARN) -O2 -g -D_GNU_SOURCE -fno-builtin -fPIC -shared -o $@ $<
$B/unit/%: $B/tests/unit/%.o $B/libmodel.a $B/libsa.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(MODEL) $(NET) $(BASE)
$(addprefix $B/unit/,draw engine guide queue schema stop turn): $B/unit/%: $B/tests/unit/%.o $(SERVE) $B/libmodel.a $B/libsa.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lmicrohttpd $(MODEL) $(BASE)

$(addprefix $B/unit/,cudaranks cudatrain data events freeze pack pitfalls place plan ranking record reward schedule zero): $B/unit/%: $B/tests/unit/%.o $(TRAIN) $B/libmodel.a $B/libsa.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(MODEL) $(YAML) $(BASE)

$(addprefix $B/unit/,code csv cvalues extract mt19937 number paired questions review sandbox verdict): $B/unit/%: $B/tests/unit/%.o $(EVAL) $B/libsa.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(NET) $(TEXT) $(BASE)

# Fuzz targets (tests/fuzz/fuzz.h): here with a main() that runs their corpus; under `make fuzz` with libFuzzer's. Their archive leaves the operations
# out, whose vector built-ins are gcc's.
FUZZERS = $(patsubst tests/fuzz/%.c,$B/fuzz/%,$(filter-out tests/fuzz/main.c,$(wildcard tests/fuzz/*.c)))
FUZZ_MAIN = $B/tests/fuzz/main.o
$B/libfuzzed.a: $(LIB) $(patsubst %.c,$B/%.o,$(wildcard trainer/model/*.c)) $B/trainer/ops/dtype.o $B/trainer/eval/extract.o $B/trainer/eval/verdict.o \
	$B/trainer/train/data.o $B/trainer/train/dataset.o $B/trainer/train/record.o $B/trainer/train/ranking.o $B/trainer/train/samples.o $B/trainer/serve/answer.o $B/trainer/serve/param.o $B/trainer/serve/prompts.o \
	$B/trainer/serve/request.o $B/trainer/serve/stop.o \
	$(patsubst %,$B/trainer/serve/%.o,adjust automaton chars form grammar guide meet pattern range schema schema_if schema_merge schema_object schema_types series vocab)
$(FUZZERS): $B/fuzz/%: $B/tests/fuzz/%.o $(FUZZ_MAIN) $B/libfuzzed.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter-out %.a,$^) $(filter %.a,$^) $(MODEL) $(NET) $(BASE)
fuzzers: $(FUZZERS)

$B/unit/https: $B/tests/unit/https.o $B/libsa.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lssl -lcrypto $(NET) $(BASE)

# CUDA (tests/cudasim/README.md): the same sources by nvcc for a GPU and by g++ for the CPU, where tests/cudasim runs them. Three ways of
# building the latter, each with all objects of its own: plain, asan, tsan. The simulator itself is never instrumented.
NVCC = $(or $(shell command -v nvcc),$(wildcard /usr/local/cuda/bin/nvcc))
CUDA_HEADERS = tests/cudasim/include
SIM_SRC = $(wildcard tests/cudasim/*.cpp trainer/ops/cuda/*.cu trainer/ops/cuda/*.c trainer/ops/plain/*.c) trainer/ops/dtype.c trainer/ops/matrix.c lib/err.c $(wildcard trainer/train/cuda/*.c trainer/model/cuda/*.c)
SIM_TESTS = $(basename $(notdir $(wildcard tests/cudasim/test/*.c tests/cudasim/test/*.cu))) bugs
SIM_FLAGS = -O2 -g -fPIC -ffp-contract=off -Wno-unknown-pragmas
SIM_CXX = $(CXX) -std=c++17 -Wall -Wextra $(SIM_FLAGS) -I$(CUDA_HEADERS) -Itests/cudasim -Itrainer/ops/cuda $(CPPFLAGS) -Itests/unit -MMD -MP
SIM_SAN_plain =
SIM_SAN_asan = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
SIM_SAN_tsan = -fsanitize=thread
SIM_DEF_asan = -DCUDASIM_ASAN
SIM_DEF_tsan = -DCUDASIM_TSAN
define SIM_RULES
$B/cudasim/$1/%.o: %.cpp
	@mkdir -p $$(@D)
	$(SIM_CXX) $(SIM_DEF_$1) -c -o $$@ $$<
$B/cudasim/$1/%.o: %.cu
	@mkdir -p $$(@D)
	$(SIM_CXX) $(SIM_SAN_$1) -x c++ -c -o $$@ $$<
$B/cudasim/$1/%.o: %.c
	@mkdir -p $$(@D)
	$(CC) -std=gnu11 $(WARN) $(SIM_FLAGS) $(SIM_SAN_$1) -I$(CUDA_HEADERS) $(CPPFLAGS) -Itests/unit -Itrainer/ops/cuda -MMD -MP -c -o $$@ $$<
$B/cudasim/$1/lib.a: $(patsubst %,$B/cudasim/$1/%.o,$(basename $(SIM_SRC)))
$B/cudasim/$1/%: $B/cudasim/$1/tests/cudasim/test/%.o $B/cudasim/$1/lib.a
	$(CXX) $(SIM_SAN_$1) -o $$@ $$^ -ljansson -lm
$B/cudasim/$1/sa-cuda.so: $(patsubst %,$B/cudasim/$1/%.o,$(basename $(filter-out trainer/ops/plain/%,$(SIM_SRC))))
	$(CXX) $(SIM_SAN_$1) -shared -o $$@ $$^ -ljansson -lm
$B/cudasim/$1/bugs: $B/cudasim/$1/tests/cudasim/bugs.o $B/cudasim/$1/lib.a
	$(CXX) $(SIM_SAN_$1) -o $$@ $$^ -ljansson -lm
cudasim-$1: $(SIM_TESTS:%=$B/cudasim/$1/%) $B/cudasim/$1/sa-cuda.so
cudasim-one-$1: $B/cudasim/$1/tests/cudasim/test/$(SIM_TEST).o $B/cudasim/$1/lib.a	# a test with SIM_ONE, another .cu, instead of its own (mutants.sh)
	$(filter-out -MMD -MP,$(SIM_CXX)) $(SIM_SAN_$1) -x c++ -c -o $(SIM_OUT).o $(SIM_ONE)
	$(CXX) $(SIM_SAN_$1) -o $(SIM_OUT) $$< $(SIM_OUT).o $B/cudasim/$1/lib.a -ljansson -lm
.PHONY: cudasim-$1 cudasim-one-$1
endef
$(foreach m,plain asan tsan,$(eval $(call SIM_RULES,$m)))
$B/cudasim/mpi.so: tests/cudasim/mpi.c
	@mkdir -p $(@D)
	$(MPICC) -std=gnu11 $(WARN) -O2 -g -fPIC -shared -o $@ $<

# For a GPU. One machine code for each generation of cards from Ampere on, and PTX for those to come; a warning is an error.
CUDA_ARCH = 80 86 89 90 100 120
CUDA_DIR = $(patsubst %/bin/nvcc,%,$(NVCC))
CUDA_TESTS = $(patsubst %,$B/cuda/test/%,$(filter-out bugs,$(SIM_TESTS)))
$B/cuda/%.o: %.cu $(wildcard trainer/ops/cuda/*.h)
	@mkdir -p $(@D)
	$(NVCC) -std=c++17 -O3 -Werror all-warnings -Xcompiler -Wall,-Wextra,-fPIC $(foreach a,$(CUDA_ARCH),-gencode arch=compute_$a,code=sm_$a) \
		-gencode arch=compute_$(lastword $(CUDA_ARCH)),code=compute_$(lastword $(CUDA_ARCH)) $(CPPFLAGS) -Itrainer/ops/cuda -Itests/unit -c -o $@ $<
$B/cuda/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -isystem $(CUDA_DIR)/include -Itrainer/ops/cuda -Itests/unit -MMD -MP -c -o $@ $<
$B/cuda/lib.a: $(patsubst %,$B/cuda/%.o,$(basename $(filter-out tests/%,$(SIM_SRC))))
$B/sa-cuda.so: $(patsubst %,$B/cuda/%.o,$(basename $(filter-out tests/% trainer/ops/plain/%,$(SIM_SRC))))
	$(NVCC) -shared -o $@ $^ -lcublasLt -lm
$(CUDA_TESTS): $B/cuda/test/%: $B/cuda/tests/cudasim/test/%.o $B/cuda/lib.a
	@mkdir -p $(@D)
	$(NVCC) -o $@ $^ -lcublasLt -ljansson -lm
cuda:
	@[ -x "$(NVCC)" ] || { echo "cuda: there is no nvcc" >&2; exit 2; }
	$(MAKE) -s $B/sa-cuda.so $(CUDA_TESTS)
check-gpu: cuda
	for t in $(CUDA_TESTS); do echo "# $$t"; "$$t" || exit 1; done

# Compiled-in data files (EMBED in lib/prompt.h): what includes them is rebuilt when they change.
$(FILTERS:%=$B/filters/%.o): $(wildcard filters/prompts/*.txt)
$B/lib/taxonomy.o: filters/taxonomy.json
$B/trainer/eval/cvalues.o $B/trainer/eval/newsafety.o $B/trainer/eval/verdict.o: $(wildcard trainer/eval/*.txt)
$B/trainer/eval/confine.o: trainer/eval/sandbox.py
$B/trainer/report/report.o: trainer/report/page.css

# The kernels that gain from wide registers are compiled once per instruction set inside their files (target_clones).
$B/trainer/ops/cpu/%.o: OPT += $(if $(SAN),,-O3 -fno-math-errno -fno-trapping-math)

$B/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

BENCH = $B/bench-server $B/bench-timed $B/bench-roof $B/bench-encode
check: all $(UNIT) $(FUZZERS) cudasim-plain cudasim-asan $(if $(MPICC),$B/cudasim/mpi.so) $(if $(THREAD),$B/cudasim/tsan/sa-cuda.so) $B/fault $B/torture $B/fail.so $B/kill.so $(BENCH)
	$(if $(THREAD),TSAN_OPTIONS="suppressions=$(CURDIR)/tests/tsan.supp halt_on_error=1 die_after_fork=0 $$TSAN_OPTIONS" LIMIT=3600 )sh tests/run.sh $B $(T)
check-cuda: cudasim-plain cudasim-asan cudasim-tsan $B/unit/cudatrain $B/unit/cudaserve
	sh tests/cudasim/check.sh $B
bench: all $(BENCH)
	sh tests/bench/filters.sh $B tests/bench/filters.md
bench-infer: all $B/bench-roof $B/bench-encode
	python3 tests/bench/infer.py $B tests/bench/infer.md
bench-train: all $B/bench-roof
	python3 tests/bench/train.py $B tests/bench/train.md
soak: all $B/fault
	sh tests/soak.sh $B
demo: all
	sh pipelines/quickstart.sh --no-install
nano: all
	sh pipelines/nano/train.sh
nano-check: all
	sh pipelines/nano/check.sh
torture: all $B/fault $B/torture $B/fail.so
	sh tests/torture/run.sh $B $(MOST)
fuzz:
	@command -v clang >/dev/null || { echo "fuzz: there is no clang (Debian: clang, libclang-rt-14-dev)" >&2; exit 2; }
	$(MAKE) -s B=build-fuzz CC=clang FUZZ_MAIN= LDFLAGS=-fsanitize=fuzzer fuzzers \
		OPT="-O1 -g -fsanitize=fuzzer-no-link,address,undefined,float-cast-overflow -fno-sanitize-recover=all -fno-omit-frame-pointer -Wno-string-concatenation"
	sh tests/fuzz/run.sh build-fuzz $(SECONDS) $(FUZZ)
lint:
	sh tests/lint.sh
clean:
	rm -rf build build-san build-tsan build-fuzz

.PHONY: all check check-cuda check-gpu cuda soak bench bench-infer bench-train demo nano nano-check fuzz fuzzers torture lint clean
.SECONDARY:
-include $(shell find $B -name '*.d' 2>/dev/null)
