"""The workloads on a mounted view, and what each may cost against kernel overlayfs.

A command runs with the mount as its working directory; $HELPERS holds the compiled
helpers and $LISTS the lists of names; $AS_ROOT comes before what only root may do. Limits
are (cold, warm) ratios.
"""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Workload:
    command: str
    images: tuple
    limits: tuple = (None, None)


WORKLOADS = {
    "find": Workload("find . -xdev >/dev/null", ("toolchain", "node"), (0.6, 0.8)),
    "lslr": Workload("ls -lR . >/dev/null", ("toolchain", "node"), (0.45, 0.7)),
    "tar": Workload("tar -cf - . | cat >/dev/null", ("toolchain",), (0.9, 1.0)),
    "grep": Workload("grep -r -D skip -F zzqqzz usr/include usr/share usr/lib/git-core etc >/dev/null; test $? = 1",
                     ("toolchain",), (0.7, 0.8)),
    "openread": Workload('"$HELPERS/open_read" "$LISTS/small"', ("toolchain",), (1.1, 0.9)),
    "python": Workload("$AS_ROOT chroot . /usr/bin/python3 -c 'import numpy, pandas'", ("python",), (1.2, 1.1)),
    "seq": Workload("dd if=big.bin of=/dev/null bs=1M status=none", ("big",), (1.1, 1.05)),
    "mmap": Workload('"$HELPERS/read_mapped" big.bin', ("big",), (1.1, 1.05)),
}

# Compared between images of different depth, cold only: 500 layers against 1.
DEPTH_LIMIT = 1.3
DEPTHS = ("chain1", "chain8", "chain500")
DEPTH_WORKLOADS = {
    "present": Workload('"$HELPERS/look_up" "$LISTS/names"', DEPTHS),
    "absent": Workload('"$HELPERS/look_up" "$LISTS/names" .absent', DEPTHS),
    "depthfind": Workload("find . -xdev >/dev/null", DEPTHS),
}
