#!/bin/sh
# nccl.sh HEADER LIBRARY - is trainer/train/cuda/ncclload.h what NVIDIA's nccl.h (HEADER) declares, and has LIBRARY (a libnccl.so.2) all of it?
#
# Both are in PyPI's nvidia-nccl-cu13 and nvidia-nccl-cu12; nccl.h needs CUDA's headers (CUDA=/usr/local/cuda). Prints what is not so; status 1.
cd "$(dirname "$0")/../.." || exit 2
[ -f "$1" ] && [ -f "$2" ] || { echo "usage: nccl.sh nccl.h libnccl.so.2" >&2; exit 2; }
ours=trainer/train/cuda/ncclload.h
status=0

# A pointer of each function's type by our declaration, with the real one's address; an id that goes by value is the real one's there.
{
	echo "#include \"$ours\""
	echo "#include \"$(realpath "$1")\""
	cat <<'END'
#define SAME(a, b) _Static_assert((int)(a) == (int)(b), #a)
SAME(sizeof(struct nccl_id), sizeof(ncclUniqueId));
SAME(_Alignof(struct nccl_id), _Alignof(ncclUniqueId));
SAME(NCCL_SUCCESS, ncclSuccess);
SAME(NCCL_REMOTE_ERROR, ncclRemoteError);
SAME(NCCL_IN_PROGRESS, ncclInProgress);
SAME(NCCL_INT8, ncclInt8);
SAME(NCCL_UINT32, ncclUint32);
SAME(NCCL_FLOAT, ncclFloat);
SAME(NCCL_SUM, ncclSum);
END
	sed -n '/^	F(nccl/s/struct nccl_id/ncclUniqueId/p; t; /^	F(nccl/p' "$ours" | sed 's/^	F(\(nccl[A-Za-z]*\), \(.*\), \((.*)\))[ \\]*$/\2 (*of_\1) \3 = \1;/'
} | cc -std=gnu11 -Wall -Wextra -Werror -isystem "${CUDA:-/usr/local/cuda}/include" -I. -x c -fsyntax-only - || status=1
for name in $(sed -n 's/^	F(\(nccl[A-Za-z]*\),.*/\1/p' "$ours"); do
	nm -D --defined-only "$2" | grep -q " [TW] $name\$" || { echo "$2 has no $name"; status=1; }
done
exit $status
